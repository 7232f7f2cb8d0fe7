"""Figures of the benchmark; ``hwgpt-gym plot`` draws them from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_type, echo
from hwgpt_gym.console import limits_in_words
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.optimum import Optimum, ParetoFront
from hwgpt_gym.pareto import box, hypervolume_ratio, losses_sign, non_dominated
from hwgpt_gym.search_space import EMBED_DIM, Encoded
from hwgpt_gym.style import AMBER, BLUE, INK, RED, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDEST: Final = 60
"""Characters of a title; of a longer one, limits stand on a line of their own."""


def plot_front(
    bench: Benchmark,
    front: ParetoFront,
    *,
    sampled: Encoded | None = None,
    measured: Encoded | None = None,
    optimum: Optimum | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw an exact front of two metrics over other architectures.

    Args:
        bench: The benchmark of the front.
        front: The front: perplexity or accuracy, and one cost.
        sampled: Architectures drawn at random, ``int8 (n, D)``.
        measured: The dataset's architectures, ``int8 (n, D)``. They are drawn where the benchmark predicts them.
        optimum: The optimum to mark, with its limit if that is one of the front's cost.
        axes: Where to draw; a new figure by default.

    Returns:
        The axes, the cost along x.

    Raises:
        ValueError: If the front is not of two metrics.
    """
    check_benchmark(bench)
    check_type("front", front, ParetoFront, "a ParetoFront, as pareto_front(bench, metrics) returns it")
    if optimum is not None:
        check_type("optimum", optimum, Optimum, "an Optimum, as solve(bench, objective) returns it")
    if axes is not None and not hasattr(axes, "step"):
        raise TypeError(f"axes must be Matplotlib's, or None for a new figure, got {echo(axes)}")
    if len(front.metrics) != 2:
        raise ValueError(f"front must be of two metrics, got {list(front.metrics)}")
    quality, cost = sorted(front.metrics, key=lambda metric: METRICS[metric].kind, reverse=True)
    axes = axes or new_figure().add_subplot()
    # Random ones are a pale ground, so that those of the dataset are seen on it.
    for encoded, label, colour, size, alpha in (
        (sampled, "{:,} random architectures", "#cfe0ee", 22.0, 1.0),
        (measured, "{:,} architectures of the dataset", "#c77d1a", 2.5, 0.55),
    ):
        if encoded is not None:
            values = bench.evaluate(encoded, (cost, quality))
            name = label.format(len(encoded))
            axes.scatter(values[cost], values[quality], s=size, color=colour, alpha=alpha, linewidths=0, label=name,
                         rasterized=True)  # fmt: skip
    columns = [front.values[:, front.metrics.index(metric)] for metric in (cost, quality)]
    axes.step(*columns, where="post", color=INK, linewidth=1.2)
    # By its name, an SVG's points can be found.
    axes.plot(*columns, ".", color=INK, markersize=3.5, gid="front", label=f"exact front, {len(front):,} architectures")
    if sampled is not None:
        _name_widths(axes, bench, sampled, cost, quality)
    title = [f"scale {bench.scale}", *(device.label for device in bench.devices)]
    if optimum is not None:
        title.append(limits_in_words(optimum.objective.limits))
        _mark_optimum(axes, bench, optimum, cost, quality)
    axes.set(xlabel=METRICS[cost].label, ylabel=METRICS[quality].label)
    line = " · ".join(title)
    axes.set_title(line if len(line) <= _WIDEST else " · ".join(title[:-1]) + f"\n{title[-1]}", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return axes


def _name_widths(axes: Axes, bench: Benchmark, encoded: Encoded, cost: str, quality: str) -> None:
    """Write beside each cloud of random architectures how wide they are."""
    values = bench.evaluate(encoded, (cost, quality))
    for choice, width in enumerate(bench.space.embed_dims):
        own = encoded[:, EMBED_DIM] == choice
        if own.any():
            place = (np.median(values[cost][own]), np.median(values[quality][own]))
            axes.annotate(f"width {width}", place, (36, 12), textcoords="offset points", color=BLUE, fontsize=9)


def _mark_optimum(axes: Axes, bench: Benchmark, optimum: Optimum, cost: str, quality: str) -> None:
    """Draw the optimum, and the limit of the cost."""
    point = bench.evaluate(optimum.encoded, (cost, quality))
    limits = optimum.objective.limits
    if cost in limits:
        axes.axvline(limits[cost], color=RED, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.annotate("limit", (limits[cost], 0.02), (4, 0), xycoords=("data", "axes fraction"),
                      textcoords="offset points", color=RED, fontsize=9)  # fmt: skip
    axes.plot(point[cost], point[quality], "*", color=AMBER, markersize=14, markeredgecolor=INK, markeredgewidth=0.8,
              zorder=4, label=optimum.title)  # fmt: skip


def compare_with_front(bench: Benchmark, front: ParetoFront, encoded: Encoded) -> tuple[float, int]:
    """Return the share of a front's hypervolume that architectures reach, and how many lie beyond the front.

    Args:
        bench: The benchmark of the front.
        front: The front.
        encoded: The architectures, ``int8 (n, D)``.
    """
    check_benchmark(bench)
    check_type("front", front, ParetoFront, "a ParetoFront, as pareto_front(bench, metrics) returns it")
    predicted = bench.evaluate(encoded, front.metrics)
    values = np.stack([predicted[metric] for metric in front.metrics], axis=1)
    both = np.concatenate([front.values, values]) * losses_sign(front.metrics)
    beyond = int(non_dominated(both)[len(front) :].sum())
    return hypervolume_ratio(values, front.values, box(bench, front.metrics)), beyond
