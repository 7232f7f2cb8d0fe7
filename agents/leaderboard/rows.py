"""Searches condensed to one row each: regret after so many evaluations, and evaluations until so little regret.

Regret counts only architectures that keep the limits, in truth: where costs are measured or predicted by a profile,
the agent's choice is the best that it has seen, and its regret is that of the device's own surrogates.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.leaderboard.execute import load_result
from hwgpt_gym.agents.leaderboard.grids import Cell
from hwgpt_gym.agents.leaderboard.tasks import Task
from hwgpt_gym.agents.result import SearchResult
from hwgpt_gym.agents.validation import validate_result
from hwgpt_gym.checks import echo
from hwgpt_gym.files import replacing
from hwgpt_gym.search_space import EMBED_DIM, FloatArray

if TYPE_CHECKING:
    import pandas
    import pyarrow

CHECKPOINTS: Final = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Numbers of evaluations after which regret is reported, up to the budget."""

TARGETS: Final = (0.01, 0.001)
"""Regrets for which it is reported after how many evaluations they are reached."""

_ROUNDING: Final = 1e-9
_CACHE: Final = "rows-1.parquet"
"""What was checked already; the number rises with every change of the columns."""

_CHECKSUM: Final = b"hwgpt_gym_sha256"
_TABLES: Final = (_CACHE, "leaderboard.parquet")


def regret_at(evaluations: int) -> str:
    """Return the name of the column of the regret after so many evaluations: infinite before any limit was kept."""
    return f"regret_{evaluations}"


def hits(target: float) -> str:
    """Return the name of the column that says after how many evaluations a regret is reached: infinite if never."""
    return f"evaluations_to_{target:g}"


def make_row(task: Task, label: str, number: int, result: SearchResult) -> dict[str, Any]:
    """Condense a search.

    Args:
        task: The task.
        label: What the agent is called.
        number: The number of the run.
        result: What was evaluated.

    Raises:
        ValueError: If a reward is above the optimum's by more than rounding.
    """
    regret, choice, kept = true_regret(task, result)
    if len(regret) and regret.min() < -_ROUNDING:
        raise ValueError(f"{label} earned {-regret.min():.3g} more than the certified optimum of {task.name}")
    row: dict[str, Any] = {
        "task": task.name,
        "scale": task.scale,
        "device": task.device_name,
        "limits": task.limit_text,
        "costs": task.costs,
        "agent": label,
        "budget": result.budget,
        "run": number,
        "seed": result.seed,
        "submitted": False,
    }
    for point in CHECKPOINTS:
        known = len(regret) and point <= result.budget
        # A search that ended by itself keeps what it found.
        row[regret_at(point)] = max(0.0, float(regret[min(point, len(regret)) - 1])) if known else np.nan
    for target in TARGETS:
        below = np.flatnonzero(regret <= target)
        row[hits(target)] = float(below[0] + 1) if len(below) else np.inf
    greedy = task.optimum.reward - result.greedy_reward[-1] if len(result.greedy_reward) else np.nan
    row["greedy_regret"] = float(greedy) if task.costs != "onboarded" else np.nan
    found = len(choice) > 0 and choice[-1] >= 0
    row["keeps_limits"] = bool(found and kept[-1])
    row["optimal_width"] = bool(found and result.encoded[choice[-1], EMBED_DIM] == task.optimum.encoded[0, EMBED_DIM])
    row["processor_s"], row["wall_s"] = round(result.cpu_time, 3), round(result.wall_time, 3)
    return row


class Course(NamedTuple):
    """The course of a search.

    Attributes:
        regret: What the agent's choice so far lacks, ``float64 (n,)``; infinite before anything kept the limits.
        choice: Which evaluation that is, ``int64 (n,)``, -1 before there is one: the greatest reward among what keeps
            the limits, by what the agent has seen.
        kept: Whether the choice keeps the limits in truth, ``bool (n,)``.
    """

    regret: FloatArray
    choice: npt.NDArray[np.int64]
    kept: npt.NDArray[np.bool_]


def true_regret(task: Task, result: SearchResult) -> Course:
    """Return how far an agent's choice was from the certified optimum after each evaluation.

    Raises:
        ValueError: If the result lacks a metric that the task's reward depends on.
    """
    bound, optimum = task.truth, task.optimum.reward
    own = bound if task.costs == "predicted" else task.problem(result.budget, result.seed).bound
    if missing := set(own.metrics) - set(result.metrics):
        raise ValueError(f"a result of {task.name} needs the metrics {sorted(missing)}")
    seen = own.evaluate({key: result.metrics[key] for key in own.metrics}, margins=own.margins(result.encoded))
    truth = seen
    if task.costs != "predicted":
        truth = bound.evaluate(bound.bench.evaluate(result.encoded, bound.metrics))
    score = np.where(seen.feasible, seen.reward, -np.inf)
    best = np.maximum.accumulate(score)
    improved = score > np.concatenate([[-np.inf], best[:-1]])
    choice = np.maximum.accumulate(np.where(improved, np.arange(len(score)), -1))
    there = choice >= 0
    return Course(np.where(there, optimum - truth.reward[choice], np.inf), choice, there & truth.feasible[choice])


def collect(
    cells: Iterable[Cell], folder: str | os.PathLike[str], progress: Callable[[], None] = lambda: None
) -> pandas.DataFrame:
    """Return a row for each search, checked as :func:`hwgpt_gym.agents.validate_result` does.

    A file that was checked and has not been written since is not read again.

    Args:
        cells: The searches.
        folder: Where their files are.
        progress: Called after every search.

    Raises:
        FileNotFoundError: If one has not been run.
        ValueError: If a file is not valid.
    """
    import pandas

    folder = Path(folder)
    known = _read_cache(folder / _CACHE)
    rows, fresh = [], False
    for cell in cells:
        path = cell.path(folder)
        key = str(path.relative_to(folder))
        row = known.get(key)
        written = path.stat().st_mtime_ns if path.is_file() else -1
        if row is None or row["written"] != written or row["task"] != cell.task.name:
            row = {
                **make_row(cell.task, cell.label, cell.number, load_result(cell, folder)),
                "file": key,
                "written": written,
            }
            known[key], fresh = row, True
        rows.append(row)
        progress()
    if fresh:
        _write_cache(folder / _CACHE, list(known.values()))
    return pandas.DataFrame(rows).drop(columns=["file", "written"])


def collect_submission(
    folder: str | os.PathLike[str], tasks: Iterable[Task], taken: Collection[str]
) -> pandas.DataFrame:
    """Return a row for each result file that somebody else made, checked as our own are.

    Args:
        folder: The folder of the files; those below it count too.
        tasks: The tasks that it may be of.
        taken: The names of agents that it may not have.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If one is not valid, of none of the tasks, of an agent whose name is taken, or there twice.
    """
    import pandas

    paths = sorted(path for path in Path(folder).rglob("*.parquet") if path.name not in _TABLES)
    known = {task.name: task for task in tasks}
    if not paths:
        raise FileNotFoundError(f"{folder} holds no result file")
    rows: list[dict[str, Any]] = []
    runs: dict[tuple[str, str, int], set[int]] = {}
    for path in paths:
        result = validate_result(path)
        if result.task not in known:
            raise ValueError(f"{path} is of the task {result.task or 'without a name'}, which the suites do not have")
        if result.agent in taken:
            raise ValueError(f"{path} is of an agent {result.agent!r}, which the leaderboard has: give it another name")
        seeds = runs.setdefault((result.task, result.agent, result.budget), set())
        if result.seed >= 2**63:
            raise ValueError(f"{path} has the seed {echo(result.seed)}, a table holds less than 2**63")
        if result.seed in seeds:
            raise ValueError(f"{path} is of the same task, agent, budget and seed {result.seed} as another file")
        rows.append(make_row(known[result.task], result.agent, len(seeds), result) | {"submitted": True})
        seeds.add(result.seed)
    return pandas.DataFrame(rows)


def _write_cache(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas
    import pyarrow.parquet

    table = pyarrow.Table.from_pandas(pandas.DataFrame(rows))
    with replacing(path) as temporary:
        metadata = {**(table.schema.metadata or {}), _CHECKSUM: _checksum(table)}
        pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), temporary)


def _read_cache(path: Path) -> dict[str, dict[str, Any]]:
    """Return what was checked already: nothing if the file is missing or damaged, since all of it can be made again."""
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        # The first ones have no checksum.
        if (table.schema.metadata or {}).get(_CHECKSUM) not in (None, _checksum(table)):
            return {}
        return {str(row["file"]): {str(key): row[key] for key in row} for row in table.to_pandas().to_dict("records")}
    except (pyarrow.ArrowException, OSError, ValueError, KeyError):
        return {}


def _checksum(table: pyarrow.Table) -> bytes:
    return hashlib.sha256(repr((table.column_names, table.to_pylist())).encode()).hexdigest().encode()
