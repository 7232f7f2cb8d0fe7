"""Training of PPO on edits of a search problem. This module loads torch and Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.callbacks import BaseCallback

from hwgpt_gym.agents.ppo.training import preserved_random_state
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.envs.construction import NUM_ACTIONS, Lanes, ObservationLayout
from hwgpt_gym.envs.editing import Editing
from hwgpt_gym.envs.search_vec_env import SearchVecEnv
from hwgpt_gym.search_space import Encoded, FloatArray


class EditVecEnv(SearchVecEnv):
    """Edits architectures of a search problem on many lanes; each state is evaluated there, and only there.

    Beyond the budget nothing is evaluated, and earns zero; training must stop when it is spent.

    Args:
        problem: The problem; its seed draws where episodes start.
        num_envs: The number of lanes.
        max_steps: After how many changes an episode is truncated.
    """

    def __init__(self, problem: SearchProblem, num_envs: int, max_steps: int) -> None:
        layout = ObservationLayout(problem.space, has_position=False)
        super().__init__(layout, num_envs, self._evaluate)
        self.observation_space = Box(0.0, 1.0, (layout.num_columns,), np.float32)
        self.action_space = Discrete(NUM_ACTIONS * problem.space.num_decisions)
        self.construction: Any = Editing(layout, num_envs, max_steps)
        self._problem = problem
        self._rng = np.random.default_rng(problem.seed)
        self._value = np.zeros(num_envs)

    def reset(self) -> npt.NDArray[np.float32]:
        """Begin an episode on every lane and return the observations."""
        self._begin(np.arange(self.num_envs))
        self._reset_seeds()
        self._reset_options()
        return np.asarray(self.construction.observation.copy())

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take note of the actions, integers ``(num_envs,)``."""
        self._actions = actions

    def step_wait(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], list[Any]]:
        """Make the changes: observations, rewards ``float32``, whether episodes ended, infos of those that did."""
        finished = self.construction.apply(self._actions)
        value = self._evaluate(self.construction.encoded)
        rewards = (value - self._value).astype(np.float32)
        self._value = value
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(finished)
        for lane in ended:
            last = self.construction.observation[lane].copy()
            infos[lane] = {"terminal_observation": last, "TimeLimit.truncated": True}
        if len(ended):
            self._begin(ended)
        return self.construction.observation.copy(), rewards, finished, infos

    def _begin(self, lanes: Lanes) -> None:
        space = self._problem.space
        kept = (self._rng.random((len(lanes), space.num_decisions)) * np.array(space.num_choices)).astype(np.int8)
        self.construction.begin(lanes)
        self.construction.begin_from(lanes, kept)
        self._value[lanes] = self._evaluate(self.construction.encoded[lanes])

    def _evaluate(self, encoded: Encoded) -> FloatArray:
        rewards = np.zeros(len(encoded))
        count = min(len(encoded), self._problem.remaining)
        if count:
            rewards[:count] = self._problem.evaluate(encoded[:count])
        return rewards


class _Stop(BaseCallback):
    def __init__(self, problem: SearchProblem) -> None:
        super().__init__()
        self.problem = problem

    def _on_step(self) -> bool:
        return self.problem.remaining > 0


def train(problem: SearchProblem, settings: Mapping[str, Any]) -> None:
    """Train a policy until the budget is spent.

    Args:
        problem: The problem.
        settings: The settings.
    """
    from sb3_contrib import MaskablePPO
    from stable_baselines3.common.logger import Logger

    with preserved_random_state():
        model = MaskablePPO(
            "MlpPolicy",
            EditVecEnv(problem, settings["num_envs"], settings["max_steps"]),
            n_steps=settings["n_steps"],
            batch_size=settings["batch_size"],
            n_epochs=settings["n_epochs"],
            learning_rate=lambda _: settings["learning_rate"] * problem.remaining / problem.budget,
            ent_coef=settings["entropy"],
            gamma=settings["gamma"],
            policy_kwargs={"net_arch": [settings["hidden_size"], settings["hidden_size"]]},
            seed=problem.seed % 2**31,
            device="cpu",
        )
        model.set_logger(Logger(folder=None, output_formats=[]))
        # More than the budget can take: the callback stops at its end.
        model.learn(problem.budget + settings["num_envs"], callback=_Stop(problem), log_interval=10**9)
