"""Recommending an architecture for a device and limits in an instant, with the certified optimum beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from hwgpt_gym.benchmark import AnyDevice, Benchmark
from hwgpt_gym.checks import check_flag, check_integer, check_type, echo
from hwgpt_gym.console import floats
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.objective import BoundObjective, Limit, Objective
from hwgpt_gym.optimum import Optimum, solve
from hwgpt_gym.penalties import Outcome
from hwgpt_gym.search_space import EMBED_DIM, Architecture, Encoded
from hwgpt_gym.surrogates.cost_tables import SLOTS

STEP: Final = 0.1
"""How much the limits of the cheaper and of the better alternative differ, relatively."""

INTERVAL: Final = 0.95
"""The confidence of each end of the intervals of costs: both together are 90 % intervals."""


class Choice(NamedTuple):
    """An architecture and what it is like.

    Attributes:
        architecture: The architecture.
        metrics: Every metric of it.
        reward: What it earns under the limits that were asked for.
        keeps_limits: Whether it keeps these.
    """

    architecture: Architecture
    metrics: dict[str, float]
    reward: float
    keeps_limits: bool


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What is recommended.

    Attributes:
        choice: The recommended architecture.
        optimum: The certified optimum.
        intervals: Between which values each limited cost that depends on the device is with 90 % confidence.
        alternatives: Others: ``"cheaper"`` and ``"better"``, under limits a tenth lower and higher, and
            ``"other width"``, under the same limits; what is not possible is missing.
        seconds: How long the policy took for the architecture.
    """

    choice: Choice
    optimum: Optimum
    intervals: Mapping[str, tuple[float, float]]
    alternatives: Mapping[str, Choice]
    seconds: float

    @property
    def architecture(self) -> Architecture:
        """The recommended architecture."""
        return self.choice.architecture

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric of it."""
        return self.choice.metrics

    @property
    def regret(self) -> float:
        """By how much it earns less than the certified optimum."""
        return self.optimum.reward - self.choice.reward


def recommend(
    device: AnyDevice,
    constraint: Mapping[str, Limit],
    scale: str | None = "s",
    beam: int = 16,
    strict: bool = True,
    confidence: float | None = None,
) -> Recommendation:
    """Recommend an architecture for a device under limits, with the shipped policy.

    Args:
        device: A device as for :class:`~hwgpt_gym.benchmark.Benchmark`: one that the policy never saw too.
        constraint: One or two limited costs with their limits.
        scale: The search space; ``None`` for that of the device's profile.
        beam: How many architectures the policy keeps at every decision, of which the best is taken; 1 is its greedy
            episode.
        strict: Whether to leave out choices after which no completion keeps the limits: the answer then keeps them.
        confidence: With which each limit is to hold by itself, from 0.5 to 0.9999.

    Raises:
        ValueError: If no or more than two costs are limited, an argument is not legal, or no architecture keeps the
            limits; the message says what can be met.

    Example:
        >>> answer = recommend("a6000", {"latency_ms": "p30"})
        >>> answer.choice.keeps_limits, bool(answer.regret < 0.01)
        (True, True)
    """
    from hwgpt_gym.agents.amortised.evaluation import MOST_BEAM, answer
    from hwgpt_gym.agents.amortised.weights import load_pretrained

    check_integer("beam", beam, 1, MOST_BEAM)
    check_type("constraint", constraint, Mapping, "a dictionary of limits by cost")
    check_flag("strict", strict)
    if not 1 <= len(constraint) <= SLOTS:
        raise ValueError(f"constraint must limit one or two costs, got {len(constraint)}: {list(constraint)}")
    bench = Benchmark(scale, device)
    if len(bench.devices) > 1:
        raise ValueError(f"device must be a single one, got {echo(device)}")
    bound = Objective(constraint, confidence=confidence).bind(bench)
    policy = load_pretrained(bench.scale)
    begin = time.perf_counter()
    best = answer(policy, bound, beam, strict)[:1]
    seconds = time.perf_counter() - begin
    alternatives = {}
    for name, factor in (("cheaper", 1.0 - STEP), ("better", 1.0 + STEP)):
        limits: dict[str, Limit] = {metric: float(limit) * factor for metric, limit in bound.limits.items()}
        try:
            other = replace(bound.objective, constraints=limits).bind(bench)
        except ValueError:
            # Nothing keeps limits that much lower.
            continue
        alternatives[name] = answer(policy, other, beam, strict)[:1]
    width = answer(policy, bound, beam, strict, other_than=int(best[0, EMBED_DIM]))[:1]
    if len(width):
        alternatives["other width"] = width
    return Recommendation(
        _choice(bound, best),
        solve(bench, bound.objective),
        _intervals(bound, best),
        {name: _choice(bound, encoded) for name, encoded in alternatives.items() if not np.array_equal(encoded, best)},
        seconds,
    )


def _choice(bound: BoundObjective, encoded: Encoded) -> Choice:
    metrics = bound.bench.evaluate(encoded)
    earned: Outcome = bound.evaluate({key: metrics[key] for key in bound.metrics}, margins=bound.margins(encoded))
    architecture = bound.bench.space.decode(encoded)[0]
    return Choice(architecture, floats(metrics), float(earned.reward[0]), bool(earned.feasible[0]))


def _intervals(bound: BoundObjective, encoded: Encoded) -> dict[str, tuple[float, float]]:
    intervals = {}
    for metric in bound.limits:
        if metric in DEVICE_METRICS:
            cautious = bound.bench.cautious_cost(metric, INTERVAL)
            value = float(cautious.model.predict(encoded)[0])
            margin = float(cautious.predict_margins(encoded)[0])
            intervals[metric] = (value / margin, value * margin)
    return intervals
