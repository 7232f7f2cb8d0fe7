"""rl-zoo3 with the files of settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from clients.support import EXAMPLES, assert_learned, client, run_example

client("rl_zoo3", "rl-zoo3")

SETTINGS = sorted((EXAMPLES / "rl_zoo3").glob("*.yml"))


def train(path: Path, folder: Path, *options: str) -> str:
    arguments = ["--algo", path.stem, "--conf-file", str(path), "--seed", "0", "--num-threads", "1"]
    return run_example("rl_zoo3_train.py", *arguments, *options, folder=folder)


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: path.stem)
def test_every_file_of_settings_trains(path: Path, tmp_path: Path) -> None:
    assert "architectures: mean regret" in train(path, tmp_path, "--n-timesteps", "2000")


def test_ppo_stands_below_random_search(tmp_path: Path) -> None:
    (path,) = (path for path in SETTINGS if path.stem == "ppo")
    assert_learned(train(path, tmp_path))


def test_edits_train(tmp_path: Path) -> None:
    (path,) = (path for path in SETTINGS if path.stem == "ppo_mask")
    line = train(path, tmp_path, "--env", "HWGPT-Edit-v0", "--n-timesteps", "2000")
    assert "episodes" in line or "architectures" in line
