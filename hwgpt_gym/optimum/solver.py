"""The exact optimum of an objective over a whole search space, and what else can be known exactly.

Costs depend on counts alone, and at given counts every reward falls with perplexity (or stands still). So the best
architecture is the best of the best ones of each combination of counts, which
:mod:`hwgpt_gym.surrogates.chain_tables` has:
112,326 of them at scale s, 1.6 million at m and 8.0 million at l, instead of 10^12, 10^23 and 10^35 architectures.

Screening all combinations costs a few passes over arrays. Whatever comes within rounding of the best is then
evaluated through the benchmark and the objective themselves, so results are theirs to the last bit and do not depend on
the rounding of a sum in another order. Ties are broken the same way every time: the greatest reward; of these the least
perplexity; of these the first by embedding width, depth, bias, counts of the MLP chain and counts of the head chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_integer, check_type, echo, is_number
from hwgpt_gym.metrics import get_metric
from hwgpt_gym.objective import BoundObjective, Limit, Objective, as_objective
from hwgpt_gym.optimum.worlds import Certainty, certainties
from hwgpt_gym.penalties import Outcome, get_penalty
from hwgpt_gym.search_space import FIRST_LAYER, Architecture, Encoded, FloatArray, Group, SearchSpace
from hwgpt_gym.surrogates.chain_extremes import Extremes, Keys, Score, best, chain_extremes
from hwgpt_gym.surrogates.chain_tables import ChainTables, chain_tables, cost_matrix
from hwgpt_gym.surrogates.count_model import CountModel


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best (or worst) architecture of a search space, and what it earns.

    Attributes:
        space: The search space.
        encoded: The architecture as a batch of one, ``int8 (1, D)``.
        outcome: What it earns, a batch of one.
        metrics: Every metric of it; ``float64 (devices,)`` where the benchmark is of several devices.
        objective: The objective, bound to the benchmark.
        certainties: How sure it is, at factor 1 and at the scale's model-form factor; empty unless worlds were solved.
    """

    space: SearchSpace
    encoded: Encoded
    outcome: Outcome
    metrics: Mapping[str, float | FloatArray]
    objective: BoundObjective
    certainties: tuple[Certainty, ...] = ()

    @property
    def architecture(self) -> Architecture:
        """The architecture."""
        return self.space.decode(self.encoded)[0]

    @property
    def reward(self) -> float:
        """What it earns."""
        return float(self.outcome.reward[0])

    @property
    def keeps_limits(self) -> bool:
        """Whether it keeps every limit. Of the best architecture: always so under ``exact`` and ``hard``."""
        return bool(self.outcome.feasible[0])

    @property
    def title(self) -> str:
        """What to call the best architecture."""
        if not self.objective.limits:
            return "certified optimum"
        is_constrained = get_penalty(self.objective.objective.penalty).constrained
        return "certified constrained optimum" if is_constrained else "optimum of the penalised reward"

    @cached_property
    def constrained(self) -> Optimum | None:
        """The certified constrained optimum of the same limits, itself if it is one; ``None`` if none can be kept."""
        if not self.objective.limits or get_penalty(self.objective.objective.penalty).constrained:
            return self
        if self.objective.unmeetable:
            return None
        confidence = self.objective.objective.confidence
        return solve(self.objective.bench, self.objective.limits, confidence=confidence)


def solve(
    bench: Benchmark,
    objective: Objective | Mapping[str, Limit],
    worlds: int = 0,
    *,
    confidence: float | None = None,
) -> Optimum:
    """Find the architecture of the greatest reward, over the whole search space.

    Args:
        bench: The benchmark, of one device if a constraint depends on the device.
        objective: The objective, or just the constraints: costs to limits.
        worlds: How many posterior worlds to solve as well, an even number up to 64, to say how sure the optimum is
            (:mod:`hwgpt_gym.optimum.worlds`): 64 take a second at scale s, some at l.
        confidence: With which each limit is to hold by itself, from 0.5 to 0.9999; that of the objective if not given.
            The optimum goes to the edge of its limits, and predictions are a little off: without a margin the real
            device breaks a limit half of the time.

    Raises:
        ValueError: If the confidence is not legal, the objective does not fit the benchmark, or its optimum is to keep
            limits that no architecture keeps (see :meth:`Objective.bind`). If there are not so many worlds, or the
            benchmark's perplexity is not the shipped one.

    Example:
        >>> optimum = solve(Benchmark("s", "a6000"), {"latency_ms": "p30"})
        >>> optimum.keeps_limits, optimum.title
        (True, 'certified constrained optimum')
    """
    check_benchmark(bench)
    # Before the optimum is looked for: zero is none, and everything else is checked with the worlds.
    check_integer("worlds", worlds, 0)
    objective = as_objective(objective)
    if confidence is not None:
        objective = replace(objective, confidence=confidence)
    bound = objective.bind(bench)
    tables = chain_tables(bench.chain_model("perplexity"))
    optimum = _optimum(bench, bound, best(tables, _rewards(bench, bound, tables), _keys(bench, bound)))
    if worlds:
        optimum = replace(optimum, certainties=certainties(bench, bound, optimum.encoded, worlds))
    return optimum


def worst(bench: Benchmark, objective: Objective | Mapping[str, Limit]) -> Optimum:
    """Find the architecture of the least reward, of these that of the greatest perplexity.

    Args:
        bench: As for :func:`solve`.
        objective: The objective, or just the constraints.

    Raises:
        ValueError: If the objective does not fit the benchmark (see :meth:`Objective.bind`).
    """
    bound = as_objective(objective).bind(check_benchmark(bench))
    tables = chain_tables(bench.chain_model("perplexity"), greatest=True)
    rewards = _rewards(bench, bound, tables)
    keys = _keys(bench, bound, sign=-1.0)
    return _optimum(bench, bound, best(tables, lambda group: -rewards(group), keys))


def runner_up(bench: Benchmark, optimum: Optimum) -> Optimum:
    """Find the best architecture that differs from the optimum in its embedding width, depth, bias or counts.

    Args:
        bench: The benchmark that was solved.
        optimum: What :func:`solve` found.

    Raises:
        TypeError: If it is no optimum, or ``bench`` no benchmark.
        ValueError: If the optimum is of another scale.
    """
    check_benchmark(bench)
    check_type("optimum", optimum, Optimum, "an Optimum, as solve returns it")
    if optimum.space != bench.space:
        raise ValueError(f"optimum must be of scale {bench.scale!r}, got one of scale {optimum.space.scale!r}")
    tables = chain_tables(bench.chain_model("perplexity"))
    rewards = _rewards(bench, optimum.objective, tables)
    own = Group(*optimum.encoded[0, :FIRST_LAYER].tolist())
    states = tables.states(own.depth)
    mlp, head = (
        np.flatnonzero((states == counts[0, 1:]).all(axis=1)) for counts in bench.space.counts(optimum.encoded)
    )

    def score(group: Group) -> FloatArray:
        matrix = rewards(group)
        if group == own:
            matrix[np.ix_(mlp, head)] = -np.inf
        return matrix

    return _optimum(bench, optimum.objective, best(tables, score, _keys(bench, optimum.objective)))


def extremes(bench: Benchmark, metric: str) -> Extremes:
    """Find the least and the greatest value of a metric, and architectures that have them.

    Args:
        bench: The benchmark, of one device if the metric depends on the device.
        metric: Any metric.

    Raises:
        ValueError: If the metric is unknown, or depends on the device and the benchmark is not of one.
    """
    check_benchmark(bench)
    if get_metric(metric).kind == "quality":
        model = bench.chain_model(metric)
        encoded = np.concatenate(chain_extremes(model)[2:])
    else:
        cost, tables = bench.count_model(metric), chain_tables(bench.chain_model("perplexity"))
        encoded = np.concatenate([_extreme_cost(cost, tables, sign) for sign in (1.0, -1.0)])
    least, greatest = bench.evaluate(encoded, [metric])[metric].tolist()
    return Extremes(least, greatest, encoded[:1], encoded[1:])


def nearest_to_limit(bench: Benchmark, metric: str, limit: float) -> Encoded:
    """Find the architecture whose cost is nearest to a limit, of these that of the least perplexity.

    Args:
        bench: The benchmark, of one device if the metric depends on the device.
        metric: A cost.
        limit: In the metric's unit.

    Returns:
        A batch of one, ``int8 (1, D)``.

    Raises:
        ValueError: If the metric is no cost, or depends on the device and the benchmark is not of one, or the limit
            is not finite.
    """
    check_benchmark(bench)
    if not is_number(limit) or not np.isfinite(float(limit)):
        raise ValueError(f"limit must be a finite number, got {echo(limit)}")
    cost, tables = bench.count_model(metric), chain_tables(bench.chain_model("perplexity"))

    def distances(group: Group) -> FloatArray:
        distance: FloatArray = np.abs(cost_matrix(cost, group, tables.states(group.depth)) - limit)
        return -distance

    def keys(encoded: Encoded) -> Sequence[FloatArray]:
        return np.abs(cost.predict(encoded) - limit), bench.evaluate(encoded, ["perplexity"])["perplexity"]

    return best(tables, distances, keys)


def _rewards(bench: Benchmark, bound: BoundObjective, tables: ChainTables) -> Score:
    """Return the function from a group to its rewards, ``float64 (S, S)``."""
    costs = [(bound.cost(metric), limit) for metric, limit in bound.limits.items()]

    def rewards(group: Group) -> FloatArray:
        states = tables.states(group.depth)
        quality = bound.quality_of_log(tables.values(group))
        return bound.rewards(quality, [cost_matrix(cost, group, states) / limit for cost, limit in costs])

    return rewards


def _keys(bench: Benchmark, bound: BoundObjective, sign: float = 1.0) -> Keys:
    """Return the exact keys of the best architecture (or with ``sign`` -1 of the worst), the least first."""

    def keys(encoded: Encoded) -> Sequence[FloatArray]:
        metrics = bench.evaluate(encoded, bound.metrics)
        outcome = bound.evaluate(metrics, margins=bound.margins(encoded))
        return -sign * outcome.reward, sign * metrics["perplexity"]

    return keys


def _extreme_cost(cost: CountModel, tables: ChainTables, sign: float) -> Encoded:
    """Find the architecture of the least cost (``sign`` 1) or of the greatest (-1), ``int8 (1, D)``."""

    def score(group: Group) -> FloatArray:
        return -sign * cost_matrix(cost, group, tables.states(group.depth))

    return best(tables, score, lambda encoded: (sign * cost.predict(encoded),))


def _optimum(bench: Benchmark, bound: BoundObjective, encoded: Encoded) -> Optimum:
    metrics = bench.evaluate(encoded)
    outcome = bound.evaluate({key: metrics[key] for key in bound.metrics}, margins=bound.margins(encoded))
    values = {key: float(value[0]) if value.ndim == 1 else value[0] for key, value in metrics.items()}
    return Optimum(bench.space, encoded, outcome, values, bound)
