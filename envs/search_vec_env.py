"""A ``VecEnv`` that builds architectures for whoever scores them: training on a search problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from hwgpt_gym.envs.construction import Construction, ObservationLayout
from hwgpt_gym.envs.gym_interface import Observation, check_actions, make_action_space, make_observation_space
from hwgpt_gym.search_space import Encoded, FloatArray


class SearchVecEnv(VecEnv):
    """Builds architectures on many lanes and asks a function what they earn; each is evaluated there and only there.

    Observations, actions and the beginning of the next architecture in the same step are those of
    :class:`~hwgpt_gym.envs.sb3.HWGPTVecEnv` without a context. Nothing is random. Infos are empty, since filling
    thousands of them a second costs more than all else; sb3-contrib's maskable algorithms find their masks through
    ``env_method("action_masks")``.

    Args:
        layout: The columns of an observation, without a context.
        num_envs: The number of lanes.
        reward: Returns the rewards ``float64 (k,)`` of complete architectures ``int8 (k, D)``, in the order of lanes.

    Attributes:
        construction: The architectures under construction.
    """

    def __init__(self, layout: ObservationLayout, num_envs: int, reward: Callable[[Encoded], FloatArray]) -> None:
        super().__init__(num_envs, make_observation_space(layout), make_action_space())
        self.construction = Construction(layout, num_envs)
        self._reward = reward
        self._actions: npt.NDArray[Any] = np.zeros(num_envs, dtype=np.int64)

    def reset(self) -> Observation:
        """Begin an architecture on every lane and return the observations, ``float32 (num_envs, 4 D)``."""
        self.construction.begin()
        self._reset_seeds()
        self._reset_options()
        return self.construction.observation.copy()

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take note of the actions, integers ``(num_envs,)``."""
        self._actions = check_actions(actions, self.num_envs)

    def step_wait(self) -> tuple[Observation, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Take the decisions: observations, rewards ``float32``, whether architectures are complete, empty infos."""
        finished = self.construction.apply(self._actions)
        rewards = np.zeros(self.num_envs, dtype=np.float32)
        ended = np.flatnonzero(finished)
        if len(ended):
            rewards[ended] = self._reward(self.construction.encoded[ended])
            self.construction.begin(ended)
        return self.construction.observation.copy(), rewards, finished, [{} for _ in range(self.num_envs)]

    def close(self) -> None:
        """There is nothing to close."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of lanes: ``render_mode``, which is ``None``, or ``action_masks``.

        Raises:
            AttributeError: If it is another one.
        """
        lanes = list(self._get_indices(indices))
        if attr_name == "render_mode":
            return [None] * len(lanes)
        if attr_name == "action_masks":
            return [lambda lane=lane: self.construction.bool_masks()[lane] for lane in lanes]
        raise AttributeError(f"lanes of SearchVecEnv have the attributes render_mode and action_masks, not {attr_name}")

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Lanes share one state and have no attributes of their own to set.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"cannot set {attr_name!r}: the lanes of SearchVecEnv have no own attributes")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call ``action_masks`` on lanes.

        Raises:
            AttributeError: If it is another method.
        """
        if method_name != "action_masks":
            raise AttributeError(f"lanes of SearchVecEnv have the method action_masks, not {method_name}")
        masks = self.construction.bool_masks()
        return [masks[lane] for lane in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Return that no lane is wrapped."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Return that there is nothing to see."""
        return [None] * self.num_envs
