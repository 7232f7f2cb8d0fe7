"""Writing files whole or not at all, only where a file may be, and folders that nobody else has taken."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from pydantic import ValidationError

SEAL: Final = "sha256"
"""The entry of a JSON document that has the checksum of the others."""


@contextmanager
def replacing(path: str | os.PathLike[str], *, parents: bool = False) -> Iterator[Path]:
    """Give a temporary path beside a file, of the same suffix, and rename it to the file at the end.

    If the block raises, the file stays as it was and the temporary one is removed. Symbolic links are followed, so that
    the file they lead to is replaced and not they. A file keeps its permissions. What is no regular file, such as a
    device or a pipe, is not replaced but written to.

    Args:
        path: The file to write.
        parents: Whether to make missing folders.

    Raises:
        OSError: If it cannot be written; the error names ``path``, never the temporary file.
    """
    if _is_special(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / (Path(path).name or "file")
            yield temporary
            with temporary.open("rb") as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)
        return
    real = Path(os.path.realpath(path))
    # Within what file systems allow, however long the name is; with its suffix, which says the format.
    temporary = real.with_name(f".{secrets.token_hex(8)}{real.suffix[-32:]}")
    try:
        if parents:
            real.parent.mkdir(parents=True, exist_ok=True)
        _check_is_file(path, real)
        # Exclusively: nothing that lies there, planted or not, is written to.
        temporary.open("xb").close()
        mode = stat.S_IMODE((real if real.exists() else temporary).stat().st_mode)
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, real)
    except OSError as error:
        if error.errno is None or (error.filename is not None and os.fspath(error.filename) != str(temporary)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str, *, parents: bool = False) -> None:
    """Write a text file, UTF-8, as :func:`replacing` does."""
    with replacing(path, parents=parents) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike[str], text: str | bytes) -> Any:
    """Return what a file's text says as JSON.

    Args:
        path: The file, for the message.
        text: The text.

    Raises:
        ValueError: If it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} is no JSON: {error}") from None


def first_problem(error: ValidationError) -> str:
    """Say in a line where the first thing is that pydantic refuses, and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}{': ' * bool(where)}{first['msg'].removeprefix('Value error, ')}"


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what JSON can hold with its own SHA-256, which :func:`check_seal` looks at.

    Args:
        content: What a file shall hold.
    """
    # As a reader finds it: JSON has no tuples.
    plain: dict[str, Any] = json.loads(json.dumps({key: content[key] for key in content if key != SEAL}))
    return {**plain, SEAL: hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()}


def check_seal(path: str | os.PathLike[str], content: Any) -> None:
    """Check that what a file holds is what :func:`seal` made; files of version 0.1 have no checksum.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(content, dict) and SEAL in content and seal(content) != content:
        raise ValueError(f"{os.fspath(path)} is damaged: its content is not that of its SHA-256")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def check_destination(path: str | os.PathLike[str], suffixes: Sequence[str] = (), *, name: str = "path") -> Path:
    """Check that a file can be written, before the work that it shall hold is done.

    Args:
        path: The file.
        suffixes: What it may end in, such as ``(".parquet", ".csv")``; anything if there are none.
        name: What the argument is called in messages.

    Returns:
        The path.

    Raises:
        ValueError: If it ends in something else, is a folder, lies in a folder that does not exist, or cannot be
            written there.
    """
    target = Path(path)
    if suffixes and target.suffix.lower() not in suffixes and not _is_special(target):
        raise ValueError(f"{name} must end in {' or '.join(suffixes)}, got {str(target)!r}")
    if target.is_dir():
        raise ValueError(f"{name} must be a file, {str(target)!r} is a folder")
    if _is_special(target):
        return target
    real = Path(os.path.realpath(target))
    if not real.parent.is_dir():
        raise ValueError(f"{name} {str(target)!r} lies in no folder that exists: make {str(real.parent)!r} first")
    try:
        _check_is_file(target, real)
        probe = real.with_name(f".{secrets.token_hex(8)}")
        probe.open("xb").close()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"{name} {str(target)!r} cannot be written: {error.strerror}") from None
    return target


def new_folder(parent: str | os.PathLike[str], name: str) -> Path:
    """Make a folder that was not there, and that no other process gets: with a number behind its name, if need be.

    Args:
        parent: The folder that it lies in; made if it does not exist.
        name: Its name.
    """
    Path(parent).mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = Path(parent) / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("numbers have no end")


def take_folder(path: str | os.PathLike[str], *, name: str = "folder") -> Path:
    """Make a folder, and those that it lies in; an empty one may be there already.

    Args:
        path: The folder.
        name: What the argument is called in messages.

    Raises:
        ValueError: If something is in it already, or it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = next(folder.iterdir(), None)
    except OSError as error:
        raise ValueError(f"{name} {str(folder)!r} cannot be made: {error.strerror}") from None
    if taken is not None:
        raise ValueError(f"{name} must be a new or an empty folder, {str(folder)!r} holds {taken.name!r}")
    return folder


def _is_special(path: str | os.PathLike[str]) -> bool:
    """Return whether something is there that is neither a regular file nor a folder; links are followed."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _check_is_file(path: str | os.PathLike[str], real: Path) -> None:
    """Refuse what may not be replaced.

    Raises:
        OSError: If it is a folder, or write-protected.
    """
    if real.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if real.exists() and not os.access(real, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
