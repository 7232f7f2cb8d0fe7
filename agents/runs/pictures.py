"""The pictures of a run: how it learned, what it visited, what it built.

Matplotlib is loaded by the first picture.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.console import format_metric
from hwgpt_gym.files import write_text
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.optimum.front import ParetoFront
from hwgpt_gym.style import AMBER, BLUE, FAINT, GREEN, INK, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hwgpt_gym.agents.result import SearchResult
    from hwgpt_gym.optimum import Optimum


_FRONT: Final = "front"
"""The id that :func:`~hwgpt_gym.plotting.plot_front` gives the front's points."""

_SVG: Final = "http://www.w3.org/2000/svg"

_SIZE: Final = (5.8, 4.4)
"""Inches; the report shows the charts side by side, where smaller ones have larger letters."""


def save_learning_curve(
    result: SearchResult, optimum: Optimum, path: Path, *, target: float | None, random: SearchResult | None = None
) -> None:
    """Draw regret over evaluations: of the best so far, of what is being built, of the greedy episode.

    Args:
        result: The run.
        optimum: The optimum.
        path: Where to, in the format of its suffix.
        target: The regret to reach, if there is one.
        random: Random search at the same number of evaluations.
    """
    figure = new_figure(*_SIZE)
    axes = figure.add_subplot()
    evaluations = np.arange(1, len(result) + 1)
    window = max(1, min(512, len(result) // 20))
    means = np.convolve(result.reward, np.full(window, 1.0 / window), mode="valid")
    axes.plot(evaluations[window - 1 :], optimum.reward - means, color=BLUE, alpha=0.45, linewidth=1.0,
              label=f"mean of the last {window}")  # fmt: skip
    if len(result.greedy_reward):
        axes.plot(result.greedy_evaluations, result.greedy_regret(optimum), "o-", color=AMBER, markersize=3.5,
                  linewidth=1.0, label="greedy episode")  # fmt: skip
    if random is not None:
        axes.step(np.arange(1, len(random) + 1), random.regret(optimum), where="post", color=FAINT, linewidth=1.4,
                  label="random search, best so far")  # fmt: skip
    axes.step(evaluations, result.regret(optimum), where="post", color=INK, linewidth=2.0,
              label=f"{result.agent}, best so far")  # fmt: skip
    if target:
        axes.axhline(target, color=GREEN, linewidth=1.0, linestyle=(0, (4, 3)), label=f"target {target:g}")
    # Regret can be exactly zero, which a logarithmic axis has no place for.
    axes.set_yscale("symlog", linthresh=1e-4)
    axes.set_ylim(bottom=0.0)
    axes.set(xlabel="architectures evaluated", ylabel="regret to the optimum")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.6)
    axes.legend(frameon=False, fontsize=9)
    save_figure(figure, path)


def save_pareto_picture(
    bench: Benchmark,
    front: ParetoFront,
    path: Path,
    *,
    result: SearchResult | None = None,
    optimum: Optimum | None = None,
) -> None:
    """Draw the exact front of two metrics, and what a run visited.

    Args:
        bench: The benchmark of the front.
        front: The front, of two metrics.
        path: Where to, in the format of its suffix; of an SVG, the front's points say what they are.
        result: The run: everything it evaluated, its best and its limits.
        optimum: The optimum of the run's objective.

    Raises:
        ValueError: If the front is not of two metrics.
    """
    from hwgpt_gym.plotting import plot_front

    figure = new_figure(*_SIZE)
    axes = figure.add_subplot()
    if result is not None:
        _draw_visited(axes, figure, bench, front, result)
    plot_front(bench, front, optimum=optimum, axes=axes)
    quality, cost = sorted(front.metrics, key=lambda metric: METRICS[metric].kind, reverse=True)
    if result is not None:
        point = bench.evaluate(result.encoded[result.best_index][None], (cost, quality))
        axes.plot(point[cost], point[quality], "o", color=GREEN, markersize=6, markeredgecolor="white", zorder=5,
                  label="best found")  # fmt: skip
    axes.legend(frameon=False, fontsize=9)
    if path.suffix.lower() == ".svg":
        _save_with_titles(figure, front, path)
    else:
        save_figure(figure, path)


def _save_with_titles(figure: Figure, front: ParetoFront, path: Path) -> None:
    """Write a figure as SVG in which every point of the front has a title, which browsers show."""
    from xml.etree import ElementTree

    from matplotlib import rc_context

    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": _FRONT}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    tree = ElementTree.fromstring(buffer.getvalue())
    (group,) = (element for element in tree.iter(f"{{{_SVG}}}g") if element.get("id") == _FRONT)
    for path_of_point in group.iter(f"{{{_SVG}}}path"):
        # A style of its own would keep the page from giving points a greater reach than they have ink.
        path_of_point.attrib.pop("style", None)
    for metadata in tree.findall(f"{{{_SVG}}}metadata"):
        tree.remove(metadata)
    for point, architecture, values in zip(
        group.iter(f"{{{_SVG}}}use"), front.architectures, front.values.tolist(), strict=True
    ):
        written = (
            f"{METRICS[key].label} {format_metric(key, value)}"
            for key, value in zip(front.metrics, values, strict=True)
        )
        ElementTree.SubElement(point, f"{{{_SVG}}}title").text = "\n".join([*written, str(architecture)])
    write_text(path, ElementTree.tostring(tree, encoding="unicode"))


def _draw_visited(axes: Axes, figure: Any, bench: Benchmark, front: ParetoFront, result: SearchResult) -> None:
    """Draw every architecture of a run, the later the darker."""
    quality, cost = sorted(front.metrics, key=lambda metric: METRICS[metric].kind, reverse=True)
    values = bench.evaluate(result.encoded, (cost, quality))
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("visited", ["#d6e6f2", BLUE, "#14406b"])
    drawn = axes.scatter(values[cost], values[quality], c=np.arange(1, len(result) + 1), cmap=colours, s=4, alpha=0.6,
                         linewidths=0, rasterized=True)  # fmt: skip
    bar = figure.colorbar(drawn, ax=axes, pad=0.01, aspect=35, format="{x:,.0f}")
    bar.set_label("visited at evaluation", color=FAINT, fontsize=9)
    bar.outline.set_visible(False)
    bar.solids.set_alpha(1.0)
