"""Training of the contextual policy. This module loads torch and Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import BaseCallback

from hwgpt_gym.agents.ppo.policy import Policy
from hwgpt_gym.agents.ppo.training import make_model, preserved_random_state
from hwgpt_gym.envs.sb3 import HWGPTVecEnv
from hwgpt_gym.envs.settings import make_settings
from hwgpt_gym.envs.task import get_task
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.search_space import FloatArray


class _CountingVecEnv(HWGPTVecEnv):
    """Counts finished episodes and leaves infos empty, as making them costs more than all else."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        env = HWGPTVectorEnv(
            settings["num_envs"],
            device=list(settings["devices"]),
            scale=settings["scale"],
            constraint=settings["constraint"],
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        super().__init__(env)
        self.built = 0
        self._infos: list[dict[str, Any]] = [{} for _ in range(settings["num_envs"])]

    def step_wait(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], list[Any]]:
        observations, rewards, terminations, _, _ = self.env.step(self._actions)
        self.built += int(terminations.sum())
        return observations, rewards.astype(np.float32), terminations, self._infos


class _Annealing(BaseCallback):
    """Anneals the entropy bonus, reports progress and stops after the last evaluation."""

    def __init__(self, settings: Mapping[str, Any], env: _CountingVecEnv, report: Callable[[int], None] | None) -> None:
        super().__init__()
        self.settings = settings
        self.env = env
        self.report = report

    def _on_rollout_start(self) -> None:
        done = self.env.built / self.settings["evaluations"]
        start, end = self.settings["entropy_start"], self.settings["entropy_end"]
        self.model.ent_coef = start + (end - start) * done  # type: ignore[attr-defined]
        if self.report is not None:
            self.report(self.env.built)

    def _on_step(self) -> bool:
        return bool(self.env.built < self.settings["evaluations"])


def train(settings: Mapping[str, Any], report: Callable[[int], None] | None = None) -> Policy:
    """Train a contextual policy.

    Args:
        settings: Those of :class:`hwgpt_gym.agents.ppo.contextual.ContextualPPO`, and its ``constraint``.
        report: Called with the number of architectures built so far, before every update.
    """
    with preserved_random_state():
        env = _CountingVecEnv(settings)
        space = env.env.bench.space
        layout = env.env.layout
        model = make_model(
            env,
            layout,
            settings,
            settings["seed"],
            lambda: max(0.0, 1.0 - env.built / settings["evaluations"]),
            masked=False,
        )
        model.policy.features_extractor.fit(_sample_contexts(settings))
        steps = (settings["evaluations"] + 2 * settings["num_envs"]) * space.num_decisions
        model.learn(steps, callback=_Annealing(settings, env, report), log_interval=10**9)
        if report is not None:
            report(settings["evaluations"])
        return Policy(space, model.policy, False, settings["hidden_size"], layout.num_context_columns)


def _sample_contexts(settings: Mapping[str, Any]) -> FloatArray:
    """Return the context columns of episodes that training will draw, ``float64 (n, context_columns)``."""
    generator = get_task(make_settings(list(settings["devices"]), settings["scale"], settings["constraint"])).generator
    uniforms = np.random.default_rng(settings["seed"]).random((10_000, generator.num_uniforms))
    return generator.columns(generator.draw(uniforms))
