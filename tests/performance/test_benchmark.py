"""How fast metrics are predicted: batches, single queries, loading. Times are the processor's, the best of several."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from hwgpt_gym import Benchmark, analytic
from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER, read_surrogates

ROWS = 200_000
METRICS = ["perplexity", "latency_ms", "energy_j", "float16_memory_mb"]


def best_processor_seconds(function: Callable[[], object], rounds: int = 5) -> float:
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


@pytest.mark.parametrize(("scale", "floor"), [("s", 1_000_000), ("m", 300_000), ("l", 300_000)])
def test_evaluate(benchmark: BenchmarkFixture, scale: str, floor: int) -> None:
    bench = Benchmark(scale, "a6000")
    encoded = bench.space.sample(np.random.default_rng(0), ROWS)
    benchmark.pedantic(bench.evaluate, args=(encoded, METRICS), rounds=3, warmup_rounds=1)
    rate = ROWS / best_processor_seconds(lambda: bench.evaluate(encoded, METRICS))
    print(f"\nscale {scale}: {rate / 1e6:.2f} million architectures a second, {', '.join(METRICS)}")
    assert rate >= floor


@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_query(benchmark: BenchmarkFixture, scale: str) -> None:
    bench = Benchmark(scale, "a6000")
    architecture = bench.space.decode(bench.space.sample(np.random.default_rng(0), 1))[0]
    benchmark(bench.query, architecture)
    seconds = best_processor_seconds(lambda: [bench.query(architecture) for _ in range(200)]) / 200
    print(f"\nscale {scale}: {1e6 * seconds:.0f} microseconds a query of all metrics")
    assert seconds < 100e-6


@pytest.mark.parametrize("metric", ["params", "flops"])
def test_analytic(benchmark: BenchmarkFixture, metric: str) -> None:
    bench = Benchmark("l", None)
    encoded = bench.space.sample(np.random.default_rng(0), 1_000_000)
    count = getattr(analytic, metric)
    benchmark.pedantic(count, args=(bench.space, encoded), rounds=2)
    seconds = best_processor_seconds(lambda: count(bench.space, encoded), rounds=2)
    print(f"\n{metric} of 1,000,000 architectures of scale l: {seconds:.2f} s")
    assert seconds < 1.0


@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_load(benchmark: BenchmarkFixture, scale: str) -> None:
    def load() -> Benchmark:
        return Benchmark(scale, "a6000", surrogates=read_surrogates(WEIGHTS_FOLDER / f"{scale}.safetensors"))

    benchmark(load)
    seconds = best_processor_seconds(load)
    print(f"\nscale {scale}: {1e3 * seconds:.1f} ms to load one scale and device from disk")
    assert seconds < 20e-3
