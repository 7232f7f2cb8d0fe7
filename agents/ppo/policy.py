"""Trained policies: greedy and sampled architectures, evaluation, files. This module loads torch.

Files are those of :mod:`hwgpt_gym.agents.ppo.policy_file`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from hwgpt_gym.agents.ppo.policy_file import Description, read_policy, write_policy
from hwgpt_gym.benchmark import AnyDevice, Benchmark
from hwgpt_gym.checks import echo
from hwgpt_gym.envs.construction import NUM_ACTIONS, Construction, ObservationLayout
from hwgpt_gym.envs.limit_shares import LimitTables, limit_parts
from hwgpt_gym.objective import Limit, Objective
from hwgpt_gym.search_space import NOT_SET, Encoded, FloatArray, SearchSpace, get_search_space
from hwgpt_gym.surrogates.cost_tables import CostTables, make_tables


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

    def build(
        self, contexts: Sequence[tuple[AnyDevice, Mapping[str, Limit]]], rng: np.random.Generator | None = None
    ) -> Encoded:
        """Build one architecture for each of some devices and limits.

        Args:
            contexts: Devices, as :class:`~hwgpt_gym.benchmark.Benchmark` takes them, and constraints.
            rng: Samples instead of taking the most probable choices.

        Returns:
            ``int8 (n, D)``.

        Raises:
            ValueError: If the policy has no context, a device or limit is not legal, or more than two costs are
                limited.

        Example:
            >>> policy.build([("rtx3080", {"latency_ms": "p30"})])  # doctest: +SKIP
        """
        benches = [Benchmark(self.space.scale, device) for device, _ in contexts]
        pairs = zip(benches, contexts, strict=True)
        costs = make_tables([Objective(constraint).bind(bench).limited_costs() for bench, (_, constraint) in pairs])
        return self._build(len(benches), costs, rng)

    def greedy(self, contexts: CostTables | None = None) -> Encoded:
        """Build one architecture a context, taking the most probable choice at every decision.

        Args:
            contexts: The limited costs; needed if the policy has a context.

        Returns:
            ``int8 (n, D)``; one architecture if the policy has no context.
        """
        return self._build(1 if contexts is None else len(contexts.tables), contexts, None)

    def sample(self, rng: np.random.Generator, n: int, contexts: CostTables | None = None) -> Encoded:
        """Draw ``n`` architectures, ``int8 (n, D)``, each for the limited costs of its row of ``contexts``, if any."""
        return self._build(n, contexts, rng)

    def _build(self, n: int, contexts: CostTables | None, rng: np.random.Generator | None) -> Encoded:
        if (contexts is None) != (self.context_columns == 0):
            raise ValueError("contexts must be given to a policy that has a context, and to no other")
        encoded = np.full((n, self.space.num_decisions), NOT_SET, dtype=np.int8)
        count = np.zeros(n, dtype=np.intp) if contexts is None else contexts.present.sum(axis=1)
        for num_costs in np.unique(count).tolist():
            rows = np.flatnonzero(count == num_costs)
            tables = None if contexts is None else contexts.tables[rows, :num_costs]
            encoded[rows] = self._build_alike(len(rows), tables, rng)
        return encoded

    def _build_alike(self, n: int, tables: FloatArray | None, rng: np.random.Generator | None) -> Encoded:
        """Build architectures under as many limited costs each, of tables by the limits ``(n, costs, 54)``."""
        lanes = np.arange(n)
        limited = None if tables is None or not tables.shape[1] else LimitTables(self.space, tables)
        construction = Construction(observation_layout(self.space, self.context_columns), n, limited)
        if limited is not None:
            construction.show_limits(lanes, lanes, np.ones((n, limited.num_costs)))
        construction.begin()
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
        ValueError: If the context is neither none nor that of limited costs.
    """
    layout = ObservationLayout(space, limit_parts(1) if context_columns else ())
    if layout.num_context_columns != context_columns:
        raise ValueError(
            f"context_columns must be 0, or {layout.num_context_columns} for limited costs, got {context_columns}"
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
