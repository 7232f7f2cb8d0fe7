"""What the policy is compared with, stored solutions, and what it costs that a device is known by measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.agents.amortised.devices import UNSEEN, SyntheticDevices
from hwgpt_gym.agents.amortised.evaluation import LEVELS, Evaluation, answer, tables_of
from hwgpt_gym.agents.amortised.teacher import Teacher
from hwgpt_gym.agents.leaderboard.onboarded import profile_device
from hwgpt_gym.benchmark import AnyDevice, Benchmark
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.objective import BoundObjective, Objective
from hwgpt_gym.optimum import solve
from hwgpt_gym.search_space import NOT_SET, Encoded
from hwgpt_gym.surrogates.cost_tables import CostTables

if TYPE_CHECKING:
    from hwgpt_gym.agents.amortised.policy import AmortisedPolicy

CHUNK: Final = 256
"""Problems that are solved at once."""

CONFIDENCE: Final = 0.95
"""With which a limit is to hold where costs are known by measurements."""


class _Scores:
    """Regrets of several ways to answer, on the costs that are true."""

    def __init__(self, scale: str, devices: Sequence[AnyDevice], levels: Sequence[int]) -> None:
        benches = [Benchmark(scale, device) for device in devices]
        self.truths = [[Objective({"latency_ms": f"p{level}"}).bind(bench) for level in levels] for bench in benches]
        self._best = [[solve(bound.bench, bound.objective).reward for bound in row] for row in self.truths]
        self._names = tuple(bench.devices[0].name for bench in benches)
        self._levels = tuple(levels)
        self._found: dict[str, list[tuple[int, int, float, bool]]] = {}

    def add(self, way: str, row: int, column: int, encoded: Encoded) -> None:
        """Score an architecture ``int8 (1, D)`` that a way answers a cell with."""
        bound = self.truths[row][column]
        outcome = bound.evaluate(bound.bench.evaluate(encoded, bound.metrics))
        entry = (row, column, self._best[row][column] - float(outcome.reward[0]), bool(outcome.feasible[0]))
        self._found.setdefault(way, []).append(entry)

    def evaluations(self) -> dict[str, Evaluation]:
        """Return what was scored, by way."""
        evaluations = {}
        for way, entries in self._found.items():
            shape = (len(self._names), len(self._levels))
            regret, kept = np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
            for row, column, value, keeps in entries:
                regret[row, column], kept[row, column] = value, keeps
            evaluations[way] = Evaluation(self._names, self._levels, regret, kept)
        return evaluations


def evaluate_nearest(
    policy: AmortisedPolicy,
    count: int = 10_000,
    devices: Sequence[AnyDevice] = UNSEEN,
    levels: Sequence[int] = LEVELS,
    seed: int = 0,
) -> dict[str, Evaluation]:
    """Score the solution of the nearest of many solved problems, by the policy's own description of a cost.

    The problems are drawn as those of the training are, those with one limit, and solved exactly.

    Args:
        policy: The policy; only how it describes costs is used.
        count: How many problems are solved.
        devices: The devices, under latency limits.
        levels: The quantiles of the limits, in per cent.
        seed: The seed of the problems.

    Returns:
        Two ways: the nearest solution, and the nearest one that keeps the limit.
    """
    stored, encoded = _solutions(policy, count, seed)
    known = policy.features.context(stored)[:, 0]
    scores = _Scores(policy.space.scale, devices, levels)
    for row, bounds in enumerate(scores.truths):
        for column, bound in enumerate(bounds):
            distance = np.square(known - policy.features.context(tables_of(bound))[0, 0]).sum(axis=1)
            nearest = encoded[np.argsort(distance, kind="stable")]
            kept = bound.evaluate(bound.bench.evaluate(nearest, bound.metrics)).feasible
            scores.add("nearest solution", row, column, nearest[:1])
            scores.add("nearest that keeps the limit", row, column, nearest[kept.argmax()][None])
    return scores.evaluations()


def _solutions(policy: AmortisedPolicy, count: int, seed: int) -> tuple[CostTables, Encoded]:
    """Return problems with one limit, and the optimum of each, ``int8 (count, D)``."""
    space, rng = policy.space, np.random.default_rng(seed)
    bench, devices = Benchmark(space.scale, None), SyntheticDevices(space.scale)
    chain = bench.chain_model("perplexity")
    least, greatest = (float(np.log(value)) for value in bench.extremes("perplexity"))
    problems, solutions, found = [], [], 0
    while found < count:
        drawn = devices.draw(rng, CHUNK)
        drawn = drawn.of(np.flatnonzero(~drawn.present[:, 1])[: count - found])
        teacher = Teacher(chain, (least, greatest), drawn)
        n = len(drawn.tables)
        encoded, lanes = np.full((n, space.num_decisions), NOT_SET, dtype=np.int8), np.arange(n)
        for place in range(space.num_decisions):
            encoded[lanes, place] = teacher(encoded[lanes], place, lanes).argmax(axis=1)
            lanes = policy.unfinished(encoded, lanes, place + 1)
            if not len(lanes):
                break
        problems.append(drawn)
        solutions.append(encoded)
        found += n
    return CostTables(*(np.concatenate(part) for part in zip(*problems, strict=True))), np.concatenate(solutions)


def evaluate_profiled(
    policy: AmortisedPolicy, profiles: int = 20, beam: int = 16, levels: Sequence[int] = LEVELS
) -> dict[str, Evaluation]:
    """Score answers for devices that are known by twenty simulated measurements, on the costs that are true.

    The devices are the shipped ones in turn, each time with other measurements, none of them in the prior of its own
    profile. A limit is a quantile of the true latency, in milliseconds.

    Args:
        policy: The policy.
        profiles: How many devices.
        beam: As for :func:`~hwgpt_gym.agents.amortised.evaluation.answer`.
        levels: The quantiles, in per cent.

    Returns:
        Ways: the policy told the true costs, the policy told the profile, the same with a margin, and the exact
        optimum under the profile, without the margin and with it.
    """
    names, scale = list(DEVICES), policy.space.scale
    devices = [names[number % len(names)] for number in range(profiles)]
    scores = _Scores(scale, devices, levels)
    for row, bounds in enumerate(scores.truths):
        profile = profile_device(scale, devices[row], ("latency_ms",), seed=row // len(names))
        bench = Benchmark(scale, profile)
        for column, truth in enumerate(bounds):
            scores.add("policy, true costs", row, column, answer(policy, truth, beam)[:1])
            limits = {metric: float(limit) for metric, limit in truth.limits.items()}
            for confidence, margin in ((None, ""), (CONFIDENCE, f", confidence {CONFIDENCE}")):
                bound: BoundObjective = Objective(limits, confidence=confidence).bind(bench)
                scores.add(f"policy, profile{margin}", row, column, answer(policy, bound, beam)[:1])
                optimum = solve(bench, bound.objective).encoded
                scores.add(f"exact optimum, profile{margin}", row, column, optimum)
    return scores.evaluations()
