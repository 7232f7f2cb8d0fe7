"""The examples in docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["hwgpt", "vector", "multi_objective", "sb3", "wrappers"])
def test_examples_in_docstrings(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"hwgpt_gym.envs.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
