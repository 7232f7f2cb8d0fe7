"""Limits: what can be met, and the least jump, against the lists of all architectures of small spaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgpt_gym import Benchmark, Objective
from hwgpt_gym.penalties import JUMP_MARGIN
from hwgpt_gym.search_space import FloatArray
from small_spaces import TINY, all_metrics, random_benchmark

SEEDS = st.integers(0, 2**32 - 1)
COSTS = ["latency_ms", "energy_j", "params"]


def listed_jump(bench: Benchmark, limits: dict[str, float], weight: float) -> float:
    """The least jump by the list of all architectures; infinite if none keeps the limits."""
    outcome = Objective(limits, "hinge", weight).bind(bench).evaluate(all_metrics(bench))
    if not outcome.feasible.any():
        return np.inf
    return float(outcome.reward.max() - outcome.quality[outcome.feasible].max())


def some_limits(bench: Benchmark, costs: list[str], rng: np.random.Generator) -> dict[str, float]:
    """The costs of an architecture to the last bit, or a little more or less, or anything."""
    metrics = all_metrics(bench)
    row = rng.integers(len(metrics["perplexity"]))
    limits = {}
    for cost in costs:
        exact = metrics[cost][row]
        limits[cost] = float(
            rng.choice([exact, np.nextafter(exact, 0.0), np.nextafter(exact, np.inf), rng.choice(metrics[cost])])
        )
    return limits


cost_sets = st.lists(st.sampled_from(COSTS), min_size=1, max_size=2, unique=True)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=SEEDS, costs=cost_sets, weight=st.sampled_from([0.01, 0.5, 2.0, 100.0]))
def test_the_least_jump_is_that_of_all_architectures(seed: int, costs: list[str], weight: float) -> None:
    bench = random_benchmark(TINY[1], seed)
    limits = some_limits(bench, costs, np.random.default_rng(seed))
    expected = listed_jump(bench, limits, weight)
    bound = Objective(limits, "hinge", weight).bind(bench)
    assert (bound.unmeetable is not None) == np.isinf(expected)
    if np.isinf(expected):
        with pytest.raises(ValueError, match="that can be met is"):
            Objective(limits, "exact", weight).bind(bench)
    else:
        jump = Objective(limits, "exact", weight).bind(bench).jump
        assert jump == pytest.approx(expected + JUMP_MARGIN, abs=1e-12)
        assert jump >= JUMP_MARGIN


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=SEEDS, weight=st.sampled_from([0.01, 0.5, 2.0, 100.0]))
def test_the_table_of_one_limit_is_exact(seed: int, weight: float) -> None:
    bench = random_benchmark(TINY[1], seed)
    latency = np.sort(all_metrics(bench)["latency_ms"])
    lowest = Objective({"latency_ms": float(latency[0])}, "exact", weight).bind(bench)
    table = lowest.jump_table({"latency_ms": float(latency[-1])})
    rng = np.random.default_rng(seed)
    chosen = rng.choice(latency, 8)
    limits = np.concatenate(
        [chosen, np.nextafter(chosen, np.inf), np.nextafter(chosen[chosen > latency[0]], 0.0), latency[[0, -1]],
         rng.uniform(latency[0], 1.1 * latency[-1], 8)]
    )  # fmt: skip
    expected = [Objective({"latency_ms": limit}, "exact", weight).bind(bench).jump for limit in limits]
    np.testing.assert_allclose(table(limits[:, None]), expected, rtol=0.0, atol=1e-10 * max(1.0, weight))


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=SEEDS, varying=st.booleans())
def test_the_table_of_several_limits_suffices(seed: int, varying: bool) -> None:
    bench = random_benchmark(TINY[1], seed)
    high: dict[str, float | str] = {"latency_ms": "p90", "params": "p90" if varying else "p50"}
    lowest = Objective({"latency_ms": "p50", "params": "p50"}, "exact").bind(bench)
    highest = Objective(high, "exact").bind(bench).limits
    table = lowest.jump_table(highest)
    low, top = (np.array([*bounds.values()]) for bounds in (lowest.limits, highest))
    rng = np.random.default_rng(seed)
    # The ends of the ranges, what lies between them, and what reset options may ask for beyond them.
    limits = np.concatenate([low[None], top[None], rng.uniform(low, top, (6, 2)), 1.2 * top[None]])
    found = table(limits)
    least = [listed_jump(bench, dict(zip(lowest.limits, row, strict=True)), 2.0) for row in limits.tolist()]
    assert np.all(found >= np.array(least) + JUMP_MARGIN - 1e-12)
    assert np.all(found < 2.0)
    assert found[-1] == pytest.approx(least[-1] + JUMP_MARGIN, abs=1e-12)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=SEEDS, costs=cost_sets)
def test_what_can_be_met_instead_is_said(seed: int, costs: list[str]) -> None:
    bench = random_benchmark(TINY[1], seed)
    metrics: dict[str, FloatArray] = all_metrics(bench)
    limits = {cost: float(metrics[cost].min() * (1.0 + 1e-3)) for cost in costs}
    bound = Objective(limits, "hinge").bind(bench)
    factor = np.max([metrics[cost] / limit for cost, limit in limits.items()], axis=0).min()
    if factor <= 1.0:
        assert bound.unmeetable is None
    else:
        assert bound.unmeetable is not None
        assert bound.unmeetable.endswith(f"the least factor on all limits that can be met is {factor.item()!r}")
    least = metrics[costs[0]].min().item()
    with pytest.raises(ValueError, match=rf"on a6000 meets {costs[0]} <= .* can be met is {least!r}$"):
        Objective({costs[0]: float(np.nextafter(least, 0.0))}, "hard").bind(bench)
