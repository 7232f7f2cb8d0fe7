"""RLlib and Ray Tune."""

from __future__ import annotations

from pathlib import Path

from clients.support import assert_learned, client, run_example

client("ray.rllib", "hwgpt-gym[ray]")


def test_ppo_on_two_runners_stands_below_random_search(tmp_path: Path) -> None:
    mean, _ = assert_learned(run_example("rllib_ppo.py", "--runners", "2", "--iterations", "12", folder=tmp_path))
    assert mean < 0.06


def test_native_lanes_are_the_scalar_ones(tmp_path: Path) -> None:
    small = ["--runners", "1", "--iterations", "1", "--decisions", "300", "--lanes", "3"]
    lines = [run_example("rllib_ppo.py", *small, *mode, folder=tmp_path) for mode in ([], ["--scalar"])]
    assert lines[0] == lines[1]


def test_tune_finds_settings(tmp_path: Path) -> None:
    line = run_example("ray_tune.py", "--trials", "2", "--budget", "500", "--processors", "2", folder=tmp_path)
    assert line.startswith("2 trials: the best setting is {'population_size'")
