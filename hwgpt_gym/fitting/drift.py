"""The drift of a machine while it was profiled: piecewise constant over the profiling order.

Most of what looks like noise in the measurements is shared by neighbours in the profiling order: another node, another
clock, a job that runs beside. It comes and goes at once rather than slowly, and it moves small models differently
from large ones. The drift is therefore modelled by *change points that all embedding widths share, with a level of its
own for each width between them*, found by pruned optimal partitioning (Killick, Fearnhead & Eckley, "Optimal detection
of changepoints with a linear computational cost", JASA 107(500), 2012, eq. 3 and theorem 3.1) under the penalty of the
Bayesian information criterion.

The alternatives were compared by how well they predict the residuals of held-out rows, over all scales, devices and
metrics: no drift, running medians (of all widths or of each), Gaussian and Student-t Kalman smoothers of a random
walk, change points of each width by itself, and segments with a trend. See ``docs/surrogates.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import FloatArray, IntArray

BIN_WIDTH: Final = 5
"""Change points are sought on a grid of this many positions, then each is refined to a single position."""

SHORTEST_SEGMENT: Final = 2 * BIN_WIDTH
"""No segment is shorter: with fewer rows than this, a run of outliers would pass for a state of the machine."""

SCALE_WINDOW: Final = 101
"""Rows of one width over which the local spread is taken."""

_NORMAL_CONSISTENCY: Final = 1.4826
_HUBER_LIMIT: Final = 2.5


@dataclass(frozen=True, eq=False)
class Drift:
    """A machine's state over the profiling order.

    Attributes:
        edges: Positions of the change points, ascending, between the positions of rows, ``float64 (segments - 1,)``.
        levels: Log-ratio of the machine's state to its median state, ``float64 (segments, 3)``; the second axis is
            the embedding width.
    """

    edges: FloatArray
    levels: FloatArray

    def at(self, order: IntArray, embed_dim: npt.NDArray[np.integer]) -> FloatArray:
        """Return the log-ratio of the machine's state at a position of the order to its median state.

        Args:
            order: Positions, ``(n,)``; they need not be among those the drift was fitted on.
            embed_dim: Choice index of the embedding width, ``(n,)``.

        Returns:
            The log-ratios, ``float64 (n,)``.
        """
        result: FloatArray = self.levels[np.searchsorted(self.edges, order), embed_dim]
        return result


def fit_drift(
    order: IntArray, embed_dim: npt.NDArray[np.integer], residuals: FloatArray, penalty: float | None = None
) -> Drift:
    """Fit the drift to log-ratios of measured to predicted values.

    Args:
        order: Positions in the profiling sequence, strictly ascending, ``(n,)``.
        embed_dim: Choice index of the embedding width, ``(n,)``.
        residuals: Log-ratios, ``(n,)``.
        penalty: What a change point must save, in squared standard deviations; by default ``4 log(n)``, the
            Bayesian information criterion of three levels and a position.

    Returns:
        The drift. Its levels are those of ``residuals``: their median over rows need not be 0.

    Raises:
        ValueError: If ``order`` is not strictly ascending, or an embedding width has fewer than 2 rows.
    """
    if len(order) == 0 or (np.diff(order) <= 0).any():
        raise ValueError("order must be strictly ascending and not empty")
    if np.bincount(embed_dim, minlength=3).min() < 2:
        raise ValueError("embed_dim must have at least 2 rows of every width")
    if penalty is None:
        penalty = 4.0 * float(np.log(len(order)))
    sums = _Sums.of(embed_dim, *_clipped(embed_dim, residuals))
    grid = np.unique(np.searchsorted(order, np.arange(order[0], order[-1] + BIN_WIDTH, BIN_WIDTH)))
    grid = np.append(grid[grid < len(order)], len(order))
    cuts = _refine(sums, _partition(sums, order, grid, penalty))
    segment = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
    edges = (order[cuts[1:-1] - 1] + order[cuts[1:-1]]) / 2.0
    return Drift(edges, _levels(segment, embed_dim, residuals, len(cuts) - 1))


def running_median(values: FloatArray, window: int) -> FloatArray:
    """Return the running median over an odd number of neighbours; the values are mirrored at the ends."""
    from scipy.ndimage import median_filter

    result: FloatArray = median_filter(values, size=min(window, 2 * len(values) - 1), mode="reflect")
    return result


def local_spread(embed_dim: npt.NDArray[np.integer], deviations: FloatArray, window: int = SCALE_WINDOW) -> FloatArray:
    """Return the spread around each row: the running median absolute deviation of its width, as a standard deviation.

    It is never below a tenth of the width's overall spread, and never zero.
    """
    spread = np.empty_like(deviations)
    for width in range(3):
        rows = embed_dim == width
        size = np.abs(deviations[rows])
        least = 0.1 * np.median(size) + 1e-7  # relative: a tenth of a part in a million
        spread[rows] = _NORMAL_CONSISTENCY * np.maximum(running_median(size, window), least)
    return spread


def _clipped(embed_dim: npt.NDArray[np.integer], residuals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Clip outliers to their neighbours' median; return the result and the inverse local variance."""
    # Sums of squares of numbers near 0 are exact enough; those of large constants would not be.
    centre = np.array([np.median(residuals[embed_dim == width]) for width in range(3)])
    residuals = residuals - centre[embed_dim]
    median = np.empty_like(residuals)
    for width in range(3):
        rows = embed_dim == width
        median[rows] = running_median(residuals[rows], 15)
    spread = local_spread(embed_dim, residuals - median)
    clipped = median + np.clip(residuals - median, -_HUBER_LIMIT * spread, _HUBER_LIMIT * spread)
    return clipped, 1.0 / np.square(spread)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Cumulative weights and weighted sums by width, ``(n + 1, 3)``: the gain of any segment in constant time."""

    weights: FloatArray
    values: FloatArray

    @classmethod
    def of(cls, embed_dim: npt.NDArray[np.integer], values: FloatArray, weights: FloatArray) -> _Sums:
        member = np.eye(3)[embed_dim] * weights[:, None]
        zero = np.zeros((1, 3))
        return cls(
            np.vstack([zero, np.cumsum(member, axis=0)]), np.vstack([zero, np.cumsum(member * values[:, None], axis=0)])
        )

    def gain(self, start: npt.NDArray[np.integer] | int, end: npt.NDArray[np.integer] | int) -> FloatArray:
        """How much the weighted means of the segments ``start:end`` take off the weighted sum of squares."""
        weight = self.weights[end] - self.weights[start]
        total = self.values[end] - self.values[start]
        result: FloatArray = (total * total / np.maximum(weight, 1e-30)).sum(axis=-1)
        return result


def _partition(sums: _Sums, order: IntArray, grid: IntArray, penalty: float) -> IntArray:
    """Return the rows at which segments start, and the number of rows, by dynamic programming over the grid."""
    bounds = np.append(order, order[-1] + 1)[grid]
    best = np.full(len(grid), -np.inf)  # greatest gain of the rows before a grid point
    best[0] = 0.0
    previous = np.zeros(len(grid), dtype=np.int64)
    starts = np.zeros(1, dtype=np.int64)  # grid points at which the last segment may still start
    admitted = 0
    for j in range(1, len(grid)):
        # Only the last segment, which ends with the data, may be shorter.
        last = j - 1 if j == len(grid) - 1 else int(np.searchsorted(bounds, bounds[j] - SHORTEST_SEGMENT, "right")) - 1
        if last > admitted:
            starts = np.append(starts, np.arange(admitted + 1, last + 1))
            admitted = last
        gains = best[starts] + sums.gain(grid[starts], grid[j]) - penalty
        chosen = int(np.argmax(gains))
        best[j], previous[j] = gains[chosen], starts[chosen]
        # A start that is worse by the penalty already can never be the best again.
        starts = starts[gains + penalty >= best[j]]
    cuts = [len(grid) - 1]
    while cuts[-1]:
        cuts.append(int(previous[cuts[-1]]))
    result: IntArray = grid[np.array(cuts[::-1])]
    return result


def _refine(sums: _Sums, cuts: IntArray) -> IntArray:
    """Move every change point to the best row within a bin of it."""
    cuts = cuts.copy()
    for i in range(1, len(cuts) - 1):
        low = max(cuts[i] - BIN_WIDTH, cuts[i - 1] + 1)
        high = min(cuts[i] + BIN_WIDTH, cuts[i + 1] - 1)
        rows = np.arange(low, high + 1)
        cuts[i] = rows[np.argmax(sums.gain(cuts[i - 1], rows) + sums.gain(rows, cuts[i + 1]))]
    return cuts


def _levels(segment: IntArray, embed_dim: npt.NDArray[np.integer], residuals: FloatArray, segments: int) -> FloatArray:
    """Return the median of every segment and width; of the shifts of all widths where a width has no rows."""
    centre = np.array([np.median(residuals[embed_dim == width]) for width in range(3)])
    shifts = residuals - centre[embed_dim]
    common = grouped_median(shifts, segment, segments)
    own = grouped_median(shifts, segment * 3 + embed_dim, 3 * segments).reshape(segments, 3)
    result: FloatArray = centre + np.where(np.isnan(own), common[:, None], own)
    return result


def grouped_median(values: FloatArray, group: IntArray, groups: int) -> FloatArray:
    """Return the median of the values of every group, NaN for an empty one, ``(groups,)``."""
    ranked = values[np.lexsort((values, group))]
    sizes = np.bincount(group, minlength=groups)
    starts = np.cumsum(sizes) - sizes
    low = np.minimum(starts + np.maximum(sizes - 1, 0) // 2, len(values) - 1)
    high = np.minimum(starts + sizes // 2, len(values) - 1)
    return np.where(sizes > 0, (ranked[low] + ranked[high]) / 2.0, np.nan)
