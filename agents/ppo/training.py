"""Training of PPO and MaskablePPO on a search problem. This module loads torch and Stable-Baselines3."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from hwgpt_gym.agents.ppo.policy import Policy, policy_class, policy_kwargs
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.warm_start import policy_samples
from hwgpt_gym.envs.construction import Construction, ObservationLayout
from hwgpt_gym.envs.search_vec_env import SearchVecEnv
from hwgpt_gym.search_space import Encoded, FloatArray

IMITATION_RATE: Final = 5e-3
IMITATION_EPOCHS: Final = 60
IMITATION_BATCH: Final = 256
"""How a policy is made to imitate architectures: Adam's learning rate, passes, decisions in a gradient step."""

Watch: TypeAlias = Callable[[Policy], None]
"""Looks at a policy while it is trained."""


def make_env(problem: SearchProblem, num_envs: int) -> SearchVecEnv:
    """Return the environment of Stable-Baselines3 over a search problem: every architecture built is counted there.

    Beyond the budget nothing is evaluated, and earns zero; training must stop when it is spent.

    Args:
        problem: The problem.
        num_envs: The number of lanes.
    """

    def reward(encoded: Encoded) -> FloatArray:
        rewards = np.zeros(len(encoded))
        count = min(len(encoded), problem.remaining)
        if count:
            rewards[:count] = problem.evaluate(encoded[:count])
        return rewards

    return SearchVecEnv(ObservationLayout(problem.space), num_envs, reward)


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
        env = make_env(problem, settings["num_envs"])
        layout = env.construction.layout
        model = make_model(
            env, layout, settings, problem.seed, lambda: problem.remaining / problem.budget, masked, tensorboard
        )
        policy = Policy(problem.space, model.policy, masked, settings["hidden_size"])
        # More steps than the budget can take: the callback stops at its end.
        steps = (problem.budget + 2 * settings["num_envs"]) * problem.space.num_decisions
        progress = _Progress(problem, policy, settings, watch)
        if settings.get("warm_start"):
            _imitate(problem, model.policy, settings["warm_start"], masked)
        watch(policy)
        model.learn(steps, callback=progress, log_interval=1 if tensorboard else 10**9)
        problem.record_greedy(policy.greedy())
        watch(policy)
        return policy


def _imitate(problem: SearchProblem, network: Any, count: int, masked: bool) -> None:
    """Evaluate samples of the amortised policy, and make a network's policy likely to build the better half of them.

    Args:
        problem: The problem.
        network: The policy of Stable-Baselines3 or sb3-contrib.
        count: How many are sampled.
        masked: Whether it takes action masks.
    """
    encoded = policy_samples(problem, np.random.default_rng(problem.seed), min(count, problem.remaining))
    rewards = problem.evaluate(encoded)
    encoded = encoded[rewards >= np.median(rewards)]
    construction = Construction(ObservationLayout(problem.space), len(encoded))
    construction.begin()
    lanes, parts = np.arange(len(encoded)), []
    for place in range(problem.space.num_decisions):
        actions = encoded[lanes, place].astype(np.int64)
        parts.append((construction.observation[lanes], actions, construction.bool_masks()[lanes]))
        lanes = lanes[~construction.apply(actions, lanes)]
        if not len(lanes):
            break
    seen, actions, masks = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))
    optimizer = torch.optim.Adam(network.parameters(), IMITATION_RATE)
    for _ in range(IMITATION_EPOCHS):
        for rows in torch.split(torch.randperm(len(seen)), IMITATION_BATCH):
            more = {"action_masks": masks[rows]} if masked else {}
            _, log_probability, _ = network.evaluate_actions(seen[rows], actions[rows], **more)
            optimizer.zero_grad()
            (-log_probability.mean()).backward()
            optimizer.step()


def make_model(
    env: VecEnv,
    layout: ObservationLayout,
    settings: Mapping[str, Any],
    seed: int,
    remaining: Any,
    masked: bool,
    tensorboard: Path | str | None = None,
) -> Any:
    """Return an untrained model of Stable-Baselines3, or of sb3-contrib if masked.

    Args:
        env: The environment.
        layout: The columns of its observations.
        settings: Those of :class:`hwgpt_gym.agents.ppo.agent.PPO`, all of them set.
        seed: Seeds the networks' weights and the actions.
        remaining: Returns the share of the budget that is left, which the learning rate is proportional to.
        masked: Whether to mask actions that are not distinct.
        tensorboard: A folder to write TensorBoard's events to.
    """
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import Logger

    algorithm: Any = MaskablePPO if masked else PPO
    model = algorithm(
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
        policy_kwargs=policy_kwargs(layout, settings["hidden_size"]),
        tensorboard_log=None if tensorboard is None else str(tensorboard),
        seed=seed % 2**31,
        device="cpu",
    )
    if tensorboard is None:
        # Otherwise every training leaves an empty folder among the temporary ones.
        model.set_logger(Logger(folder=None, output_formats=[]))
    return model


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
