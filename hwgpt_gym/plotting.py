"""Figures of the benchmark. ``python -m hwgpt_gym.plotting --help`` draws them from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.dataset.measurements import DATASET_VARIABLE, load_dataset
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.optimum import ParetoFront, pareto_front
from hwgpt_gym.pareto import box, hypervolume_ratio, losses_sign, non_dominated
from hwgpt_gym.search_space import Encoded
from hwgpt_gym.style import new_figure, save_figure

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


def _draw_front(
    output: Annotated[Path, typer.Argument(help="The picture to write.")],
    scale: str = "s",
    device: str = "a6000",
    dataset: Annotated[
        Path | None, typer.Option(help="Folder of measurements: draw its architectures.", envvar=DATASET_VARIABLE)
    ] = None,
    samples: Annotated[int, typer.Option(help="Random architectures to draw.")] = 10_000,
    seed: int = 0,
) -> None:
    """Draw the exact front of perplexity and latency over random architectures and the dataset's."""
    from rich import print

    bench = Benchmark(scale, device)
    front = pareto_front(bench)
    compared = {"random": bench.space.sample(np.random.default_rng(seed), samples)}
    if dataset:
        compared["dataset"] = load_dataset(dataset)[scale].encoded
    figure = new_figure()
    plot_front(bench, front, sampled=compared["random"], measured=compared.get("dataset"), axes=figure.add_subplot())
    save_figure(figure, output)
    print(f"exact front: {len(front)} architectures")
    for name, encoded in compared.items():
        predicted = bench.evaluate(encoded, front.metrics)
        values = np.stack([predicted[metric] for metric in front.metrics], axis=1)
        ratio = hypervolume_ratio(values, front.values, box(bench, front.metrics))
        both = np.concatenate([front.values, values]) * losses_sign(front.metrics)
        beyond = int(non_dominated(both)[len(front) :].sum())
        print(f"{name}: {len(encoded)} architectures, hypervolume ratio {ratio:.4f}, beyond the front {beyond}")


if __name__ == "__main__":
    typer.run(_draw_front)
