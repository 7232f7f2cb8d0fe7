"""Wrappers for libraries that look for action masks in the observation."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from hwgpt_gym.checks import echo
from hwgpt_gym.envs.construction import NUM_ACTIONS

MaskedObservation = dict[str, npt.NDArray[Any]]


class ActionMaskObservation(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """Puts the action mask beside the observation: ``{"observations": …, "action_mask": …}``.

    The keys are those that RLlib's action-masking modules expect; Tianshou's policies look for ``"obs"`` and
    ``"mask"``.

    Args:
        env: An environment of this package.
        observation_key: The key of the observation.
        mask_key: The key of the mask, ``int8 (3,)``.

    Raises:
        ValueError: If the keys are equal.

    Example:
        >>> import gymnasium as gym
        >>> import hwgpt_gym
        >>> env = ActionMaskObservation(gym.make("HWGPT-v0", device="a6000"))
        >>> observation, info = env.reset(seed=0)
        >>> sorted(observation)
        ['action_mask', 'observations']
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], observation_key: str = "observations", mask_key: str = "action_mask"
    ) -> None:
        if observation_key == mask_key:
            raise ValueError(f"observation_key and mask_key must differ, got {echo(mask_key)} twice")
        gymnasium.utils.RecordConstructorArgs.__init__(self, observation_key=observation_key, mask_key=mask_key)
        gymnasium.Wrapper.__init__(self, env)
        self._observation_key = observation_key
        self._mask_key = mask_key
        mask_space = spaces.Box(0, 1, shape=(NUM_ACTIONS,), dtype=np.int8)
        self.observation_space = spaces.Dict({observation_key: env.observation_space, mask_key: mask_space})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MaskedObservation, dict[str, Any]]:
        """Reset the environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observation, info), info

    def step(self, action: Any) -> tuple[MaskedObservation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_mask(observation, info), reward, terminated, truncated, info

    def _with_mask(self, observation: npt.NDArray[Any], info: dict[str, Any]) -> MaskedObservation:
        # A copy: the information belongs to the user as well.
        return {self._observation_key: observation, self._mask_key: info["action_mask"].copy()}
