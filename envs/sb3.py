"""Stable-Baselines3 over the native vector environment.

Stable-Baselines3 does not accept Gymnasium's vector environments: this bridge is its ``VecEnv``, many times faster
than its ``DummyVecEnv`` of scalar environments and equal to it step by step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from hwgpt_gym.checks import check_integer, echo, suggest
from hwgpt_gym.envs.edit import HWGPTEditVectorEnv
from hwgpt_gym.envs.episodes import MOST_LANES
from hwgpt_gym.envs.gym_interface import Observation
from hwgpt_gym.envs.hwgpt import HWGPTEnv
from hwgpt_gym.envs.vector import HWGPTVectorEnv

Info = dict[str, Any]
_ENV_IDS: Final = ("HWGPT-v0", "HWGPT-Edit-v0")


class HWGPTVecEnv(VecEnv):
    """A ``VecEnv`` over :class:`HWGPTVectorEnv` or its edits: what algorithms of Stable-Baselines3 take.

    An info holds what the scalar environment's does; that of a finished episode has ``terminal_observation`` and,
    as the ``Monitor`` wrapper writes it, ``episode``. sb3-contrib's maskable algorithms find their masks through
    ``env_method("action_masks")``.

    Args:
        env: The vector environment, of autoreset mode ``SAME_STEP``; the bridge owns it from now on.

    Attributes:
        env: The vector environment.

    Raises:
        ValueError: If the vector environment has another autoreset mode.
        TypeError: If it is another environment.
    """

    def __init__(self, env: HWGPTVectorEnv | HWGPTEditVectorEnv) -> None:
        if not isinstance(env, HWGPTVectorEnv | HWGPTEditVectorEnv):
            raise TypeError(f"env must be a HWGPTVectorEnv or a HWGPTEditVectorEnv, got {echo(env)}")
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
        observations, infos = self.env.reset_each([item or None for item in self._options], seed=seeds)
        self.reset_infos = _split(infos, range(self.num_envs))
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
        observations, rewards, terminations, truncations, batched = self.env.step(self._actions)
        ended = terminations | truncations
        self._returns += rewards
        self._lengths += 1
        final = {key: batched.pop(key) for key in ("final_obs", "final_info") if key in batched}
        infos = self._step_infos(batched, np.flatnonzero(~ended).tolist())
        if final:
            lanes = np.flatnonzero(ended).tolist()
            for lane, info in zip(lanes, _split(final["final_info"], lanes), strict=True):
                infos[lane] = info | {
                    "TimeLimit.truncated": bool(truncations[lane] and not terminations[lane]),
                    "terminal_observation": final["final_obs"][lane],
                    "episode": self._episode(lane),
                }
            for lane, info in zip(lanes, _split(batched, lanes), strict=True):
                self.reset_infos[lane] = info
            self._returns[ended] = 0.0
            self._lengths[ended] = 0
        return observations, rewards.astype(np.float32), ended, infos

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of lanes, each as its scalar environment would answer.

        Raises:
            AttributeError: If lanes have no such attribute.
        """
        return [self._lane_attr(lane, attr_name) for lane in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Lanes share one state and have no attributes of their own to set.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"cannot set {attr_name!r}: the lanes have no own attributes")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call ``action_masks``, ``render`` or ``get_wrapper_attr`` on lanes.

        Raises:
            AttributeError: If it is another method.
        """
        lanes = list(self._get_indices(indices))
        if method_name == "get_wrapper_attr":
            return [self._lane_attr(lane, *method_args, **method_kwargs) for lane in lanes]
        if method_name not in ("action_masks", "render"):
            raise AttributeError(
                f"lanes have the methods action_masks, render and get_wrapper_attr, not {method_name!r}"
            )
        results = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [None if results is None else results[lane] for lane in lanes]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Return whether lanes are wrapped: as if in a ``Monitor``, whose ``episode`` infos they give."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Return a frame of every lane."""
        return self.env.render() or [None] * self.num_envs

    def _step_infos(self, batched: Info, going: list[int]) -> list[Info]:
        """Return a dictionary a lane; those of lanes whose episode is over are replaced."""
        infos: list[Info]
        if self.env.info_strings and isinstance(self.env, HWGPTVectorEnv):
            infos = [{"action_mask": mask, "TimeLimit.truncated": False} for mask in batched["action_mask"]]
            if "shaping" in batched:
                for info, value in zip(infos, batched["shaping"].tolist(), strict=True):
                    info["shaping"] = value
            return infos
        infos = [{} for _ in range(self.num_envs)]
        for lane, info in zip(going, _split(batched, going), strict=True):
            infos[lane] = info | {"TimeLimit.truncated": False}
        return infos

    def _episode(self, lane: int) -> Info:
        return {
            "r": round(float(self._returns[lane]), 6),
            "l": int(self._lengths[lane]),
            "t": round(time.time() - self._started, 6),
        }

    def _lane_attr(self, lane: int, name: str) -> Any:
        """Return what the scalar environment of a lane would answer."""
        if name not in _LANE_ATTRS:
            raise AttributeError(f"lanes have the attributes {', '.join(_LANE_ATTRS)}, not {name!r}")
        return _LANE_ATTRS[name](self, lane)

    @cached_property
    def _lane_spec(self) -> EnvSpec | None:
        if self.env.spec is None:
            return None
        own = ("num_envs", "autoreset_mode", "vectorization_mode", "vector_kwargs", "wrappers")
        kwargs = {key: value for key, value in self.env.spec.kwargs.items() if key not in own}
        return gymnasium.make(self.env.spec.id, **kwargs).spec


def make_vec_env(num_envs: int = 1, *, env_id: str = "HWGPT-v0", seed: int | None = None, **kwargs: Any) -> HWGPTVecEnv:
    """Make the fast ``VecEnv`` of ``HWGPT-v0`` or ``HWGPT-Edit-v0``.

    Args:
        num_envs: The number of lanes.
        env_id: Which of the two.
        seed: Seeds the first lane at the next reset; the others' count up.
        **kwargs: The arguments of the environment: ``device``, ``scale``, ``constraint``, …

    Raises:
        ValueError: If an argument is not legal.
        TypeError: If there is no such argument.

    Example:
        >>> from sb3_contrib import MaskablePPO
        >>> from hwgpt_gym.envs.sb3 import make_vec_env
        >>> venv = make_vec_env(16, device="h100", constraint={"latency_ms": "p30"}, seed=0)
        >>> model = MaskablePPO("MlpPolicy", venv, n_steps=32, seed=0).learn(1024)
    """
    first: object = num_envs
    if isinstance(first, str) or "n_envs" in kwargs:
        raise TypeError("make_vec_env takes the number of lanes first: make_vec_env(4, device='a6000')")
    if env_id not in _ENV_IDS:
        raise ValueError(f"unknown env_id {echo(env_id)}: {suggest(env_id, list(_ENV_IDS))}")
    envs: Any = gymnasium.make_vec(
        env_id,
        check_integer("num_envs", num_envs, 1, MOST_LANES),
        autoreset_mode=AutoresetMode.SAME_STEP.value,
        **kwargs,
    )
    venv = HWGPTVecEnv(envs)
    if seed is not None:
        venv.seed(check_integer("seed", seed, 0))
    return venv


_LANE_ATTRS: Final[Mapping[str, Callable[[HWGPTVecEnv, int], Any]]] = {
    "observation_space": lambda venv, lane: venv.env.single_observation_space,
    "action_space": lambda venv, lane: venv.env.single_action_space,
    "encoded": lambda venv, lane: venv.env.encoded[lane : lane + 1],
    "spec": lambda venv, lane: venv._lane_spec,
    "np_random": lambda venv, lane: venv.env.lane_generator(lane),
    "metadata": lambda venv, lane: dict(HWGPTEnv.metadata),
    "render_mode": lambda venv, lane: venv.env.render_mode,
    "bench": lambda venv, lane: venv.env.bench,
    "layout": lambda venv, lane: venv.env.layout,
    "action_masks": lambda venv, lane: lambda: venv.env.action_masks()[lane],
    "render": lambda venv, lane: lambda: venv.env_method("render", indices=[lane])[0],
}
"""What lanes have, each as its scalar environment would answer."""


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
