"""Statistics of a leaderboard: medians over devices and runs with a hierarchical bootstrap.

Runs on one device have its landscape in common. So the bootstrap draws devices first, and then runs of each device
drawn (a two-stage or hierarchical bootstrap; Davison and Hinkley, 1997, *Bootstrap Methods and their Application*,
section 3.8): with few devices intervals are as wide as devices differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.leaderboard.rows import CHECKPOINTS, hits, regret_at
from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    import pandas

RESAMPLES: Final = 1_000


class Interval(NamedTuple):
    """A statistic and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def median(values: npt.ArrayLike, axis: int = -1) -> FloatArray:
    """Return the lower median: always one of the values, so that infinite ones do no harm."""
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=axis)
    return np.asarray(np.take(ordered, (ordered.shape[axis] - 1) // 2, axis=axis), dtype=np.float64)


def interval(
    values: npt.ArrayLike,
    devices: Sequence[object],
    statistic: Callable[[FloatArray, int], FloatArray] = median,
    seed: int = 0,
) -> Interval:
    """Return a statistic over runs and its 95 % interval by the hierarchical bootstrap.

    Args:
        values: One value a run, ``float64 (n,)``, at least one.
        devices: The device of each.
        statistic: A function of values and an axis.
        seed: Seeds the resampling.
    """
    array = np.asarray(values, dtype=np.float64)
    groups: dict[object, list[float]] = {}
    for device, value in zip(devices, array.tolist(), strict=True):
        groups.setdefault(device, []).append(value)
    runs = np.array([len(group) for group in groups.values()])
    # Rows are devices; those with fewer runs are filled up with what is never drawn.
    table = np.zeros((len(groups), runs.max()))
    for row, group in enumerate(groups.values()):
        table[row, : len(group)] = group
    rng = np.random.default_rng(seed)
    device = rng.integers(len(groups), size=(RESAMPLES, len(groups), 1))
    run = (rng.random((RESAMPLES, len(groups), int(np.median(runs)))) * runs[device]).astype(np.intp)
    drawn = statistic(table[device, run].reshape(RESAMPLES, -1), -1)
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return Interval(float(statistic(array, -1)), float(low), float(high))


def curve(rows: pandas.DataFrame) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Return the median regret of one agent by checkpoint.

    Args:
        rows: Searches of one agent, of one budget.

    Returns:
        The checkpoints, ``int64 (k,)``, and median, low and high end, ``float64 (k, 3)``.
    """
    points = [point for point in CHECKPOINTS if not rows[regret_at(point)].isna().any()]
    intervals = [interval(rows[regret_at(point)], list(rows["device"])) for point in points]
    return np.array(points, dtype=np.int64), np.array(intervals, dtype=np.float64).reshape(-1, 3)


def never(rows: pandas.DataFrame, target: float) -> float:
    """Return the share of searches that never reach a regret within their budget."""
    return float(np.isinf(rows[hits(target)]).mean())


def comparable(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Return the searches of agents that were run on every task: on easier ones alone an agent would look better."""
    tasks = rows.groupby("agent")["task"].transform("nunique")
    return rows[tasks == rows["task"].nunique()]
