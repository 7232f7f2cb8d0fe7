"""How long the exact optimum and the exact front take after loading, and how much memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwgpt_gym import Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import pareto_front, solve


def objective(bench: Benchmark) -> Objective:
    """Limits that can be kept at every scale, under the default penalty: finding its jump is part of the time."""
    return Objective({metric: bench.quantile(metric, 0.5) for metric in ("latency_ms", "energy_j")})


def fresh(scale: str) -> Benchmark:
    """A benchmark whose chain model was never solved: the dynamic programs are part of the time."""
    surrogates = Benchmark(scale, "a6000").surrogates
    return Benchmark(device="a6000", surrogates=replace(surrogates, perplexity=replace(surrogates.perplexity)))


@pytest.mark.parametrize(("scale", "seconds"), [("s", 0.03), ("m", 0.3), ("l", 2.0)])
def test_solve(benchmark: Any, scale: str, seconds: float) -> None:
    def setup() -> tuple[tuple[Benchmark, Objective], dict[str, Any]]:
        bench = fresh(scale)
        bench.evaluate(bench.space.sample(np.random.default_rng(0), 1))
        return (bench, objective(bench)), {}

    benchmark.pedantic(solve, setup=setup, rounds=5, warmup_rounds=1)
    assert benchmark.stats["median"] < seconds


@pytest.mark.parametrize(("scale", "seconds"), [("s", 1.0), ("m", 2.0), ("l", 5.0)])
@pytest.mark.parametrize("cost", ["latency_ms", "params"])
def test_front(benchmark: Any, scale: str, cost: str, seconds: float) -> None:
    def setup() -> tuple[tuple[Benchmark, tuple[str, str]], dict[str, Any]]:
        return (fresh(scale), ("perplexity", cost)), {}

    benchmark.pedantic(pareto_front, setup=setup, rounds=3, warmup_rounds=1)
    assert benchmark.stats["median"] < seconds


def test_front_of_three_metrics(benchmark: Any) -> None:
    metrics = ("perplexity", "latency_ms", "energy_j")
    benchmark.pedantic(pareto_front, args=(fresh("l"), metrics), rounds=2, warmup_rounds=0)


@pytest.mark.parametrize("metrics", [("perplexity", "latency_ms"), ("perplexity", "latency_ms", "energy_j")])
def test_memory(metrics: tuple[str, ...]) -> None:
    bench = fresh("l")
    tracemalloc.start()
    try:
        solve(bench, objective(bench))
        pareto_front(bench, metrics)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2e9
    print(f"peak memory of solving and of the front of {', '.join(metrics)} at scale l: {peak / 1e6:.0f} MB")
