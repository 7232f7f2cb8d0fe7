"""Information of numbers only: constant in its structure, and the same numbers as otherwise."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from hwgpt_gym import Architecture
from hwgpt_gym.envs.wrappers import NumericInfo

CONTEXTS = {"device": ["h100", "a40"], "constraint": {"latency_ms": ("p20", "p80"), "params": "p50"}}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"id": "HWGPT-MO-v0", "device": "all"},
    CONTEXTS | {"penalty": "hinge", "shaping": True, "noise": True},
    CONTEXTS | {"penalty": "hinge", "regret": True},
]


def make(id: str = "HWGPT-v0", **options: Any) -> gym.Env[Any, Any]:
    return gym.make(id, **options)


def structure(info: dict[str, Any]) -> dict[str, Any]:
    """The types and shapes of all values, which must be numbers."""
    kinds = {}
    for key, value in info.items():
        array = np.asarray(value)
        assert isinstance(value, dict) or array.dtype.kind in "if", f"{key} is {value!r}"
        kinds[key] = structure(value) if isinstance(value, dict) else (type(value), array.dtype, array.shape)
    return kinds


@pytest.mark.parametrize("wrapped", [False, True], ids=["keyword", "wrapper"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_structure_is_constant_and_the_numbers_are_the_same(options: dict[str, Any], wrapped: bool) -> None:
    env = NumericInfo(make(**options)) if wrapped else make(**options, info_strings=False)
    plain = make(**options)
    names = [device.name for device in plain.unwrapped.bench.devices]
    kinds = None
    for seed in range(3):
        _, info = env.reset(seed=seed)
        _, expected = plain.reset(seed=seed)
        terminated = False
        while True:
            kinds = kinds or structure(info)
            assert structure(info) == kinds
            np.testing.assert_array_equal(info["architecture"], plain.unwrapped.encoded[0])
            for key in info.keys() & expected.keys() - {"architecture", "device", "action_mask"}:
                assert info[key] == expected[key], key
            assert all(np.isnan(info[key]) != terminated for key in ("perplexity", "quality", "params"))
            if "device" in expected:
                assert names[info["device"]] == expected["device"]
            if terminated:
                assert Architecture.decode(info["architecture"], "s").to_string() == expected["architecture"]
                # Nothing is lost, and nothing else is there.
                assert info.keys() == expected.keys()
                break
            *_, terminated, _, info = env.step(1)
            expected = plain.step(1)[-1]


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_native_vector_equals_scalar(mode: AutoresetMode, options: dict[str, Any]) -> None:
    options = {"id": "HWGPT-v0", **options, "info_strings": False}
    native: Any = gym.make_vec(num_envs=3, autoreset_mode=mode, **options)
    sync = SyncVectorEnv([lambda: gym.make(**options)] * 3, autoreset_mode=mode)
    if options["id"] == "HWGPT-MO-v0":
        # Gymnasium's loop has room for numbers only.
        sync._rewards = np.zeros((3, 2), dtype=np.float32)
    assert equal(native.reset(seed=4), sync.reset(seed=4))
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = rng.integers(0, 3, 3)
        result, expected = native.step(actions), sync.step(actions)
        assert equal(result, expected), f"{result} {expected}"
        if mode is AutoresetMode.DISABLED and result[2].any():
            for envs in (native, sync):
                envs.reset(options={"reset_mask": result[2]})


def equal(first: Any, second: Any) -> bool:
    """As Gymnasium's data_equivalence, for which NaN is no NaN."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, tuple) or (isinstance(first, np.ndarray) and first.dtype == object):
        return len(first) == len(second) and all(map(equal, first, second))
    return np.asarray(first).dtype == np.asarray(second).dtype and np.array_equal(
        first, second, equal_nan=np.asarray(first).dtype.kind == "f"
    )


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, CONTEXTS | {"penalty": "hinge", "shaping": True}], ids=str)
def test_bridge_to_sb3_equals_its_loop(options: dict[str, Any]) -> None:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    from hwgpt_gym.envs.sb3 import make_vec_env

    bridge = make_vec_env(3, info_strings=False, **options)
    dummy = DummyVecEnv([lambda: Monitor(gym.make("HWGPT-v0", info_strings=False, **options))] * 3)
    for venv in (bridge, dummy):
        venv.seed(0)
        venv.reset()
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = rng.integers(0, 3, 3)
        ours, theirs = bridge.step(actions)[-1], dummy.step(actions)[-1]
        for lane in range(3):
            for info in (ours[lane], theirs[lane]):
                info.get("episode", {}).pop("t", None)
            assert equal(ours[lane], theirs[lane]), f"{ours[lane]} {theirs[lane]}"
            assert equal(bridge.reset_infos[lane], dummy.reset_infos[lane])


def test_wrapper_survives_the_spec() -> None:
    env = NumericInfo(gym.make("HWGPT-v0"))
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert structure(again.reset()[1]) == structure(env.reset()[1])
    with pytest.raises(TypeError, match="info_strings"):
        gym.make("HWGPT-v0", info_strings="no")


def test_another_number_than_nan_can_stand_before_the_end() -> None:
    env = NumericInfo(gym.make("HWGPT-v0", device=["h100"]), before_end=-1.0)
    kinds = structure(env.reset(seed=0)[1])
    info = env.step(0)[-1]
    assert structure(info) == kinds
    assert (info["perplexity"], info["feasible"], info["device"]) == (-1.0, -1.0, 0)
    while np.any(info["architecture"][:25] < 0):
        info = env.step(1)[-1]
    assert info["perplexity"] > 1.0
    # Gymnasium's checker compares information by ==, which NaN is not.
    check_env(NumericInfo(gym.make("HWGPT-v0"), before_end=0.0), skip_render_check=True)
    with pytest.raises(ValueError, match="before_end must be a number"):
        NumericInfo(gym.make("HWGPT-v0"), before_end="nothing")
