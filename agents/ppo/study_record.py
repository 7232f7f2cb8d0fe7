"""The record of a study: reading it, and what it recommends."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from hwgpt_gym.checks import echo
from hwgpt_gym.files import check_seal, first_problem, read_json

SCHEMA: Final = "hwgpt-gym study 1"


def best_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a finished study recommends, of those that it tunes.

    Args:
        record: As :func:`run_study` returns it.

    Raises:
        ValueError: If the study is not finished.
    """
    if "best" not in record:
        raise ValueError(f"record must be that of a finished study, with 'best', got {list(record)}")
    settings: dict[str, Any] = record["trials"][record["best"]]["settings"]
    return settings


def read_transfer(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the settings that the record of a finished study recommends.

    Args:
        path: The record.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no such record.
    """
    try:
        return best_settings(_read(path))
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} is no record of a finished study: {error}") from None


@dataclass(frozen=True)
class _Trial:
    """What a record says of settings that were tried."""

    number: int
    settings: dict[str, Any]
    value: float
    runs: list[dict[str, Any]]
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file holds, if it is an undamaged object of JSON whose trials are such."""
    from pydantic import TypeAdapter, ValidationError

    record = read_json(path, Path(path).read_bytes())
    check_seal(path, record)
    if not isinstance(record, dict):
        raise ValueError(f"it holds {echo(record)}")
    try:
        for stage in ("trials", "finals"):
            TypeAdapter(list[_Trial]).validate_json(json.dumps(record.get(stage, [])))
    except ValidationError as error:
        raise ValueError(f"{stage}.{first_problem(error)}") from None
    return record


def read_record(path: Path, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record to go on from; a new one if there is none.

    Args:
        path: The record.
        described: The study that it must be of.

    Raises:
        ValueError: If it is damaged, of another version or of another study.
    """
    if not path.is_file():
        return {"schema": SCHEMA, "study": described, "trials": [], "finals": []}
    try:
        record = _read(path)
        known = {key: record[key] for key in ("schema", "study", "trials", "finals")}
        differing = [name for name, value in described.items() if record["study"].get(name) != value]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no record of a study ({error!r}): choose another output or delete it") from None
    if known["schema"] != SCHEMA:
        raise ValueError(f"{path} has the schema {known['schema']!r}, this version reads {SCHEMA!r}")
    if differing:
        name = differing[0]
        raise ValueError(
            f"{path} is the record of another study, with {name} {record['study'].get(name)!r} instead of "
            f"{described[name]!r}: choose another output or delete it"
        )
    return known
