"""morl-baselines on vector rewards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from clients.support import client, run_example

client("morl_baselines", "morl-baselines")


def train(folder: Path, algorithm: str, steps: int) -> tuple[float, float]:
    """Return the hypervolume ratio of what was built, and that of as many random architectures."""
    line = run_example("morl.py", "--algorithm", algorithm, "--steps", str(steps), folder=folder)
    found = re.search(r"hypervolume ratio ([\d.]+), at random ([\d.]+)", line)
    assert found, line
    return float(found[1]), float(found[2])


def test_pcn_dominates_more_than_random_search(tmp_path: Path) -> None:
    built, at_random = train(tmp_path, "pcn", 20_000)
    # No more than two thirds of what random search leaves out.
    assert 1.0 >= built > 1.0 - 2.0 / 3.0 * (1.0 - at_random)


@pytest.mark.parametrize("algorithm", ["gpi-ls", "envelope"])
def test_the_others_take_the_environment(tmp_path: Path, algorithm: str) -> None:
    built, _ = train(tmp_path, algorithm, 1_500)
    assert 1.0 >= built > 0.7
