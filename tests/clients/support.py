"""What every client's test needs: the client, random search at equal evaluations, an example's last line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hwgpt_gym import Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

EXAMPLES = Path(__file__).parents[2] / "examples"
CONSTRAINT = {"latency_ms": "p50"}
BENCHMARK = Benchmark("s", "a6000")
SEEDS = 20


def client(module: str, package: str) -> ModuleType:
    """Return a client's module; skip the tests where it is missing, but not in the environment made for it."""
    if os.environ.get("HWGPT_CLIENT"):
        __import__(module)
    return pytest.importorskip(module, reason=f"needs pip install '{package}', or `make test-clients`")


@cache
def optimum() -> float:
    """Return the certified optimum's reward."""
    return solve(BENCHMARK, Objective(CONSTRAINT)).reward


@cache
def random_regret(evaluations: int) -> float:
    """Return the least regret among random searches of so many evaluations each.

    The least of so many, so that a client that chooses at random fails all but once in 21 times.
    """
    encoded = BENCHMARK.space.sample(np.random.default_rng(0), SEEDS * evaluations)
    objective = Objective(CONSTRAINT).bind(BENCHMARK)
    return optimum() - float(objective.evaluate(BENCHMARK.evaluate(encoded)).reward.max())


def run_example(name: str, *arguments: str, folder: Path, timeout: float = 540.0) -> str:
    """Run an example in a folder and return the last line that it prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def assert_learned(line: str) -> tuple[float, float]:
    """Check a line ``N architectures …: mean regret X, best Y``: the best stands below random search's at N.

    Returns:
        The mean regret at the end and the best regret of all.
    """
    found: Any = re.search(r"^([\d.]+) architectures.* mean regret (-?[\d.]+).*, best (-?[\d.]+)", line)
    assert found, line
    architectures, mean, best = int(float(found[1])), float(found[2]), float(found[3])
    assert -1e-4 <= best < random_regret(architectures), line
    return mean, best
