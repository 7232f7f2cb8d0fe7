"""Architectures from elsewhere: pasted text, run folders, results of searches, cells of a leaderboard."""

from __future__ import annotations

import ast
import json
import os
import tempfile
from pathlib import Path, PurePath
from typing import Final

from hwgpt_gym.checks import check_path, check_type, echo
from hwgpt_gym.explorer.state import MOST_COMPARED, Compared, clean_label
from hwgpt_gym.search_space import Architecture, read_architecture

LARGEST_FILE: Final = 64_000_000
"""Bytes of the largest file that a page takes."""

_LONGEST_TEXT: Final = 200_000
_LEGAL_LINE: Final = "a line must hold an architecture's name or upstream's dictionary"


def read_text(text: str) -> list[Compared]:
    """Read architectures that somebody typed or pasted: one a line, its name or upstream's dictionary.

    A name of one's own may stand before it, with a colon. A document of JSON may hold names and dictionaries too, at
    any depth, and gives what it calls them.

    Raises:
        ValueError: If a line is no architecture, or there is none; the message names it.
    """
    check_type("text", text, str, "a text")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"at most {_LONGEST_TEXT:,} characters can be read, got {len(text):,}")
    try:
        found = _in_document(json.loads(text), "")
    except (ValueError, RecursionError):
        found = [_read_line(line) for line in text.splitlines() if line.strip()]
    return _checked(found, "text")


def read_path(path: str | os.PathLike[str]) -> list[Compared]:
    """Read architectures of a run folder, of a result of a search (as a leaderboard's cells are), or of a text file.

    Of a run folder: what it found, what its policy builds, random search, and the optimum. Of a result: the best that
    was evaluated, and the greedy architecture of the end, if there is one.

    Raises:
        FileNotFoundError: If nothing is there.
        ValueError: If it is none of these.
    """
    file = check_path("path", path)
    if file.is_dir():
        file = file / "summary.json"
        if not file.is_file():
            raise ValueError(f"{path} is no run folder: it has no summary.json")
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {str(file)!r}")
    if file.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{file.name} must have at most {LARGEST_FILE:,} bytes")
    if file.suffix.lower() == ".parquet":
        return _read_result(file)
    if file.name == "summary.json":
        return _read_summary(file)
    try:
        return read_text(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{file} is neither a result nor text") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def read_upload(name: str, content: bytes) -> list[Compared]:
    """Read architectures of a file that a browser sent.

    Args:
        name: The file's name, of which only the last part counts.
        content: What it holds.

    Raises:
        ValueError: As :func:`read_path`.
    """
    check_type("name", name, str, "a name")
    check_type("content", content, bytes, "bytes")
    with tempfile.TemporaryDirectory() as folder:
        # Of a run it is not known in which folder it was.
        file = Path(folder) / "run" / (PurePath(name.replace("\\", "/")).name or "file")
        try:
            file.parent.mkdir()
            file.write_bytes(content)
            return read_path(file)
        except OSError as error:
            raise ValueError(f"{file.name} cannot be read: {error.strerror}") from None
        except ValueError as error:
            # Its name is not that of the temporary file.
            raise ValueError(str(error).replace(str(file), file.name)) from None


def _read_result(file: Path) -> list[Compared]:
    from hwgpt_gym.agents.result import SearchResult

    result = SearchResult.load(file)
    if not len(result):
        raise ValueError(f"{file.name} holds no evaluation")
    found = [(f"{result.agent}, seed {result.seed}", result.best)]
    if len(result.greedy_encoded):
        greedy = result.space.decode(result.greedy_encoded[-1:])[0]
        found.append((f"{result.agent}, seed {result.seed}, greedy", greedy))
    return _checked(found, file.name)


def _read_summary(file: Path) -> list[Compared]:
    from hwgpt_gym.agents.runs.records import RunSummary, read_record

    summary = read_record(RunSummary, file)
    folder = file.resolve().parent.name
    return _checked(
        [(f"{folder}: {name}", read_architecture(entry.architecture)) for name, entry in summary.architectures.items()],
        file.name,
    )


def _read_line(line: str) -> Compared:
    text = line.strip().rstrip(",")
    # A colon stands in a dictionary too.
    start = min((text.find(mark) for mark in ("gpt-", "{") if mark in text), default=-1)
    if start < 0:
        raise ValueError(f"{_LEGAL_LINE}, got {echo(text)}")
    label, body = text[:start].strip(" :\t\"'"), text[start:].strip("\"' ")
    if not body.startswith("{"):
        return clean_label(label), read_architecture(body)
    try:
        config = ast.literal_eval(body)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(f"{_LEGAL_LINE}, got {echo(body)}") from None
    return clean_label(label), read_architecture(config)


def _in_document(value: object, label: str) -> list[Compared]:
    """Return the architectures in what JSON says, with the keys that lead to them."""
    if isinstance(value, str):
        return [(clean_label(label), Architecture.from_string(value))] if value.startswith("gpt-") else []
    if isinstance(value, dict):
        if "sample_embed_dim" in value:
            return [(clean_label(label), read_architecture(value))]
        return [item for key, inner in value.items() for item in _in_document(inner, f"{label} {key}".strip())]
    if isinstance(value, list):
        return [item for i, inner in enumerate(value, 1) for item in _in_document(inner, f"{label} {i}".strip())]
    return []


def _checked(found: list[Compared], where: str) -> list[Compared]:
    if not 1 <= len(found) <= MOST_COMPARED:
        raise ValueError(f"{where} must hold from 1 to {MOST_COMPARED} architectures, got {len(found)}")
    return [(clean_label(label), architecture) for label, architecture in found]
