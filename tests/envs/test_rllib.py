"""What RLlib's workers make; the example trains with it."""

from __future__ import annotations

import pytest

from hwgpt_gym.envs.rllib import env_creator
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.envs.wrappers import ActionMaskObservation, VectorActionMaskObservation


def test_configuration_is_the_environments_arguments() -> None:
    config = {"env_id": "HWGPT-Edit-v0", "device": "h100", "max_steps": 5, "masks": True}
    env = env_creator(config)
    assert isinstance(env, ActionMaskObservation)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["action_mask"].shape == (81,)
    assert len(config) == 4
    plain = env_creator({"device": "h100"})
    assert plain.observation_space.shape == (108,)
    assert plain.unwrapped.bench.devices[0].name == "h100"
    with pytest.raises(TypeError, match="devise"):
        env_creator({"devise": "h100"})


def test_number_of_lanes_asks_for_the_vector_environment() -> None:
    envs = env_creator({"env_id": "HWGPT-Edit-v0", "max_steps": 5, "masks": True, "num_envs": 4})
    assert isinstance(envs, VectorActionMaskObservation)
    observations, _ = envs.reset(seed=0)
    assert observations["action_mask"].shape == (4, 81)
    assert type(env_creator({"num_envs": 2})) is HWGPTVectorEnv
