"""Training of the contextual policy. This module loads torch and Stable-Baselines3.

Every rollout begins new episodes, with random numbers that come from the seed and the number of the update alone. So a
training goes on from the weights, the optimizer's state and that number, and ends as if it had not been interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import BaseCallback

from hwgpt_gym.agents.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from hwgpt_gym.agents.ppo.policy import Policy
from hwgpt_gym.agents.ppo.training import make_model, preserved_random_state
from hwgpt_gym.envs.sb3 import HWGPTVecEnv
from hwgpt_gym.envs.vector import HWGPTVectorEnv

CHECKPOINTED: Final = 20
"""Updates between two checkpoints."""

SAMPLES: Final = 10_000
"""Contexts that the features are standardised for."""

Report = Callable[[int, float], None]


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
        self.rewards: list[float] = []
        self._infos: list[dict[str, Any]] = [{} for _ in range(settings["num_envs"])]

    def step_wait(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], list[Any]]:
        observations, rewards, terminations, _, _ = self.env.step(self._actions)
        self.built += int(terminations.sum())
        self.rewards += rewards[terminations].tolist()
        return observations, rewards.astype(np.float32), terminations, self._infos


class _Training(BaseCallback):
    """A training under way: anneals the entropy bonus, keeps checkpoints, and ends after the last evaluation."""

    def __init__(self, settings: Mapping[str, Any], report: Report | None, folder: Path | None) -> None:
        super().__init__()
        self.settings = settings
        self.report = report
        self.path = None if folder is None else folder / CHECKPOINT
        self.env = _CountingVecEnv(settings)
        self.updates = self.begun_with = 0
        self.stopped: Callable[[], bool] = lambda: False

    @property
    def remaining(self) -> float:
        """The share of the evaluations that is left."""
        return max(0.0, 1.0 - self.begun_with / int(self.settings["evaluations"]))

    def load(self, model: Any) -> None:
        """Go on from the checkpoint, if there is one."""
        if self.path is not None and self.path.is_file():
            progress = load_checkpoint(self.path, model.policy, model.policy.optimizer, self.settings)
            self.updates, self.env.built = progress["updates"], progress["built"]

    def save(self) -> None:
        """Write a checkpoint of the state at the beginning of this rollout, which is that after the last update."""
        if self.path is not None:
            progress = {"updates": self.updates, "built": self.begun_with}
            policy: Any = self.model.policy
            save_checkpoint(self.path, policy, policy.optimizer, self.settings, progress)

    def _on_rollout_start(self) -> None:
        if self.report is not None and self.env.rewards:
            self.report(self.env.built, float(np.mean(self.env.rewards)))
        self.env.rewards.clear()
        self.begun_with = self.env.built
        if self.updates % CHECKPOINTED == 0:
            self.save()
        start, end = self.settings["entropy_start"], self.settings["entropy_end"]
        model: Any = self.model
        model.ent_coef = end + (start - end) * self.remaining
        first, *_, others = np.random.SeedSequence([self.settings["seed"], self.updates]).generate_state(3).tolist()
        self.env.seed(first)
        torch.manual_seed(others)
        np.random.seed(others)  # noqa: NPY002  # Stable-Baselines3 draws its minibatches from it.
        model._last_obs = self.env.reset()
        model._last_episode_starts = np.ones(self.env.num_envs, dtype=np.bool_)

    def _on_step(self) -> bool:
        return not self.stopped() and self.begun_with < self.settings["evaluations"]

    def _on_rollout_end(self) -> None:
        self.updates += 1


def train(
    settings: Mapping[str, Any],
    report: Report | None = None,
    folder: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Policy:
    """Train a contextual policy.

    Args:
        settings: Those of :class:`hwgpt_gym.agents.ppo.contextual.ContextualPPO`, and its ``constraint``.
        report: Called before every update with the number of architectures built so far and their mean reward.
        folder: Where the checkpoint is kept, if anywhere.
        stopped: Whether to end now.
    """
    with preserved_random_state():
        training = _Training(settings, report, folder)
        training.stopped = stopped
        env = training.env
        space, layout = env.env.bench.space, env.env.layout
        model = make_model(env, layout, settings, settings["seed"], lambda: training.remaining, masked=False)
        model.policy.features_extractor.fit(_sample_tables(env, settings["seed"]))
        training.load(model)
        # More steps than there will be: the training ends itself.
        model.learn((settings["evaluations"] + 2 * env.num_envs) * space.num_decisions, callback=training)
        training.save()
        return Policy(space, model.policy, False, settings["hidden_size"], layout.num_context_columns)


def _sample_tables(env: _CountingVecEnv, seed: int) -> torch.Tensor:
    """Return the part ``costs`` of contexts that training will draw, ``float32 (n, columns)``."""
    generator = env.env._episodes.task.generator
    assert generator.limited is not None
    uniforms = np.random.default_rng(seed).random((SAMPLES, generator.num_uniforms))
    return torch.from_numpy(generator.limited.columns(*generator.draw(uniforms)))
