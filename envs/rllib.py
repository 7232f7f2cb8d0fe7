"""RLlib over the environments: what its workers make, with masks in the observation where asked.

The module imports nothing of Ray: workers import it by its name, and that registers the environments with Gymnasium.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

import hwgpt_gym  # noqa: F401  # Registers the environments.
from hwgpt_gym.envs.wrappers import ActionMaskObservation, VectorActionMaskObservation


def env_creator(
    config: Mapping[str, Any],
) -> gymnasium.Env[Any, Any] | gymnasium.vector.VectorEnv[Any, Any, Any]:
    """Make an environment: what ``ray.tune.register_env`` takes.

    With ``env_runners(gym_env_vectorize_mode="vector_entry_point")`` RLlib adds ``num_envs`` to the configuration, and
    the environment is the native vector environment of that many lanes.

    Args:
        config: RLlib's ``env_config``: the arguments of the environment, and besides ``env_id`` (``"HWGPT-v0"`` if it
            is missing) and ``masks``, whether the observation is a dictionary with the mask, as RLlib's
            ``ActionMaskingTorchRLModule`` wants it.

    Raises:
        ValueError: If an argument is not legal.
        TypeError: If there is no such argument.

    Example:
        >>> env = env_creator({"device": "h100", "masks": True})
        >>> sorted(env.observation_space)
        ['action_mask', 'observations']
        >>> env_creator({"device": "h100", "num_envs": 4}).observation_space.shape
        (4, 108)
    """
    arguments = dict(config)
    env_id, masks = arguments.pop("env_id", "HWGPT-v0"), arguments.pop("masks", False)
    if "num_envs" in arguments:
        envs = gymnasium.make_vec(env_id, **arguments)
        return VectorActionMaskObservation(envs) if masks else envs
    env = gymnasium.make(env_id, **arguments)
    return ActionMaskObservation(env) if masks else env
