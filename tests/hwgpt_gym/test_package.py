"""What importing the package does and does not do."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hwgpt_gym


def test_import_is_light() -> None:
    heavy = ["torch", "stable_baselines3", "pandas", "matplotlib"]
    program = f"import sys, hwgpt_gym; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_the_solver_is_loaded_when_it_is_asked_for() -> None:
    program = (
        "import sys, hwgpt_gym; print('hwgpt_gym.optimum' in sys.modules); hwgpt_gym.solve; "
        "print('hwgpt_gym.optimum' in sys.modules, 'solve' in dir(hwgpt_gym))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "True", "True"]
    with pytest.raises(AttributeError, match="no attribute 'solved'"):
        hwgpt_gym.solved  # noqa: B018


def test_every_public_name_exists_and_is_documented() -> None:
    for name in hwgpt_gym.__all__:
        value = getattr(hwgpt_gym, name)
        if callable(value):
            assert value.__doc__, name
