"""Wrappers for libraries that look for action masks in the observation, or keep information in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from hwgpt_gym.checks import echo
from hwgpt_gym.envs.gym_interface import first_lane
from hwgpt_gym.envs.numeric_info import numbers_of

MaskedObservation = dict[str, npt.NDArray[Any]]


class ActionMaskObservation(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """Puts the action mask beside the observation: ``{"observations": …, "action_mask": …}``.

    The keys are those that RLlib's action-masking modules expect; Tianshou's policies look for ``"obs"`` and
    ``"mask"``.

    Args:
        env: An environment of this package.
        observation_key: The key of the observation.
        mask_key: The key of the mask, ``int8 (actions,)``.

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
        num_actions = env.get_wrapper_attr("action_space").n
        mask_space = spaces.Box(0, 1, shape=(num_actions,), dtype=np.int8)
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


class VectorActionMaskObservation(gymnasium.vector.VectorWrapper):
    """Puts the action masks beside the observations of a vector environment, as :class:`ActionMaskObservation` does.

    Args:
        env: A native vector environment of this package.
        observation_key: The key of the observations.
        mask_key: The key of the masks, ``int8 (num_envs, actions)``.

    Raises:
        ValueError: If the keys are equal.

    Example:
        >>> import gymnasium as gym
        >>> import hwgpt_gym
        >>> envs = VectorActionMaskObservation(gym.make_vec("HWGPT-v0", num_envs=8))
        >>> observations, infos = envs.reset(seed=0)
        >>> observations["action_mask"].shape
        (8, 3)
    """

    def __init__(
        self,
        env: gymnasium.vector.VectorEnv[Any, Any, Any],
        observation_key: str = "observations",
        mask_key: str = "action_mask",
    ) -> None:
        if observation_key == mask_key:
            raise ValueError(f"observation_key and mask_key must differ, got {echo(mask_key)} twice")
        super().__init__(env)
        self._observation_key = observation_key
        self._mask_key = mask_key
        single: Any = env.single_action_space
        mask_space = spaces.Box(0, 1, shape=(single.n,), dtype=np.int8)
        self.single_observation_space = spaces.Dict(
            {observation_key: env.single_observation_space, mask_key: mask_space}
        )
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MaskedObservation, dict[str, Any]]:
        """Reset the environments."""
        # Gymnasium's annotation knows one seed only, its own environments take a list.
        env: Any = self.env
        observations, infos = env.reset(seed=seed, options=options)
        return self._with_masks(observations), infos

    def step(
        self, actions: Any
    ) -> tuple[MaskedObservation, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], dict[str, Any]]:
        """Step the environments; last observations in the information have their masks as well."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        if "final_obs" in infos:
            ended = np.flatnonzero(infos["_final_obs"])
            masks = infos["final_info"]["action_mask"]
            for lane in ended.tolist():
                infos["final_obs"][lane] = {
                    self._observation_key: infos["final_obs"][lane],
                    self._mask_key: masks[lane].copy(),
                }
        return self._with_masks(observations), rewards, terminations, truncations, infos

    def _with_masks(self, observations: npt.NDArray[Any]) -> MaskedObservation:
        # Asked for rather than taken from the information, which after some lanes' reset tells of these alone.
        env: Any = self.env.unwrapped
        return {self._observation_key: observations, self._mask_key: env.action_masks().astype(np.int8)}


class NumericInfo(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """Makes information of numbers only and always of the same keys, as ``info_strings=False`` does.

    Args:
        env: An environment of this package.
        before_end: What stands before the end where a number is known at the end only: NaN as by the keyword, or, for
            libraries that refuse NaN (Tianshou's trainers), another number.

    Raises:
        ValueError: If ``before_end`` is no number.

    Example:
        >>> import gymnasium as gym
        >>> import hwgpt_gym
        >>> env = NumericInfo(gym.make("HWGPT-v0", device="all"))
        >>> observation, info = env.reset(seed=0)
        >>> info["architecture"].tolist()[:4], float(info["quality"])
        ([-1, -1, -1, -1], nan)
    """

    def __init__(self, env: gymnasium.Env[Any, Any], before_end: float = float("nan")) -> None:
        if isinstance(before_end, bool) or not isinstance(before_end, float | int):
            raise ValueError(f"before_end must be a number, got {before_end!r}")
        gymnasium.utils.RecordConstructorArgs.__init__(self, before_end=before_end)
        gymnasium.Wrapper.__init__(self, env)
        self._before_end = float(before_end)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._as_numbers(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._as_numbers(info)

    def _as_numbers(self, info: dict[str, Any]) -> dict[str, Any]:
        env: Any = self.env.unwrapped
        return first_lane(env._episodes.numeric_info(before_end=self._before_end), as_numpy=True) | numbers_of(info)
