"""Fit the cost models: what the architecture costs, with the drift of the machine that measured it taken off.

A measured cost is modelled as ``(linear in counts) * exp(drift) * noise``. The two parts are fitted in turns: the drift
(:mod:`hwgpt_gym.fitting.drift`) to the log-ratios of measured to predicted values, the counts by iteratively
re-weighted least squares of the *relative* error of the values with the drift taken off. Rows are weighted by the
inverse square of the spread around them, so that contention bursts count little, times Tukey's biweight
(Beaton & Tukey, "The fitting of power series", Technometrics 16(2), 1974), so that outliers do not count at all.

The measured architectures are random ones, whose counts are near the middle; a search goes to the ends. Where a cost
is not linear (the board power of v100 in short runs depends on how long they are), the straight line through the
middle would fall below zero there. Such a line is flattened about its middle, which keeps the ranking of the
architectures of a width, until no architecture costs less per FLOP than half of what the cheapest measured ones do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.analytic import flops
from hwgpt_gym.fitting.drift import Drift, fit_drift, grouped_median, local_spread
from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    FIRST_LAYER,
    GROUP_SHAPE,
    GROUPS,
    N_LAYER,
    Encoded,
    FloatArray,
    IntArray,
    SearchSpace,
)
from hwgpt_gym.surrogates.count_model import CountModel

ROUNDS: Final = 6
"""Turns of drift and counts; more change predictions by a few hundredths of the measurements' scatter."""

INNER_ROUNDS: Final = 4
"""Re-weightings of the counts' fit between two fits of the drift."""

BIWEIGHT_LIMIT: Final = 4.685
"""Residuals beyond this many standard deviations weigh nothing: 95 % efficiency under normal noise."""


LEAST_SHARE: Final = 0.5
"""No architecture may cost less than this share of the cheapest measured cost per FLOP. At 1, lines that are true
would be flattened as well."""


@dataclass(frozen=True, eq=False)
class CostFit:
    """A fitted cost model of one device, and the nuisances it was freed from.

    Attributes:
        model: The cost in the machine's median state.
        drift: The state of the machine over the profiling order; the median of its log-ratio is about 0.
        drift_log_ratio: The drift at every row of the fit, ``float64 (n,)``.
        residuals: Log-ratio of measured to predicted value, the drift *not* taken off, ``float64 (n,)``; its
            median is 0 for every embedding width.
    """

    model: CountModel
    drift: Drift
    drift_log_ratio: FloatArray
    residuals: FloatArray

    def drift_at(self, order: IntArray, embed_dim: npt.NDArray[np.integer]) -> FloatArray:
        """Return the drift's log-ratio at positions that need not have been fitted; as :meth:`Drift.at`."""
        return self.drift.at(order, embed_dim)


def fit_cost(space: SearchSpace, encoded: Encoded, order: IntArray, values: FloatArray) -> CostFit:
    """Fit the cost of one device.

    Args:
        space: The search space.
        encoded: The architectures, ``int8 (n, D)``.
        order: Their positions in the profiling sequence, strictly ascending, ``(n,)``.
        values: What was measured, positive, one value per row, ``(n,)``: the median of the row's observations. No
            other summary of them tells more of the architecture (see ``docs/surrogates.md``).

    Returns:
        The fit.

    Raises:
        ValueError: If shapes disagree, a value is not positive and finite, or a combination of embedding width,
            depth and bias is missing.
    """
    _check(encoded, order, values)
    design = _Design.of(space, encoded)
    embed_dim = encoded[:, EMBED_DIM].astype(np.int64)
    weights = np.ones(len(values))
    state = np.zeros(len(values))
    predicted = values
    for _ in range(ROUNDS):
        for _ in range(INNER_ROUNDS):
            coefficients, predicted = design.fit(values * np.exp(-state), weights, predicted)
            weights = _weights(embed_dim, np.log(values / predicted) - state)
        residuals = _centred(embed_dim, np.log(values / predicted))
        state = fit_drift(order, embed_dim, residuals).at(order, embed_dim)
    model = _flatten(design.model(space, coefficients), encoded, _least_costs(space, encoded, values))
    # The median state: predictions are at the level of which as many measurements of a width are above as below.
    level = np.exp(grouped_median(np.log(values / model.predict(encoded)), embed_dim, 3))
    model = CountModel(
        space,
        model.base * level[:, None, None],
        model.mlp * level[:, None, None],
        model.head * level[:, None, None],
    )
    residuals = np.log(values / model.predict(encoded))
    drift = fit_drift(order, embed_dim, residuals)
    return CostFit(model, drift, drift.at(order, embed_dim), residuals)


def fit_memory(space: SearchSpace, encoded: Encoded, values: FloatArray) -> CountModel:
    """Fit a memory, which has neither noise nor drift.

    Args:
        space: The search space.
        encoded: The architectures, ``int8 (n, D)``.
        values: Memory in MB, positive, ``(n,)``.

    Raises:
        ValueError: As :func:`fit_cost`.
    """
    _check(encoded, np.arange(len(values)), values)
    design = _Design.of(space, encoded)
    weights = np.ones(len(values))
    predicted = values
    for _ in range(ROUNDS):
        coefficients, predicted = design.fit(values, weights, predicted)
        # Least fourth powers, by re-weighting: they curb the greatest error, and the ranking is as good as ever.
        squares = np.square(values / predicted - 1.0)
        weights = 0.5 * weights + 0.5 * (squares / squares.mean() + 1e-4)
    return design.model(space, coefficients)


def _check(encoded: Encoded, order: IntArray, values: FloatArray) -> None:
    if values.shape != (len(encoded),) or order.shape != values.shape:
        raise ValueError(
            f"encoded, order and values must have a row each, got {encoded.shape}, {order.shape}, {values.shape}"
        )
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("values must be positive and finite")


def _centred(embed_dim: IntArray, residuals: FloatArray) -> FloatArray:
    """Return residuals less their median over the rows of their width."""
    centred: FloatArray = residuals - grouped_median(residuals, embed_dim, 3)[embed_dim]
    return centred


def _flatten(model: CountModel, encoded: Encoded, least: FloatArray) -> CountModel:
    """Draw a model's predictions towards their median, width by width, until none is below ``least``.

    Args:
        model: The model.
        encoded: The architectures whose median prediction stays, ``(n, D)``.
        least: The least cost that is allowed, positive, by width, depth and bias, ``(3, 3, 2)``.
    """
    middle = grouped_median(model.predict(encoded), encoded[:, EMBED_DIM].astype(np.int64), 3)[:, None, None]
    depths = np.asarray(model.space.depths, dtype=np.float64)[:, None]
    found = model.base + depths * (model.mlp.min(axis=-1) + model.head.min(axis=-1))[:, None, :]
    shares = np.where(found < least, (middle - least) / (middle - np.minimum(found, least)), 1.0)
    share = shares.min(axis=(1, 2))[:, None, None]
    return CountModel(model.space, middle + share * (model.base - middle), share * model.mlp, share * model.head)


def _least_costs(space: SearchSpace, encoded: Encoded, values: FloatArray) -> FloatArray:
    """Return what an architecture costs at least, by width, depth and bias, ``(3, 3, 2)``."""
    corners = np.zeros((len(GROUPS), space.num_decisions), dtype=np.int8)
    corners[:, :FIRST_LAYER] = GROUPS
    corners = space.canonical(corners)
    per_flop = values / flops(space, encoded, "gated")
    cheapest = np.array([np.quantile(per_flop[encoded[:, EMBED_DIM] == width], 0.01) for width in range(3)])
    least: FloatArray = LEAST_SHARE * flops(space, corners, "gated").reshape(GROUP_SHAPE) * cheapest[:, None, None]
    return least


def _weights(embed_dim: IntArray, residuals: FloatArray) -> FloatArray:
    """Return the weight of every row: inverse local variance times Tukey's biweight, mean about 1 per width."""
    spread = local_spread(embed_dim, residuals)
    scaled = np.minimum(np.abs(residuals) / (BIWEIGHT_LIMIT * spread), 1.0)
    weights: FloatArray = np.square((1.0 - scaled * scaled) / spread)
    for width in range(3):
        rows = embed_dim == width
        weights[rows] /= weights[rows].mean()
    return weights


@dataclass(frozen=True, eq=False)
class _Design:
    """The design matrix, in independent columns: depth, and the counts of the second and third choices.

    Attributes:
        columns: ``float64 (n, 7)``; three indicators of depth, two counts for the MLP, two for the heads.
        group: Which of the six independent fits a row belongs to, ``embed_dim * 2 + bias``, ``(n,)``.
    """

    columns: FloatArray
    group: IntArray

    @classmethod
    def of(cls, space: SearchSpace, encoded: Encoded) -> _Design:
        mlp_counts, head_counts = space.counts(encoded)
        depth = np.eye(3)[encoded[:, N_LAYER]]
        group = encoded[:, EMBED_DIM].astype(np.int64) * 2 + encoded[:, BIAS]
        missing = np.bincount(group * 3 + encoded[:, N_LAYER], minlength=len(GROUPS)) == 0
        if missing.any():
            group_index, depth_index = divmod(int(np.argmax(missing)), 3)
            raise ValueError(
                f"encoded must have every combination of embed_dim, n_layer and bias, lacks choices "
                f"({group_index // 2}, {depth_index}, {group_index % 2})"
            )
        return cls(np.hstack([depth, mlp_counts[:, 1:], head_counts[:, 1:]]), group)

    def rows(self) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
        for group in range(6):
            yield group, np.flatnonzero(self.group == group)

    def fit(self, values: FloatArray, weights: FloatArray, predicted: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Least squares of the relative error, weighted.

        Args:
            values: What is fitted, ``(n,)``.
            weights: The weight of every row's squared relative error, ``(n,)``.
            predicted: What the errors are relative to, ``(n,)``.

        Returns:
            The coefficients, ``(3, 2, 7)``, and the predictions, ``(n,)``.
        """
        coefficients = np.empty((6, 7))
        result = np.empty_like(values)
        for group, rows in self.rows():
            columns = self.columns[rows]
            scale = np.sqrt(weights[rows]) / predicted[rows]
            coefficients[group] = np.linalg.lstsq(columns * scale[:, None], values[rows] * scale, rcond=None)[0]
            # A prediction far below the others (a first fit of wild data) must not take all the weight.
            result[rows] = np.maximum(columns @ coefficients[group], 0.2 * np.median(values[rows]))
        return coefficients.reshape(3, 2, 7), result

    @staticmethod
    def model(space: SearchSpace, coefficients: FloatArray) -> CountModel:
        """Return the model of coefficients ``(3, 2, 7)``.

        What a layer of the first choices costs cannot be told apart from what depth costs: it is in the base, and
        the coefficients of first choices are 0.
        """
        base = np.swapaxes(coefficients[:, :, :3], 1, 2)
        zero = np.zeros((3, 2, 1))
        mlp = np.concatenate([zero, coefficients[:, :, 3:5]], axis=2)
        head = np.concatenate([zero, coefficients[:, :, 5:]], axis=2)
        return CountModel(space, base, mlp, head)
