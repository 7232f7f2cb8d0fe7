"""The leaderboard's report: a page in Markdown, a table as CSV and Parquet, and figures, all from the result files.

A page that exists keeps what people wrote: only what stands between its markers is replaced.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hwgpt_gym.agents.leaderboard.execute import is_done, read_sessions
from hwgpt_gym.agents.leaderboard.figures import draw_curves, draw_devices
from hwgpt_gym.agents.leaderboard.findings import findings
from hwgpt_gym.agents.leaderboard.grids import Cell
from hwgpt_gym.agents.leaderboard.reality import reality_line
from hwgpt_gym.agents.leaderboard.rows import collect, collect_submission
from hwgpt_gym.agents.leaderboard.statistics import comparable
from hwgpt_gym.agents.leaderboard.suites import SUITES, Suite, get_suite
from hwgpt_gym.agents.leaderboard.tables import agents_table, summary_table
from hwgpt_gym.files import replacing, write_text
from hwgpt_gym.markdown import replace_section
from hwgpt_gym.version import __version__

if TYPE_CHECKING:
    import pandas

SECTION: Final = "leaderboard"
SUMMARY: Final = "summary"
FINDINGS: Final = "findings"
_NEW_PAGE: Final = f"# Leaderboard\n\n<!-- begin {SECTION} -->\n<!-- end {SECTION} -->\n"
_PACKAGES: Final = ("numpy", "torch", "stable-baselines3", "sb3-contrib", "optuna", "pymoo", "moocore", "scipy")


def write_report(
    suites: Sequence[Suite | str] | Suite | str,
    folder: str | os.PathLike[str],
    page: str | os.PathLike[str] = "docs/leaderboard.md",
    *,
    command: str | None = None,
    partial: bool = False,
    submissions: Sequence[str | os.PathLike[str]] = (),
) -> Path:
    """Write the page, next to it ``leaderboard.csv``, ``leaderboard.parquet`` and ``figures/leaderboard_*.png``.

    Args:
        suites: One suite or several.
        folder: Where the result files are.
        page: The page to write.
        command: The command that the page says it is written by; by default that of the suites, if all have a name.
        partial: Whether to leave out what has not been run, and say so, instead of an error.
        submissions: Folders of result files that somebody else made.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If a search has not been run, or none of all, or a folder of submissions holds none.
        ValueError: If a suite does not exist, a file is not valid, a submission is not of the suites' tasks, or the
            page lacks its markers.
    """
    import pandas

    page, folder = Path(page), Path(folder)
    chosen = [get_suite(item) for item in ([suites] if isinstance(suites, Suite | str) else suites)]
    cells = {suite.name: list(suite.cells()) for suite in chosen}
    done = [cell for of_suite in cells.values() for cell in of_suite if not partial or is_done(cell, folder)]
    # Suites may have searches in common.
    distinct = {cell.path(folder): cell for cell in done}
    if not distinct:
        raise FileNotFoundError(f"{folder} holds no search of the suites: run the leaderboard first")
    table = collect(distinct.values(), folder)
    for submission in submissions:
        own = collect_submission(submission, {cell.task for cell in done}, set(table["agent"]))
        table = pandas.concat([table, own], ignore_index=True)
    text = _read_page(page)
    (page.parent / "figures").mkdir(parents=True, exist_ok=True)
    parts = [_head(chosen, table, folder, command or _command(chosen, folder, page))]
    for suite in chosen:
        rows = _rows_of(cells[suite.name], table)
        if len(rows):
            parts += _suite_parts(suite, rows, cells[suite.name], folder, page.parent / "figures")
    text = replace_section(text, SECTION, "\n" + "\n\n".join(parts) + "\n")
    if f"<!-- begin {SUMMARY} -->" in text and "core" in cells:
        core = _rows_of(cells["core"], table)
        text = replace_section(text, SUMMARY, f"\n{summary_table(comparable(core))}\n")
        text = replace_section(text, FINDINGS, f"\n{findings(core, reality_line('s', folder))}\n")
    write_text(page.with_suffix(".csv"), table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    with replacing(page.with_suffix(".parquet")) as temporary:
        table.to_parquet(temporary, index=False)
    write_text(page, text)
    return page


def check_report(page: str | os.PathLike[str], submissions: Sequence[str | os.PathLike[str]] = ()) -> None:
    """Check, before searches run, that a report can be written: that its page has markers, and submissions are there.

    Raises:
        ValueError: If not.
    """
    try:
        replace_section(_read_page(Path(page)), SECTION, "")
    except ValueError as error:
        raise ValueError(f"{os.fspath(page)}: {error}") from None
    for folder in submissions:
        if not Path(folder).is_dir():
            raise ValueError(f"a submission must be a folder of result files, {os.fspath(folder)!r} is none")


def _read_page(page: Path) -> str:
    return page.read_text(encoding="utf-8") if page.is_file() else _NEW_PAGE


def _rows_of(cells: Sequence[Cell], table: pandas.DataFrame) -> pandas.DataFrame:
    """Return the rows of a suite: of its tasks and agents, and of its tasks by agents that were submitted.

    What an agent does may depend on its budget: one that has several is several agents.
    """
    known = {(cell.task.name, cell.label, cell.budget) for cell in cells}
    tasks = {cell.task.name for cell in cells}
    keys = zip(table["task"], table["agent"], table["budget"], table["submitted"], strict=True)
    rows = table[[key[:3] in known or (key[3] and key[0] in tasks) for key in keys]]
    several = rows.groupby("agent")["budget"].transform("nunique") > 1
    with_budget = [f"{agent} ({budget:,})" for agent, budget in zip(rows["agent"], rows["budget"], strict=True)]
    return rows.assign(agent=rows["agent"].where(~several, with_budget))


def _command(suites: Sequence[Suite], folder: Path, page: Path) -> str | None:
    if not all(SUITES.get(suite.name) is suite for suite in suites):
        return None
    words = [word for suite in suites for word in ("--suite", suite.name)]
    return shlex.join(["hwgpt-gym", "leaderboard", *words, "--output", str(folder), "--page", str(page)])


def _head(suites: Sequence[Suite], table: pandas.DataFrame, folder: Path, command: str | None) -> str:
    names = [suite.name for suite in suites]
    wall = sum(session.seconds for session in read_sessions(folder) if session.suite in names) / 3600.0
    written_by = ["Written by", "", "```sh", command, "```", ""] if command else ["Written from Python", ""]
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    lines = ", ".join(f"{reality_line(scale, folder):.1e} at {scale}" for scale in dict.fromkeys(table["scale"]))
    return "\n".join(
        [
            *written_by,
            f"with hwgpt-gym {__version__}, Python {platform.python_version()}, {versions}: {len(table):,} searches, "
            f"{table['processor_s'].sum() / 3600.0:.1f} hours of processor time, {wall:.1f} hours of wall time.",
            "",
            "Regret is the reward of the certified optimum less that of the best architecture so far that keeps every "
            "limit. Numbers are medians over devices and runs, with 95 % intervals by a hierarchical bootstrap "
            "(devices are drawn first, then runs); `none` is where no limit was kept yet, 0 is less than 5e-6. "
            "*Evaluations to* says after how many evaluations a regret is reached in the median run, and what share of "
            "the runs never gets there; *optimal width* is the share that ends in the optimum's embedding width.",
            "",
            f"Reality cannot tell agents apart whose regrets are at most {lines}: the greatest expected regret of "
            "certified optima in posterior worlds (`hwgpt-gym optimum --worlds 64`), shaded in the figures.",
        ]
    )


def _suite_parts(suite: Suite, rows: pandas.DataFrame, cells: Sequence[Cell], folder: Path, figures: Path) -> list[str]:
    parts = [f"## {suite.name}", _coverage(suite, rows, cells)]
    for scale, everything in rows.groupby("scale", sort=False):
        of_scale = comparable(everything)
        if apart := [agent for agent in dict.fromkeys(everything["agent"]) if agent not in set(of_scale["agent"])]:
            names = ", ".join(f"`{agent}`" for agent in apart)
            parts.append(f"Not run on every task of scale {scale}, and left out here: {names}.")
        if of_scale.empty:
            continue
        line = reality_line(str(scale), folder)
        devices = list(dict.fromkeys(of_scale["device"]))
        where = ", ".join(devices) if len(devices) < 4 else f"{len(devices)} devices"
        name = f"leaderboard_{suite.name}_{scale}"
        paths = [figures / f"{name}.png"]
        draw_curves(of_scale, line, f"{suite.name}, scale {scale}, {where}: regret, median and 95 % interval", paths[0])
        if len(devices) > 3 and of_scale["limits"].nunique() > 1:
            paths.append(figures / f"{name}_devices.png")
            title = f"{suite.name}, scale {scale}: median regret at the end of the budget, by device and limit"
            draw_devices(of_scale, line, title, paths[1])
        parts += [f"![{path.stem}](figures/{path.name})" for path in paths]
        for limits, of_limits in of_scale.groupby("limits", sort=False):
            parts += [f"### {suite.name}, scale {scale}, {limits}", agents_table(of_limits)]
    return parts


def _coverage(suite: Suite, rows: pandas.DataFrame, cells: Sequence[Cell]) -> str:
    """Say what a suite is for, and what of it was run."""
    text = f"{suite.description[:1].upper()}{suite.description[1:]}."
    submitted = rows[rows["submitted"]]
    rows = rows[~rows["submitted"]]
    if len(submitted):
        text += f" {len(submitted):,} searches were submitted: {', '.join(sorted(set(submitted['agent'])))}."
    if len(rows) == len(cells):
        return f"{text} All {len(rows):,} searches were run."
    devices = list(dict.fromkeys(cell.task.device_name for cell in cells))
    run = [device for device in devices if device in set(rows["device"])]
    where = "all devices" if len(run) == len(devices) > 1 else ", ".join(run)
    return f"{text} {len(rows):,} of {len(cells):,} searches were run, on {where}; each table says with how many runs."
