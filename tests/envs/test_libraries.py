"""Libraries over the environments: masks in the observation, TorchRL."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from hwgpt_gym.envs.wrappers import ActionMaskObservation, VectorActionMaskObservation


@pytest.mark.parametrize("env_id", ["HWGPT-v0", "HWGPT-MO-v0"])
def test_masks_stand_in_the_observation(env_id: str) -> None:
    env = ActionMaskObservation(gym.make(env_id))
    plain = gym.make(env_id)
    observation, info = env.reset(seed=0)
    expected, _ = plain.reset(seed=0)
    for _ in range(23):
        assert env.observation_space.contains(observation)
        np.testing.assert_array_equal(observation["observations"], expected)
        np.testing.assert_array_equal(observation["action_mask"], info["action_mask"])
        assert not np.shares_memory(observation["action_mask"], info["action_mask"])
        observation, *_, info = env.step(0)
        expected = plain.step(0)[0]


def test_keys_of_masks_can_be_chosen_and_survive_the_spec() -> None:
    env = ActionMaskObservation(gym.make("HWGPT-v0"), observation_key="obs", mask_key="mask")
    assert sorted(env.reset()[0]) == ["mask", "obs"]
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    with pytest.raises(ValueError, match="must differ"):
        ActionMaskObservation(gym.make("HWGPT-v0"), observation_key="x", mask_key="x")


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("env_id", ["HWGPT-v0", "HWGPT-MO-v0", "HWGPT-Edit-v0"])
def test_masks_stand_in_the_observations_of_vector_environments(env_id: str, mode: str) -> None:
    options: dict[str, Any] = {"max_steps": 20} if env_id == "HWGPT-Edit-v0" else {}
    envs = VectorActionMaskObservation(gym.make_vec(env_id, 3, autoreset_mode=mode, **options))
    plain = gym.make_vec(env_id, 3, autoreset_mode=mode, **options)
    observations, _ = envs.reset(seed=0)
    expected, infos = plain.reset(seed=0)
    plain.action_space.seed(0)
    ends = 0
    for _ in range(60):
        assert envs.observation_space.contains(observations)
        np.testing.assert_array_equal(observations["observations"], expected)
        np.testing.assert_array_equal(observations["action_mask"], plain.unwrapped.action_masks())
        actions = plain.action_space.sample()
        observations, *_, told = envs.step(actions)
        expected, _, terminations, truncations, infos = plain.step(actions)
        ended = terminations | truncations
        ends += ended.sum()
        if "final_obs" in infos:
            for lane in np.flatnonzero(ended):
                last = told["final_obs"][lane]
                assert envs.single_observation_space.contains(last)
                np.testing.assert_array_equal(last["observations"], infos["final_obs"][lane])
        if mode == "Disabled" and ended.any():
            # One lane waits for no other: the masks of all lanes are told.
            observations, _ = envs.reset(options={"reset_mask": ended})
            expected, _ = plain.reset(options={"reset_mask": ended})
    assert ends >= 3
    with pytest.raises(ValueError, match="must differ"):
        VectorActionMaskObservation(plain, observation_key="x", mask_key="x")


def test_torchrl_steps_the_scalar_environment() -> None:
    pytest.importorskip("torchrl", reason="needs hwgpt-gym[torchrl]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchrl.envs import GymEnv, GymWrapper, check_env_specs

    env = GymWrapper(gym.make("HWGPT-v0", device="h100"), categorical_action_encoding=True)
    check_env_specs(env)
    steps = env.rollout(100)
    assert len(steps) in (23, 25, 27)
    assert steps["next", "terminated"].sum() == 1
    assert GymEnv("HWGPT-v0", scale="m").rollout(3)["observation"].shape == (3, 4 * 51)


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_torchrl_steps_the_vector_environment(mode: str) -> None:
    pytest.importorskip("torchrl", reason="needs hwgpt-gym[torchrl]")
    from torchrl.envs import GymWrapper

    env = GymWrapper(gym.make_vec("HWGPT-v0", num_envs=4, autoreset_mode=mode), categorical_action_encoding=True)
    steps: Any = env.rollout(60, break_when_any_done=False)
    assert steps.shape == (4, 60)
    # Every lane finishes two episodes of at most 27 decisions.
    assert (steps["next", "done"].sum(dim=1) >= 2).all()
    assert (steps["next", "reward"].squeeze(-1) != 0).sum() == steps["next", "done"].sum()


@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
def test_torchrl_reads_information_of_numbers(vector: bool) -> None:
    pytest.importorskip("torchrl", reason="needs hwgpt-gym[torchrl]")
    import torch
    from torchrl.data import Unbounded
    from torchrl.envs import GymWrapper
    from torchrl.envs.gym_like import default_info_dict_reader

    def make(**options: Any) -> Any:
        if vector:
            plain = gym.make_vec("HWGPT-v0", 2, autoreset_mode="Disabled", info_strings=False, **options)
        else:
            plain = gym.make("HWGPT-v0", info_strings=False, **options)
        return GymWrapper(plain, categorical_action_encoding=True)

    every = make().auto_register_info_dict()
    chosen = make(device="all")
    shape = (2,) if vector else ()
    chosen.set_info_dict_reader(default_info_dict_reader(["perplexity"], spec=[Unbounded(shape, dtype=torch.float64)]))
    for env in (every, chosen):
        steps = env.rollout(60, break_when_any_done=not vector)["next"]
        done = steps["done"].reshape(-1)
        known = ~steps["perplexity"].isnan().reshape(-1)
        assert done.any()
        assert (known == done).all()
    assert steps["perplexity"].reshape(-1)[done].min() > 1.0
