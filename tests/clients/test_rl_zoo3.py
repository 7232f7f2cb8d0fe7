"""rl-zoo3 with the files of settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from clients.support import EXAMPLES, assert_learned, client, run_example

client("rl_zoo3", "rl-zoo3")

ALGORITHMS = sorted(path.stem for path in (EXAMPLES / "rl_zoo3").glob("*.yml"))


def train(algorithm: str, folder: Path, *options: str) -> str:
    settings = ["--algo", algorithm, "--seed", "0", "--num-threads", "1"]
    return run_example("rl_zoo3_train.py", *settings, *options, folder=folder)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_file_of_settings_is_accepted(algorithm: str, tmp_path: Path) -> None:
    assert "architectures: mean regret" in train(algorithm, tmp_path, "--n-timesteps", "2000")


def test_ppo_stands_below_random_search(tmp_path: Path) -> None:
    mean, _ = assert_learned(train("ppo", tmp_path))
    assert mean < 0.03


def test_masked_edits_are_trained(tmp_path: Path) -> None:
    assert "mean regret" in train("ppo_mask", tmp_path, "--env", "HWGPT-Edit-v0", "--n-timesteps", "2000")


def test_the_zoo_itself_takes_a_file_of_settings(tmp_path: Path) -> None:
    settings = ["--algo", "a2c", "--env", "HWGPT-v0", "--gym-packages", "hwgpt_gym", "--n-timesteps", "500"]
    settings += ["--conf-file", str(EXAMPLES / "rl_zoo3" / "a2c.yml"), "--eval-freq", "-1"]
    command = [sys.executable, "-m", "rl_zoo3.train", *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("HWGPT-v0.zip"))
