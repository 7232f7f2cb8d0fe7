"""The format of files of results: written whole, and read through a schema.

A file is Parquet: one row per evaluation (choices, reward, metrics), its pages with checksums, and a description as
JSON in its metadata, with a checksum too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy.typing as npt

from hwgpt_gym.files import first_problem, replacing
from hwgpt_gym.search_space import FloatArray
from hwgpt_gym.version import __version__

if TYPE_CHECKING:
    import pyarrow

SCHEMA: Final = "hwgpt-gym search result 1"
_DESCRIPTION: Final = b"hwgpt_gym"
_CHECKSUM: Final = b"hwgpt_gym_sha256"


@dataclass(frozen=True)
class Greedy:
    """A recorded greedy architecture: after how many evaluations, which one, and what it earns."""

    evaluations: int
    architecture: str
    reward: float


@dataclass(frozen=True)
class Description:
    """What a file says beside its rows; the attributes are those of :class:`hwgpt_gym.agents.result.SearchResult`."""

    agent: str
    settings: dict[str, Any]
    scale: str
    device: str | None
    objective: dict[str, Any]
    budget: int
    seed: int
    trade_off: list[str]
    wall_time: float
    cpu_time: float
    greedy: list[Greedy]
    claims: dict[str, float | str]
    device_content: str = ""
    task: str = ""
    measured: bool = False
    schema: str = SCHEMA
    version: str = __version__
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


def write_file(
    path: str | os.PathLike[str], description: Description, choices: Mapping[str, Any], values: Mapping[str, FloatArray]
) -> None:
    """Write a Parquet file, whole or not at all.

    Args:
        path: Where to.
        description: What goes into its metadata.
        choices: A column of choice indices for each decision, ``int8 (n,)``.
        values: The rewards and metrics, ``float64 (n,)``.
    """
    import pyarrow.parquet

    text = json.dumps(asdict(description)).encode()
    metadata = {_DESCRIPTION: text, _CHECKSUM: hashlib.sha256(text).hexdigest().encode()}
    table = pyarrow.table({**choices, **values}).replace_schema_metadata(metadata)
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def write_csv(path: str | os.PathLike[str], names: Sequence[str], values: Mapping[str, FloatArray]) -> None:
    """Write architectures with their rewards and metrics as text, whole or not at all."""
    import pyarrow.csv

    with replacing(path) as temporary:
        pyarrow.csv.write_csv(pyarrow.table({"architecture": list(names), **values}), temporary)


def read_description(path: str | os.PathLike[str]) -> Description:
    """Return what a result file says of itself, without its evaluations.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is no such file, or a damaged one.
    """
    import pyarrow.parquet

    with _damage_named(path):
        schema = pyarrow.parquet.read_schema(path)
    return _parse_description(path, schema)


def read_file(path: str | os.PathLike[str]) -> tuple[Description, dict[str, npt.NDArray[Any]]]:
    """Read a file that :func:`write_file` wrote: what it says of itself, and its columns.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is no such file, or a damaged one.
    """
    import pyarrow.parquet

    with _damage_named(path):
        table = pyarrow.parquet.read_table(path, page_checksum_verification=True)
        columns = {name: table[name].to_numpy() for name in table.column_names}
    return _parse_description(path, table.schema), columns


def _parse_description(path: object, schema: pyarrow.Schema) -> Description:
    from pydantic import TypeAdapter, ValidationError

    metadata = schema.metadata or {}
    try:
        content = json.loads(metadata[_DESCRIPTION])
    except (KeyError, ValueError, RecursionError):
        raise ValueError(f"{path} is no search result: its metadata lack {_DESCRIPTION.decode()!r}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else content
        raise ValueError(f"{path} has the schema {found!r}, this version reads {SCHEMA!r}")
    # Files of version 0.1 have none.
    checksum = metadata.get(_CHECKSUM)
    if checksum is not None and checksum != hashlib.sha256(metadata[_DESCRIPTION]).hexdigest().encode():
        raise ValueError(f"{path} is damaged: its description does not have its checksum")
    try:
        return TypeAdapter(Description).validate_json(metadata[_DESCRIPTION])
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {first_problem(error)}") from None


@contextmanager
def _damage_named(path: object) -> Iterator[None]:
    """Name the file in errors of the reader, which has several kinds of them."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            # Arrow's errors name no file.
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        raise ValueError(f"{path} is no Parquet file, or a damaged one: {error}") from None
