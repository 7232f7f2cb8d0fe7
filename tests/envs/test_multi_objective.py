"""The multi-objective environment, alone and under MO-Gymnasium's wrappers."""

from __future__ import annotations

import re
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

pytest.importorskip("mo_gymnasium", reason="needs hwgpt-gym[multi-objective]")

import mo_gymnasium
from mo_gymnasium.wrappers import LinearReward, MORecordEpisodeStatistics
from mo_gymnasium.wrappers.vector import MORecordEpisodeStatistics as MOVectorStatistics
from mo_gymnasium.wrappers.vector import MOSyncVectorEnv

from hwgpt_gym import Architecture, Benchmark
from hwgpt_gym.envs.multi_objective import HWGPTMultiObjectiveEnv, HWGPTMultiObjectiveVectorEnv


def rollout(env: Any, actions: list[int]) -> tuple[Any, dict[str, Any]]:
    for action in actions:
        _, reward, terminated, _, info = env.step(action)
        if terminated:
            return reward, info
        assert not np.any(reward)
    raise AssertionError("the episode did not end")


@pytest.mark.parametrize(
    "options",
    [{}, {"costs": ["params", "energy_j", "latency_ms"], "scale": "m"}, {"device": "all"}, {"noise": True}],
    ids=str,
)
def test_reward_is_quality_and_relative_costs(options: dict[str, Any]) -> None:
    env = gym.make("HWGPT-MO-v0", **options)
    scalar = gym.make("HWGPT-v0", **{key: value for key, value in options.items() if key != "costs"})
    space = env.unwrapped.reward_space
    for seed in range(5):
        _, context = env.reset(seed=seed)
        scalar.reset(seed=seed)
        actions = np.random.default_rng(seed).integers(0, 3, 60).tolist()
        reward, info = rollout(env, actions)
        _, expected = rollout(scalar, actions)
        bench = Benchmark(options.get("scale", "s"), info.get("device", "a6000"))
        costs = options.get("costs", ["latency_ms"])
        vector = [expected["quality"], *(-info[key] / bench.quantile(key, 0.5) for key in costs)]
        np.testing.assert_allclose(reward, vector, rtol=1e-6)
        assert reward.dtype == np.float32
        assert space.contains(reward)
        assert not {"penalty", "feasible", "constraint"} & (info.keys() | context.keys())
        # With the same seed, noise is the scalar environment's as well.
        assert {key: info[key] for key in bench.metrics} == {key: expected[key] for key in bench.metrics}


def test_cheapest_and_dearest_lie_within_the_reward_space() -> None:
    env = gym.make("HWGPT-MO-v0", costs=["latency_ms", "params", "float16_memory_mb"])
    for action in (0, 1, 2):
        env.reset()
        assert env.unwrapped.reward_space.contains(rollout(env, [action] * 30)[0])


def test_wrappers_of_mo_gymnasium() -> None:
    weight = np.array([0.8, 0.2])
    env = LinearReward(MORecordEpisodeStatistics(mo_gymnasium.make("HWGPT-MO-v0", device="h100")), weight=weight)
    env.reset(seed=0)
    reward, info = rollout(env, [1] * 30)
    assert reward == pytest.approx(float(np.dot(info["vector_reward"], weight)))
    np.testing.assert_array_equal(info["episode"]["r"], info["vector_reward"])
    assert info["episode"]["l"] == 25


def test_vectors_of_mo_gymnasium() -> None:
    envs = MOSyncVectorEnv([lambda: mo_gymnasium.make("HWGPT-MO-v0") for _ in range(3)])
    envs.reset(seed=0)
    for _ in range(23):
        rewards, terminations = envs.step(np.array([0, 0, 1]))[1:3]
    assert rewards.shape == (3, 2)
    assert terminations.tolist() == [True, True, False]
    np.testing.assert_array_equal(rewards[0], rewards[1])


def make_sync(num_envs: int, mode: AutoresetMode, **options: Any) -> SyncVectorEnv:
    """Gymnasium's loop over scalar environments, with room for vectors of rewards."""
    envs = SyncVectorEnv([lambda: gym.make("HWGPT-MO-v0", **options) for _ in range(num_envs)], autoreset_mode=mode)
    envs._rewards = np.zeros((num_envs, envs.envs[0].unwrapped.reward_dim), dtype=np.float32)
    return envs


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"costs": ["params", "energy_j", "latency_ms"], "scale": "m", "device": "all"},
        {"device": ["h100", "cpu_xeon_gold"], "noise": True},
    ],
    ids=str,
)
def test_native_vector_equals_scalar_step_by_step(mode: AutoresetMode, options: dict[str, Any]) -> None:
    native: Any = gym.make_vec("HWGPT-MO-v0", num_envs=4, autoreset_mode=mode, **options)
    sync = make_sync(4, mode, **options)
    assert isinstance(native.unwrapped, HWGPTMultiObjectiveVectorEnv)
    assert native.unwrapped.reward_space == sync.envs[0].unwrapped.reward_space
    assert data_equivalence(native.reset(seed=2), sync.reset(seed=2), exact=True)
    rng = np.random.default_rng(0)
    rewarded = 0
    for _ in range(120):
        actions = rng.integers(0, 3, 4)
        result = native.step(actions)
        assert data_equivalence(result, sync.step(actions), exact=True)
        rewards, terminations = result[1:3]
        assert rewards.shape == (4, len(options.get("costs", ["latency_ms"])) + 1)
        assert rewards.dtype == np.float32
        np.testing.assert_array_equal(rewards.any(axis=1), terminations)
        rewarded += np.count_nonzero(terminations)
        if mode is AutoresetMode.DISABLED and terminations.any():
            for envs in (native, sync):
                envs.reset(options={"reset_mask": terminations})
    assert rewarded >= 8


def test_native_vector_equals_mo_gymnasiums_and_takes_its_wrapper() -> None:
    native: Any = MOVectorStatistics(gym.make_vec("HWGPT-MO-v0", num_envs=3, device="all"))
    loop = MOVectorStatistics(MOSyncVectorEnv([lambda: mo_gymnasium.make("HWGPT-MO-v0", device="all")] * 3))
    for envs in (native, loop):
        envs.reset(seed=0)
    rng = np.random.default_rng(1)
    for _ in range(60):
        actions = rng.integers(0, 3, 3)
        ours, theirs = native.step(actions), loop.step(actions)
        for infos in (ours[-1], theirs[-1]):
            infos.get("episode", {}).pop("t", None)
        assert data_equivalence(ours, theirs, exact=True)
    assert len(native.return_queue) >= 6


def test_plain_make_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("HWGPT-MO-v0")
        env.reset(seed=0)
        rollout(env, [1] * 30)


def test_no_episode_beats_the_front_and_its_architectures_reach_it() -> None:
    from hwgpt_gym.optimum.front import pareto_front

    env = gym.make("HWGPT-MO-v0", device="v100")
    env.reset(seed=0)
    front = np.array(env.unwrapped.pareto_front())
    actions = np.random.default_rng(0)
    for _ in range(100):
        env.reset()
        reward, _ = rollout(env, actions.integers(0, 3, 30).tolist())
        beaten = (reward >= front).all(axis=1) & (reward > front).any(axis=1)
        assert not beaten.any()
    encoded = pareto_front(Benchmark("s", "v100")).encoded
    for row in (0, len(front) // 2, len(front) - 1):
        env.reset()
        choices = [choice for choice in encoded[row].tolist() if choice >= 0]
        reward, info = rollout(env, choices)
        np.testing.assert_array_equal(reward, front[row])
        assert Architecture.from_string(info["architecture"]).encode().tolist() == [encoded[row].tolist()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"costs": []}, "at least one cost"),
        ({"costs": "latency_ms"}, "costs must be a list of cost metrics, got 'latency_ms'"),
        ({"costs": ["params", "params"]}, "none twice"),
        ({"costs": ["perplexity"]}, "unknown metric 'perplexity'"),
        ({"device": "abacus"}, "unknown device"),
        ({"render_mode": "svg"}, "render_mode"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        HWGPTMultiObjectiveEnv(**arguments)


def test_there_is_no_constraint_to_set_and_a_discount_is_warned_of() -> None:
    env: Any = gym.make("HWGPT-MO-v0", device="all").unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="unconstrained"):
        env.reset(options={"constraint": {"latency_ms": 3.0}})
    with pytest.warns(UserWarning, match=r"undiscounted returns: gamma=0\.99"):
        discounted = env.pareto_front(gamma=0.99)
    np.testing.assert_array_equal(discounted, env.pareto_front())
