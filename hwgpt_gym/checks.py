"""Checks of arguments, and the messages that name the argument, its value and what is legal.

A value of the wrong kind is a ``TypeError``, any other illegal one a ``ValueError``; numbers are checked in one go, and
all their errors are ``ValueError``. Integers of numpy are integers, and no bool is one.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Final, TypeVar, overload

import numpy as np
import numpy.typing as npt

LONGEST_ECHO: Final = 120
"""Characters of a value that a message repeats."""

Value = TypeVar("Value")


def echo(value: object) -> str:
    """Return a value as messages repeat it: its ``repr``, cut if it is long, its kind where it has none."""
    # Arrays and integers beyond a thousand digits take long to write out, or cannot be.
    if isinstance(value, int) and value.bit_length() > 1_000:
        return f"an integer of {value.bit_length():,} bits"
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    # Of the rest of what is long, a head is enough, and quick.
    if isinstance(value, str | bytes | list | tuple) and len(value) > LONGEST_ECHO:
        value = value[:LONGEST_ECHO]
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_ECHO else f"{text[:LONGEST_ECHO]}…"


def suggest(value: object, legal: Iterable[str]) -> str:
    """Return a phrase that lists what is legal, nearest names first, for error messages."""
    names = list(legal)
    text = value[:LONGEST_ECHO].lower() if isinstance(value, str) else ""
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    begin = f"did you mean {' or '.join(map(repr, near))}? Legal" if near else "legal"
    return f"{begin} are {', '.join(names)[:2_000]}"


@overload
def check_type(name: str, value: object, kinds: type[Value], legal: str) -> Value: ...


@overload
def check_type(name: str, value: Value, kinds: UnionType, legal: str) -> Value: ...


def check_type(name: str, value: Any, kinds: type | UnionType, legal: str) -> Any:
    """Return an argument that has to be of some kind.

    Args:
        name: What the argument is called.
        value: The argument.
        kinds: The class, or several.
        legal: What it must be, in words; may go on with the call that was probably meant.

    Raises:
        TypeError: If it is of none of them.
    """
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {legal}, got {echo(value)}")
    return value


def check_path(name: str, value: object) -> Path:
    """Return an argument that has to be the path of a file or folder.

    Raises:
        TypeError: If it is none.
        ValueError: If no file can have it.
    """
    check_type(name, value, str | os.PathLike, "a path")
    path = Path(value)  # type: ignore[arg-type]  # Just checked.
    if "\0" in str(path):
        raise ValueError(f"{name} must be a path without null characters, got {echo(value)}")
    return path


def check_rng(rng: object, call: str) -> None:
    """Check a generator of random numbers.

    Args:
        rng: The argument.
        call: A right call, for the message.

    Raises:
        TypeError: If it is none.
    """
    check_type("rng", rng, np.random.Generator, f"a numpy.random.Generator, as in {call}")


def check_list(name: str, value: Iterable[Value], of: str) -> list[Value]:
    """Return the entries of an argument that has to be a list, or something else that can be gone through.

    Args:
        name: What the argument is called.
        value: The argument; a single string or number is no list.
        of: What its entries are, in words.

    Raises:
        TypeError: If it is none.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of {of}, got {echo(value)}")
    try:
        return list(value)
    except Exception:  # An array without a dimension says that it can be gone through, and others fail on the way.
        raise TypeError(f"{name} must be a list of {of}, got {echo(value)}") from None


def check_array(name: str, value: object, kinds: str, legal: str) -> npt.NDArray[Any]:
    """Return an argument as an array of numbers.

    Args:
        name: What the argument is called.
        value: The argument.
        kinds: The kinds of dtype that it may have: ``"iu"`` for integers, ``"iuf"`` for numbers.
        legal: What it must hold, in words; may go on with the call that was probably meant.

    Raises:
        TypeError: If it is no such array.
    """
    try:
        array = np.asarray(value)
    except Exception:  # Whatever says that it can be an array may fail in its own way.
        raise TypeError(f"{name} must hold {legal}, got {echo(value)}") from None
    # An empty list has no kind.
    if array.dtype.kind not in kinds and array.size:
        what = f"an array of dtype {array.dtype}" if isinstance(value, np.ndarray) else echo(value)
        raise TypeError(f"{name} must hold {legal}, got {what}")
    return array


def check_flag(name: str, value: object) -> bool:
    """Return a setting that has to be true or false.

    Raises:
        TypeError: If it is neither.
    """
    return bool(check_type(name, value, bool | np.bool_, "True or False"))


def is_integer(value: object) -> bool:
    """Return whether a value is an integer: numpy's are, bools are not."""
    # The first is what nearly all are, and takes a tenth of the time.
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))


def is_number(value: object) -> bool:
    """Return whether a value is a real number that is neither NaN nor too great for a float: bools are not."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def check_integer(name: str, value: Any, least: int, greatest: int | None = None) -> int:
    """Return a setting that has to be an integer of at least some value, and perhaps at most another.

    Raises:
        ValueError: If it is not.
    """
    if not is_integer(value) or value < least or (greatest is not None and value > greatest):
        legal = f"of at least {least}" if greatest is None else f"from {least} to {greatest}"
        raise ValueError(f"{name} must be an integer {legal}, got {echo(value)}")
    return int(value)


def check_between(name: str, value: Any, low: float, high: float, *, open_low: bool = False) -> float:
    """Return a setting that has to be a number within bounds (inclusive, unless ``open_low``).

    Raises:
        ValueError: If it is not.
    """
    if not is_number(value) or not (low < value if open_low else low <= value) or not value <= high:
        raise ValueError(f"{name} must be a number from {low}{' (exclusive)' * open_low} to {high}, got {echo(value)}")
    return float(value)


def check_choice(name: str, value: object, legal: Sequence[str]) -> None:
    """Check a setting that has to be one of a few names.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, str) or value not in legal:
        raise ValueError(f"{name} must be one of {list(legal)}, got {echo(value)}")


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
