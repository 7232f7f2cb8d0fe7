"""The tables of the leaderboard's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.agents.leaderboard.figures import format_regret
from hwgpt_gym.agents.leaderboard.rows import TARGETS, hits, regret_at
from hwgpt_gym.agents.leaderboard.statistics import interval, median, never
from hwgpt_gym.markdown import markdown_table

if TYPE_CHECKING:
    import pandas

COLUMNS: Final = (100, 1_000, 10_000, 20_000)
"""The checkpoints that the tables show."""

SUMMARY_LIMITS: Final = ("latency_ms=p10", "latency_ms=p30", "latency_ms=p50")
SUMMARY_COLUMNS: Final = (1_000, 20_000)


def agents_table(rows: pandas.DataFrame) -> str:
    """Tabulate the agents on tasks of one scale and limit.

    Args:
        rows: Searches.
    """
    shown = [point for point in COLUMNS if rows[regret_at(point)].notna().any()]
    header = ["agent", "devices × runs", *(f"regret at {point:,}" for point in shown)]
    header += [f"evaluations to {target:g} (never)" for target in TARGETS]
    header += ["optimal width", "processor s"]
    lines = []
    common = [point for point in shown if rows[regret_at(point)].notna().all()]
    for agent in _in_order(rows, common or shown):
        part = rows[rows["agent"] == agent]
        cells = [f"`{agent}`", f"{part['device'].nunique()} × {part['run'].nunique()}"]
        cells += [_interval_text(part, regret_at(point)) for point in shown]
        cells += [_hits_text(part, target) for target in TARGETS]
        cells += [f"{100.0 * part['optimal_width'].mean():.0f} %", f"{part['processor_s'].median():.2g}"]
        lines.append(cells)
    return markdown_table(header, lines)


def summary_table(rows: pandas.DataFrame) -> str:
    """Tabulate median regrets by agent, limit and budget: the numbers that a first reader wants.

    Args:
        rows: Searches of the suite ``core``.
    """
    limits = [limit for limit in SUMMARY_LIMITS if limit in set(rows["limits"])]
    header = ["agent", *(f"{limit.split('=')[1]}: {n:,}" for limit in limits for n in SUMMARY_COLUMNS)]
    header += [f"in the optimal width at {limit.split('=')[1]}" for limit in limits[:2]]
    lines = []
    for agent in _in_order(rows, SUMMARY_COLUMNS):
        parts = [rows[(rows["agent"] == agent) & (rows["limits"] == limit)] for limit in limits]
        cells = [f"`{agent}`"]
        cells += [_median_text(part[regret_at(n)]) for part in parts for n in SUMMARY_COLUMNS]
        cells += [f"{100.0 * part['optimal_width'].mean():.0f} %" if len(part) else "" for part in parts[:2]]
        lines.append(cells)
    return markdown_table(header, lines)


def _in_order(rows: pandas.DataFrame, points: Sequence[int]) -> list[str]:
    """Return the agents, best at the last of some checkpoints first."""
    agents = list(dict.fromkeys(rows["agent"]))

    def place(agent: str) -> tuple[float, ...]:
        part = rows[rows["agent"] == agent]
        values = [part[regret_at(point)].dropna() for point in reversed(points)]
        return tuple(float(median(value)) if len(value) else np.inf for value in values)

    return sorted(agents, key=lambda agent: (place(agent), agent))


def _interval_text(rows: pandas.DataFrame, column: str) -> str:
    known = rows[rows[column].notna()]
    if known.empty:
        return ""
    value, low, high = interval(known[column], list(known["device"]))
    texts = [format_regret(number) for number in (value, low, high)]
    return texts[0] if len(known) == 1 else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _median_text(values: pandas.Series[float]) -> str:
    known = values.dropna()
    return format_regret(float(median(known))) if len(known) else ""


def _hits_text(rows: pandas.DataFrame, target: float) -> str:
    middle = float(median(rows[hits(target)]))
    share = f"{100.0 * never(rows, target):.0f} %"
    return f"{middle:,.0f} ({share})" if np.isfinite(middle) else f"— ({share})"
