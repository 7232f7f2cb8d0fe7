"""Pictures: what they say, that they change with every decision, and that recorders take them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import matplotlib as mpl
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import RecordVideo

from hwgpt_gym import METRICS, Benchmark
from hwgpt_gym.envs.canvas import Canvas
from hwgpt_gym.envs.rendering import PAPER, Window, draw_frame, draw_view
from hwgpt_gym.envs.view import view_of
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

mpl.use("agg")


def finish(env: gym.Env[Any, Any], seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    while True:
        _, _, terminated, _, info = env.step(int(rng.integers(3)))
        if terminated:
            return info


@pytest.mark.parametrize("render_mode", ["human", "rgb_array", "ansi"])
@pytest.mark.parametrize("env_id", ["HWGPT-v0", "HWGPT-MO-v0"])
def test_every_mode_renders(env_id: str, render_mode: str) -> None:
    kinds = {"human": type(None), "rgb_array": np.ndarray, "ansi": str}
    env = gym.make(env_id, scale="m", render_mode=render_mode)
    env.reset(seed=0)
    assert isinstance(env.render(), kinds[render_mode])
    finish(env)
    assert isinstance(env.render(), kinds[render_mode])
    env.close()
    env.close()


def test_checker_renders_every_mode() -> None:
    check_env(gym.make("HWGPT-v0").unwrapped)


def test_frames_are_pixels_that_change_with_every_decision() -> None:
    env = gym.make("HWGPT-v0", render_mode="rgb_array")
    env.reset(seed=0)
    frames = [env.render()]
    for action in (2, 0, 1, 1, 0, 2):
        env.step(action)
        frames.append(env.render())
    assert all(frame.shape == (540, 960, 3) and frame.dtype == np.uint8 for frame in frames)
    for before, after in itertools.pairwise(frames):
        assert 50 < np.count_nonzero((before != after).any(axis=2)) < before.size // 3
    np.testing.assert_array_equal(env.render(), frames[-1])


def test_text_tells_the_architecture_its_costs_and_the_regret() -> None:
    env = gym.make("HWGPT-v0", device="h100", constraint={"latency_ms": "p30"}, render_mode="ansi")
    env.reset()
    assert "decision 1 of 27: embed_dim" in env.render()
    for action in (1, 0, 1):
        env.step(action)
    text = env.render()
    assert "NVIDIA H100: decision 4 of 23: MLP of layer 1" in text
    assert "embed_dim 384  n_layer 10  bias yes" in text
    info = finish(env)
    text = env.render()
    optimum = solve(Benchmark("s", "h100"), Objective({"latency_ms": "p30"}))
    regret = optimum.reward - (info["quality"] - info["penalty"])
    assert "complete after 23 decisions" in text
    assert f"perplexity {info['perplexity']:.2f} (reached)" in text
    assert f"exact optimum {optimum.reward:.3f}, regret {regret:.3f}" in text


def test_view_shows_what_a_noisy_episode_measured() -> None:
    env = gym.make("HWGPT-v0", noise=True).unwrapped
    env.reset(seed=0)
    info = finish(env)
    view = view_of(env._episodes, 0)
    assert view.gauges[0].value == info["latency_ms"]
    assert view.result.reward == info["quality"] - info["penalty"]
    assert Benchmark().evaluate(env.encoded)["latency_ms"][0] != info["latency_ms"]


@pytest.mark.parametrize("env_id", ["HWGPT-v0", "HWGPT-MO-v0"])
def test_what_was_handed_out_is_not_what_is_shown(env_id: str) -> None:
    env = gym.make(env_id, noise=True, device="all", render_mode="ansi")
    _, context = env.reset(seed=0)
    context.clear()
    info = finish(env)
    shown = env.render()
    info.get("constraint", {}).clear()
    info.clear()
    assert env.render() == shown
    assert "reached" in shown


@pytest.mark.parametrize("mode", AutoresetMode)
def test_lanes_show_what_scalar_environments_show(mode: AutoresetMode) -> None:
    arguments: dict[str, Any] = {"device": "all", "noise": True, "render_mode": "ansi"}
    native = gym.make_vec("HWGPT-v0", num_envs=3, autoreset_mode=mode, **arguments)
    sync = gym.make_vec("HWGPT-v0", 3, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **arguments)
    rng = np.random.default_rng(0)
    for envs in (native, sync):
        envs.reset(seed=5)
    ends = 0
    for _ in range(60):
        actions = rng.integers(0, 3, 3)
        terminations = native.step(actions)[2]
        sync.step(actions)
        ends += np.count_nonzero(terminations)
        if terminations.any() or rng.random() < 0.1:
            assert native.render() == sync.render()
        if mode is AutoresetMode.DISABLED and terminations.any():
            for envs in (native, sync):
                envs.reset(options={"reset_mask": terminations})
    assert ends >= 6


ALL_COSTS = {
    "latency_ms": "p90",
    "energy_j": "p10",
    "float16_memory_mb": "p50",
    "bfloat16_memory_mb": "p50",
    "params": "p50",
    "flops": "p50",
}


def texts_of(monkeypatch: pytest.MonkeyPatch, env: gym.Env[Any, Any]) -> list[str]:
    """Return what is written in a frame."""
    written: list[str] = []

    def write(canvas: Any, x: float, y: float, text: str, **style: Any) -> Any:
        written.append(text)
        return original(canvas, x, y, text, **style)

    original = Canvas.text
    with monkeypatch.context() as patch:
        patch.setattr(Canvas, "text", write)
        env.render()
    return written


@pytest.mark.parametrize("number", [1, 3, 4, 5, 6])
def test_every_constraint_stands_in_the_frame(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    costs = list(ALL_COSTS)[:number]
    constraint = {key: ALL_COSTS[key] for key in costs}
    env = gym.make("HWGPT-v0", constraint=constraint, penalty="hinge", render_mode="rgb_array")
    env.reset(seed=0)
    info = finish(env)
    texts = texts_of(monkeypatch, env)
    assert [text for text in texts if text in {METRICS[key].label for key in costs}] == [
        METRICS[key].label for key in costs
    ]
    limits = Objective(constraint).bind(Benchmark()).limits
    verdicts = ["✓ within limit" if info[key] <= limits[key] else "▲ over limit" for key in costs]
    assert [text for text in texts if "limit" in text] == verdicts


def test_over_and_within_differ_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = []
    for limit in ("p90", "p10"):
        env = gym.make("HWGPT-v0", constraint={"energy_j": limit}, penalty="hinge", render_mode="rgb_array")
        env.reset(seed=0)
        finish(env)
        texts = texts_of(monkeypatch, env)
        assert ("✓ within limit" in texts, "▲ over limit" in texts) == (limit == "p90", limit == "p10")
        # The bar of the gauge: hatched beyond the limit, so of two colours there.
        bar = env.render()[142:150, 827:843]
        frames.append(len(np.unique(bar.reshape(-1, 3), axis=0)))
    assert frames[0] == 1 < frames[1]


def test_several_objectives_have_medians_and_no_optimum() -> None:
    env = gym.make("HWGPT-MO-v0", costs=["params"], render_mode="ansi")
    env.reset()
    info = finish(env)
    text = env.render()
    verdict = "within" if info["params"] <= Benchmark().quantile("params", 0.5) else "over"
    assert f": {verdict} median (" in text
    assert "optimum" not in text
    assert "reward" not in text


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_window_shows_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    env = gym.make("HWGPT-v0", render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    view = view_of(env._episodes, 0)
    window = Window()
    # As if there were a display.
    monkeypatch.setattr(window, "_interactive", True)
    window.show(view, frames_per_second=100.0)
    np.testing.assert_array_equal(window._image.get_array(), env.render())
    window.close()


@pytest.mark.parametrize("render_mode", ["rgb_array", "ansi"])
def test_vector_environment_renders_every_lane(render_mode: str) -> None:
    envs = gym.make_vec("HWGPT-v0", num_envs=2, device="all", render_mode=render_mode)
    scalar = gym.make("HWGPT-v0", device="all", render_mode=render_mode)
    envs.reset(seed=3)
    scalar.reset(seed=4)
    for action in (2, 1, 0):
        envs.step(np.array([0, action]))
        scalar.step(action)
    frames = envs.render()
    assert len(frames) == 2
    np.testing.assert_array_equal(frames[1], scalar.render())


def test_without_a_mode_there_is_nothing_to_see() -> None:
    env = gym.make("HWGPT-v0").unwrapped
    env.reset()
    with pytest.warns(UserWarning, match="without a render mode"):
        assert env.render() is None
    envs = gym.make_vec("HWGPT-v0", num_envs=2)
    assert envs.render() is None


@pytest.mark.slow
def test_record_video(tmp_path: Path) -> None:
    env = RecordVideo(gym.make("HWGPT-v0", render_mode="rgb_array"), str(tmp_path / "videos"), disable_logger=True)
    env.reset(seed=0)
    finish(env)
    env.close()
    videos = list(tmp_path.glob("videos/*.mp4"))
    assert len(videos) == 1
    assert videos[0].stat().st_size > 1000


def matplotlib_frame(view: Any) -> np.ndarray:
    """The same frame as Matplotlib's own figure draws it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.4), dpi=100, facecolor=PAPER)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, 960), ylim=(0, 540))
    axes.axis("off")
    draw_view(axes, view)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def views() -> Iterator[Any]:
    """Episodes at different stages, with every kind of mark."""
    for costs in (list(ALL_COSTS), ["params"]):
        constraint = {key: ALL_COSTS[key] for key in costs}
        env = gym.make("HWGPT-v0", constraint=constraint, penalty="hinge").unwrapped
        env.reset(seed=0)
        for action in (2, 1, 1, 0, 1):
            env.step(action)
        yield view_of(env._episodes, 0)
        finish(env)
        yield view_of(env._episodes, 0)


def test_shapes_are_those_of_matplotlib_and_text_is_in_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    for view in views():
        frame, expected = draw_frame(view), matplotlib_frame(view)
        with monkeypatch.context() as patch:
            for drawn_on in (Canvas, Axes):
                patch.setattr(drawn_on, "text", lambda *place, **style: None)
            shapes = draw_frame(view)
            np.testing.assert_array_equal(shapes, matplotlib_frame(view))
        # Where text is, in blocks of 12 pixels: glyphs may lie a few pixels aside.
        ours, theirs = (
            (picture != shapes).any(axis=2).reshape(45, 12, 80, 12).mean(axis=(1, 3)) for picture in (frame, expected)
        )
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9
        assert ours.sum() == pytest.approx(theirs.sum(), rel=0.1)


def test_every_layer_has_its_numbers_at_the_largest_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    env = gym.make("HWGPT-v0", scale="l", render_mode="rgb_array")
    env.reset(seed=0)
    for action in (0, 2, *[1] * 73):
        env.step(action)
    texts = texts_of(monkeypatch, env)
    numbers = [int(text) for text in texts if text.isdigit()]
    # Of 36 layers each: its number, its heads, its MLP ratio; and the embedding and the depth.
    assert sorted(numbers) == sorted([*range(1, 37), *[16] * 36, *[3] * 36, 320, 36])


def test_text_beyond_the_edge_is_cut_off() -> None:
    canvas = Canvas(20, 10, PAPER)
    for place in ((-5.0, 2.0), (15.0, 2.0), (5.0, -3.0), (5.0, 9.0), (500.0, 2.0)):
        canvas.text(*place, "##", size=9, color="#000000")
    pixels = canvas.pixels()
    assert pixels.shape == (10, 20, 3)
    dark = (pixels < 100).any(axis=2)
    assert dark[:, 0].any()
    assert dark[:, -1].any()
    assert dark[0].any()
