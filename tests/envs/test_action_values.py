"""The exact values of actions, asked of the environments: in any context, on any lane, and in the pictures."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from hwgpt_gym import Benchmark
from hwgpt_gym.envs.view import view_of
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import action_values, solve
from hwgpt_gym.penalties import PENALTIES
from hwgpt_gym.search_space import BIAS, NOT_SET


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("arguments", [{}, {"shaping": True}, {"scale": "m"}], ids=str)
def test_losses_of_an_episode_add_up_to_its_regret(arguments: dict[str, Any], penalty: str) -> None:
    constraint = {"latency_ms": "p30", "params": "p60"}
    env = gym.make("HWGPT-v0", device="h100", constraint=constraint, penalty=penalty, **arguments).unwrapped
    optimum = solve(Benchmark(env.bench.scale, "h100"), Objective(constraint, penalty))
    rng = np.random.default_rng(0)
    for seed in range(3):
        env.reset(seed=seed)
        terminated, lost = False, []
        while not terminated:
            values = env.action_values()
            assert values.shape == (3,)
            assert np.isneginf(values).tolist() == [False, False, len(lost) == BIAS]
            action = int(rng.integers(2))
            lost.append(values.max() - values[action])
            _, _, terminated, _, info = env.step(action)
        assert np.all(env.action_values() == -np.inf)
        assert sum(lost) == pytest.approx(optimum.reward - (info["quality"] - info["penalty"]), rel=1e-12, abs=1e-12)
        shown = view_of(env._episodes, 0)
        np.testing.assert_allclose(shown.lost[: len(lost)], lost, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_every_lane_has_the_values_of_its_own_context(penalty: str) -> None:
    arguments: dict[str, Any] = {"device": ["a6000", "cpu_xeon_gold"], "constraint": {"latency_ms": ("p20", "p80")}}
    envs = gym.make_vec("HWGPT-v0", num_envs=7, penalty=penalty, autoreset_mode=AutoresetMode.NEXT_STEP, **arguments)
    sync = gym.make_vec("HWGPT-v0", 7, vectorization_mode="sync", penalty=penalty, **arguments)
    rng = np.random.default_rng(1)
    _, infos = envs.reset(seed=3)
    sync.reset(seed=3)
    benches = {name: Benchmark("s", name) for name in arguments["device"]}
    for step in range(30):
        values = envs.action_values()
        assert values.shape == (7, 3)
        np.testing.assert_array_equal(values, sync.call("action_values"))
        if step < 20:
            limits = infos["constraint"]["latency_ms"]
            for lane in range(7):
                objective = Objective({"latency_ms": float(limits[lane])}, penalty)
                own = action_values(benches[infos["device"][lane]], objective, envs.encoded[[lane]])
                np.testing.assert_allclose(values[lane], own[0], rtol=1e-14, atol=1e-12)
        actions = rng.integers(0, 3, 7)
        envs.step(actions)
        sync.step(actions)


def test_values_are_those_without_noise() -> None:
    env = gym.make("HWGPT-v0", noise=True).unwrapped
    env.reset(seed=0)
    quiet = gym.make("HWGPT-v0").unwrapped
    quiet.reset(seed=0)
    np.testing.assert_array_equal(env.action_values(), quiet.action_values())


def test_many_contexts_are_solved_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    envs = gym.make_vec("HWGPT-v0", num_envs=9, device="all", constraint={"energy_j": ("p20", "p80")})
    envs.reset(seed=0)
    envs.step(np.zeros(9, dtype=np.int64))
    together = envs.action_values()
    monkeypatch.setattr("hwgpt_gym.envs.problems.TABLES", 2_000_000)
    np.testing.assert_array_equal(envs.action_values(), together)


def test_pictures_say_which_decisions_lost_most() -> None:
    env = gym.make("HWGPT-v0", device="a6000", constraint={"latency_ms": "p30"}, render_mode="ansi")
    best = solve(Benchmark("s", "a6000"), Objective({"latency_ms": "p30"})).encoded[0]
    env.reset()
    for choice in best[best != NOT_SET]:
        assert "lost" not in env.render()
        env.step(choice)
    assert "no decision lost as much as 0.001" in env.render()
    env.reset()
    # After the last decision no other one can make up for it, or go wrong with it.
    for column, choice in enumerate(best[best != NOT_SET]):
        env.step(choice if column != 22 else (choice + 1) % 3)
    view = view_of(env.unwrapped._episodes, 0)
    assert max(view.lost) == view.lost[22] > 0.0
    worst, lost = view.losses[0]
    assert worst == "heads of layer 10"
    assert f"lost most by heads of layer 10 {lost:.3f}" in env.render()


def test_bars_of_what_was_lost_are_drawn() -> None:
    env = gym.make("HWGPT-v0", device="a6000", constraint={"latency_ms": "p30"}, render_mode="rgb_array")
    best = solve(Benchmark("s", "a6000"), Objective({"latency_ms": "p30"})).encoded[0]

    def red(change: int | None) -> int:
        """Count the red pixels below the layers."""
        env.reset()
        for column, choice in enumerate(best[best != NOT_SET]):
            env.step(choice if column != change else (choice + 1) % 3)
        strip = env.render()[470:512, 40:620].astype(int)
        return int(np.count_nonzero(strip[..., 0] - strip[..., 1] > 80))

    assert red(None) == 0
    assert red(22) > 20
