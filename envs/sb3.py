"""Stable-Baselines3 over the native vector environment.

Stable-Baselines3 does not accept Gymnasium's vector environments: this bridge is its ``VecEnv``, many times faster
than its ``DummyVecEnv`` of scalar environments and equal to it step by step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from hwgpt_gym.envs.gym_interface import Observation
from hwgpt_gym.envs.vector import HWGPTVectorEnv

Info = dict[str, Any]


class HWGPTVecEnv(VecEnv):
    """A ``VecEnv`` over :class:`HWGPTVectorEnv`: what algorithms of Stable-Baselines3 take.

    An info holds what the scalar environment's does; that of a finished episode has ``terminal_observation`` and,
    as the ``Monitor`` wrapper writes it, ``episode``. sb3-contrib's maskable algorithms find their masks through
    ``env_method("action_masks")``.

    Args:
        env: The vector environment, of autoreset mode ``SAME_STEP``; the bridge owns it from now on.

    Attributes:
        env: The vector environment.

    Raises:
        ValueError: If the vector environment has another autoreset mode.
    """

    def __init__(self, env: HWGPTVectorEnv) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ValueError(f"env must be of autoreset mode SAME_STEP, got {env.autoreset_mode}")
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: npt.NDArray[Any] = np.zeros(self.num_envs, dtype=np.int64)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        self._started = time.time()

    def reset(self) -> Observation:
        """Begin an architecture on every lane, with the seeds and options that were set, and return observations."""
        seeds = None if all(seed is None for seed in self._seeds) else self._seeds
        options = [item or None for item in self._options]
        if all(item == options[0] for item in options):
            observations, infos = self.env.reset(seed=seeds, options=options[0])
            self.reset_infos = _split(infos, range(self.num_envs))
        else:
            # Lanes with options of their own: all begin, and then each with its options once more.
            self.env.reset(seed=seeds)
            for lane, item in enumerate(options):
                mask = np.arange(self.num_envs) == lane
                observations, infos = self.env.reset(seed=seeds, options={**(item or {}), "reset_mask": mask})
                self.reset_infos[lane] = _split(infos, [lane])[0]
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take note of the actions, integers ``(num_envs,)``."""
        self._actions = actions

    def step_wait(self) -> tuple[Observation, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[Info]]:
        """Take the decisions: observations, rewards ``float32``, whether episodes ended, and infos."""
        observations, rewards, terminations, _, batched = self.env.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        final = {key: batched.pop(key) for key in ("final_obs", "final_info") if key in batched}
        infos = self._step_infos(batched)
        if final:
            ended = np.flatnonzero(terminations).tolist()
            for lane, info in zip(ended, _split(final["final_info"], ended), strict=True):
                infos[lane] = info | {
                    "TimeLimit.truncated": False,
                    "terminal_observation": final["final_obs"][lane],
                    "episode": self._episode(lane),
                }
            for lane, info in zip(ended, _split(batched, ended), strict=True):
                self.reset_infos[lane] = info
            self._returns[terminations] = 0.0
            self._lengths[terminations] = 0
        return observations, rewards.astype(np.float32), terminations, infos

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of lanes: that of the vector environment, or a lane's own ``action_masks``."""
        lanes = list(self._get_indices(indices))
        if attr_name == "action_masks":
            return [self._lane_masks(lane) for lane in lanes]
        return [getattr(self.env, attr_name)] * len(lanes)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Lanes share one state and have no attributes of their own to set.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"cannot set {attr_name!r}: the lanes of HWGPTVectorEnv have no own attributes")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call ``action_masks`` or ``render`` on lanes.

        Raises:
            AttributeError: If it is another method.
        """
        lanes = list(self._get_indices(indices))
        if method_name not in ("action_masks", "render"):
            raise AttributeError(f"lanes of HWGPTVectorEnv have the methods action_masks and render, not {method_name}")
        results = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [None if results is None else results[lane] for lane in lanes]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Return whether lanes are wrapped: as if in a ``Monitor``, whose ``episode`` infos they give."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Return a frame of every lane."""
        return self.env.render() or [None] * self.num_envs

    def _step_infos(self, batched: Info) -> list[Info]:
        infos: list[Info] = [{"action_mask": mask, "TimeLimit.truncated": False} for mask in batched["action_mask"]]
        if "shaping" in batched:
            for info, value in zip(infos, batched["shaping"].tolist(), strict=True):
                info["shaping"] = value
        return infos

    def _episode(self, lane: int) -> Info:
        return {
            "r": round(float(self._returns[lane]), 6),
            "l": int(self._lengths[lane]),
            "t": round(time.time() - self._started, 6),
        }

    def _lane_masks(self, lane: int) -> Callable[[], npt.NDArray[np.bool_]]:
        return lambda: self.env.action_masks()[lane]


def make_vec_env(num_envs: int, *, seed: int | None = None, **kwargs: Any) -> HWGPTVecEnv:
    """Make the fast ``VecEnv`` of ``HWGPT-v0``.

    Args:
        num_envs: The number of lanes.
        seed: Seeds the first lane at the next reset; the others' count up.
        **kwargs: The arguments of the environment: ``device``, ``scale``, ``constraint``, …

    Raises:
        ValueError: If an argument is not legal.

    Example:
        >>> from sb3_contrib import MaskablePPO
        >>> from hwgpt_gym.envs.sb3 import make_vec_env
        >>> venv = make_vec_env(16, device="h100", constraint={"latency_ms": "p30"}, seed=0)
        >>> model = MaskablePPO("MlpPolicy", venv, n_steps=32, seed=0).learn(1024)
    """
    venv = HWGPTVecEnv(HWGPTVectorEnv(num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **kwargs))
    if seed is not None:
        venv.seed(seed)
    return venv


def _split(infos: Info, lanes: Iterable[int]) -> list[Info]:
    """Turn a vector environment's information into one dictionary for each of some lanes.

    Keys that not all of the lanes have are left out.
    """
    rows = list(lanes)
    result: list[Info] = [{} for _ in rows]
    for key, value in infos.items():
        if key.startswith("_") or not infos[f"_{key}"][rows].all():
            continue
        if isinstance(value, dict):
            values: Iterable[Any] = _split(value, rows)
        else:
            # Rows of a matrix stay arrays; numbers become Python's.
            values = value[rows].tolist() if value.ndim == 1 else value[rows]
        for info, item in zip(result, values, strict=True):
            info[key] = item
    return result
