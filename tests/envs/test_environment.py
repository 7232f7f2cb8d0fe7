"""The scalar environment: interface, rewards, information, contexts."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence

from hwgpt_gym import DEVICES, METRICS, SEARCH_SPACES, Architecture, Benchmark
from hwgpt_gym.envs.limit_shares import expand
from hwgpt_gym.envs.registration import ENV_IDS
from hwgpt_gym.objective import Objective

OPTIONS: list[dict[str, Any]] = [
    {},
    {"device": "V100", "scale": "m", "constraint": {"energy_j": "p20", "params": 1.5e8}},
    {"scale": "l", "penalty": "power", "constraint": {"flops": "p70"}},
    {"constraint": {}},
    {"penalty": "hard", "constraint": {"latency_ms": 15.0}, "noise": True},
    {"penalty": "absolute", "penalty_weight": 0.3, "shaping": True},
    {"device": ["a100", "h100", "cpu_xeon_gold"]},
    {
        "device": "all",
        "constraint": {"latency_ms": ("p10", "p90"), "energy_j": ("p5", "p60")},
        "penalty": "hinge",
    },
    {"device": "all", "constraint": {"latency_ms": ("p10", "p90")}, "noise": True, "shaping": True},
    {"device": "random", "pool": 4, "constraint": {"energy_j": ("p10", "p90")}},
]
SPECS = [gym.spec(env_id) for env_id in ENV_IDS]


def rollout(env: gym.Env[Any, Any], actions: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
    """Take random decisions to the end; returns the rewards and the last information."""
    rewards = []
    while True:
        _, reward, terminated, truncated, info = env.step(int(actions.integers(3)))
        assert not truncated or (not terminated and env.spec.id == "HWGPT-Edit-v0")
        rewards.append(reward)
        if terminated or truncated:
            return rewards, info


@pytest.mark.parametrize("scale", SEARCH_SPACES)
@pytest.mark.parametrize("device", DEVICES)
def test_checkers_have_nothing_to_say(device: str, scale: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("HWGPT-v0", device=device, scale=scale).unwrapped
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_checkers_have_nothing_to_say_about_options(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("HWGPT-v0", **options).unwrapped
        check_env(env, skip_render_check=True)


@pytest.mark.torch
@pytest.mark.parametrize(
    "options", [{"device": device, "scale": scale} for device in DEVICES for scale in SEARCH_SPACES] + OPTIONS, ids=str
)
def test_the_checker_of_sb3_has_nothing_to_say(options: dict[str, Any]) -> None:
    from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env_for_sb3(gym.make("HWGPT-v0", **options).unwrapped)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_specs_round_trip_through_json(spec: EnvSpec) -> None:
    json.dumps(spec.kwargs)
    env = gym.make(spec, device=["a100", "h100"], noise=True)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec == env.spec
    assert data_equivalence(env.reset(seed=4), again.reset(seed=4), exact=True)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_same_seed_same_episodes(spec: EnvSpec) -> None:
    first, second = (gym.make(spec, device="all", noise=True) for _ in range(2))
    for seed in (3, None, None):
        assert data_equivalence(first.reset(seed=seed), second.reset(seed=seed), exact=True)
        results = [rollout(env, np.random.default_rng(0)) for env in (first, second)]
        assert data_equivalence(results[0], results[1], exact=True)
    first.reset(seed=5)
    second.reset(seed=6)
    results = [rollout(env, np.random.default_rng(0)) for env in (first, second)]
    assert not data_equivalence(results[0], results[1], exact=True)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_of_a_half_built_environment_continues_identically(spec: EnvSpec, clone: Any) -> None:
    env = gym.make(spec, device="all", noise=True)
    env.reset(seed=1)
    for action in (2, 1, 0, 2, 2, 1, 0):
        env.step(action)
    twin = clone(env)
    # The original first, so that state they shared would show.
    results = [rollout(e, np.random.default_rng(7)) for e in (env, twin)]
    assert data_equivalence(results[0], results[1], exact=True)
    assert data_equivalence(env.reset(), twin.reset(), exact=True)


def test_a_copy_shares_the_benchmark() -> None:
    env = gym.make("HWGPT-v0").unwrapped
    assert copy.deepcopy(env).bench is env.bench


def test_prefixed_identifier_needs_no_import() -> None:
    code = "import gymnasium; print(gymnasium.make('hwgpt_gym:HWGPT-v0', device='a6000').reset(seed=0)[0].shape)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "(108,)"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_reward_is_quality_minus_penalty_and_metrics_are_the_benchmarks(options: dict[str, Any]) -> None:
    env = gym.make("HWGPT-v0", **options)
    env.reset(seed=0)
    actions = np.random.default_rng(0)
    for _ in range(5):
        _, context = env.reset()
        rewards, info = rollout(env, actions)
        assert isinstance(rewards[-1], float)
        assert abs(rewards[-1] - (info["quality"] - info["penalty"] + info.get("shaping", 0.0))) <= 1e-9
        assert abs(sum(rewards) - (info["quality"] - info["penalty"])) <= 1e-9
        device = info.get("device", options.get("device", "a6000"))
        made_up = options.get("device") == "random"
        bench = env.unwrapped.bench.on(device) if made_up else Benchmark(options.get("scale", "s"), device)
        encoded = Architecture.from_string(info["architecture"]).encode()
        np.testing.assert_array_equal(env.unwrapped.encoded, encoded)
        measured = [key for key in METRICS if METRICS[key].per_device] if options.get("noise") else []
        for key, values in bench.evaluate(encoded).items():
            assert (info[key] == values[0]) == (key not in measured), key
        constraint = info.get("constraint", options.get("constraint", {"latency_ms": "p50"}))
        objective = Objective(constraint, options.get("penalty", "exact"), options.get("penalty_weight"))
        outcome = objective.bind(bench).evaluate({key: np.array([info[key]]) for key in METRICS})
        assert abs(outcome.quality[0] - info["quality"]) <= 1e-12
        assert abs(outcome.penalty[0] - info["penalty"]) <= 1e-9
        assert info["feasible"] is bool(outcome.feasible[0])
        assert {key: context.get(key) for key in ("device", "constraint")} == {
            key: info.get(key) for key in ("device", "constraint")
        }


@pytest.mark.parametrize("options", [{}, {"penalty": "power"}, {"device": "all", "noise": True}], ids=str)
def test_shaping_leaves_the_return_unchanged(options: dict[str, Any]) -> None:
    plain, shaped = gym.make("HWGPT-v0", **options), gym.make("HWGPT-v0", shaping=True, **options)
    plain.reset(seed=0)
    shaped.reset(seed=0)
    for episode in range(10):
        rewards = [rollout(env, np.random.default_rng(episode))[0] for env in (plain, shaped)]
        assert np.count_nonzero(rewards[0]) <= 1
        assert np.count_nonzero(rewards[1]) > 10
        assert abs(sum(rewards[0]) - sum(rewards[1])) <= 1e-12
        plain.reset()
        shaped.reset()


def test_shaping_is_the_change_of_the_predicted_reward() -> None:
    env = gym.make("HWGPT-v0", shaping=True)
    env.reset(seed=0)
    bench = Benchmark("s", "a6000")
    bound = Objective({"latency_ms": "p50"}).bind(bench)

    def potential(choices: list[int]) -> float:
        middle = [1] * (3 + 2 * 11)
        encoded = np.full((1, 27), -1, dtype=np.int8)
        encoded[0, :25] = choices + middle[len(choices) :]
        return float(bound.evaluate(bench.evaluate(encoded)).reward[0])

    choices: list[int] = []
    for action in (2, 1, 0, 2, 0):
        expected = potential([*choices, action]) - potential(choices)
        choices.append(action)
        assert env.step(action)[1] == pytest.approx(expected, abs=1e-12)


def test_noise_is_the_benchmarks() -> None:
    env = gym.make("HWGPT-v0", device="h100", noise=True)
    env.reset(seed=11)
    _, info = rollout(env, np.random.default_rng(0))
    encoded = Architecture.from_string(info["architecture"]).encode()
    measured = Benchmark("s", "h100").measure(encoded, np.random.default_rng(11))
    assert {key: info[key] for key in measured} == {key: values[0] for key, values in measured.items()}


def test_contexts_follow_their_ranges_and_show_in_the_observation() -> None:
    env = gym.make("HWGPT-v0", device=["a100", "P100"], constraint={"latency_ms": ("p10", "p90"), "params": "p50"})
    layout = env.unwrapped.layout
    assert env.observation_space.shape == (108 + 2 * 55 + 2 * 7,)
    seen = set()
    observation, info = env.reset(seed=0)
    for _ in range(50):
        bench = Benchmark("s", info["device"])
        limit = info["constraint"]["latency_ms"]
        assert bench.quantile("latency_ms", 0.1) <= limit <= bench.quantile("latency_ms", 0.9)
        tables = expand(observation[layout.context][layout.part("costs")].astype(np.float64)).reshape(2, 55)
        base = bench.count_model("latency_ms").base.ravel() / limit
        np.testing.assert_allclose(tables[0, 1:19], base, rtol=1e-5)
        used, slack = expand(observation[layout.context][layout.part("shares")].astype(np.float64))[:2]
        assert used == 0.0
        assert slack == pytest.approx(1.0 - bench.extremes("latency_ms")[0] / limit, abs=1e-6)
        seen.add((info["device"], tuple((limit * tables[0, 1:]).round(2).tolist())))
        observation, info = env.reset()
    assert sorted(device for device, _ in seen) == ["a100", "p100"]


def test_devices_are_drawn_without_constraints_too() -> None:
    env = gym.make("HWGPT-v0", device="all", constraint={})
    devices = [env.reset(seed=seed)[1]["device"] for seed in range(20)]
    assert len(set(devices)) > 5
    _, info = rollout(env, np.random.default_rng(0))
    assert info["device"] == devices[-1]
    encoded = Architecture.from_string(info["architecture"]).encode()
    assert info["latency_ms"] == Benchmark("s", devices[-1]).evaluate(encoded)["latency_ms"][0]


def test_options_set_the_context_of_one_episode() -> None:
    env = gym.make(
        "HWGPT-v0", device="all", constraint={"latency_ms": ("p10", "p90"), "energy_j": 3.0}, penalty="hinge"
    )
    options = {"device": "H100", "constraint": {"latency_ms": "p30"}}
    _, info = env.reset(seed=0, options=options)
    bench = Benchmark("s", "h100")
    assert info["device"] == "h100"
    assert info["constraint"] == {"latency_ms": bench.quantile("latency_ms", 0.3), "energy_j": 3.0}
    assert options == {"device": "H100", "constraint": {"latency_ms": "p30"}}
    assert rollout(env, np.random.default_rng(0))[1]["constraint"] == info["constraint"]
    _, again = env.reset(options={key: info[key] for key in options})
    assert {key: again[key] for key in options} == {key: info[key] for key in options}
    assert len({env.reset()[1]["device"] for _ in range(20)}) > 1


def test_one_device_and_a_range_have_the_observation_of_all() -> None:
    ranged = {"latency_ms": ("p10", "p90")}
    env, general = (gym.make("HWGPT-v0", device=device, constraint=ranged) for device in ("v100", "all"))
    assert env.observation_space == general.observation_space
    options = {"constraint": {"latency_ms": 20.0}}
    expected = general.reset(seed=0, options={"device": "v100", **options})[0]
    np.testing.assert_array_equal(env.reset(seed=0, options=options)[0], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "a6001"}, "did you mean 'a6000'"),
        ({"device": []}, "a list of at least one of them"),
        ({"device": ["a100", "A100"]}, "must not repeat"),
        ({"device": 3}, "device must be"),
        ({"pool": 8}, "pool is for device='random'"),
        ({"exclude": ["a100"]}, "exclude is for device='random'"),
        ({"device": "random", "pool": 0}, "pool must be an integer from 1 to 4096, got 0"),
        ({"device": "random", "pool_seed": -1}, "pool_seed must be"),
        ({"device": "random", "exclude": ["a101"]}, "exclude must be one of"),
        ({"device": "random", "exclude": list(DEVICES)[2:]}, "exclude must leave at least 3 devices"),
        ({"device": "random", "noise": True}, "noise must be left out with device='random'"),
        ({"device": "random", "confidence": 0.9}, "confidence must be left out with device='random'"),
        (
            {"device": "all", "constraint": {"latency_ms": "p50", "energy_j": "p50", "params": "p50"}},
            "constraint must limit at most 2 costs where devices or limits vary",
        ),
        ({"scale": "xl"}, "scale must be one of"),
        ({"constraint": {"latency": 3.0}}, "did you mean 'latency_ms'"),
        ({"constraint": {"perplexity": 30.0}}, "perplexity"),
        ({"constraint": {"latency_ms": -1.0}}, "positive finite number"),
        ({"constraint": {"latency_ms": "p101"}}, "'p0' to 'p100'"),
        ({"constraint": {"latency_ms": "median"}}, "'median'"),
        ({"constraint": {"latency_ms": (1.0, 2.0, 3.0)}}, "range (low, high)"),
        ({"constraint": {"latency_ms": ("p90", "p10")}}, "low <= high"),
        ({"constraint": 20.0}, "must map costs to limits"),
        ({"penalty": "soft"}, "unknown penalty 'soft'"),
        ({"penalty_weight": 0.0}, "from 1e-06 to 10000"),
        ({"shaping": "yes"}, "shaping must be True or False"),
        ({"noise": 1}, "noise must be True or False"),
        ({"render_mode": "svg"}, "render_mode must be"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    from hwgpt_gym.envs.hwgpt import HWGPTEnv, HWGPTVectorEnv

    for make in (HWGPTEnv, HWGPTVectorEnv):
        with pytest.raises(ValueError, match=re.escape(message)):
            make(**arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": "a100"}, "unknown options ['devices']"),
        ({"device": "v100"}, "must be one of ['a100', 'h100']"),
        ({"device": "a1000"}, "did you mean"),
        ({"constraint": {"params": 1e6}}, "must map some of ['latency_ms']"),
        ({"constraint": {"latency_ms": 0.0}}, "positive"),
    ],
    ids=str,
)
def test_wrong_options_change_nothing(options: dict[str, Any], message: str) -> None:
    env, twin = (gym.make("HWGPT-v0", device=["a100", "h100"], noise=True) for _ in range(2))
    for item in (env, twin):
        item.reset(seed=0)
        item.step(1)
    with pytest.raises(ValueError, match=re.escape(message)):
        env.reset(seed=5, options=options)
    results = [rollout(item, np.random.default_rng(0)) for item in (env, twin)]
    assert data_equivalence(results[0], results[1], exact=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"options": [1]}, TypeError, "options must be a dictionary or None, got [1]"),
        ({"options": "device"}, TypeError, "options must be a dictionary or None"),
        ({"options": {"reset_mask": np.array([True])}}, ValueError, "unknown options ['reset_mask']"),
        ({"options": {"constraint": 3.0}}, ValueError, "must map some of ['latency_ms'] to a limit"),
        ({"seed": True}, ValueError, "seed must be an integer of at least 0, got True"),
        ({"seed": -1}, ValueError, "seed must be an integer of at least 0, got -1"),
    ],
    ids=str,
)
def test_wrong_resets_are_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    env = gym.make("HWGPT-v0", device=["a100", "h100"]).unwrapped
    env.reset(seed=0)
    env.step(1)
    before = env.encoded
    with pytest.raises(error, match=re.escape(message)):
        env.reset(**arguments)
    np.testing.assert_array_equal(env.encoded, before)


def test_every_seed_of_numpy_is_one() -> None:
    env, twin = (gym.make("HWGPT-v0", device="all") for _ in range(2))
    assert data_equivalence(env.reset(seed=np.int64(3)), twin.reset(seed=3), exact=True)
    assert data_equivalence(env.reset(seed=2**70), twin.reset(seed=2**70), exact=True)


def test_shared_arrays_cannot_be_written() -> None:
    env = gym.make("HWGPT-v0", device="all").unwrapped
    with pytest.raises(ValueError, match="read-only"):
        env._episodes.task.generator.medians[:] = 1.0


def test_options_need_a_context() -> None:
    env = gym.make("HWGPT-v0", device="a100")
    with pytest.raises(ValueError, match="whose observation shows them"):
        env.reset(options={"device": "a100"})


@pytest.mark.parametrize("action", [3, -1, 0.5, "1", None, True, np.bool_(True), np.array([1])])
def test_wrong_actions_change_nothing(action: Any) -> None:
    env = gym.make("HWGPT-v0").unwrapped
    env.reset()
    before = env.encoded
    with pytest.raises(ValueError, match="action must be an integer from 0 to 2"):
        env.step(action)
    np.testing.assert_array_equal(env.encoded, before)


def test_no_step_without_a_decision_to_take() -> None:
    env = gym.make("HWGPT-v0").unwrapped
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(0)
    env.reset()
    rollout(env, np.random.default_rng(0))
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(0)


def test_masks_of_the_three_ways_agree() -> None:
    env = gym.make("HWGPT-v0")
    _, info = env.reset()
    for _ in range(23):
        mask = env.unwrapped.action_masks()
        assert mask.dtype == bool
        assert info["action_mask"].dtype == np.int8
        assert mask.tolist() == env.get_wrapper_attr("action_masks")().tolist() == (info["action_mask"] == 1).tolist()
        *_, info = env.step(0)
