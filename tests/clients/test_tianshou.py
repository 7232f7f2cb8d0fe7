"""Tianshou, with information of numbers."""

from __future__ import annotations

from pathlib import Path

from clients.support import assert_learned, client, run_example

client("tianshou", "tianshou>=2")


def test_ppo_stands_below_random_search(tmp_path: Path) -> None:
    assert_learned(run_example("tianshou_ppo.py", folder=tmp_path))
