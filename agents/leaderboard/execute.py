"""The leaderboard: agents × tasks × budgets × runs, resumable and parallel.

A cell is one search. Its result file is written, whole, the moment the search ends; a leaderboard that was interrupted
continues where it stopped. :func:`run_leaderboard` makes the cells, :func:`write_report` (in
:mod:`hwgpt_gym.agents.leaderboard.page`) turns them into tables, figures and a page. The command ``hwgpt-gym
leaderboard`` does both.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.leaderboard.grids import Cell
from hwgpt_gym.agents.leaderboard.ray_pool import ray_pool
from hwgpt_gym.agents.leaderboard.suites import Suite, get_suite
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.result import SearchResult
from hwgpt_gym.agents.result_file import Description, read_description
from hwgpt_gym.agents.validation import validate_result
from hwgpt_gym.agents.workers import single_threaded_pool
from hwgpt_gym.checks import check_between, check_integer, echo
from hwgpt_gym.console import messages
from hwgpt_gym.files import check_seal, read_json, seal, write_text

logger = logging.getLogger(__name__)

SESSIONS_FILE: Final = "sessions.json"
_ANEW: Final = "delete it and run again"


@dataclass(frozen=True)
class Session:
    """What ran when.

    Attributes:
        suite: The suite's name.
        searches: How many searches finished.
        seconds: How long they took altogether.
        workers: Processes at a time.

    Raises:
        ValueError: If something is of another type, or negative.
    """

    suite: str
    searches: int
    seconds: float
    workers: int

    def __post_init__(self) -> None:
        if not isinstance(self.suite, str):
            raise ValueError(f"suite must be a name, got {echo(self.suite)}")
        check_integer("searches", self.searches, 0)
        check_integer("workers", self.workers, 1)
        check_between("seconds", self.seconds, 0.0, 1e12)


def run_cell(cell: Cell, folder: Path) -> float:
    """Search, write the cell's file and return the processor seconds that took."""
    result = cell.agent.run(cell.task.problem(cell.budget, cell.seed))
    path = cell.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    # What is measured or predicted by a profile has its regret in truth alone.
    result.save(path, cell.task.optimum if cell.task.costs == "predicted" else None)
    return result.cpu_time


def run_leaderboard(
    suite: Suite | str,
    folder: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: bool = True,
    ray: str | None = None,
) -> Path:
    """Run every search of a suite that is not on disk yet.

    Args:
        suite: A suite, or the name of one of :data:`SUITES`. Agents of one's own must be importable by the
            worker processes: define them in a module.
        folder: Where the cells' files are, or shall be.
        workers: Processes at a time; as many as there are processors by default.
        progress: Whether to show a progress bar.
        ray: Run the searches as Ray tasks: ``"local"`` on this machine, or on the cluster of an address, which all has
            the folder and the package. Results are the same.

    Returns:
        The folder.

    Raises:
        ModuleNotFoundError: If Ray is wanted and not installed.
        ValueError: If there is no such suite or cluster, ``workers`` is not legal, or the folder has a result that was
            made with other settings or surrogates.
        RuntimeError: If a search failed; all others were finished first.
    """
    suite = get_suite(suite)
    folder = Path(folder)
    workers = check_integer("workers", workers if workers is not None else os.cpu_count() or 1, 1)
    cells = list(suite.cells())
    # Now rather than after the work: it may be no folder, or hold what is damaged.
    folder.mkdir(parents=True, exist_ok=True)
    read_sessions(folder)
    missing = [cell for cell in cells if not is_done(cell, folder)]
    # The longest first, so that no process is left with a long one in the end.
    missing.sort(key=lambda cell: -cell.budget * cell.agent.has_policy)
    logger.info("%d of %d searches are on disk", len(cells) - len(missing), len(cells))
    if not missing:
        return folder
    started = time.perf_counter()
    failures: list[str] = []
    with single_threaded_pool(workers) if ray is None else ray_pool(ray, workers, folder) as pool:
        workers = getattr(pool, "workers", workers)
        try:
            for cell, error in _execute(pool, missing, folder.resolve(), progress):
                if error is not None:
                    failures.append(f"{cell.path(folder)}: {error!r}")
                    logger.error("%s", failures[-1])
        finally:
            # What has ended just before Ctrl-C may be on disk before anybody was told.
            finished = sum(cell.path(folder).is_file() for cell in missing)
            note_session(folder, Session(suite.name, finished, round(time.perf_counter() - started, 1), workers))
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(missing)} searches failed, the first one: {failures[0]}")
    return folder


def _execute(
    pool: Executor, cells: Sequence[Cell], folder: Path, progress: bool
) -> Iterator[tuple[Cell, BaseException | None]]:
    """Run cells in a pool; yield each as it ends, with its error if it failed."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=messages, disable=not progress) as bar:
        task = bar.add_task("Searching", total=len(cells))
        futures: dict[Future[float], Cell] = {pool.submit(run_cell, cell, folder): cell for cell in cells}
        for future in as_completed(futures):
            cell = futures[future]
            bar.update(task, advance=1, description=f"{cell.label} {cell.task.folder}")
            yield cell, future.exception()


def note_session(folder: Path, session: Session) -> None:
    """Add to the record of what ran when; the report says how long it took altogether."""
    from filelock import FileLock

    # Others may run cells of the same folder: what they note between reading and writing must not be lost.
    with FileLock(folder / f".{SESSIONS_FILE}.lock"):
        sessions = [*read_sessions(folder), session]
        content = seal({"sessions": [asdict(item) for item in sessions]})
        write_text(folder / SESSIONS_FILE, json.dumps(content, indent=1))


def read_sessions(folder: str | os.PathLike[str]) -> list[Session]:
    """Return the record of what ran in a folder; empty if nothing did.

    Raises:
        ValueError: If it is damaged; the message names the file.
    """
    path = Path(folder) / SESSIONS_FILE
    if not path.is_file():
        return []
    try:
        content = read_json(path, path.read_bytes())
        check_seal(path, content)
        # Version 0.1 wrote a list.
        entries = content if isinstance(content, list) else content["sessions"]
        if not isinstance(entries, list):
            raise TypeError(f"a list is needed, not {type(entries).__name__}")
        # Suites were called profiles once.
        return [Session(**{"suite" if key == "profile" else key: entry[key] for key in entry}) for entry in entries]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is no record of a leaderboard's sessions ({error}): delete it") from None


def load_result(cell: Cell, folder: str | os.PathLike[str]) -> SearchResult:
    """Return the result of a search, checked as :func:`hwgpt_gym.agents.validate_result` does.

    Raises:
        FileNotFoundError: If it has not been run.
        ValueError: If the file is not valid, or was made with other settings or surrogates.
    """
    path = cell.path(Path(folder))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run the leaderboard first")
    problem = _check_up_to_date(cell, path, read_description(path))
    return validate_result(path, problem.benchmark)


def is_done(cell: Cell, folder: Path) -> bool:
    """Return whether a search is on disk.

    Raises:
        ValueError: If it is, but was made otherwise than the cell says.
    """
    path = cell.path(folder)
    if not path.is_file():
        return False
    _check_up_to_date(cell, path, read_description(path))
    return True


def _check_up_to_date(cell: Cell, path: Path, description: Description) -> SearchProblem:
    """Check that a file is of a cell, made with its settings on its task; return its problem.

    Raises:
        ValueError: If not; the message names the first thing that differs.
    """
    problem = cell.task.problem(cell.budget, cell.seed)
    agent = cell.agent.resolve(problem)
    # A setting that the file does not name is newer than the file: it was what it is by default.
    found = {**_defaults(agent), **asdict(description), **description.settings}
    # As a file holds them.
    expected: dict[str, Any] = json.loads(
        json.dumps(
            {"agent": agent.name, "task": problem.task, "budget": cell.budget, "seed": cell.seed, **asdict(agent)}
        )
    )
    for name, value in expected.items():
        if found.get(name) != value:
            raise ValueError(f"{path} was made with {name} {found.get(name)!r} instead of {value!r}: {_ANEW}")
    return problem


def _defaults(agent: Agent) -> dict[str, Any]:
    return {item.name: item.default for item in fields(agent) if item.default is not MISSING}
