"""From the times of single layers to a cost model, without a whole model measured.

Within a forward pass the times are divided by the pass's median layer, which cancels the state of the machine. Then,
for each width and bias, a layer's time is a sum of what its MLP ratio and its head count take, fitted robustly in
relative error; what comes before and after the layers is the base.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from hwgpt_gym.onboarding.coordinates import PER_WIDTH, uniform_architectures
from hwgpt_gym.onboarding.plan import design
from hwgpt_gym.onboarding.posterior import CostPosterior, fit_posterior
from hwgpt_gym.onboarding.prior import LEVEL, Prior
from hwgpt_gym.onboarding.records import Clock, Pass
from hwgpt_gym.search_space import Architecture, FloatArray, SearchSpace
from hwgpt_gym.surrogates.count_model import CountModel

ROUNDS: Final = 15
BIWEIGHT_LIMIT: Final = 4.685
UNIFORM: Final = 41
"""Architectures of equal layers at which the layer model stands for measurements: about as many as it has numbers."""

WIDENING: Final = 2.0
"""By how much the layer model's covariance grows before whole models are fitted: it sees no gaps between layers."""

LEVEL_DEVIATION: Final = 0.02
"""How well it knows the level of a width and bias."""

BIAS_PLACE: Final = 7
"""The place of the bias by itself among the numbers of a width."""


class _Group(NamedTuple):
    """What the passes of one width and bias say, relative to each pass's median layer."""

    choices: FloatArray
    """Constant, second and third MLP ratio, second and third head count of every layer, ``float64 (n, 5)``."""
    layers: FloatArray
    rest: FloatArray
    """Embedding, norm and output of every pass."""
    state: FloatArray
    """The median layer of every pass, in milliseconds."""


def fit_layers(space: SearchSpace, passes: Iterable[Pass], clock: Clock) -> CountModel:
    """Fit the cost model of layer times.

    Args:
        space: The search space.
        passes: Forward passes of the plan's probes.
        clock: Which clock counts.

    Raises:
        ValueError: If a width and bias has no pass, or the clock was not read.
    """
    by_group: dict[tuple[int, bool], list[tuple[Architecture, FloatArray]]] = {}
    for item in passes:
        if clock not in item.parts:
            raise ValueError(f"the clock {clock!r} was not read in a pass of {item.layers}, only {list(item.parts)}")
        architecture = Architecture.from_string(item.layers)
        key = (architecture.embed_dim, architecture.bias)
        by_group.setdefault(key, []).append((architecture, np.array(item.parts[clock])))
    base, mlp, head = np.zeros((3, 3, 2)), np.zeros((3, 2, 3)), np.zeros((3, 2, 3))
    for e, b in itertools.product(range(3), range(2)):
        own = by_group.get((space.embed_dims[e], space.biases[b]))
        if own is None:
            raise ValueError(
                f"no layers of embedding width {space.embed_dims[e]} with bias {space.biases[b]} were timed"
            )
        group = _group(space, own)
        found = _robust(group.choices, group.layers)
        state = np.median(group.state)
        mlp[e, b, 1:], head[e, b, 1:] = state * found[1:3], state * found[3:5]
        base[e, :, b] = state * (np.median(group.rest) + found[0] * np.asarray(space.depths))
    return CountModel(space, base, mlp, head)


def layer_posterior(prior: Prior, model: CountModel) -> CostPosterior:
    """Fit a layer model as if whole models of equal layers had been measured."""
    pool = uniform_architectures(model.space)
    chosen = pool[design(model.space, prior, pool, UNIFORM)]
    return fit_posterior(model.space, prior, chosen, model.predict(chosen))


def layer_prior(posterior: CostPosterior) -> Prior:
    """Return the prior of whole models that the layers leave: its common level is free again.

    The median layers of a width with and without biases are from different probes, in different states of the machine.
    So the level of a width is known to :data:`LEVEL_DEVIATION`, and the difference of its biases to that of two levels.
    """
    place = np.arange(len(posterior.mean)) % PER_WIDTH
    apart = np.where(place == 0, 1.0, np.where(place == BIAS_PLACE, 2.0, 0.0)) * LEVEL_DEVIATION**2
    mean = posterior.mean - LEVEL * posterior.mean[::PER_WIDTH].mean()
    return Prior(mean, WIDENING * posterior.covariance + np.diag(apart))


def _group(space: SearchSpace, own: list[tuple[Architecture, FloatArray]]) -> _Group:
    choices, layers, rest, states = [], [], [], []
    for architecture, times in own:
        depth = architecture.n_layer
        if len(times) != depth + 2:
            raise ValueError(f"a pass of {architecture} must have {depth + 2} parts, got {len(times)}")
        state = np.median(times[1 : depth + 1])
        mlp, head = np.array(architecture.mlp_ratio), np.array(architecture.n_head)
        legal = (*space.mlp_ratios[1:], *space.head_counts[1:])
        columns = [np.ones(depth), *(values == v for v, values in zip(legal, (mlp, mlp, head, head), strict=True))]
        choices.append(np.stack(columns, axis=1).astype(np.float64))
        layers.append(times[1 : depth + 1] / state)
        rest.append((times[0] + times[depth + 1]) / state)
        states.append(state)
    return _Group(np.concatenate(choices), np.concatenate(layers), np.array(rest), np.array(states))


def _robust(columns: FloatArray, values: FloatArray) -> FloatArray:
    """Least squares of relative errors with Tukey's biweight."""
    weights: FloatArray = np.ones(len(values))
    for _ in range(ROUNDS):
        solved = np.linalg.lstsq(columns * weights[:, None], values * weights, rcond=None)[0]
        found = np.asarray(solved, dtype=np.float64)
        predicted: FloatArray = np.maximum(columns @ found, 0.05)
        relative = values / predicted - 1.0
        spread = 1.4826 * float(np.median(np.abs(relative))) + 1e-6
        # The biweight's square root and the inverse prediction: the residuals that are squared are relative ones.
        biweight: FloatArray = np.maximum(1.0 - np.square(relative / (BIWEIGHT_LIMIT * spread)), 0.0)
        weights = biweight / predicted
    return found
