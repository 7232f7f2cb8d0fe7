"""How fast the exact values of actions are, against solving the same problem in the same run, and how much memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hwgpt_gym import Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import action_values, solve
from hwgpt_gym.penalties import PENALTIES
from hwgpt_gym.search_space import NOT_SET, Encoded

LIMITS = {"latency_ms": "p30", "energy_j": "p20"}
ROWS = {"s": 20_000, "m": 4_000, "l": 1_000}


def random_states(bench: Benchmark, number: int) -> Encoded:
    """Architectures that are cut off before a random decision: hardly two of them share anything."""
    rng = np.random.default_rng(0)
    encoded = bench.space.sample(rng, number)
    cut = rng.integers(0, (encoded != NOT_SET).sum(axis=1))
    encoded[np.arange(bench.space.num_decisions) >= cut[:, None]] = NOT_SET
    return encoded


def processor_seconds(function: Callable[[], Any], rounds: int = 3) -> float:
    """The least processor time of some rounds, after one that makes what is kept."""
    function()
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_a_state_costs_a_small_part_of_a_solution(scale: str, penalty: Any) -> None:
    bench = Benchmark(scale, "a6000")
    objective = Objective(LIMITS, penalty)
    states = random_states(bench, ROWS[scale])
    solution = processor_seconds(lambda: solve(bench, objective))
    state = processor_seconds(lambda: action_values(bench, objective, states)) / len(states)
    print(f"\nscale {scale}, {penalty}: {1.0 / state:,.0f} states a second, {solution / state:,.0f} for one solution")
    assert state < solution / 50


def test_one_state_costs_less_than_a_solution() -> None:
    bench, objective = Benchmark("s", "a6000"), Objective(LIMITS)
    states = random_states(bench, 100)
    solution = processor_seconds(lambda: solve(bench, objective))
    alone = processor_seconds(lambda: [action_values(bench, objective, row[None]) for row in states]) / len(states)
    print(f"\none state at a time: {1e6 * alone:.0f} microseconds, {solution / alone:.1f} for one solution")
    assert alone < solution


def test_memory() -> None:
    bench = Benchmark("l", "a6000")
    states = random_states(bench, 500)
    tracemalloc.start()
    try:
        for penalty in PENALTIES:
            action_values(bench, Objective(LIMITS, penalty), states)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"\npeak memory of action values at scale l, under {len(PENALTIES)} objectives: {peak / 1e6:.0f} MB")
    assert peak < 1e9
