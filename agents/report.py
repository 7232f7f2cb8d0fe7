"""The leaderboard's report: a page in Markdown, a table in CSV and figures, all written from the result files."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.agents.leaderboard import Profile, get_profile, read_sessions
from hwgpt_gym.agents.statistics import Record, collect, interval, overtakes, to_table
from hwgpt_gym.files import write_text
from hwgpt_gym.version import __version__

if TYPE_CHECKING:
    import pandas

COLUMNS: Final = (100, 1_000, 10_000, 50_000, 100_000)
"""The checkpoints that the tables show."""

COMMON: Final = 1_000
"""The number of evaluations at which agents are ranked."""

_PACKAGES: Final = ("numpy", "torch", "stable-baselines3", "sb3-contrib", "optuna", "pymoo", "moocore", "scipy")


def write_report(
    profiles: Sequence[Profile | str] | Profile | str,
    folder: str | os.PathLike[str],
    page: str | os.PathLike[str] = "docs/leaderboard.md",
) -> Path:
    """Write the page, next to it ``leaderboard.csv`` and ``figures/leaderboard_*.png``.

    Args:
        profiles: One profile or several, all of them run.
        folder: Where the result files are.
        page: The page to write.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If a search of the profiles has not been run.
        ValueError: If a profile does not exist or a file is not valid.
    """
    from hwgpt_gym.agents.figures import draw_figures

    page = Path(page)
    chosen = [get_profile(item) for item in _as_list(profiles)]
    records = latest([item for profile in chosen for item in collect(profile, os.fspath(folder))])
    table = to_table(records)
    page.parent.mkdir(parents=True, exist_ok=True)
    figures = draw_figures(records, table, page.parent / "figures")
    _summary(table).to_csv(page.with_suffix(".csv"), index=False, float_format="%.6g")
    parts = [_head(chosen, records, folder)]
    for scale in dict.fromkeys(table["scale"]):
        of_scale = table[table["scale"] == scale]
        parts += [f"## Scale {scale}", _regret_table(of_scale, [r for r in records if r.cell.scale == scale])]
        parts += [f"![{path.stem}](figures/{path.name})" for path in figures if path.stem.endswith(f"_{scale}")]
        parts += _sections(of_scale, [r for r in records if r.cell.scale == scale])
    write_text(page, "\n\n".join(parts) + "\n")
    return page


def latest(records: Iterable[Record]) -> list[Record]:
    """Keep of every agent and scale the searches of its greatest budget: an agent's course depends on its budget."""
    items = list(records)
    greatest: dict[tuple[str, str], int] = {}
    for item in items:
        key = (item.cell.scale, item.cell.agent.name)
        greatest[key] = max(greatest.get(key, 0), item.cell.budget)
    return [item for item in items if item.cell.budget == greatest[item.cell.scale, item.cell.agent.name]]


def _as_list(profiles: Sequence[Profile | str] | Profile | str) -> list[Profile | str]:
    return [profiles] if isinstance(profiles, Profile | str) else list(profiles)


def _head(profiles: Sequence[Profile], records: Sequence[Record], folder: str | os.PathLike[str]) -> str:
    names = [profile.name for profile in profiles]
    options = " ".join(f"--profile {name}" for name in names)
    sessions = [session for session in read_sessions(folder) if session["profile"] in names]
    wall = sum(session["seconds"] for session in sessions) / 60.0
    workers = max((session["workers"] for session in sessions), default=1)
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    return "\n".join(
        [
            "# Leaderboard",
            "",
            "Written by",
            "",
            "```sh",
            f"python -m hwgpt_gym.agents.leaderboard {options}",
            "```",
            "",
            f"with hwgpt-gym {__version__}, Python {platform.python_version()}, {versions}: {len(records)} searches, "
            f"{sum(item.cpu_time for item in records) / 60.0:.1f} minutes of processor time, {wall:.1f} minutes of "
            f"wall time in {workers} processes over {len(sessions)} sessions, repeated searches included.",
            "",
            "Regret is the certified optimum's reward less that of the best architecture evaluated so far; the latency "
            "budget is the quantile `constraint` of `leaderboard.csv`. Numbers are interquartile means over "
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


def _regret_table(table: pandas.DataFrame, records: Sequence[Record]) -> str:
    reached = set(table[table["agent"] != "exact"]["evaluations"])
    shown = [point for point in COLUMNS if point in reached]
    header = ["agent", "budget", "devices × seeds", *(f"regret at {point:,}" for point in shown), "processor s a run"]
    rows = []
    for agent in _by_regret(table):
        part = table[table["agent"] == agent]
        runs = [item for item in records if item.cell.agent.name == agent]
        counts = f"{part['device'].nunique()} × {part['seed'].nunique()}"
        cells = [_interval_text(part[part["evaluations"] == point]["regret"].tolist()) for point in shown]
        seconds = float(np.median([item.cpu_time for item in runs]))
        rows.append([f"`{agent}`", f"{runs[0].cell.budget:,}", counts, *cells, f"{seconds:.2g}"])
    return markdown(header, rows)


def _by_regret(table: pandas.DataFrame) -> list[str]:
    """Return the agents, best at the common checkpoint first, those that do not reach it last."""
    common = table[table["evaluations"] == COMMON].groupby("agent")["regret"].mean()
    agents = list(dict.fromkeys(table["agent"]))
    return sorted(agents, key=lambda agent: (float(common.get(agent, np.inf)), agent))


def _interval_text(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean, low, high = interval(values)
    return f"{mean:.5f} [{low:.5f}, {high:.5f}]" if len(values) > 1 else f"{mean:.5f}"


def _sections(table: pandas.DataFrame, records: Sequence[Record]) -> list[str]:
    policies = [item for item in records if np.isfinite(item.greedy)]
    parts = _searchers(table)
    if policies:
        parts += ["### Policies", _policy_text(policies), _policy_table(policies), *_overtaking(table, policies)]
    volumes = table.dropna(subset="hypervolume_ratio")
    volumes = volumes[volumes["evaluations"] <= COMMON]
    if volumes["agent"].nunique() > 1:
        parts += ["### Trade-off of perplexity and latency", _volume_table(volumes)]
    return parts


def _searchers(table: pandas.DataFrame) -> list[str]:
    """Compare evolution and local search with random search on every device."""
    here = table[table["evaluations"] == COMMON]
    agents = [name for name in ("random_search", "local_search", "regularized_evolution") if name in set(here["agent"])]
    if len(agents) < 3:
        return []
    medians = here.pivot_table(index="device", columns="agent", values="regret", aggfunc="median", sort=False)
    rows = []
    for device, row in medians.iterrows():
        verdicts = ["yes" if row[agent] < row["random_search"] else "no" for agent in agents[1:]]
        rows.append([f"`{device}`", *(f"{row[agent]:.5f}" for agent in agents), *verdicts])
    won = sum(row[-2:] == ["yes", "yes"] for row in rows)
    header = ["device", *(f"`{agent}`" for agent in agents), *(f"`{agent}` beats random" for agent in agents[1:])]
    text = (
        f"Median regret after {COMMON:,} evaluations. Both local search and evolution beat random search on {won} of "
        f"{len(rows)} devices."
    )
    return [f"### Search after {COMMON:,} evaluations", text, markdown(header, rows)]


def _policy_text(records: Sequence[Record]) -> str:
    lines = []
    for agent in dict.fromkeys(item.cell.agent.name for item in records):
        runs = [item for item in records if item.cell.agent.name == agent]
        best = _medians(runs, lambda item: item.regret[max(item.regret)])
        greedy = _medians(runs, lambda item: item.greedy)
        lines.append(
            f"- `{agent}`, {runs[0].cell.budget:,} evaluations, {len(best)} devices × "
            f"{len({item.cell.seed for item in runs})} seeds: the worst device's median regret is "
            f"{max(best.values()):.5f} best so far and {max(greedy.values()):.5f} greedy; the slowest run took "
            f"{max(item.wall_time for item in runs):.0f} s of wall time, the greatest processor time is "
            f"{max(item.cpu_time for item in runs):.0f} s."
        )
    return "\n".join(lines)


def _medians(records: Sequence[Record], value: Callable[[Record], float]) -> dict[str, float]:
    """Return the median over seeds by device."""
    devices = dict.fromkeys(item.cell.device for item in records)
    return {
        device: float(np.median([value(item) for item in records if item.cell.device == device])) for device in devices
    }


def _policy_table(records: Sequence[Record]) -> str:
    agents = list(dict.fromkeys(item.cell.agent.name for item in records))
    devices = list(dict.fromkeys(item.cell.device for item in records))
    header = ["device", *(f"`{agent}` {kind}" for agent in agents for kind in ("best", "greedy", "wall s"))]
    columns: list[dict[str, str]] = []
    for agent in agents:
        runs = [item for item in records if item.cell.agent.name == agent]
        for form, value in (
            ("{:.5f}", lambda item: item.regret[max(item.regret)]),
            ("{:.5f}", lambda item: item.greedy),
            ("{:.0f}", lambda item: item.wall_time),
        ):
            columns.append({device: form.format(median) for device, median in _medians(runs, value).items()})
    rows = [[f"`{device}`", *(column.get(device, "") for column in columns)] for device in devices]
    return "Medians over seeds, at the end of the budget.\n\n" + markdown(header, rows)


def _overtaking(table: pandas.DataFrame, records: Sequence[Record]) -> list[str]:
    learners = list(dict.fromkeys(item.cell.agent.name for item in records))
    names = set(table["agent"])
    others = [name for name in ("random_search", "regularized_evolution", "local_search") if name in names]
    if not others:
        return []
    rows = []
    for learner in learners:
        row = [f"`{learner}`"]
        for other in others:
            point = overtakes(table, learner, other)
            shared = set(table[table["agent"] == learner]["evaluations"]) & set(
                table[table["agent"] == other]["evaluations"]
            )
            row.append(f"not within {max(shared):,}" if point is None else f"from {point:,} on")
        rows.append(row)
    text = (
        "Where policies overtake search: the checkpoint from which on an agent's interquartile mean regret is below "
        "the other's after the same number of evaluations."
    )
    return [
        "### Where reinforcement learning overtakes search",
        text,
        markdown(["agent", *map("`{}`".format, others)], rows),
    ]


def _volume_table(volumes: pandas.DataFrame) -> str:
    points = sorted(set(volumes["evaluations"]))
    rows = []
    for agent in dict.fromkeys(volumes["agent"]):
        part = volumes[volumes["agent"] == agent]
        cells = [part[part["evaluations"] == point]["hypervolume_ratio"].tolist() for point in points]
        rows.append([f"`{agent}`", *(_interval_text(values) for values in cells)])
    text = "Hypervolume of everything evaluated, as a share of that of the exact front.\n\n"
    return text + markdown(["agent", *(f"at {point:,}" for point in points)], rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
