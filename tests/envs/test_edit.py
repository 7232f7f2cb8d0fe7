"""Editing architectures: rules, rewards, information, lanes against scalar environments."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode

from hwgpt_gym import Architecture, Benchmark
from hwgpt_gym.envs.edit_episodes import hashed_uniforms
from hwgpt_gym.envs.wrappers import ActionMaskObservation, NumericInfo
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve
from hwgpt_gym.search_space import BIAS, N_LAYER, NOT_SET, get_search_space

LIMITS = {"latency_ms": ("p20", "p80"), "params": "p50"}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"scale": "l", "device": "v100", "max_steps": 9},
    {"device": ["a100", "h100"], "constraint": LIMITS, "penalty": "hinge", "noise": True, "regret": True},
    {"device": "all", "constraint": {"latency_ms": ("p10", "p90")}, "max_steps": 1},
    {"noise": True, "world": 3, "info_strings": False},
]
START = solve(Benchmark("s", "h100"), Objective({"latency_ms": "p20"})).architecture.to_string()


def make(**options: Any) -> gym.Env[Any, Any]:
    return gym.make("HWGPT-Edit-v0", **options)


def objective(info: dict[str, Any]) -> float:
    return float(info["quality"] - info["penalty"])


@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_checkers_have_nothing_to_say(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The checker takes one step and wants more after it.
        check_env(make(**options | {"max_steps": 20}).unwrapped, skip_render_check=True)


@pytest.mark.torch
@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_the_checker_of_sb3_has_nothing_to_say(options: dict[str, Any]) -> None:
    from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env_for_sb3(make(**options).unwrapped)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_return_telescopes_and_regrets_are_those_of_the_optimum(options: dict[str, Any]) -> None:
    env: Any = make(**{"max_steps": 30, **options})
    rng = np.random.default_rng(0)
    for seed in range(3):
        _, info = env.reset(seed=seed)
        first, total, seen = objective(info), 0.0, [info.get("regret")]
        for step in range(options.get("max_steps", 30)):
            _, reward, terminated, truncated, info = env.step(int(rng.integers(env.action_space.n)))
            total += reward
            seen.append(info.get("regret"))
            assert type(reward) is float
            assert terminated is False
            assert truncated is (step == options.get("max_steps", 30) - 1)
            assert total == pytest.approx(objective(info) - first, abs=1e-12)
        if seen[0] is not None:
            assert info["best_regret"] == pytest.approx(min(seen), abs=1e-12)
            assert min(seen) >= -1e-9
        else:
            assert "best_regret" not in info
        with pytest.raises(gym.error.ResetNeeded):
            env.step(0)


def test_what_is_reported_is_what_the_benchmark_says() -> None:
    env: Any = make(device="h100", scale="m", constraint={"energy_j": "p40"})
    _, info = env.reset(seed=3)
    bench = Benchmark("m", "h100")
    optimum = env.unwrapped.optimum()
    assert optimum.encoded.tolist() == solve(bench, Objective({"energy_j": "p40"})).encoded.tolist()
    for action in np.random.default_rng(0).integers(0, 153, 20).tolist():
        *_, info = env.step(action)
        encoded = Architecture.from_string(info["architecture"]).encode()
        np.testing.assert_array_equal(encoded, env.unwrapped.encoded)
        expected = bench.evaluate(encoded)
        assert {key: info[key] for key in expected} == {key: value[0] for key, value in expected.items()}
        assert info["regret"] == pytest.approx(optimum.reward - objective(info), abs=1e-12)


def test_masks_leave_out_what_changes_nothing() -> None:
    space = get_search_space("s")
    env: Any = make(max_steps=200)
    _, info = env.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(100):
        before = env.unwrapped.encoded[0]
        mask = info["action_mask"]
        np.testing.assert_array_equal(mask, env.unwrapped.action_masks())
        assert mask.dtype == np.int8
        for action in range(81):
            decision, choice = divmod(action, 3)
            changes = before[decision] not in (NOT_SET, choice) and choice < space.num_choices[decision]
            assert mask[action] == changes
        action = int(rng.integers(81))
        observation, reward, *_, info = env.step(action)
        after = env.unwrapped.encoded[0]
        # The third choice of bias is the second.
        if not mask[action] and action != 3 * BIAS + 2:
            assert reward == 0.0
            np.testing.assert_array_equal(before, after)
        elif mask[action] and action // 3 != N_LAYER:
            assert np.flatnonzero(before != after).tolist() == [action // 3]
        assert observation.reshape(27, 3).sum(axis=1).tolist() == [1.0] * 27
        known = after != NOT_SET
        np.testing.assert_array_equal(observation.reshape(27, 3).argmax(axis=1)[known], after[known])


def test_layers_beyond_the_depth_keep_their_choices() -> None:
    env: Any = make()
    deepest = Architecture("s", 384, 12, (2, 3, 4) * 4, (4, 8, 12) * 4, True)
    _, info = env.reset(options={"architecture": deepest})
    assert info["architecture"] == deepest.to_string()
    whole = env.unwrapped.encoded
    env.step(3 * N_LAYER)
    assert (env.unwrapped.encoded[0, -4:] == NOT_SET).all()
    # Beyond the depth nothing is changed.
    assert env.step(80)[1] == env.step(78)[1] == 0.0
    env.step(3 * N_LAYER + 2)
    np.testing.assert_array_equal(env.unwrapped.encoded, whole)
    shallow = Architecture("s", 384, 10, (2,) * 10, (4,) * 10, True)
    env.reset(options={"architecture": shallow.to_config()})
    env.step(3 * N_LAYER + 2)
    assert env.unwrapped.encoded[0, -4:].tolist() == [1] * 4


def test_noise_is_drawn_once_per_architecture() -> None:
    env: Any = make(noise=True, start=START)
    episodes = []
    for seed in (0, 0, 1):
        _, info = env.reset(seed=seed)
        before = env.unwrapped.encoded[0]
        env.step(3 * N_LAYER + int(before[N_LAYER] != 1) + 2 * int(before[N_LAYER] == 1))
        *_, again = env.step(3 * N_LAYER + int(before[N_LAYER]))
        assert again["latency_ms"] == info["latency_ms"] != Benchmark().evaluate(before[None])["latency_ms"][0]
        episodes.append(info["latency_ms"])
    assert episodes[0] == episodes[1] != episodes[2]


def test_hashed_numbers_are_uniform_and_of_the_architecture() -> None:
    encoded = get_search_space("m").sample(np.random.default_rng(0), 4000)
    key = np.full(len(encoded), 12345, dtype=np.uint64)
    numbers = hashed_uniforms(key, encoded, 4)
    assert numbers.shape == (4000, 4)
    np.testing.assert_array_equal(numbers, hashed_uniforms(key, encoded, 4))
    assert np.isin(numbers, hashed_uniforms(key + np.uint64(1), encoded, 4)).sum() == 0
    counts = np.stack([np.histogram(column, bins=10, range=(0, 1))[0] for column in numbers.T])
    # Chi-square of 9 degrees of freedom: 33.7 is exceeded once in 10,000.
    assert (((counts - 400) ** 2 / 400).sum(axis=1) < 33.7).all()
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.06


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_native_equals_sync(mode: AutoresetMode, options: dict[str, Any]) -> None:
    options = {"max_steps": 7, **options}
    native: Any = gym.make_vec("HWGPT-Edit-v0", num_envs=4, autoreset_mode=mode, **options)
    sync: Any = gym.make_vec(
        "HWGPT-Edit-v0", 4, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **options
    )
    assert native.single_observation_space == sync.single_observation_space
    assert native.action_space == sync.action_space
    rng = np.random.default_rng(0)
    assert data_equivalence(native.reset(seed=9), sync.reset(seed=9), exact=True)
    ends = 0
    for _ in range(40):
        actions = rng.integers(0, native.single_action_space.n, 4)
        result, expected = native.step(actions), sync.step(actions)
        assert data_equivalence(result, expected, exact=True), f"{result} {expected}"
        ends += np.count_nonzero(result[3])
        reset = result[3] if mode is AutoresetMode.DISABLED else rng.random(4) < 0.05
        if reset.any():
            given = (
                {"reset_mask": reset, "architecture": START} if options.get("scale") != "l" else {"reset_mask": reset}
            )
            again = native.reset(options=given), sync.reset(options=dict(given))
            assert data_equivalence(*again, exact=True)
    assert ends >= 8


def test_information_of_numbers_is_constant() -> None:
    for env in (make(device="all", info_strings=False), NumericInfo(make(device="all"))):
        _, first = env.reset(seed=0)
        *_, info = env.step(4)
        assert list(first) == list(info)
        for key, value in info.items():
            assert type(value) is type(first[key]), key
            assert key == "constraint" or np.asarray(value).dtype.kind in "if", key
        np.testing.assert_array_equal(info["architecture"], env.unwrapped.encoded[0])


def test_copies_and_specs_go_on_alike() -> None:
    env: Any = make(noise=True, start=START, max_steps=20)
    env.reset(seed=0)
    env.step(5)
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    expected = env.step(40)
    for twin in twins:
        assert data_equivalence(twin.step(40), expected, exact=True)
    json.dumps(env.spec.kwargs)
    again: Any = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.reset()[1]["architecture"] == START
    masked = ActionMaskObservation(make())
    assert masked.observation_space.contains(masked.reset(seed=0)[0])


def test_pictures_say_how_far_the_episode_is() -> None:
    env: Any = make(render_mode="ansi", max_steps=9)
    env.reset(seed=0)
    env.step(4)
    *_, info = env.step(7)
    text = env.render()
    assert "after 2 of 9 changes" in text
    assert f"regret {info['regret']:.3f}" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": 2.5}, "max_steps"),
        ({"start": "gpt-x"}, "form gpt-"),
        ({"start": START, "scale": "m"}, "start must be of scale 'm'"),
        ({"device": "abacus"}, "unknown device"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    for build in (make, lambda **options: gym.make_vec("HWGPT-Edit-v0", num_envs=2, **options)):
        with pytest.raises((ValueError, TypeError), match=message):
            build(**arguments)


def test_wrong_starts_and_actions_change_nothing() -> None:
    env: Any = make()
    env.reset(seed=0)
    before = env.unwrapped.encoded
    for options, message in (({"architecture": "gpt-x"}, "form gpt-"), ({"architectures": START}, "unknown options")):
        with pytest.raises(ValueError, match=message):
            env.reset(options=options)
    with pytest.raises(ValueError, match="observation shows"):
        env.reset(options={"device": "h100"})
    with pytest.raises(ValueError, match="from 0 to 80"):
        env.unwrapped.step(81)
    np.testing.assert_array_equal(env.unwrapped.encoded, before)


def test_greedy_editing_without_limits_comes_close_to_the_optimum() -> None:
    """The rewards lead somewhere: climbing by the best of all changes. (Under a limit this stops in front of it.)"""
    env: Any = make(constraint={}, max_steps=60)
    _, info = env.reset(seed=0)
    start, improving = info["regret"], True
    while improving:
        tried = [
            (copy.deepcopy(env).step(int(action))[1], int(action)) for action in np.flatnonzero(info["action_mask"])
        ]
        best, action = max(tried)
        improving = best > 0.0
        if improving:
            *_, info = env.step(action)
    assert info["best_regret"] == info["regret"] < start / 20
