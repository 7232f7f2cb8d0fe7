"""The vector environment, step by step against Gymnasium's ``SyncVectorEnv`` of scalar environments."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import vector as wrappers
from hypothesis import given, settings
from hypothesis import strategies as st

import hwgpt_gym  # noqa: F401  # Registers the environments.
from hwgpt_gym.penalties import PENALTIES

LIMITS = {"latency_ms": ("p10", "p90"), "energy_j": ("p5", "p95")}
"""Nothing keeps both low ends at once on some devices: not every penalty takes them."""
KEPT = {"latency_ms": ("p30", "p90"), "params": "p60"}


def make(num_envs: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **options: Any) -> VectorEnv[Any, Any, Any]:
    return gym.make_vec("HWGPT-v0", num_envs=num_envs, autoreset_mode=mode, **options)


def make_sync(num_envs: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **options: Any) -> VectorEnv[Any, Any, Any]:
    return gym.make_vec(
        "HWGPT-v0", num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **options
    )


def check_equal(native: Any, sync: Any) -> None:
    assert data_equivalence(native, sync, exact=True), f"\nnative {native}\nsync   {sync}"


@pytest.mark.slow
@pytest.mark.parametrize("mode", AutoresetMode)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    num_envs=st.integers(1, 6),
    scale=st.sampled_from(["s", "s", "m", "l"]),
    device=st.sampled_from(["a6000", ["v100"], ["a100", "h100"], "all", "random"]),
    constrained=st.one_of(
        st.tuples(st.sampled_from([None, {}, {"flops": "p40"}, KEPT]), st.sampled_from(list(PENALTIES))),
        st.tuples(st.just(LIMITS), st.sampled_from(["hinge", "absolute", "power"])),
    ),
    shaping=st.booleans(),
    noise=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_native_equals_sync(
    mode: AutoresetMode, num_envs: int, seed: int, constrained: tuple[Any, str], **options: Any
) -> None:
    options["constraint"], options["penalty"] = constrained
    if options["device"] == "random":
        options |= {"pool": 3, "noise": False}
    native, sync = make(num_envs, mode, **options), make_sync(num_envs, mode, **options)
    assert native.observation_space == sync.observation_space
    assert native.single_observation_space == sync.single_observation_space
    assert native.action_space == sync.action_space
    rng = np.random.default_rng(seed)
    check_equal(native.reset(seed=seed), sync.reset(seed=seed))
    for _ in range(120):
        actions = rng.integers(0, 3, num_envs)
        result = native.step(actions)
        check_equal(result, sync.step(actions))
        reset = result[2] if mode is AutoresetMode.DISABLED else rng.random(num_envs) < 0.02
        if reset.any():
            seeds = [int(item) if item < 1000 else None for item in rng.integers(0, 2000, num_envs)]
            # SyncVectorEnv takes the mask out of the options.
            given = {"reset_mask": reset}
            check_equal(native.reset(seed=seeds, options=given), sync.reset(seed=seeds, options=dict(given)))


def test_options_reach_the_lanes() -> None:
    native, sync = (build(4, device="all", constraint=LIMITS, penalty="hinge") for build in (make, make_sync))
    options = {"device": "h100", "constraint": {"latency_ms": 30.0}}
    check_equal(native.reset(seed=0, options=options), sync.reset(seed=0, options=options))
    mask = np.array([True, False, True, False])
    check_equal(
        native.reset(options={**options, "device": "a40", "reset_mask": mask}),
        sync.reset(options={**options, "device": "a40", "reset_mask": mask}),
    )


def test_every_lane_begins_with_options_of_its_own() -> None:
    envs = make(4, device="all", constraint=LIMITS, penalty="hinge").unwrapped
    options = [None, {"device": "h100"}, {}, {"constraint": {"latency_ms": 30.0}}]
    observations, infos = envs.reset_each(options, seed=5)
    for lane, item in enumerate(options):
        scalar = gym.make("HWGPT-v0", device="all", constraint=LIMITS, penalty="hinge")
        observation, info = scalar.reset(seed=5 + lane, options=item)
        np.testing.assert_array_equal(observations[lane], observation)
        assert infos["device"][lane] == info["device"]
        assert {key: values[lane] for key, values in infos["constraint"].items() if key[0] != "_"} == info["constraint"]
    before = envs.step(np.zeros(4, dtype=np.int64))[0]
    for wrong, message in (
        ([None, None, None, {"device": "abacus"}], "abacus"),
        ([None], r"a list of 4, one for each lane, got \[None\]"),
    ):
        with pytest.raises(ValueError, match=message):
            envs.reset_each(wrong)
    np.testing.assert_array_equal(envs.reset(options={"reset_mask": np.arange(4) == 3})[0][:3], before[:3])


def test_layout_says_which_columns_are_which() -> None:
    envs = make(2, device="all", constraint=LIMITS, penalty="hinge").unwrapped
    layout = envs.layout
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (2, layout.num_columns)
    assert (observations[:, layout.choices] == 0.0).all()
    assert observations[:, layout.position].argmax(axis=1).tolist() == [0, 0]
    context = observations[:, layout.context]
    costs, shares = context[:, layout.part("costs")], context[:, layout.part("shares")]
    assert (costs.shape, shares.shape) == ((2, 110), (2, 14))
    assert ((shares > 0.0) & (shares < 1.0)).all()
    assert costs[:, [0, 55]].tolist() == [[1.0, 1.0]] * 2
    one = make(2, device="all").unwrapped.reset(seed=0)[0][:, layout.context]
    assert not one[:, 55:110].any()
    assert not one[:, 117:].any()
    assert make(2).unwrapped.layout.context_parts == ()


def test_reset_mask_is_read_and_not_popped() -> None:
    envs = make(3)
    envs.reset(seed=0)
    options = {"reset_mask": np.array([True, False, False])}
    envs.reset(options=options)
    assert list(options) == ["reset_mask"]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_mode_is_an_argument_an_attribute_and_metadata_of_the_instance(mode: AutoresetMode) -> None:
    envs, other = make(2, mode), make(2, AutoresetMode.NEXT_STEP)
    assert envs.unwrapped.autoreset_mode is envs.metadata["autoreset_mode"] is mode
    assert other.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    by_name = gym.make_vec("HWGPT-v0", num_envs=2, autoreset_mode=mode.value)
    assert by_name.metadata["autoreset_mode"] is mode
    json.dumps(by_name.spec.kwargs)
    assert gym.make_vec(by_name.spec).metadata["autoreset_mode"] is mode


def test_returned_arrays_are_the_users() -> None:
    envs = make(3, AutoresetMode.SAME_STEP)
    results = [envs.reset(seed=0)[0]]
    kept = [results[0].copy()]
    for _ in range(60):
        observation, *_, infos = envs.step(envs.action_space.sample())
        results.append(observation)
        kept.append(observation.copy())
        for result in results[:-1]:
            assert not np.shares_memory(result, observation)
        observation[:] = observation
        infos["action_mask"][:] = 0
    for result, expected in zip(results, kept, strict=True):
        np.testing.assert_array_equal(result, expected)


def test_writing_into_an_observation_does_not_reach_the_state() -> None:
    envs, twin = make(2), make(2)
    for item in (envs, twin):
        item.reset(seed=0)
    observation = envs.step(np.array([1, 2]))[0]
    twin.step(np.array([1, 2]))
    observation[:] = 7.0
    check_equal(envs.step(np.array([0, 1])), twin.step(np.array([0, 1])))


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))], ids=["copy", "pickle"]
)
def test_copies_continue_identically(clone: Any) -> None:
    envs = make(5, AutoresetMode.SAME_STEP, device="all", constraint=KEPT, noise=True)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        envs.step(rng.integers(0, 3, 5))
    twin = clone(envs)
    for _ in range(60):
        actions = rng.integers(0, 3, 5)
        check_equal(envs.step(actions), twin.step(actions))


def test_statistics_wrapper_sees_the_same_episodes() -> None:
    native, sync = (wrappers.RecordEpisodeStatistics(build(4)) for build in (make, make_sync))
    native.reset(seed=0)
    sync.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(80):
        actions = rng.integers(0, 3, 4)
        infos = [envs.step(actions)[-1] for envs in (native, sync)]
        for info in infos:
            info.get("episode", {}).pop("t", None)
        check_equal(infos[0], infos[1])
    assert list(native.return_queue) == list(sync.return_queue)
    assert len(native.length_queue) > 8


@pytest.mark.filterwarnings("ignore:.*precision lowered by casting")
@pytest.mark.parametrize(
    "wrap",
    [
        wrappers.DictInfoToList,
        wrappers.NormalizeObservation,
        wrappers.NormalizeReward,
        lambda envs: wrappers.ClipReward(envs, -1.0, 1.0),
        lambda envs: wrappers.RescaleObservation(envs, -1.0, 1.0),
        lambda envs: wrappers.TransformObservation(envs, lambda x: x * 2, envs.observation_space),
    ],
    ids=["list", "normal-observation", "normal-reward", "clip", "rescale", "transform"],
)
def test_vector_wrappers_run(wrap: Any) -> None:
    envs = wrap(make(3, device="all"))
    envs.reset(seed=0)
    for _ in range(60):
        result = envs.step(envs.action_space.sample())
    assert len(result[0]) == 3


def test_lists_of_infos_are_those_of_scalar_environments() -> None:
    envs = wrappers.DictInfoToList(make(2, device=["a100", "h100"]))
    scalar = gym.make("HWGPT-v0", device=["a100", "h100"])
    envs.reset(seed=3)
    scalar.reset(seed=4)
    for action in (2, 0, 1, *[1] * 20):
        info = envs.step(np.array([0, action]))[-1][1]
        expected = scalar.step(action)[-1]
    assert expected["feasible"] == info["feasible"]
    assert expected["architecture"] == info["architecture"]
    assert expected["device"] == info["device"]
    assert expected["constraint"] == {key: info["constraint"][key] for key in expected["constraint"]}


def test_masks_of_all_lanes() -> None:
    envs = make(4)
    _, infos = envs.reset()
    for step in range(23):
        masks = envs.unwrapped.action_masks()
        np.testing.assert_array_equal(masks, infos["action_mask"] == 1)
        assert masks[:, 2].all() == (step != 2)
        infos = envs.step(np.zeros(4, dtype=np.int64))[-1]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 1], "actions must (be|hold) 3 integers"),
        ([0, 1, 3], "from 0 to 2, got 3 for lane 2"),
        ([0, -1, 1], "got -1 for lane 1"),
        ([0.0, 1.0, 1.0], "actions must hold 3 integers from 0 to 2"),
    ],
)
def test_wrong_actions_change_nothing(actions: list[Any], message: str) -> None:
    envs = make(3).unwrapped
    envs.reset()
    with pytest.raises((TypeError, ValueError), match=message):
        envs.step(np.array(actions))
    assert (envs.encoded == -1).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": [1, 2]}, ValueError, "a list of 3"),
        ({"seed": -1}, ValueError, "at least 0"),
        ({"options": {"reset_mask": [True, False, True]}}, TypeError, "numpy array of bool"),
        ({"options": {"reset_mask": np.ones(3)}}, TypeError, "numpy array of bool"),
        ({"options": {"reset_mask": np.ones(2, dtype=bool)}}, ValueError, r"shape \(3,\)"),
        ({"options": {"reset_mask": np.zeros(3, dtype=bool)}}, ValueError, "at least one lane"),
        ({"options": {"colour": 1}}, ValueError, "unknown options"),
        ({"options": [1]}, TypeError, "options must be a dictionary or None"),
        ({"seed": True}, ValueError, "seed must be an integer"),
        ({"seed": 1.0}, ValueError, "seed must be an integer"),
        ({"seed": "123"}, ValueError, "seed must be an integer"),
        ({"seed": [1, True, 2]}, ValueError, r"seed\[1\] must be an integer of at least 0, got True"),
    ],
    ids=str,
)
def test_wrong_resets_change_nothing(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    envs = make(3).unwrapped
    envs.reset()
    envs.step(np.array([0, 1, 2]))
    before = envs.encoded
    with pytest.raises(error, match=message):
        envs.reset(**arguments)
    np.testing.assert_array_equal(envs.encoded, before)


def test_integers_of_numpy_are_integers() -> None:
    native, sync = make(np.int64(2), device="all"), make_sync(2, device="all")
    assert native.num_envs == 2
    for seed, expected in ((np.int64(7), 7), (np.array([3, 4]), [3, 4]), (2**70, 2**70)):
        check_equal(native.reset(seed=seed), sync.reset(seed=expected))


@pytest.mark.parametrize("env_id", ["HWGPT-v0", "HWGPT-MO-v0"])
def test_natural_guesses_are_refused_with_the_right_call(env_id: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_envs': write num_envs=4"):
        gym.make_vec(env_id, n_envs=4)
    with pytest.raises(ValueError, match="got 'next_step': write autoreset_mode='NextStep'"):
        gym.make_vec(env_id, num_envs=2, autoreset_mode="next_step")
    with pytest.raises(ValueError, match=r"one of \['NextStep', 'SameStep', 'Disabled'\], got 'never'$"):
        gym.make_vec(env_id, num_envs=2, autoreset_mode="never")
    for make_any in (gym.make, gym.make_vec):
        with pytest.raises(TypeError, match="unexpected keyword argument 'devices': did you mean 'device'"):
            make_any(env_id, devices="a6000")


@pytest.mark.parametrize("num_envs", [0, -1, 2.0, "4", True])
def test_wrong_number_of_lanes(num_envs: Any) -> None:
    from hwgpt_gym.envs.vector import HWGPTVectorEnv

    with pytest.raises(ValueError, match="num_envs must be an integer from 1 to 1000000"):
        HWGPTVectorEnv(num_envs)


def test_no_step_before_reset_nor_of_complete_lanes() -> None:
    envs = make(2, AutoresetMode.DISABLED)
    with pytest.raises(gym.error.ResetNeeded, match="before step"):
        envs.step(np.zeros(2, dtype=np.int64))
    envs.reset()
    for _ in range(23):
        envs.step(np.array([0, 1]) if _ == 1 else np.zeros(2, dtype=np.int64))
    with pytest.raises(gym.error.ResetNeeded, match=r"lanes \[0\] are complete"):
        envs.step(np.zeros(2, dtype=np.int64))
