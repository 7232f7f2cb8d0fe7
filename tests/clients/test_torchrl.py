"""TorchRL over the native vector environment."""

from __future__ import annotations

from pathlib import Path

from clients.support import assert_learned, client, run_example

client("torchrl", "hwgpt-gym[torchrl]")


def test_ppo_reaches_a_mean_regret_of_two_hundredths(tmp_path: Path) -> None:
    mean, _ = assert_learned(run_example("torchrl_ppo.py", folder=tmp_path))
    assert mean <= 0.02
