"""The leaderboard's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hwgpt_gym.agents.leaderboard.statistics import Record, interval, ranks
from hwgpt_gym.files import replacing

if TYPE_CHECKING:
    import pandas

FLOOR: Final = 1e-6
"""Regrets below it are drawn on it: a logarithmic axis has no zero."""

_RANKED_AT: Final = 1_000


def draw_figures(records: Sequence[Record], table: pandas.DataFrame, folder: Path, name: str) -> list[Path]:
    """Draw regret over evaluations, greedy regret, ranks by device and hypervolume ratio, as far as there are any.

    Args:
        records: The searches, of one scale.
        table: As :func:`hwgpt_gym.agents.leaderboard.statistics.to_table`.
        folder: Where the figures go, ``leaderboard_{kind}_{name}.png``.
        name: What the files are called by.

    Returns:
        The files that were written.
    """
    figures = {"regret": _draw_curves(table, "regret")}
    if any(len(item.greedy_curve) for item in records):
        figures["greedy"] = _draw_greedy(records)
    if table["device"].nunique() > 1 and (table["evaluations"] == _RANKED_AT).any():
        figures["rank"] = _draw_ranks(ranks(table, _RANKED_AT))
    volumes = table.dropna(subset="hypervolume_ratio")
    if volumes["agent"].nunique() > 1:
        figures["hypervolume"] = _draw_curves(volumes, "hypervolume_ratio")
    return [_save(figure, folder / f"leaderboard_{kind}_{name}.png") for kind, figure in figures.items()]


def _new_figure(width: float = 7.0, height: float = 4.5) -> tuple[Any, Any]:
    # Without pyplot there is no global state, and no display is needed.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    return path


def _draw_curves(table: pandas.DataFrame, column: str) -> Any:
    figure, axes = _new_figure(9.0)
    for index, agent in enumerate(name for name in dict.fromkeys(table["agent"]) if name != "exact"):
        part = table[table["agent"] == agent]
        points = sorted(set(part["evaluations"]))
        intervals = np.array([interval(part[part["evaluations"] == point][column].tolist()) for point in points])
        intervals = np.maximum(intervals, FLOOR)
        _draw_line(axes, np.array(points), intervals, agent, index)
    axes.set_xscale("log")
    axes.set_xlabel("Evaluations")
    if column == "regret":
        axes.set_yscale("log")
        axes.set_ylabel("Best-so-far regret (interquartile mean, 95 % interval)")
        axes.set_ylim(FLOOR * 0.7, 0.3)
    else:
        axes.set_ylabel("Hypervolume ratio (interquartile mean, 95 % interval)")
    axes.grid(alpha=0.3)
    if axes.lines:
        # Beside the axes: there are too many agents for a corner.
        figure.legend(fontsize="small", loc="outside right upper")
    devices = table["device"].unique()
    axes.set_title(f"Scale {table['scale'].iloc[0]}, {devices[0] if len(devices) == 1 else f'{len(devices)} devices'}")
    return figure


def _draw_line(axes: Any, points: Any, intervals: Any, label: str, index: int) -> None:
    # Colours repeat after ten agents: then the next marker and a dashed line tell them apart.
    color, marker = f"C{index % 10}", "os^vDP*X<>"[(index + index // 10) % 10]
    style = "-" if index < 10 else "--"
    axes.plot(points, intervals[:, 0], style, color=color, marker=marker, markersize=4, label=label)
    axes.fill_between(points, intervals[:, 1], intervals[:, 2], color=color, alpha=0.15, linewidth=0)


def _draw_greedy(records: Sequence[Record]) -> Any:
    figure, axes = _new_figure()
    agents = dict.fromkeys(item.cell.agent.name for item in records if item.greedy_curve)
    for index, agent in enumerate(agents):
        runs = [item for item in records if item.cell.agent.name == agent]
        # Checkpoints fall where rollouts end: bring them to a common grid, each run at its latest one so far.
        points = np.linspace(0.0, runs[0].cell.budget, 26)[1:].round().astype(int)
        curves = np.array([_at(item.greedy_curve, points) for item in runs])
        known = ~np.isnan(curves).any(axis=0)
        intervals = np.array([interval(column.tolist()) for column in curves[:, known].T])
        _draw_line(axes, points[known], np.maximum(intervals, FLOOR), agent, index)
    axes.set_yscale("log")
    axes.set_xlabel("Evaluations")
    axes.set_ylabel("Greedy regret (interquartile mean, 95 % interval)")
    axes.set_ylim(FLOOR * 0.7, 1.0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    axes.set_title(f"Scale {records[0].cell.scale}: the policy's greedy architecture")
    return figure


def _at(curve: dict[int, float], points: Any) -> Any:
    """Return the last value at or before each point, ``nan`` before the first."""
    known = np.array(sorted(curve))
    values = np.array([curve[int(point)] for point in known])
    index = np.searchsorted(known, points, side="right") - 1
    return np.where(index >= 0, values[np.maximum(index, 0)], np.nan)


def _draw_ranks(ranked: pandas.DataFrame) -> Any:
    figure, axes = _new_figure(8.0, 0.6 + 0.42 * len(ranked) + 1.2)
    image = axes.imshow(ranked.to_numpy(), cmap="viridis_r", aspect="auto")
    for row, column in np.ndindex(*ranked.shape):
        value = float(ranked.to_numpy()[row, column])
        shade = "white" if value > ranked.to_numpy().max() / 2 else "black"
        axes.text(column, row, f"{value:g}", ha="center", va="center", fontsize=8, color=shade)
    axes.set_xticks(range(ranked.shape[1]), list(ranked.columns), rotation=45, ha="right")
    axes.set_yticks(range(len(ranked)), list(ranked.index))
    axes.set_title(f"Rank by median regret after {_RANKED_AT:,} evaluations (1 is best)")
    figure.colorbar(image, ax=axes, label="rank")
    return figure
