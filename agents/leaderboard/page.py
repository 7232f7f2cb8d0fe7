"""The leaderboard's report: a page in Markdown, a table in CSV and figures, all written from the result files."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hwgpt_gym.agents.leaderboard.execute import read_sessions
from hwgpt_gym.agents.leaderboard.statistics import Record, collect, to_table
from hwgpt_gym.agents.leaderboard.suites import SUITES, Suite, get_suite
from hwgpt_gym.agents.leaderboard.tables import regret_table, sections
from hwgpt_gym.files import write_text
from hwgpt_gym.objective import DEFAULT_PENALTY
from hwgpt_gym.version import __version__

if TYPE_CHECKING:
    import pandas

_PACKAGES: Final = ("numpy", "torch", "stable-baselines3", "sb3-contrib", "optuna", "pymoo", "moocore", "scipy")


def write_report(
    suites: Sequence[Suite | str] | Suite | str,
    folder: str | os.PathLike[str],
    page: str | os.PathLike[str] = "docs/leaderboard.md",
    *,
    command: str | None = None,
) -> Path:
    """Write the page, next to it ``leaderboard.csv`` and ``figures/leaderboard_*.png``.

    Args:
        suites: One suite or several, all of them run.
        folder: Where the result files are.
        page: The page to write.
        command: The command that the page says it is written by; by default that of the suites, if all have a name.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If a search of the suites has not been run.
        ValueError: If a suite does not exist or a file is not valid.
    """
    from hwgpt_gym.agents.leaderboard.figures import draw_figures

    page = Path(page)
    (page.parent / "figures").mkdir(parents=True, exist_ok=True)
    chosen = [get_suite(item) for item in _as_list(suites)]
    # Suites may have searches in common.
    cells = {cell.path(Path(folder)): cell for suite in chosen for cell in suite.cells()}
    everything = collect(cells.values(), folder)
    records = latest(everything)
    summary = _summary(to_table(everything))
    write_text(page.with_suffix(".csv"), summary.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    if command is None and all(SUITES.get(suite.name) is suite for suite in chosen):
        words = [word for suite in chosen for word in ("--suite", suite.name)]
        command = shlex.join(["hwgpt-gym", "leaderboard", *words, "--output", str(folder), "--page", str(page)])
    parts = [_head(chosen, everything, folder, command)]
    for group in groups(records):
        table = to_table(group.records)
        parts += [f"## {group.title}", regret_table(table, group.records)]
        for path in draw_figures(group.records, table, page.parent / "figures", group.name):
            parts.append(f"![{path.stem}](figures/{path.name})")
        parts += sections(table, group.records, group.of(everything))
    write_text(page, "\n\n".join(parts) + "\n")
    return page


@dataclass(frozen=True)
class Group:
    """Searches that compare: all of its agents were run on all of its devices.

    Attributes:
        scale: The search space.
        devices: The devices.
        records: The searches.
        whole: Whether these are all devices that the scale has searches on.
    """

    scale: str
    devices: tuple[str, ...]
    records: list[Record]
    whole: bool

    @property
    def title(self) -> str:
        """The headline."""
        return f"Scale {self.scale}" if self.whole else f"Scale {self.scale}: {', '.join(self.devices)}"

    @property
    def name(self) -> str:
        """What files are called by."""
        return "_".join([self.scale] if self.whole else [self.scale, *self.devices])

    def of(self, records: Iterable[Record]) -> list[Record]:
        """Return the records of the group's scale, devices and agents."""
        agents = {item.cell.agent.name for item in self.records}
        return [
            item
            for item in records
            if item.cell.scale == self.scale
            and item.cell.device_name in self.devices
            and item.cell.agent.name in agents
        ]


def groups(records: Sequence[Record]) -> list[Group]:
    """Divide searches by scale, and where agents differ in the devices they were run on, by these devices too.

    Where some agents were run on a part of the devices only, there is a second group of this part, with every agent
    that was run on all of it.
    """
    result = []
    for scale in dict.fromkeys(item.cell.scale for item in records):
        of_scale = [item for item in records if item.cell.scale == scale]
        order = tuple(dict.fromkeys(item.cell.device_name for item in of_scale))
        covered: dict[str, set[str]] = {}
        for item in of_scale:
            covered.setdefault(item.cell.agent.name, set()).add(item.cell.device_name)
        parts = {tuple(device for device in order if device in devices) for devices in covered.values()}
        for devices in sorted(parts, key=lambda part: (-len(part), part)):
            inside = [
                item
                for item in of_scale
                if item.cell.device_name in devices and covered[item.cell.agent.name].issuperset(devices)
            ]
            result.append(Group(scale, devices, inside, whole=devices == order))
    return result


def latest(records: Iterable[Record]) -> list[Record]:
    """Keep of every agent and scale the searches of its greatest budget: an agent's course depends on its budget."""
    items = list(records)
    greatest: dict[tuple[str, str], int] = {}
    for item in items:
        key = (item.cell.scale, item.cell.agent.name)
        greatest[key] = max(greatest.get(key, 0), item.cell.budget)
    return [item for item in items if item.cell.budget == greatest[item.cell.scale, item.cell.agent.name]]


def _as_list(suites: Sequence[Suite | str] | Suite | str) -> list[Suite | str]:
    return [suites] if isinstance(suites, Suite | str) else list(suites)


def _head(
    suites: Sequence[Suite], records: Sequence[Record], folder: str | os.PathLike[str], command: str | None
) -> str:
    names = [suite.name for suite in suites]
    sessions = [session for session in read_sessions(folder) if session.suite in names]
    wall = sum(session.seconds for session in sessions) / 60.0
    workers = max((session.workers for session in sessions), default=1)
    written_by = ["Written by", "", "```sh", command, "```", ""] if command else ["Written from Python", ""]
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    return "\n".join(
        [
            "# Leaderboard",
            "",
            *written_by,
            f"with hwgpt-gym {__version__}, Python {platform.python_version()}, {versions}: {len(records)} searches, "
            f"{sum(item.cpu_time for item in records) / 60.0:.1f} minutes of processor time, {wall:.1f} minutes of "
            f"wall time in {workers} processes, repeated searches included.",
            "",
            f"The penalty is `{DEFAULT_PENALTY}`. "
            "Regret is the optimum's reward less that of the best architecture evaluated so far; the limit "
            "of latency is the quantile `constraint` of `leaderboard.csv`. Numbers are interquartile means over "
            "devices and seeds with 95 % bootstrap intervals, unless they are called medians. An agent's course may "
            "depend on its budget: policies anneal over it, so after 1,000 of 50,000 evaluations they still explore.",
        ]
    )


def _summary(table: pandas.DataFrame) -> pandas.DataFrame:
    """Return the statistics per scale, device, constraint, agent and checkpoint."""
    keys = ["scale", "device", "constraint", "agent", "budget", "evaluations"]
    grouped = table.groupby(keys, sort=False)
    return grouped.agg(
        seeds=("seed", "size"),
        regret_median=("regret", "median"),
        regret_least=("regret", "min"),
        regret_greatest=("regret", "max"),
        hypervolume_ratio_median=("hypervolume_ratio", "median"),
    ).reset_index()
