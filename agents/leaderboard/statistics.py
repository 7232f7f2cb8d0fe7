"""Statistics of a leaderboard: interquartile means with bootstrap intervals, ranks, hypervolume ratios.

Interquartile means with stratification-free percentile bootstrap are what Agarwal et al. (2021), *Deep Reinforcement
Learning at the Edge of the Statistical Precipice* (NeurIPS, arXiv 2108.13264), advise for few runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    import pandas

    from hwgpt_gym.agents.leaderboard.suites import Cell
    from hwgpt_gym.agents.result import SearchResult
    from hwgpt_gym.pareto import Box

CHECKPOINTS: Final = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Numbers of evaluations after which regret is reported."""

RESAMPLES: Final = 1_000

_ROUNDING: Final = 1e-9


class Interval(NamedTuple):
    """An interquartile mean and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Record:
    """What a leaderboard keeps of a search.

    Attributes:
        cell: The search.
        regret: Best-so-far regret by checkpoint, the last one of which is the budget.
        greedy: The last greedy regret, ``nan`` without a policy.
        greedy_curve: Greedy regret by the number of evaluations it was recorded after.
        hypervolume: Hypervolume ratio of all that was evaluated, by checkpoint; empty if not asked for.
        wall_time: Seconds.
        cpu_time: Seconds of processor time.
    """

    cell: Cell
    regret: dict[int, float]
    greedy: float
    greedy_curve: dict[int, float]
    hypervolume: dict[int, float]
    wall_time: float
    cpu_time: float

    @property
    def final(self) -> float:
        """Best-so-far regret at the end of the budget."""
        return self.regret[max(self.regret)]


def interquartile_mean(values: FloatArray, axis: int = -1) -> FloatArray:
    """Return the mean of the middle half along an axis."""
    from scipy import stats

    return np.asarray(stats.trim_mean(values, 0.25, axis=axis), dtype=np.float64)


def interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the interquartile mean of runs and its 95 % percentile bootstrap interval.

    Args:
        values: One value a run, at least one.
        seed: Seeds the resampling.
    """
    from scipy import stats

    array = np.asarray(values, dtype=np.float64)
    mean = float(interquartile_mean(array))
    if len(array) < 2:
        return Interval(mean, mean, mean)
    bootstrap = stats.bootstrap(
        (array,),
        interquartile_mean,
        n_resamples=RESAMPLES,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return Interval(mean, float(bootstrap.confidence_interval.low), float(bootstrap.confidence_interval.high))


def collect(cells: Iterable[Cell], folder: str | os.PathLike[str]) -> list[Record]:
    """Read the results of searches.

    Raises:
        FileNotFoundError: If one has not been run.
        ValueError: If a file is not valid.
    """
    from hwgpt_gym.agents.leaderboard.execute import load_results, optimum_reward

    return [record(cell, result, optimum_reward(cell)) for cell, result in load_results(cells, folder)]


def record(cell: Cell, result: SearchResult, optimum: float) -> Record:
    """Condense a result.

    Raises:
        ValueError: If a reward is above the optimum's by more than rounding.
    """
    regret = result.regret(optimum)
    if len(regret) and regret[-1] < -_ROUNDING:
        raise ValueError(f"{cell} earned {-regret[-1]:.3g} more than the certified optimum")
    at = [*(point for point in CHECKPOINTS if point < cell.budget), cell.budget]
    if cell.agent.name == "exact":  # It stops when it is done: what it has found stays found.
        at = list(CHECKPOINTS)
    greedy = result.greedy_regret(optimum)
    # Random search is the yardstick of the multi-objective agents too.
    volumes = cell.agent.multi_objective or cell.agent.name == "random_search"
    return Record(
        cell,
        {point: max(0.0, float(regret[min(point, len(regret)) - 1])) for point in at},
        float(greedy[-1]) if len(greedy) else float("nan"),
        {int(point): float(value) for point, value in zip(result.greedy_evaluations, greedy, strict=True)},
        _hypervolumes(cell, result, [point for point in at if 100 <= point <= 10_000]) if volumes else {},
        result.wall_time,
        result.cpu_time,
    )


def _hypervolumes(cell: Cell, result: SearchResult, points: Sequence[int]) -> dict[int, float]:
    from hwgpt_gym.pareto import hypervolume

    box, whole = _front(cell.scale, cell.device, result.trade_off)
    values = np.stack([result.metrics[key] for key in result.trade_off], axis=1)
    return {point: hypervolume(values[:point], box) / whole for point in points}


@lru_cache(maxsize=64)
def _front(scale: str, device: str, trade_off: tuple[str, ...]) -> tuple[Box, float]:
    """Return the box of a trade-off and the hypervolume of its exact front."""
    from hwgpt_gym.benchmark import Benchmark
    from hwgpt_gym.optimum import pareto_front
    from hwgpt_gym.pareto import box, hypervolume

    benchmark = Benchmark(scale, device)
    bounds = box(benchmark, trade_off)
    return bounds, hypervolume(pareto_front(benchmark, trade_off).values, bounds)


def to_table(records: Sequence[Record]) -> pandas.DataFrame:
    """Return one row per search and checkpoint: where it stands after so many evaluations."""
    import pandas

    rows = [
        {
            "scale": item.cell.scale,
            "device": item.cell.device_name,
            "constraint": item.cell.constraint,
            "agent": item.cell.agent.name,
            "budget": item.cell.budget,
            "seed": item.cell.seed,
            "evaluations": point,
            "regret": regret,
            "hypervolume_ratio": item.hypervolume.get(point, float("nan")),
        }
        for item in records
        for point, regret in item.regret.items()
    ]
    return pandas.DataFrame(rows)


def ranks(table: pandas.DataFrame, evaluations: int) -> pandas.DataFrame:
    """Rank agents on each device by their median regret after so many evaluations; 1 is best, ties share the mean.

    Args:
        table: As :func:`to_table`, of one scale.
        evaluations: A checkpoint. Agents with a smaller budget are left out.

    Returns:
        Agents by row (best mean rank first), devices by column.
    """
    here = table[(table["evaluations"] == evaluations) & (table["agent"] != "exact")]
    medians = here.pivot_table(index="agent", columns="device", values="regret", aggfunc="median")
    ranked = medians.rank(axis=0, method="average")
    order = ranked.mean(axis=1).sort_values(kind="stable").index
    columns = [device for device in table["device"].unique() if device in ranked.columns]
    return ranked.loc[order, columns]


def overtakes(table: pandas.DataFrame, learner: str, other: str) -> int | None:
    """Return from which checkpoint on an agent is ahead of another, or ``None`` if it is not.

    Ahead means that its interquartile mean regret is below the other's, and never above it later. So agents that have
    both come to the optimum do not fall behind each other again.

    Args:
        table: As :func:`to_table`, of one scale.
        learner: The agent that may overtake.
        other: The agent that may be overtaken. Checkpoints that only one of them reached do not count.
    """
    means = table.groupby(["agent", "evaluations"])["regret"].apply(
        lambda part: float(interquartile_mean(part.to_numpy()))
    )
    shared = sorted(set(means[learner].index) & set(means[other].index))
    result: int | None = None
    for point in shared:
        difference = float(means[learner][point] - means[other][point])
        if difference > _ROUNDING:
            result = None
        elif difference < -_ROUNDING and result is None:
            result = int(point)
    return result
