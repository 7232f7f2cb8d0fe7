"""RLlib over the environments: what its workers make, with masks in the observation where asked.

The module imports nothing of Ray: workers import it by its name, and that registers the environments with Gymnasium.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

import hwgpt_gym  # noqa: F401  # Registers the environments.
from hwgpt_gym.envs.wrappers import ActionMaskObservation


def env_creator(config: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """Make a scalar environment: what ``ray.tune.register_env`` takes.

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
    """
    arguments = dict(config)
    env_id, masks = arguments.pop("env_id", "HWGPT-v0"), arguments.pop("masks", False)
    env = gymnasium.make(env_id, **arguments)
    return ActionMaskObservation(env) if masks else env
