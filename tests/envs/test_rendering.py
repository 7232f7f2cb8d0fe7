"""Pictures: what they say, that they change with every decision, and that recorders take them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import gymnasium as gym
import matplotlib as mpl
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo

from hwgpt_gym import Benchmark
from hwgpt_gym.envs.rendering import Window
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
    assert "NVIDIA H100: decision 4 of 23: mlp_ratio_0" in text
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
    view = view_of(env._episodes, 0, info)
    assert view.gauges[0].value == info["latency_ms"]
    assert view.result.reward == info["quality"] - info["penalty"]
    assert view_of(env._episodes, 0).gauges[0].value != info["latency_ms"]


def test_several_objectives_have_medians_and_no_optimum() -> None:
    env = gym.make("HWGPT-MO-v0", costs=["params"], render_mode="ansi")
    env.reset()
    info = finish(env)
    text = env.render()
    verdict = "within" if info["params"] <= Benchmark().quantile("params", 0.5) else "over"
    assert f": {verdict} median (" in text
    assert "optimum" not in text
    assert "reward" not in text


def test_no_optimum_where_nothing_is_feasible() -> None:
    env = gym.make("HWGPT-v0", constraint={"latency_ms": 0.001}, penalty="hard", render_mode="ansi")
    env.reset()
    finish(env)
    assert "optimum" not in env.render()


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
