"""Trained policies: greedy and sampled architectures, evaluation, files. This module loads torch.

Files are those of :mod:`hwgpt_gym.agents.ppo.policy_file`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from hwgpt_gym.agents.ppo.policy_file import Description, read_policy, write_policy
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import echo
from hwgpt_gym.envs.construction import NUM_ACTIONS, Construction, ObservationLayout
from hwgpt_gym.envs.contexts import context_parts
from hwgpt_gym.objective import Objective
from hwgpt_gym.search_space import Encoded, FloatArray, SearchSpace, get_search_space


class PolicyScore(NamedTuple):
    """What a policy's episodes earn.

    Attributes:
        greedy_reward: Reward of the greedy episode.
        greedy_regret: How far that is below the certified optimum.
        greedy_feasible: Whether it meets every constraint.
        sampled_reward: Mean reward of the sampled episodes.
        sampled_regret: Mean regret of the sampled episodes.
        sampled_feasible: Share of the sampled episodes that meet every constraint.
    """

    greedy_reward: float
    greedy_regret: float
    greedy_feasible: bool
    sampled_reward: float
    sampled_regret: float
    sampled_feasible: float


class Policy:
    """A policy that builds architectures.

    Args:
        space: The search space.
        network: The policy of Stable-Baselines3 or sb3-contrib.
        masked: Whether it takes action masks.
        hidden_size: Width of its hidden layers.
        context_columns: The number of columns of the observation that describe the context.

    Attributes:
        notes: What was noted in the file that it was loaded from, by :meth:`save`; nothing otherwise.
    """

    def __init__(
        self, space: SearchSpace, network: Any, masked: bool, hidden_size: int, context_columns: int = 0
    ) -> None:
        self.notes: dict[str, Any] = {}
        self.space = space
        self.network = network
        self.masked = masked
        self.hidden_size = hidden_size
        self.context_columns = context_columns

    @classmethod
    def untrained(cls, space: SearchSpace, masked: bool, hidden_size: int, context_columns: int = 0) -> Policy:
        """Return a policy with random weights, drawn from torch's global generator."""
        layout = observation_layout(space, context_columns)
        network = policy_class(masked)(
            spaces.Box(0.0, 1.0, (layout.num_columns,), np.float32),
            spaces.Discrete(NUM_ACTIONS),
            lambda _: 0.0,
            **policy_kwargs(layout, hidden_size),
        )
        return cls(space, network, masked, hidden_size, context_columns)

    def greedy(self, contexts: FloatArray | None = None) -> Encoded:
        """Build one architecture a context, taking the most probable choice at every decision.

        Args:
            contexts: The context columns, ``(n, context_columns)``; needed if the policy has any.

        Returns:
            ``int8 (n, D)``; one architecture if the policy has no context.
        """
        return self._build(1 if contexts is None else len(contexts), contexts, None)

    def sample(self, rng: np.random.Generator, n: int, contexts: FloatArray | None = None) -> Encoded:
        """Draw ``n`` architectures, ``int8 (n, D)``; ``contexts`` is ``(n, context_columns)``."""
        return self._build(n, contexts, rng)

    def _build(self, n: int, contexts: FloatArray | None, rng: np.random.Generator | None) -> Encoded:
        width = 0 if contexts is None else np.shape(contexts)[1]
        if width != self.context_columns:
            raise ValueError(f"contexts must have {self.context_columns} columns, got {width}")
        layout = observation_layout(self.space, width)
        construction = Construction(layout, n)
        construction.begin()
        if contexts is not None:
            construction.observation[:, layout.context] = contexts
        lanes = np.arange(n)
        while len(lanes):
            probability = self._probabilities(construction, lanes)
            if rng is None:
                actions = probability.argmax(axis=1)
            else:
                actions = (probability.cumsum(axis=1)[:, :-1] < rng.random((len(lanes), 1))).sum(axis=1)
            lanes = lanes[~construction.apply(actions, lanes)]
        return construction.encoded

    def _probabilities(self, construction: Construction, lanes: npt.NDArray[np.intp]) -> FloatArray:
        observation = torch.as_tensor(construction.observation[lanes])
        with torch.no_grad():
            if self.masked:
                masks = construction.masks(lanes).astype(np.bool_)
                distribution = self.network.get_distribution(observation, action_masks=masks).distribution
            else:
                distribution = self.network.get_distribution(observation).distribution
        probability: FloatArray = distribution.probs.numpy().astype(np.float64)
        return probability

    def evaluate(self, bench: Benchmark, objective: Objective, episodes: int = 1_000, seed: int = 0) -> PolicyScore:
        """Score the greedy episode and sampled ones against the certified optimum.

        Args:
            bench: The benchmark, of one device.
            objective: The objective.
            episodes: How many episodes to sample, at least 1.
            seed: Seeds the sampled episodes.

        Raises:
            ValueError: If the policy has a context (see :mod:`hwgpt_gym.agents.ppo.contextual`) or the scale differs.
        """
        from hwgpt_gym.optimum import solve

        if self.context_columns:
            raise ValueError("the policy has a context: evaluate it with hwgpt_gym.agents.ppo.contextual.evaluate")
        if bench.scale != self.space.scale or episodes < 1:
            raise ValueError(
                f"bench must be of scale {self.space.scale!r} and episodes at least 1, got {echo(bench)}, {episodes}"
            )
        encoded = np.concatenate([self.greedy(), self.sample(np.random.default_rng(seed), episodes)])
        bound = objective.bind(bench)
        outcome = bound.evaluate(bench.evaluate(encoded, bound.metrics), margins=bound.margins(encoded))
        optimum = solve(bench, objective).reward
        greedy, sampled = float(outcome.reward[0]), float(outcome.reward[1:].mean())
        return PolicyScore(
            greedy_reward=greedy,
            greedy_regret=optimum - greedy,
            greedy_feasible=bool(outcome.feasible[0]),
            sampled_reward=sampled,
            sampled_regret=optimum - sampled,
            sampled_feasible=float(outcome.feasible[1:].mean()),
        )

    def save(self, path: str | os.PathLike[str], **notes: Any) -> Path:
        """Write the policy, whole or not at all.

        Args:
            path: Where to.
            **notes: Anything JSON can hold, to be found in the file's metadata.
        """
        description = Description(self.space.scale, self.masked, self.hidden_size, self.context_columns, notes)
        # Policy and value network share their scaling; each of its names gets a copy, which safetensors asks for.
        weights = {name: value.clone().contiguous() for name, value in self.network.state_dict().items()}
        write_policy(path, description, weights)
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy that :meth:`save` wrote.

        Raises:
            ValueError: If the file is no policy, or its weights do not fit.
        """
        description, weights = read_policy(path)
        try:
            policy = cls.untrained(
                get_search_space(description.scale),
                description.masked,
                description.hidden_size,
                description.context_columns,
            )
            policy.network.load_state_dict(weights)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} does not fit its description: {error}") from None
        policy.notes = description.notes
        return policy


def policy_class(masked: bool) -> Any:
    """Return the class of the network."""
    if masked:
        from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy

        return MaskableActorCriticPolicy
    from stable_baselines3.common.policies import ActorCriticPolicy

    return ActorCriticPolicy


def observation_layout(space: SearchSpace, context_columns: int = 0) -> ObservationLayout:
    """Return the columns of the observations that a policy reads.

    Raises:
        ValueError: If the context is neither none nor that of one limit and a device.
    """
    layout = ObservationLayout(space, context_parts(("latency_ms",)) if context_columns else ())
    if layout.num_context_columns != context_columns:
        raise ValueError(
            f"context_columns must be 0, or {layout.num_context_columns} for one limit and a device, "
            f"got {context_columns}"
        )
    return layout


def policy_kwargs(layout: ObservationLayout, hidden_size: int) -> dict[str, Any]:
    """Return the network's shape: two hidden layers for the policy, two for the value."""
    layers = [hidden_size, hidden_size]
    kwargs: dict[str, Any] = {"net_arch": {"pi": layers, "vf": layers}, "activation_fn": torch.nn.ReLU}
    if layout.num_context_columns:
        from hwgpt_gym.agents.ppo.context_features import ContextFeatures

        kwargs |= {"features_extractor_class": ContextFeatures, "features_extractor_kwargs": {"layout": layout}}
    return kwargs
