"""Figures of the benchmark; ``hwgpt-gym plot`` draws them from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_type, echo
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.optimum import ParetoFront
from hwgpt_gym.pareto import box, hypervolume_ratio, losses_sign, non_dominated
from hwgpt_gym.search_space import Encoded
from hwgpt_gym.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_front(
    bench: Benchmark,
    front: ParetoFront,
    *,
    sampled: Encoded | None = None,
    measured: Encoded | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw an exact front of two metrics over other architectures.

    Args:
        bench: The benchmark of the front.
        front: The front: perplexity or accuracy, and one cost.
        sampled: Architectures drawn at random, ``int8 (n, D)``.
        measured: The dataset's architectures, ``int8 (n, D)``. They are drawn where the benchmark predicts them.
        axes: Where to draw; a new figure by default.

    Returns:
        The axes, the cost along x.

    Raises:
        ValueError: If the front is not of two metrics.
    """
    check_benchmark(bench)
    check_type("front", front, ParetoFront, "a ParetoFront, as pareto_front(bench, metrics) returns it")
    if axes is not None and not hasattr(axes, "step"):
        raise TypeError(f"axes must be Matplotlib's, or None for a new figure, got {echo(axes)}")
    if len(front.metrics) != 2:
        raise ValueError(f"front must be of two metrics, got {list(front.metrics)}")
    quality, cost = sorted(front.metrics, key=lambda metric: METRICS[metric].kind, reverse=True)
    axes = axes or new_figure().add_subplot()
    for encoded, label, colour in (
        (measured, "{:,} architectures of the dataset", "#e0a458"),
        (sampled, "{:,} random architectures", "#7a9cc6"),
    ):
        if encoded is not None:
            values = bench.evaluate(encoded, (cost, quality))
            name = label.format(len(encoded))
            axes.scatter(values[cost], values[quality], s=3, color=colour, alpha=0.5, linewidths=0, label=name)
    columns = [front.values[:, front.metrics.index(metric)] for metric in (cost, quality)]
    axes.step(*columns, where="post", color="#1d2b3a", linewidth=1.2)
    axes.plot(*columns, ".", color="#1d2b3a", markersize=4, label=f"exact front, {len(front):,} architectures")
    axes.set(xlabel=METRICS[cost].label, ylabel=METRICS[quality].label)
    axes.set_title(" · ".join([f"scale {bench.scale}", *(device.label for device in bench.devices)]), loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, markerscale=3.0)
    return axes


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
