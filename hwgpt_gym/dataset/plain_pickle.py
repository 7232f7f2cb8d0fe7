"""Reading pickles of plain data without executing anything.

A pickle is a program: it names functions and calls them. :func:`load_plain_pickle` admits numbers, strings,
containers, and numpy scalars and arrays of numbers and strings. Whatever else a pickle names is refused before
it is looked up. What is admitted is not the named function but a stand-in that checks its arguments, so numpy's
own functions never see what was not checked.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

_LEGAL: Final = "only numbers, strings, containers, and numpy scalars and arrays of these are admitted"


class UnsafePickleError(ValueError, pickle.UnpicklingError):
    """A pickle names something other than plain data."""


class PlainUnpickler(pickle.Unpickler):
    """An unpickler of a binary file that admits plain data only; see the module's notes.

    Raises:
        UnsafePickleError: On loading, if the pickle names anything else; the message says what.
    """

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the stand-in for an admitted name, and refuse every other."""
        if (module, name) not in _ADMITTED:
            raise UnsafePickleError(f"refused {module}.{name}: {_LEGAL}")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any, /) -> NoReturn:
        """Refuse references to objects outside the pickle."""
        raise UnsafePickleError(f"refused the persistent object {pid!r}: {_LEGAL}")


def load_plain_pickle(path: str | os.PathLike[str]) -> Any:
    """Load a pickle of plain data.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        UnsafePickleError: If it names anything but plain data; nothing of it is executed.
        ValueError: If the file is truncated or no pickle.
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read()
        try:
            _check_sizes(content)
            return PlainUnpickler(io.BytesIO(content)).load()
        except UnsafePickleError as error:
            raise UnsafePickleError(f"{os.fspath(path)}: {error}") from None
        except OSError:
            raise
        # Garbage makes the unpickler raise nearly anything: IndexError, KeyError, UnicodeDecodeError, ...
        except Exception as error:
            message = f"{os.fspath(path)}: not a readable pickle (truncated or damaged?): {error!r}"
            raise ValueError(message) from error


_PUTS: Final = ("PUT", "BINPUT", "LONG_BINPUT")


def _check_sizes(content: bytes) -> None:
    """Refuse a pickle that would take more memory than its length accounts for; nothing of it is executed.

    The unpickler makes room for the greatest index of its memo, and for as many bytes as an operation says that follow,
    before it looks at either: nine bytes take 4 GB.

    Raises:
        UnsafePickleError: If an index of the memo is beyond the number of operations.
        ValueError: If it is no pickle, or fewer bytes follow than an operation says.
    """
    for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if operation.name in _PUTS and (not isinstance(argument, int) or not 0 <= argument <= number):
            raise UnsafePickleError(f"refused the memo index {argument!r} of operation {number}")


class _StandIn:
    """A callable that a pickle can call, but not alter: ``BUILD`` sets attributes of what it is given."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> NoReturn:
        raise UnsafePickleError(f"refused to change a function: {_LEGAL}")


class _PlainDtype:
    """A dtype of numbers or strings: no objects, no fields, no sub-arrays."""

    __slots__ = ("dtype",)
    _NAME: Final = re.compile(r"[<>=|]?([biufc](1|2|4|8|16)|[SU][0-9]{1,4})", re.ASCII)

    def __init__(self, name: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(name, str) or not self._NAME.fullmatch(name):
            raise UnsafePickleError(f"refused numpy.dtype({name!r}): {_LEGAL}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, sub-array, names, fields, item size, alignment, flags)
        legal = isinstance(state, tuple) and len(state) == 8 and state[1] in ("<", ">", "=", "|")
        if not legal or any(part is not None for part in state[2:5]):
            raise UnsafePickleError(f"refused the dtype state {state!r}: {_LEGAL}")
        self.dtype = self.dtype.newbyteorder(state[1])


class _PlainArray(np.ndarray[Any, Any]):
    """An array whose state is checked before numpy sees it."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise UnsafePickleError("refused an array state that does not have five parts")
        _, shape, dtype, is_fortran, raw = state
        plain = _array(raw, dtype, shape, "F" if is_fortran else "C")
        state = (1, plain.shape, plain.dtype, bool(is_fortran), plain.tobytes("A"))
        super().__setstate__(state)


def _array(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> npt.NDArray[Any]:
    """Make an array of its bytes."""
    if not isinstance(dtype, _PlainDtype):
        raise UnsafePickleError(f"refused an array of {type(dtype).__name__}: only plain dtypes are admitted")
    if not isinstance(raw, bytes | bytearray):
        raise UnsafePickleError(f"refused array data of type {type(raw).__name__}: only bytes are admitted")
    legal = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    if not legal or order not in ("C", "F") or math.prod(shape) * dtype.dtype.itemsize != len(raw):
        raise UnsafePickleError(f"refused an array of shape {shape!r}, {order!r} and {len(raw)} bytes")
    return np.ndarray(shape, dtype.dtype, bytearray(raw), order=order)


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    """Make a numpy scalar of its bytes."""
    return _array(raw, dtype, ())[()]


def _reconstruct(cls: Any, shape: Any, kind: Any) -> _PlainArray:
    """Make the empty array whose state the pickle sets next."""
    if cls is not _NDARRAY:
        raise UnsafePickleError("refused to reconstruct anything but numpy.ndarray")
    return _PlainArray((0,), np.int8)


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes in a pickle of protocol 2: text whose code points are the bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError(f"refused _codecs.encode with encoding {encoding!r}: only latin1 is admitted")
    return text.encode("latin-1")


def _no_bytes(*arguments: Any) -> bytes:
    """Empty bytes in a pickle of protocol 2."""
    if arguments:
        raise UnsafePickleError("refused builtins.bytes with arguments")
    return b""


def _no_call(*arguments: Any) -> NoReturn:
    raise UnsafePickleError("refused to call numpy.ndarray")


_NDARRAY: Final = _StandIn(_no_call)

_ADMITTED: Final[Mapping[tuple[str, str], _StandIn]] = {
    ("_codecs", "encode"): _StandIn(_encode),
    ("collections", "OrderedDict"): _StandIn(OrderedDict),
    ("numpy", "dtype"): _StandIn(_PlainDtype),
    ("numpy", "ndarray"): _NDARRAY,
    # Protocols up to 2 use the names of Python 2.
    **{
        (builtins, make.__name__): _StandIn(make if make is not bytes else _no_bytes)
        for builtins in ("builtins", "__builtin__")
        for make in (bytes, complex, set, frozenset)
    },
    # numpy 2 renamed numpy.core to numpy._core.
    **{(f"numpy.{core}.multiarray", "scalar"): _StandIn(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _StandIn(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _StandIn(_array) for core in ("core", "_core")},
}
