"""Files of results: written whole, read through a schema, and checked independently of who wrote them.

A file is Parquet: one row per evaluation (choices, reward, metrics), its pages with checksums, and a description as
JSON in its metadata, with a checksum too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from hwgpt_gym.files import replacing
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.objective import Objective
from hwgpt_gym.search_space import Architecture, FloatArray, get_search_space
from hwgpt_gym.version import __version__

if TYPE_CHECKING:
    import pyarrow

    from hwgpt_gym.agents.result import SearchResult
    from hwgpt_gym.benchmark import Benchmark

SCHEMA: Final = "hwgpt-gym search result 1"
_DESCRIPTION: Final = b"hwgpt_gym"
_CHECKSUM: Final = b"hwgpt_gym_sha256"
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True)
class Greedy:
    """A recorded greedy architecture: after how many evaluations, which one, and what it earns."""

    evaluations: int
    architecture: str
    reward: float


@dataclass(frozen=True)
class Description:
    """What a file says beside its rows; the attributes are those of :class:`hwgpt_gym.agents.result.SearchResult`."""

    schema: str
    version: str
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
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


def write_result(result: SearchResult, path: str | os.PathLike[str], claims: dict[str, Any]) -> None:
    """Write a result: a Parquet file, or with the suffix ``.csv`` its architectures and metrics alone.

    Args:
        result: The result.
        path: Where to.
        claims: What the file claims.
    """
    import pyarrow.csv
    import pyarrow.parquet

    values = {"reward": result.reward, **result.metrics}
    if Path(path).suffix.lower() == ".csv":
        names = [str(architecture) for architecture in result.space.decode(result.encoded)]
        with replacing(path) as temporary:
            pyarrow.csv.write_csv(pyarrow.table({"architecture": names, **values}), temporary)
        return
    greedy = zip(
        result.greedy_evaluations, result.space.decode(result.greedy_encoded), result.greedy_reward, strict=True
    )
    description = Description(
        schema=SCHEMA,
        version=__version__,
        agent=result.agent,
        settings=dict(result.settings),
        scale=result.scale,
        device=result.device,
        objective=result.objective.to_dict(),
        budget=result.budget,
        seed=result.seed,
        trade_off=list(result.trade_off),
        wall_time=result.wall_time,
        cpu_time=result.cpu_time,
        greedy=[Greedy(int(at), str(architecture), float(reward)) for at, architecture, reward in greedy],
        claims=claims,
    )
    text = json.dumps(asdict(description)).encode()
    metadata = {_DESCRIPTION: text, _CHECKSUM: hashlib.sha256(text).hexdigest().encode()}
    choices: dict[str, Any] = dict(zip(result.space.decision_names, result.encoded.T, strict=True))
    table = pyarrow.table(choices | values).replace_schema_metadata(metadata)
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)


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


def read_result(path: str | os.PathLike[str]) -> SearchResult:
    """Read a file that :func:`write_result` wrote.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is no such file, or what it holds is not valid.
    """
    import pyarrow.parquet

    with _damage_named(path):
        table = pyarrow.parquet.read_table(path, page_checksum_verification=True)
    description = _parse_description(path, table.schema)
    try:
        return _make_result(table, description)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no valid search result: {error}") from error


def _make_result(table: pyarrow.Table, description: Description) -> SearchResult:
    from hwgpt_gym.agents.result import SearchResult

    space = get_search_space(description.scale)
    names = [*space.decision_names, "reward"]
    keys = [key for key in table.column_names if key not in names]
    if missing := set(names) - set(table.column_names):
        raise ValueError(f"columns {sorted(missing)} are missing")
    if unknown := set(keys) - set(METRICS):
        raise ValueError(f"unknown columns {sorted(unknown)}")
    columns = {name: table[name].to_numpy() for name in table.column_names}
    for key in (*keys, "reward"):
        if columns[key].dtype != np.float64 or not np.isfinite(columns[key]).all():
            raise ValueError(f"column {key!r} must hold finite float64")
    greedy = description.greedy
    copied = ("agent", "settings", "scale", "device", "budget", "seed", "wall_time", "cpu_time", "claims")
    return SearchResult(
        **{name: getattr(description, name) for name in copied},
        objective=Objective.from_dict(description.objective),
        trade_off=tuple(description.trade_off),
        encoded=space.validate(np.stack([columns[name] for name in space.decision_names], axis=1)),
        metrics={key: columns[key] for key in keys},
        reward=columns["reward"],
        greedy_evaluations=np.array([entry.evaluations for entry in greedy], dtype=np.int64),
        greedy_encoded=space.encode(Architecture.from_string(entry.architecture) for entry in greedy),
        greedy_reward=np.array([entry.reward for entry in greedy], dtype=np.float64),
    )


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
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{path} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


@contextmanager
def _damage_named(path: object) -> Iterator[None]:
    """Name the file in errors of the reader, which has several kinds of them."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} is no Parquet file, or a damaged one: {error}") from None


def validate_result(path: str | os.PathLike[str], benchmark: Benchmark | None = None) -> SearchResult:
    """Check a result file independently of who wrote it.

    Every architecture is evaluated again, all rewards are computed anew and so is the certified optimum; the claimed
    best, regret and greedy regret have to follow from them.

    Args:
        path: The file.
        benchmark: What to evaluate with; the shipped surrogates of the file's scale and device by default.

    Returns:
        The result, if all of it is right.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If anything is not; the message names the first thing that is wrong, what is claimed and what is
            true.
    """
    from hwgpt_gym.benchmark import Benchmark
    from hwgpt_gym.optimum import solve

    result = read_result(path)
    benchmark = benchmark or Benchmark(result.scale, result.device)
    bound = result.objective.bind(benchmark)
    metrics = benchmark.evaluate(result.encoded, dict.fromkeys((*bound.metrics, *result.metrics)))
    for key, claimed in result.metrics.items():
        _compare(path, key, claimed, metrics[key])
    _compare(path, "reward", result.reward, bound.evaluate(metrics).reward)
    greedy = bound.evaluate(benchmark.evaluate(result.greedy_encoded, bound.metrics)).reward
    _compare(path, "greedy reward", result.greedy_reward, greedy)
    claims = result.claims
    true: dict[str, float | str] = {}
    if len(result):
        true |= {"best_reward": result.best_reward, "best_architecture": str(result.best)}
    if {"optimum_reward", "regret", "greedy_regret"} & set(claims):
        optimum = solve(benchmark, result.objective)
        true["optimum_reward"] = optimum.reward
        if len(result):
            true["regret"] = float(result.regret(optimum)[-1])
        if len(result.greedy_reward):
            true["greedy_regret"] = float(result.greedy_regret(optimum)[-1])
    for key, claim in claims.items():
        if key not in true:
            raise ValueError(f"{path}: claims {key!r}, for which the file has no evidence")
        value = true[key]
        if isinstance(value, str) or isinstance(claim, str):
            if claim != value:
                raise ValueError(f"{path}: {key.replace('_', ' ')} is {value}, claimed is {claim}")
        else:
            _compare(path, key, np.array([claim], dtype=np.float64), np.array([value]))
    return result


def _compare(path: object, name: str, claimed: FloatArray, true: FloatArray) -> None:
    wrong = np.flatnonzero(~np.isclose(claimed, true, rtol=_TOLERANCE, atol=_TOLERANCE))
    if len(wrong):
        row = wrong[0]
        raise ValueError(
            f"{path}: {name} of entry {row} is {true[row]:.12g}, claimed is {claimed[row]:.12g} "
            f"({len(wrong)} of {len(true)} entries are wrong)"
        )
