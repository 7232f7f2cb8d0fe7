r"""A cost model of one device as 42 numbers that mean the same on every device.

For a given embedding width :math:`w` a cost that is linear in counts is, exactly,

.. math:: f(x) = e^{a_w} (1 + z(x) \cdot r_w), \qquad z, r_w \in R^{13},

so a device is the vector :math:`\theta = (a_0, r_0, a_1, r_1, a_2, r_2)`. The level :math:`a_w` is the logarithm of
what the average architecture of the width costs; the slopes :math:`r_w` have no unit, and are what devices share. With
:math:`L` the depth, :math:`L_1` the middle one, :math:`u = L - L_1`, MLP ratios :math:`m` and head counts :math:`h`
centred and scaled to a range of 2, and :math:`q` the curvature :math:`(1, -2, 1)/3` of the three choices,

.. math::
    c = [u / L_1,\; u^2 - 2/3,\; \textstyle\sum m / L_1,\; \sum q(m) / L_1,\; \sum h / L_1,\; \sum q(h) / L_1],
    \qquad z = [c,\; b - 1/2,\; c\,(b - 1/2)],

with sums over the layers and :math:`b` 1 with biases and 0 without.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    FIRST_LAYER,
    N_LAYER,
    NOT_SET,
    Encoded,
    FloatArray,
    IntArray,
    SearchSpace,
)
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.features import extract

WIDTHS: Final = 3
PER_WIDTH: Final = 14
"""Numbers of a width: its level and 13 slopes."""

SIZE: Final = WIDTHS * PER_WIDTH
"""Numbers of a device."""

LEAST_SHARE: Final = 0.05
"""A cost below this share of its width's average is taken for it where logarithms are: no real device comes near."""


def coordinates(space: SearchSpace, group: npt.NDArray[np.integer], counts: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return the coordinates of architectures from what costs depend on.

    Args:
        space: The search space.
        group: The combination of width, depth and bias, ``6 e + 2 d + b`` of the choice indices, ``(n,)``.
        counts: The numbers of layers with the second and third MLP ratio, and with the second and third head count,
            ``float64 (4, n)``.

    Returns:
        ``z``, ``float64 (n, 13)``, and the choice index of the embedding width, ``int64 (n,)``.
    """
    width, depth = np.divmod(np.asarray(group, dtype=np.int64), 6)
    depth, has_bias = np.divmod(depth, 2)
    depths = np.asarray(space.depths, dtype=np.float64)
    n_layer, middle = depths[depth], depths[1]
    beyond = n_layer - middle
    core = [beyond / middle, beyond * beyond - 2.0 / 3.0]
    for choices, second, third in ((space.mlp_ratios, *counts[:2]), (space.head_counts, *counts[2:])):
        first = n_layer - second - third
        values = np.asarray(choices, dtype=np.float64)
        slope = (values - values.mean()) * (2.0 / (values[-1] - values[0]))
        core.append((slope[0] * first + slope[1] * second + slope[2] * third) / middle)
        core.append((first - 2.0 * second + third) / (3.0 * middle))
    stacked = np.stack(core, axis=1)
    bias = (has_bias - 0.5)[:, None]
    return np.concatenate([stacked, bias, stacked * bias], axis=1), width


def encoded_coordinates(space: SearchSpace, encoded: Encoded) -> tuple[FloatArray, IntArray]:
    """Return the :func:`coordinates` of a valid batch ``int8 (n, D)``."""
    features = extract(space, encoded)
    return coordinates(space, features.group, features.counts)


def uniform_architectures(space: SearchSpace) -> Encoded:
    """Return the 162 architectures of equal layers: every cost of the family is known from its values there.

    Returns:
        ``int8 (162, D)``, ordered by width, depth, bias, MLP ratio and head count.
    """
    choices = list(itertools.product(range(3), range(3), range(2), range(3), range(3)))
    encoded = np.full((len(choices), space.num_decisions), NOT_SET, dtype=np.int8)
    for row, (width, depth, bias, mlp, head) in zip(encoded, choices, strict=True):
        end = FIRST_LAYER + 2 * space.depths[depth]
        row[[EMBED_DIM, N_LAYER, BIAS]] = width, depth, bias
        row[FIRST_LAYER:end:2], row[FIRST_LAYER + 1 : end : 2] = mlp, head
    return encoded


def vector_of(model: CountModel) -> FloatArray:
    """Return the vector of a model of one device, ``float64 (42,)``; :func:`model_of` is the inverse.

    Raises:
        ValueError: If the average architecture of a width costs nothing or less.
    """
    encoded = uniform_architectures(model.space)
    z, width = encoded_coordinates(model.space, encoded)
    costs = model.predict(encoded)
    vector = np.empty((WIDTHS, PER_WIDTH))
    for row, own in ((vector[w], width == w) for w in range(WIDTHS)):
        columns = np.column_stack([np.ones(own.sum()), z[own]])
        linear = np.linalg.lstsq(columns, costs[own], rcond=None)[0]
        if linear[0] <= 0.0:
            raise ValueError(f"the average architecture of a width must cost more than 0, got {linear[0]!r}")
        row[0], row[1:] = np.log(linear[0]), linear[1:] / linear[0]
    return vector.reshape(SIZE)


def model_of(space: SearchSpace, vector: FloatArray) -> CountModel:
    """Return the cost model of a vector ``float64 (42,)``; the cost of every first choice is part of the base."""
    z, width = encoded_coordinates(space, uniform_architectures(space))
    rows = vector.reshape(WIDTHS, PER_WIDTH)[width]
    costs = np.exp(rows[:, 0]) * (1.0 + np.einsum("ij,ij->i", z, rows[:, 1:]))
    costs = costs.reshape(3, 3, 2, 3, 3)
    middle, layers = costs[:, 1], space.depths[1]
    mlp = (middle[..., 0] - middle[..., :1, 0]) / layers
    head = (middle[..., 0, :] - middle[..., 0, :1]) / layers
    return CountModel(space, costs[..., 0, 0].copy(), mlp, head)


def flattened(space: SearchSpace, vector: FloatArray) -> FloatArray:
    """Return a vector whose costs are at least :data:`LEAST_SHARE` of their width's average, ``float64 (42,)``.

    A line through the middle may fall below zero at the ends, where a search goes. The slopes of such a width shrink,
    all by the same factor, which keeps the ranking of its architectures; other widths stay as they are.
    """
    z, width = encoded_coordinates(space, uniform_architectures(space))
    rows = vector.reshape(WIDTHS, PER_WIDTH).copy()
    # Costs are linear in counts, so the architectures of equal layers have the least ones.
    relative = np.einsum("ij,ij->i", z, rows[width, 1:])
    for w in range(WIDTHS):
        rows[w, 1:] *= min(1.0, (1.0 - LEAST_SHARE) / -min(float(relative[width == w].min()), LEAST_SHARE - 1.0))
    return rows.reshape(SIZE)


def log_costs(vector: FloatArray, z: FloatArray, width: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the logarithms of costs, and their derivatives by the vector.

    Args:
        vector: ``float64 (42,)``.
        z: Coordinates, ``float64 (n, 13)``.
        width: Choice index of the embedding width, ``int64 (n,)``.

    Returns:
        ``float64 (n,)`` and ``float64 (n, 42)``.
    """
    own = vector.reshape(WIDTHS, PER_WIDTH)[width]
    share = np.maximum(1.0 + np.einsum("ij,ij->i", z, own[:, 1:]), LEAST_SHARE)
    derivative = np.zeros((len(z), WIDTHS, PER_WIDTH))
    rows = np.arange(len(z))
    derivative[rows, width, 0] = 1.0
    derivative[rows, width, 1:] = z / share[:, None]
    return own[:, 0] + np.log(share), derivative.reshape(len(z), SIZE)
