"""The tables of the leaderboard's page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.agents.leaderboard.statistics import Record, interquartile_mean, interval, overtakes

if TYPE_CHECKING:
    import pandas

COLUMNS: Final = (100, 1_000, 10_000, 50_000, 100_000)
"""The checkpoints that the tables show."""

COMMON: Final = 1_000
"""The number of evaluations at which agents are ranked."""

SEARCHERS: Final = ("random_search", "local_search", "regularized_evolution")
"""The agents without a policy that policies are compared with."""


def regret_table(table: pandas.DataFrame, records: Sequence[Record]) -> str:
    """Return the agents by row and their regret after several numbers of evaluations by column.

    Args:
        table: As :func:`hwgpt_gym.agents.leaderboard.statistics.to_table`, of one group of searches.
        records: The searches.
    """
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


def sections(table: pandas.DataFrame, records: Sequence[Record], all_budgets: Sequence[Record]) -> list[str]:
    """Return what else a page says of a group of searches: headlines, texts and tables.

    Args:
        table: As :func:`hwgpt_gym.agents.leaderboard.statistics.to_table`.
        records: The searches with each agent's greatest budget.
        all_budgets: Those with smaller budgets too.
    """
    policies = [item for item in records if np.isfinite(item.greedy)]
    parts = _searchers(table)
    if policies:
        parts += ["### Policies", _policy_text(policies), _policy_table(policies), *_overtaking(table, policies)]
        parts += _by_budget(table, [item for item in all_budgets if np.isfinite(item.greedy)])
    volumes = table.dropna(subset="hypervolume_ratio")
    volumes = volumes[volumes["evaluations"] <= COMMON]
    if volumes["agent"].nunique() > 1:
        parts += ["### Trade-off of perplexity and latency", _volume_table(volumes)]
    return parts


def _searchers(table: pandas.DataFrame) -> list[str]:
    """Compare evolution and local search with random search on every device."""
    here = table[table["evaluations"] == COMMON]
    agents = [name for name in SEARCHERS if name in set(here["agent"])]
    if len(agents) < len(SEARCHERS):
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
        f"{len(rows)} device{'s' * (len(rows) > 1)}."
    )
    return [f"### Search after {COMMON:,} evaluations", text, markdown(header, rows)]


def _policy_text(records: Sequence[Record]) -> str:
    lines = []
    for agent in dict.fromkeys(item.cell.agent.name for item in records):
        runs = [item for item in records if item.cell.agent.name == agent]
        best = _medians(runs, lambda item: item.final)
        greedy = _medians(runs, lambda item: item.greedy)
        seeds = len({item.cell.seed for item in runs})
        lines.append(
            f"- `{agent}`, {runs[0].cell.budget:,} evaluations, {len(best)} device{'s' * (len(best) > 1)} × "
            f"{seeds} seed{'s' * (seeds > 1)}: the worst device's median regret is "
            f"{max(best.values()):.5f} best so far and {max(greedy.values()):.5f} greedy; the slowest run took "
            f"{max(item.wall_time for item in runs):.0f} s of wall time, the greatest processor time is "
            f"{max(item.cpu_time for item in runs):.0f} s."
        )
    return "\n".join(lines)


def _medians(records: Sequence[Record], value: Callable[[Record], float]) -> dict[str, float]:
    """Return the median over seeds by device."""
    devices = dict.fromkeys(item.cell.device_name for item in records)
    return {
        device: float(np.median([value(item) for item in records if item.cell.device_name == device]))
        for device in devices
    }


def _policy_table(records: Sequence[Record]) -> str:
    agents = list(dict.fromkeys(item.cell.agent.name for item in records))
    devices = list(dict.fromkeys(item.cell.device_name for item in records))
    header = ["device", *(f"`{agent}` {kind}" for agent in agents for kind in ("best", "greedy", "wall s"))]
    columns: list[dict[str, str]] = []
    for agent in agents:
        runs = [item for item in records if item.cell.agent.name == agent]
        for form, value in (
            ("{:.5f}", lambda item: item.final),
            ("{:.5f}", lambda item: item.greedy),
            ("{:.0f}", lambda item: item.wall_time),
        ):
            columns.append({device: form.format(median) for device, median in _medians(runs, value).items()})
    rows = [[f"`{device}`", *(column.get(device, "") for column in columns)] for device in devices]
    return "Medians over seeds, at the end of the budget.\n\n" + markdown(header, rows)


def _overtaking(table: pandas.DataFrame, records: Sequence[Record]) -> list[str]:
    learners = list(dict.fromkeys(item.cell.agent.name for item in records))
    names = set(table["agent"])
    others = [name for name in SEARCHERS if name in names]
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
        "The checkpoint from which on an agent's interquartile mean regret is below the other's after the same number "
        "of evaluations, and never above it again. In these runs of the greatest budget, policies that anneal over it "
        "explore for long."
    )
    return [
        "### Where reinforcement learning overtakes search",
        text,
        markdown(["agent", *map("`{}`".format, others)], rows),
    ]


def _by_budget(table: pandas.DataFrame, records: Sequence[Record]) -> list[str]:
    """Compare policies that were trained with several budgets, each annealed over its own, with search."""
    budgets_of: dict[str, set[int]] = {}
    for item in records:
        budgets_of.setdefault(item.cell.agent.name, set()).add(item.cell.budget)
    learners = [name for name, budgets in budgets_of.items() if len(budgets) > 1]
    if not learners:
        return []
    others = [name for name in SEARCHERS if name in set(table["agent"])]
    rows = []
    for budget in sorted(set().union(*(budgets_of[name] for name in learners))):
        row = [f"{budget:,}"]
        for name in learners:
            runs = [item for item in records if (item.cell.agent.name, item.cell.budget) == (name, budget)]
            row += [_mean_text([item.final for item in runs])]
            row += [_mean_text([item.greedy for item in runs]), str(len(runs) or "")]
        at_budget = table[table["evaluations"] == budget]
        row += [_mean_text(at_budget[at_budget["agent"] == name]["regret"].tolist()) for name in others]
        rows.append(row)
    header = [
        "budget",
        *(f"`{name}` {kind}" for name in learners for kind in ("best", "greedy", "runs")),
        *map("`{}`".format, others),
    ]
    text = (
        "Interquartile means of the regret at the end of the budget. Every row's policies were trained anew and "
        "annealed over that budget; beside them stands search after as many evaluations."
    )
    return ["### Policies by budget", text, markdown(header, rows)]


def _mean_text(values: Sequence[float]) -> str:
    return f"{float(interquartile_mean(np.array(values))):.5f}" if len(values) else ""


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
