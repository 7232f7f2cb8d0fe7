"""Training of PPO and MaskablePPO on a search problem. This module loads torch and Stable-Baselines3."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import BaseCallback

from hwgpt_gym.agents.ppo.policy import Policy, policy_class, policy_kwargs
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.envs.sb3 import HWGPTVecEnv
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.search_space import NOT_SET, Encoded, SearchSpace

Watch: TypeAlias = Callable[[Policy], None]
"""Looks at a policy while it is trained."""


class SearchVecEnv(HWGPTVecEnv):
    """The environment of Stable-Baselines3 over a search problem: every architecture built is counted there.

    Rewards are the problem's own. Beyond the budget nothing is evaluated; training must stop when it is spent.

    Args:
        problem: The problem.
        num_envs: The number of lanes.
    """

    def __init__(self, problem: SearchProblem, num_envs: int) -> None:
        objective = problem.objective
        super().__init__(
            HWGPTVectorEnv(
                num_envs,
                # Without a device no metric of the problem depends on one, so any will do.
                device=problem.benchmark.device.name if problem.benchmark.device else "a6000",
                scale=problem.space.scale,
                constraint=dict(objective.constraints),
                penalty=objective.penalty,
                penalty_weight=objective.weight,
                autoreset_mode=AutoresetMode.SAME_STEP,
            )
        )
        self.problem = problem
        self._infos: list[dict[str, Any]] = [{} for _ in range(num_envs)]

    def step_wait(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], list[Any]]:
        """Take the decisions; infos are empty, because making thousands of them a second costs more than all else."""
        observations, _, terminations, _, batched = self.env.step(self._actions)
        rewards = np.zeros(self.num_envs, dtype=np.float32)
        ended = np.flatnonzero(terminations)[: self.problem.remaining]
        if len(ended):
            final = np.stack(batched["final_obs"][ended].tolist())
            rewards[ended] = self.problem.evaluate(encoded_of(self.problem.space, final))
        return observations, rewards, terminations, self._infos


def encoded_of(space: SearchSpace, observations: npt.NDArray[np.float32]) -> Encoded:
    """Return the choices that observations show, ``int8 (n, D)``."""
    one_hot = observations[:, : 3 * space.num_decisions].reshape(len(observations), -1, 3)
    return np.where(one_hot.any(axis=2), one_hot.argmax(axis=2), NOT_SET).astype(np.int8)


class _Progress(BaseCallback):
    """Stops at the end of the budget, anneals the entropy bonus and records the greedy architecture."""

    def __init__(self, problem: SearchProblem, policy: Policy, settings: Mapping[str, Any], watch: Watch) -> None:
        super().__init__()
        self.problem = problem
        self.policy = policy
        self.settings = settings
        self.watch = watch
        self.recorded = 0

    def _on_rollout_start(self) -> None:
        done = self.problem.evaluations / self.problem.budget
        start, end = self.settings["entropy_start"], self.settings["entropy_end"]
        self.model.ent_coef = start + (end - start) * done  # type: ignore[attr-defined]
        if done * self.settings["checkpoints"] >= self.recorded + 1:
            self.recorded = int(done * self.settings["checkpoints"])
            self.problem.record_greedy(self.policy.greedy())
            self.watch(self.policy)

    def _on_rollout_end(self) -> None:
        self.logger.record("search/evaluations", self.problem.evaluations)
        self.logger.record("search/best_reward", self.problem.best_reward)
        self.logger.record("search/entropy_weight", self.model.ent_coef)  # type: ignore[attr-defined]

    def _on_step(self) -> bool:
        return self.problem.remaining > 0


def train(
    problem: SearchProblem,
    settings: Mapping[str, Any],
    *,
    masked: bool,
    tensorboard: Path | str | None = None,
    watch: Watch = lambda _: None,
) -> Policy:
    """Train a policy until the budget is spent.

    Args:
        problem: The problem.
        settings: Those of :class:`hwgpt_gym.agents.ppo.agent.PPO`, all of them set.
        masked: Whether to mask actions that are not distinct.
        tensorboard: A folder to write TensorBoard's events to.
        watch: Called with the policy as it is when its greedy architecture is recorded, and before the start.
    """
    with preserved_random_state():
        env = SearchVecEnv(problem, settings["num_envs"])
        model = make_model(env, settings, problem.seed, lambda: problem.remaining / problem.budget, masked, tensorboard)
        policy = Policy(problem.space, model.policy, masked, settings["hidden_size"])
        # More steps than the budget can take: the callback stops at its end.
        steps = (problem.budget + 2 * settings["num_envs"]) * problem.space.num_decisions
        progress = _Progress(problem, policy, settings, watch)
        watch(policy)
        model.learn(steps, callback=progress, log_interval=1 if tensorboard else 10**9)
        problem.record_greedy(policy.greedy())
        watch(policy)
        return policy


def make_model(
    env: Any,
    settings: Mapping[str, Any],
    seed: int,
    remaining: Any,
    masked: bool,
    tensorboard: Path | str | None = None,
    context_columns: int = 0,
) -> Any:
    """Return an untrained model of Stable-Baselines3, or of sb3-contrib if masked.

    Args:
        env: The environment, a bridge over the vector environment.
        settings: Those of :class:`hwgpt_gym.agents.ppo.agent.PPO`, all of them set.
        seed: Seeds the networks' weights and the actions.
        remaining: Returns the share of the budget that is left, which the learning rate is proportional to.
        masked: Whether to mask actions that are not distinct.
        tensorboard: A folder to write TensorBoard's events to.
        context_columns: The number of columns of the observation that describe the context.
    """
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import PPO

    algorithm: Any = MaskablePPO if masked else PPO
    return algorithm(
        policy_class(masked),
        env,
        n_steps=settings["n_steps"],
        batch_size=settings["batch_size"],
        n_epochs=settings["n_epochs"],
        learning_rate=lambda _: settings["learning_rate"] * remaining(),
        ent_coef=settings["entropy_start"],
        clip_range=settings["clip_range"],
        gamma=1.0,
        gae_lambda=settings["gae_lambda"],
        policy_kwargs=policy_kwargs(env.env.bench.space, settings["hidden_size"], context_columns),
        tensorboard_log=None if tensorboard is None else str(tensorboard),
        seed=seed % 2**31,
        device="cpu",
    )


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore the global generators of torch, numpy and Python afterwards: Stable-Baselines3 seeds all three."""
    state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
        random.setstate(python_state)
