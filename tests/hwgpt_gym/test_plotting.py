"""Figures show what they are given, and are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwgpt_gym import Benchmark
from hwgpt_gym.cli import app as cli
from hwgpt_gym.optimum import pareto_front, solve
from hwgpt_gym.plotting import plot_front
from hwgpt_gym.style import new_figure, save_figure

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("metrics", [("perplexity", "latency_ms"), ("energy_j", "accuracy")])
def test_front_is_drawn_with_the_cost_along_x(metrics: tuple[str, str], tmp_path: Path) -> None:
    bench = Benchmark("s", "h100")
    front = pareto_front(bench, metrics)
    sampled = bench.space.sample(np.random.default_rng(0), 50)
    figure = new_figure()
    axes = plot_front(bench, front, sampled=sampled, axes=figure.add_subplot())
    cost = next(metric for metric in metrics if metric in ("latency_ms", "energy_j"))
    np.testing.assert_array_equal(axes.lines[-1].get_xdata(), front.values[:, metrics.index(cost)])
    points = np.asarray(axes.collections[0].get_offsets())
    assert len(points) == 50
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(bench.evaluate(sampled)[cost]))
    save_figure(figure, tmp_path / "front.png")
    assert [file.name for file in tmp_path.iterdir()] == ["front.png"]


def test_the_optimum_and_its_limit_are_marked() -> None:
    bench = Benchmark("s", "h100")
    optimum = solve(bench, {"latency_ms": "p30", "energy_j": "p60"})
    sampled = bench.space.sample(np.random.default_rng(0), 50)
    axes = plot_front(bench, pareto_front(bench), sampled=sampled, measured=sampled[:20], optimum=optimum)
    limits, stars = optimum.objective.limits, [line for line in axes.lines if line.get_marker() == "*"]
    assert stars[0].get_xydata().tolist() == [[optimum.metrics["latency_ms"], optimum.metrics["perplexity"]]]
    assert any(set(line.get_xdata()) == {limits["latency_ms"]} for line in axes.lines)
    assert f"Latency (ms) ≤ {limits['latency_ms']:.3f}, Energy (J) ≤ {limits['energy_j']:.3f}" in axes.get_title("left")
    assert {"width 192", "width 384", "width 768", "limit"} <= {text.get_text() for text in axes.texts}
    # The dataset's lie on top of the random ones, and are smaller, so that both are seen.
    random, measured = axes.collections
    assert measured.get_sizes()[0] < random.get_sizes()[0]
    assert axes.collections.index(measured) > axes.collections.index(random)


def test_page_shows_what_its_command_prints(
    dataset_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["plot", "front", str(tmp_path / "front.png"), "--dataset", str(dataset_path)]
    assert cli.run(command) == 0
    printed = capsys.readouterr().out
    assert printed.strip() in (REPOSITORY / "docs" / "optimum.md").read_text(encoding="utf-8")


def test_illegal_arguments(tmp_path: Path) -> None:
    bench = Benchmark("s", "h100")
    front = pareto_front(bench, ("perplexity", "latency_ms", "energy_j"))
    with pytest.raises(ValueError, match="two metrics"):
        plot_front(bench, front)
    with pytest.raises(ValueError, match="not supported"):
        save_figure(new_figure(), tmp_path / "front.xyz")
    assert not list(tmp_path.iterdir())
