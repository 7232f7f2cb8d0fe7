"""What RLlib's workers make; the example trains with it."""

from __future__ import annotations

import pytest

from hwgpt_gym.envs.rllib import env_creator
from hwgpt_gym.envs.wrappers import ActionMaskObservation


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
