"""Episodes on devices that do not exist."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env

from hwgpt_gym import Benchmark
from hwgpt_gym.envs.sb3 import make_vec_env
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.optimum import solve
from hwgpt_gym.surrogates.cost_tables import cost_table
from hwgpt_gym.synthetic_devices import DeviceMixer, make_pool

RANGE = {"latency_ms": ("p10", "p90")}


def test_a_pool_comes_from_its_seed() -> None:
    (devices, surrogates), (_, again), (_, other) = (make_pool("s", 6, seed, ()) for seed in (3, 3, 4))
    assert [device.name for device in devices] == list(surrogates.devices) == [f"random-{index}" for index in range(6)]
    for key in DEVICE_METRICS:
        np.testing.assert_array_equal(surrogates.costs[key].base, again.costs[key].base)
        assert np.all(surrogates.costs[key].base != other.costs[key].base)
    with pytest.raises(ValueError, match="does not exist"):
        devices[0].conditions("latency_ms", "s")


def test_costs_of_a_device_share_their_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the noise, latency and energy are the same mix of the same devices, and of no excluded one."""
    monkeypatch.setattr("hwgpt_gym.synthetic_devices._with_noise", lambda rng, tables, scale: tables)
    exclude = ("h100", "cpu_xeon_gold")
    _, surrogates = make_pool.__wrapped__("s", 5, 0, exclude)
    mixer = DeviceMixer("s", exclude, DEVICE_METRICS)
    parents, shares = mixer.draw_shares(np.random.default_rng(0), 5)
    assert not {mixer.parents[index] for index in parents.ravel()} & set(exclude)
    for key in DEVICE_METRICS:
        for device in range(5):
            benches = [Benchmark("s", mixer.parents[index]) for index in parents[device]]
            relative = [cost_table(bench.count_model(key)) / bench.quantile(key, 0.5) for bench in benches]
            mixed = np.tensordot(shares[device], relative, 1)
            found = cost_table(surrogates.costs[key][device])
            np.testing.assert_allclose(found / found[0], mixed / mixed[0], rtol=1e-9)


def test_episodes_draw_from_the_pool() -> None:
    env = gym.make("HWGPT-v0", device="random", pool=5, pool_seed=2, exclude=["a6000"], constraint=RANGE)
    json.dumps(env.spec.kwargs)
    devices = {env.reset(seed=seed)[1]["device"] for seed in range(40)}
    assert devices == {f"random-{index}" for index in range(5)}
    _, info = env.reset(seed=0, options={"device": "random-3", "constraint": {"latency_ms": "p30"}})
    assert info["device"] == "random-3"
    while not env.step(1)[2]:
        pass
    bench, optimum = env.unwrapped.bench.on("random-3"), env.unwrapped.optimum()
    assert info["constraint"]["latency_ms"] == bench.quantile("latency_ms", 0.3)
    assert optimum.reward == solve(bench, optimum.objective.objective).reward
    with pytest.raises(ValueError, match="must be one of random-0 to random-4, got 'h100'"):
        env.reset(options={"device": "h100"})


def test_limits_are_found_when_a_device_is_drawn() -> None:
    env = gym.make("HWGPT-v0", device="random", pool=64, pool_seed=9, constraint=RANGE).unwrapped
    generator = env._episodes.task.generator
    known = np.isfinite(generator._low[:, 0]).sum()
    env.reset(seed=0, options={"device": "random-7"})
    assert known < np.isfinite(generator._low[:, 0]).sum() < 5
    assert np.isfinite(generator._low[7, 0])


def test_one_device_is_a_pool_too() -> None:
    env = gym.make("HWGPT-v0", device="random", pool=1)
    _, info = env.reset(seed=0)
    assert info["device"] == "random-0"
    check_env(env)


def test_the_bridge_and_the_other_environments_know_them() -> None:
    venv = make_vec_env(3, device="random", pool=4, constraint=RANGE, seed=0)
    venv.reset()
    assert all(info["device"].startswith("random-") for info in venv.reset_infos)
    for env_id, options in (("HWGPT-Edit-v0", {"pool": 4}), ("HWGPT-MO-v0", {})):
        env = gym.make(env_id, device="random", **options)
        _, info = env.reset(seed=0)
        assert info["device"].startswith("random-")
        env.step(1)
