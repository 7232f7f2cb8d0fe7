"""Checks of arguments, and the messages that name the argument, its value and what is legal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from numbers import Integral

import numpy as np


def suggest(value: object, legal: Iterable[str]) -> str:
    """Return a phrase that lists what is legal, nearest names first, for error messages."""
    names = list(legal)
    near = difflib.get_close_matches(str(value).lower(), names, n=3, cutoff=0.5)
    return (f"did you mean {' or '.join(map(repr, near))}? " if near else "") + f"Legal are {', '.join(names)}"


def check_integer(name: str, value: object, least: int) -> int:
    """Return a setting that has to be an integer of at least some value.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def check_between(name: str, value: object, low: float, high: float, *, open_low: bool = False) -> float:
    """Return a setting that has to be a number within bounds (inclusive, unless ``open_low``).

    Raises:
        ValueError: If it is not.
    """
    number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    if not number or not (low < value if open_low else low <= value) or not value <= high:  # type: ignore[operator]
        raise ValueError(f"{name} must be a number from {low}{' (exclusive)' * open_low} to {high}, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def check_choice(name: str, value: object, legal: Sequence[object]) -> None:
    """Check a setting that has to be one of a few values.

    Raises:
        ValueError: If it is not.
    """
    if value not in legal:
        raise ValueError(f"{name} must be one of {list(legal)}, got {value!r}")


def check_extra(module: str, extra: str) -> None:
    """Check that an optional library is installed, before the work that needs it.

    Args:
        module: The library's module.
        extra: The extra of this package that installs it.

    Raises:
        ModuleNotFoundError: If it is not; the message says how to install it.
    """
    try:
        found = find_spec(module)
    except ValueError:  # It was loaded, and taken out again.
        found = None
    if found is None:
        raise ModuleNotFoundError(f"{module} is not installed: pip install 'hwgpt-gym[{extra}]'", name=module)
