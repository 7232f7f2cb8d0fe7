"""The leaderboard: agents × scales × devices × latency budgets × evaluation budgets × seeds, resumable and parallel.

A cell is one search. Its result file is written, whole, the moment the search ends; a leaderboard that was interrupted
continues where it stopped. :func:`run_leaderboard` makes the cells, :func:`write_report` (in
:mod:`hwgpt_gym.agents.report`) turns them into tables, figures and a page. From a shell::

    python -m hwgpt_gym.agents.leaderboard --profile quick
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from hwgpt_gym.agents.problem import SearchProblem, check_integer
from hwgpt_gym.agents.profiles import PROFILES, Cell, Profile, custom_profile, get_profile
from hwgpt_gym.agents.result import SearchResult
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.files import write_text
from hwgpt_gym.objective import Objective

__all__ = [
    "PROFILES",
    "Cell",
    "Profile",
    "custom_profile",
    "get_profile",
    "load_results",
    "optimum_reward",
    "read_sessions",
    "run_leaderboard",
]

logger = logging.getLogger(__name__)

SESSIONS_FILE: Final = "sessions.json"
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@lru_cache(maxsize=64)
def _setting(scale: str, device: str, constraint: str) -> tuple[Benchmark, Objective, float]:
    """Return what cells of the same scale, device and constraint share; the last is the optimum's reward."""
    from hwgpt_gym.optimum import solve

    benchmark, objective = Benchmark(scale, device), Objective({"latency_ms": constraint})
    return benchmark, objective, solve(benchmark, objective).reward


def run_cell(cell: Cell, folder: Path) -> float:
    """Search, write the cell's file and return the processor seconds that took."""
    benchmark, objective, optimum = _setting(cell.scale, cell.device, cell.constraint)
    result = cell.agent.run(SearchProblem(benchmark, objective, cell.budget, cell.seed))
    result.save(cell.path(folder), optimum)
    return result.cpu_time


def run_leaderboard(
    profile: Profile | str,
    folder: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Run every search of a profile that is not on disk yet.

    Args:
        profile: A profile, or the name of one of :data:`PROFILES`. Agents of one's own must be importable by the
            worker processes: define them in a module.
        folder: Where the cells' files are, or shall be.
        workers: Processes at a time; as many as there are processors by default.
        progress: Whether to show a progress bar.

    Returns:
        The folder.

    Raises:
        ValueError: If there is no such profile, or ``workers`` is not legal.
        RuntimeError: If a search failed; all others were finished first.
    """
    profile = get_profile(profile)
    folder = Path(folder)
    workers = check_integer("workers", workers if workers is not None else os.cpu_count() or 1, 1)
    cells = list(profile.cells())
    missing = [cell for cell in cells if not cell.path(folder).is_file()]
    # The longest first, so that no process is left with a long one in the end.
    missing.sort(key=lambda cell: -cell.budget * cell.agent.has_policy)
    logger.info("%d of %d searches are on disk", len(cells) - len(missing), len(cells))
    started = time.perf_counter()
    failures: list[str] = []
    finished = 0
    try:
        for cell, error in _execute(missing, folder, workers, progress):
            finished += error is None
            if error is not None:
                failures.append(f"{cell.path(folder)}: {error!r}")
                logger.error("%s", failures[-1])
    finally:
        if missing:
            _note_session(folder, profile, finished, time.perf_counter() - started, workers)
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(missing)} searches failed, the first one: {failures[0]}")
    return folder


def _execute(
    cells: Sequence[Cell], folder: Path, workers: int, progress: bool
) -> Iterator[tuple[Cell, BaseException | None]]:
    """Run cells in processes; yield each as it ends, with its error if it failed."""
    import multiprocessing

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Libraries of linear algebra read these when they are loaded, so they have to be set before a process begins.
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_initialize)
    try:
        with Progress(*columns, TimeRemainingColumn(), disable=not progress) as bar:
            task = bar.add_task("Searching", total=len(cells))
            futures: dict[Future[float], Cell] = {pool.submit(run_cell, cell, folder): cell for cell in cells}
            for future in as_completed(futures):
                cell = futures[future]
                bar.update(task, advance=1, description=f"{cell.agent.name} {cell.scale} {cell.device}")
                yield cell, future.exception()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _initialize() -> None:
    """Prepare a worker process: one thread, as the processes are what runs side by side."""
    import torch

    torch.set_num_threads(1)


def _note_session(folder: Path, profile: Profile, searches: int, seconds: float, workers: int) -> None:
    """Add to the record of what ran when; the report says how long it took altogether."""
    path = folder / SESSIONS_FILE
    sessions = read_sessions(folder)
    sessions.append({"profile": profile.name, "searches": searches, "seconds": round(seconds, 1), "workers": workers})
    write_text(path, json.dumps(sessions, indent=1))


def read_sessions(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the record of what ran in a folder; empty if nothing did."""
    path = Path(folder) / SESSIONS_FILE
    sessions: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return sessions


def load_results(profile: Profile, folder: str | os.PathLike[str]) -> Iterator[tuple[Cell, SearchResult]]:
    """Yield the result of every search of a profile.

    Raises:
        FileNotFoundError: If one has not been run.
        ValueError: If a file is not valid, or was made with other surrogates than the shipped ones.
    """
    for cell in profile.cells():
        path = cell.path(Path(folder))
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: run the leaderboard first")
        result = SearchResult.load(path)
        optimum = _setting(cell.scale, cell.device, cell.constraint)[2]
        if abs(result.claims.get("optimum_reward", optimum) - optimum) > 1e-9:
            raise ValueError(f"{path} was made with other surrogates than the shipped ones: delete it and run again")
        yield cell, result


def optimum_reward(cell: Cell) -> float:
    """Return the reward of the certified optimum of a cell."""
    return _setting(cell.scale, cell.device, cell.constraint)[2]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run profiles and write the page."""
    import argparse

    from hwgpt_gym.agents.report import write_report

    parser = argparse.ArgumentParser(prog="python -m hwgpt_gym.agents.leaderboard", description=__doc__)
    parser.add_argument("--profile", action="append", choices=list(PROFILES), help="may be repeated; default: quick")
    parser.add_argument("--folder", default="runs/leaderboard", help="where the searches' files go")
    parser.add_argument("--page", default="docs/leaderboard.md", help="the page to write")
    parser.add_argument("--workers", type=int, default=None, help="processes; default: one a processor")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO)
    profiles = options.profile or ["quick"]
    for name in profiles:
        run_leaderboard(name, options.folder, workers=options.workers)
    write_report(profiles, options.folder, options.page)


if __name__ == "__main__":
    main()
