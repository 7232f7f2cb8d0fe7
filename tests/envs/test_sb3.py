"""The bridge to Stable-Baselines3, step by step against its ``DummyVecEnv``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from hwgpt_gym.envs.sb3 import HWGPTVecEnv, make_vec_env
from hwgpt_gym.envs.vector import HWGPTVectorEnv

CONTEXT: dict[str, Any] = {"device": "all", "constraint": {"latency_ms": ("p10", "p90")}}


EDIT: dict[str, Any] = {"env_id": "HWGPT-Edit-v0", "max_steps": 20}


def make_dummy(num_envs: int, env_id: str = "HWGPT-v0", **options: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda: Monitor(gym.make(env_id, **options)) for _ in range(num_envs)])


def check_equal(left: Any, right: Any) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left.keys() - {"t"}:
            check_equal(left[key], right[key])
    else:
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": "m", "shaping": True},
        {**CONTEXT, "noise": True},
        {"info_strings": False},
        EDIT,
        {**EDIT, **CONTEXT, "scale": "m", "noise": True},
        {**EDIT, "info_strings": False},
    ],
    ids=str,
)
def test_bridge_equals_dummy(options: dict[str, Any]) -> None:
    bridge, dummy = make_vec_env(5, **options), make_dummy(5, **options)
    for venv in (bridge, dummy):
        venv.seed(3)
    np.testing.assert_array_equal(bridge.reset(), dummy.reset())
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(120):
        actions = rng.integers(0, bridge.action_space.n, 5)
        *ours, infos = bridge.step(actions)
        *theirs, expected = dummy.step(actions)
        for left, right in zip(ours, theirs, strict=True):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        for lane in range(5):
            if "episode" in infos[lane]:
                ended += 1
                # Monitor sums in double precision before it rounds, and so does the bridge.
                assert infos[lane]["episode"]["r"] == expected[lane]["episode"]["r"]
            check_equal(infos[lane], expected[lane])
            check_equal(bridge.reset_infos[lane], dummy.reset_infos[lane])
        np.testing.assert_array_equal(get_action_masks(bridge), get_action_masks(dummy))
    assert ended >= 10


def test_seeds_and_options_of_lanes() -> None:
    bridge, dummy = make_vec_env(3, seed=7, **CONTEXT), make_dummy(3, **CONTEXT)
    dummy.seed(7)
    options = [{"device": "h100"}, {}, {"device": "a100", "constraint": {"latency_ms": 20.0}}]
    for venv in (bridge, dummy):
        venv.set_options(options)
    np.testing.assert_array_equal(bridge.reset(), dummy.reset())
    check_equal(dict(enumerate(bridge.reset_infos)), dict(enumerate(dummy.reset_infos)))
    np.testing.assert_array_equal(bridge.reset(), dummy.reset())
    for venv in (bridge, dummy):
        venv.set_options({"device": "v100"})
    np.testing.assert_array_equal(bridge.reset(), dummy.reset())


@pytest.mark.parametrize(
    "options", [[{"device": "h100"}, {}, {}], [{}, {}, {"constraint": {"latency_ms": "p20"}}]], ids=str
)
def test_options_of_one_lane_draw_every_context_once(options: list[dict[str, Any]]) -> None:
    bridge, dummy = make_vec_env(3, **CONTEXT, noise=True), make_dummy(3, **CONTEXT, noise=True)
    for venv in (bridge, dummy):
        venv.seed(4)
        venv.reset()
        venv.set_options(options)
    # The lanes go on with their own random numbers.
    for _ in range(3):
        np.testing.assert_array_equal(bridge.reset(), dummy.reset())
        check_equal(dict(enumerate(bridge.reset_infos)), dict(enumerate(dummy.reset_infos)))


def test_illegal_options_of_the_last_lane_change_no_other() -> None:
    bridge, twin = make_vec_env(3, seed=4, **CONTEXT), make_vec_env(3, seed=4, **CONTEXT)
    for venv in (bridge, twin):
        venv.reset()
        venv.step(np.array([0, 1, 2]))
    bridge.set_options([{"device": "h100"}, {}, {"device": "abacus"}])
    with pytest.raises(ValueError, match="abacus"):
        bridge.reset()
    np.testing.assert_array_equal(bridge.env.encoded, twin.env.encoded)
    bridge.set_options()
    np.testing.assert_array_equal(bridge.reset(), twin.reset())


@pytest.mark.parametrize("seed", [2**32, 2**70, np.int64(5)], ids=str)
def test_every_seed_of_numpy_is_one(seed: Any) -> None:
    bridge, dummy = make_vec_env(2, seed=seed, **CONTEXT), make_dummy(2, **CONTEXT)
    dummy.seed(int(seed))
    np.testing.assert_array_equal(bridge.reset(), dummy.reset())


@pytest.mark.parametrize("through_method", [False, True], ids=["get_attr", "get_wrapper_attr"])
def test_attributes_answer_for_the_lane(through_method: bool) -> None:
    arguments = {**CONTEXT, "noise": True, "render_mode": "rgb_array"}
    bridge, dummy = make_vec_env(3, **arguments), DummyVecEnv([lambda: gym.make("HWGPT-v0", **arguments)] * 3)
    for venv in (bridge, dummy):
        venv.seed(3)
        venv.reset()
        for action in (2, 1, 0):
            venv.step(np.array([action, 1, 2]))

    def ask(venv: VecEnv, name: str) -> list[Any]:
        if through_method:
            return venv.env_method("get_wrapper_attr", name, indices=[2, 0])
        return venv.get_attr(name, indices=[2, 0])

    for name in ("observation_space", "action_space", "spec", "render_mode", "metadata", "layout", "bench"):
        assert ask(bridge, name) == ask(dummy, name), name
    for name in ("encoded",):
        np.testing.assert_array_equal(ask(bridge, name), ask(dummy, name))
    for name in ("action_masks", "render"):
        answers = [[method() for method in ask(venv, name)] for venv in (bridge, dummy)]
        np.testing.assert_array_equal(answers[0], answers[1])
    # Who draws from a lane's generator draws the lane's numbers.
    answers = [[generator.random(3) for generator in ask(venv, "np_random")] for venv in (bridge, dummy)]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(bridge.reset(), dummy.reset())
    with pytest.raises(AttributeError, match="have the attributes"):
        ask(bridge, "num_envs")
    assert not bridge.has_attr("num_envs")
    ask(bridge, "metadata")[0]["render_fps"] = 0
    assert ask(bridge, "metadata")[0]["render_fps"] > 0


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match=r"takes the number of lanes first: make_vec_env\(4"):
        make_vec_env(n_envs=4)
    with pytest.raises(ValueError, match="num_envs must be an integer from 1 to 1000000, got True"):
        make_vec_env(True)
    with pytest.raises(TypeError, match="env must be a HWGPTVectorEnv"):
        HWGPTVecEnv(gym.make("HWGPT-v0"))
    assert make_vec_env(np.int64(2)).num_envs == 2


def test_attributes_and_methods() -> None:
    bridge = make_vec_env(3, render_mode="rgb_array")
    bridge.reset()
    assert is_masking_supported(bridge)
    assert bridge.get_attr("render_mode") == ["rgb_array"] * 3
    assert [masks().tolist() for masks in bridge.get_attr("action_masks", [0, 2])] == [[True] * 3] * 2
    assert bridge.env_is_wrapped(Monitor) == [True] * 3
    assert bridge.render().shape == (1080, 1920, 3)
    with pytest.raises(AttributeError, match="action_masks, render and"):
        bridge.env_method("step", 1)
    with pytest.raises(NotImplementedError, match="render_mode"):
        bridge.set_attr("render_mode", "ansi")
    with pytest.raises(ValueError, match="SAME_STEP"):
        HWGPTVecEnv(HWGPTVectorEnv(2))


def test_wrappers_of_sb3_run() -> None:
    venv = VecNormalize(make_vec_env(4), norm_obs=False)
    venv.reset()
    for _ in range(30):
        venv.step(np.zeros(4, dtype=np.int64))
    with pytest.warns(UserWarning, match="Monitor"):
        VecMonitor(make_vec_env(4))


@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO])
def test_algorithms_learn_through_the_bridge(algorithm: type[Any]) -> None:
    venv = make_vec_env(64, device="a6000", seed=0)
    model = algorithm(
        "MlpPolicy", venv, n_steps=27, batch_size=432, learning_rate=1e-3, gamma=1.0, seed=0, device="cpu"
    )
    before, _ = evaluate_policy(model, venv, n_eval_episodes=64, deterministic=False)
    model.learn(64 * 27 * 12)
    after, _ = evaluate_policy(model, venv, n_eval_episodes=64, deterministic=False)
    # Uniform random decisions earn about -0.2; the exact optimum is about 0.5.
    assert before < 0.2 < 0.35 < after
