"""The leaderboard's figures: small multiples, one agent a panel, the others faint behind it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hwgpt_gym.agents.leaderboard.rows import CHECKPOINTS, regret_at
from hwgpt_gym.agents.leaderboard.statistics import curve, median
from hwgpt_gym.style import AMBER, BLUE, FAINT, INK, label_end, new_figure, save_figure

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP: Final = 0.5
"""The greatest regret of the axes."""

_TICKS: Final = (1e-3, 1e-2, 1e-1)


def draw_curves(rows: pandas.DataFrame, line: float, title: str, path: Path) -> None:
    """Draw regret over evaluations: agents by row, limits by column.

    The axis is linear from zero to what reality can tell, and logarithmic above.

    Args:
        rows: Searches of one scale.
        line: The regret below which reality cannot tell agents apart.
        title: The title.
        path: The file.
    """
    agents, limits = list(dict.fromkeys(rows["agent"])), list(dict.fromkeys(rows["limits"]))
    curves = {key: curve(part) for key, part in rows.groupby(["limits", "agent"], sort=False)}
    figure = new_figure(1.2 + 2.2 * len(limits), 0.9 + 1.25 * len(agents))
    grid = figure.subplots(len(agents), len(limits), sharex=True, sharey=True, squeeze=False)
    for (row, column), axes in np.ndenumerate(grid):
        for agent in agents:
            points, values = curves.get((limits[column], agent), (np.zeros(0), np.zeros((0, 3))))
            there = np.isfinite(values[:, 0])
            points, values = points[there], np.minimum(values[there], 2.0 * _TOP)
            if agent == agents[row]:
                axes.fill_between(points, values[:, 1], values[:, 2], color=BLUE, alpha=0.25, linewidth=0)
                axes.plot(points, values[:, 0], color=BLUE, linewidth=2.0, zorder=3)
                if len(points):
                    label_end(axes, points[-1], values[-1, 0], format_regret(values[-1, 0]), BLUE)
            else:
                axes.plot(points, values[:, 0], color=FAINT, linewidth=0.7, alpha=0.6)
        _dress(axes, line)
        if row == 0:
            axes.set_title(limits[column].replace(",", "\n"), fontsize=9, color=INK)
        if column == 0:
            axes.set_ylabel(agents[row].replace("_", "\n"), fontsize=8, rotation=0, ha="right", va="center")
    about = f"evaluations; in the shaded band, up to a regret of {_plain(line)}, reality cannot tell"
    figure.suptitle(_fill(title, figure, 10), fontsize=10, color=INK)
    figure.supxlabel(_fill(about, figure, 9), fontsize=9)
    save_figure(figure, path)


def _dress(axes: Axes, line: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=line, linscale=0.6)
    axes.set_ylim(-0.15 * line, _TOP)
    ticks = [line, *(tick for tick in _TICKS if tick > 1.5 * line)]
    axes.set_yticks([0.0, *ticks], ["0", *map(_plain, ticks)], fontsize=7)
    axes.minorticks_off()
    axes.tick_params(axis="x", labelsize=7)
    axes.axhspan(-line, line, color=AMBER, alpha=0.18, linewidth=0)
    axes.axhline(line, color=AMBER, linewidth=1.0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_devices(rows: pandas.DataFrame, line: float, title: str, path: Path) -> None:
    """Draw the regret at the end of the budget by device and limit, a panel for each agent.

    Args:
        rows: Searches of one scale.
        line: The regret below which reality cannot tell agents apart.
        title: The title.
        path: The file.
    """
    from matplotlib.colors import SymLogNorm

    agents = list(dict.fromkeys(rows["agent"]))
    limits, devices = list(dict.fromkeys(rows["limits"])), list(dict.fromkeys(rows["device"]))
    across = min(4, len(agents))
    down = -(-len(agents) // across)
    figure = new_figure(1.4 + 2.3 * across, 0.9 + down * (0.6 + 0.22 * len(devices)))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(agents) :]:
        axes.set_visible(False)
    for agent, axes in zip(agents, grid.flat, strict=False):
        values = _finals(rows[rows["agent"] == agent], devices, limits)
        axes.imshow(values, cmap="Blues", norm=SymLogNorm(line, vmin=0.0, vmax=_TOP), aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if value > 0.03 else INK
            text = "" if np.isnan(value) else format_regret(value)
            axes.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
        # What was not run is no zero.
        axes.patch.set(facecolor="white", hatch="////", edgecolor=FAINT)
        axes.set_title(agent, fontsize=8, color=INK)
        axes.set_xticks(range(len(limits)), [limit.split("=")[-1] for limit in limits], fontsize=7)
        axes.set_yticks(range(len(devices)), devices, fontsize=7)
    figure.suptitle(_fill(title, figure, 10), fontsize=10, color=INK)
    save_figure(figure, path)


def _fill(text: str, figure: Figure, size: float) -> str:
    """Break a text into lines that are not wider than the figure: a letter is about 0.6 of its size wide."""
    return textwrap.fill(text, int(72.0 * figure.get_figwidth() / (0.6 * size)))


def _plain(number: float) -> str:
    """Write a regret as axes and texts show it: one digit, no exponent."""
    return f"{float(f'{number:.0e}'):.9f}".strip("0")


def _finals(rows: pandas.DataFrame, devices: Sequence[str], limits: Sequence[str]) -> Any:
    """Return the median regret at the end of the budget, ``float64 (devices, limits)``, NaN where nothing was run."""
    values = np.full((len(devices), len(limits)), np.nan)
    for (device, limit), part in rows.groupby(["device", "limits"], sort=False):
        last = max(point for point in CHECKPOINTS if not part[regret_at(point)].isna().all())
        values[devices.index(device), limits.index(limit)] = median(part[regret_at(last)].dropna())
    return values


def format_regret(value: float) -> str:
    """Write a regret for people: zero as zero, two digits otherwise, and none where no limit was kept."""
    if not np.isfinite(value):
        return "none"
    if value < 5e-6:
        return "0"
    text = f"{value:.2f}" if value >= 0.1 else f"{value:.3f}" if value >= 0.01 else f"{value:.4f}"
    return (text if float(text) else f"{value:.5f}").lstrip("0")
