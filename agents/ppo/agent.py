"""PPO (Schulman et al., 2017, arXiv 1707.06347), by Stable-Baselines3, on the native vector environment.

An episode builds one architecture and earns one reward, at its end. So returns are not discounted (gamma = 1,
lambda = 1: no bias), batches are large, and learning rate and entropy bonus fall to their ends as the budget is spent.
The settings by scale stand in ``agents/ppo/hyperparameters.json``; ``docs/agents.md`` says how they were chosen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hwgpt_gym.agents.agent import WIDEST, Agent, run_search
from hwgpt_gym.agents.problem import Callback, SearchProblem
from hwgpt_gym.agents.warm_start import MOST_SAMPLES
from hwgpt_gym.checks import check_between, check_integer

if TYPE_CHECKING:
    from hwgpt_gym.agents.ppo.policy import Policy
    from hwgpt_gym.agents.result import SearchResult


def tuned_hyperparameters() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return the tuned settings by agent and scale, from ``agents/ppo/hyperparameters.json``."""
    text = files("hwgpt_gym.agents.ppo").joinpath("hyperparameters.json").read_text(encoding="utf-8")
    tuned: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(text)
    return tuned


@dataclass(frozen=True)
class PPO(Agent):
    """Proximal policy optimisation. A setting that is ``None`` takes the value that was tuned for the scale.

    Attributes:
        num_envs: Lanes of the vector environment: architectures built at a time.
        n_steps: Decisions of every lane between two updates.
        batch_size: Decisions in a minibatch, at most ``num_envs * n_steps``.
        n_epochs: Passes over the decisions in an update.
        learning_rate: Adam's at the start; it falls linearly to zero.
        entropy_start: Weight of the policy's entropy at the start.
        entropy_end: The same at the end; linear in between.
        clip_range: How far the ratio of probabilities may move from 1 in an update.
        gae_lambda: Lambda of generalised advantage estimation.
        hidden_size: Width of the two hidden layers of policy and value network.
        checkpoints: How many times the greedy architecture is recorded.
        warm_start: How many samples of the amortised policy, at most 10,000, are evaluated first, the better half of
            which is imitated before training; they count as evaluations. None by default.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "ppo"
    has_policy: ClassVar[bool] = True
    masked: ClassVar[bool] = False
    num_envs: int | None = None
    n_steps: int | None = None
    batch_size: int | None = None
    n_epochs: int | None = None
    learning_rate: float | None = None
    entropy_start: float | None = None
    entropy_end: float | None = None
    clip_range: float | None = None
    gae_lambda: float | None = None
    hidden_size: int | None = None
    checkpoints: int = 50
    warm_start: int = 0

    def __post_init__(self) -> None:
        for name in ("num_envs", "n_steps", "n_epochs", "hidden_size", "checkpoints"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 1, WIDEST if name == "hidden_size" else None)
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, 2)
        check_integer("warm_start", self.warm_start, 0, MOST_SAMPLES)
        for name, high in (("learning_rate", 1.0), ("clip_range", 1.0)):
            if getattr(self, name) is not None:
                check_between(name, getattr(self, name), 0.0, high, open_low=True)
        for name, high in (("entropy_start", 10.0), ("entropy_end", 10.0), ("gae_lambda", 1.0)):
            if getattr(self, name) is not None:
                check_between(name, getattr(self, name), 0.0, high)
        if self.batch_size is not None and self.num_envs is not None and self.n_steps is not None:
            check_minibatches(self.num_envs * self.n_steps, self.batch_size, self.masked)

    def resolve(self, problem: SearchProblem) -> PPO:
        """Return this agent with the tuned value of the problem's scale for every setting that is ``None``."""
        tuned = tuned_hyperparameters()[self.name][problem.space.scale]
        unset = [field.name for field in fields(self) if getattr(self, field.name) is None]
        return replace(self, **{name: tuned[name] for name in unset})

    def search(self, problem: SearchProblem) -> None:
        """Build architectures and learn from them until the budget is spent; record the greedy one."""
        self._train(problem, None)

    def train(
        self, problem: SearchProblem, callback: Callback | None = None, tensorboard: Path | str | None = None
    ) -> tuple[SearchResult, Policy]:
        """Search as :meth:`run` does, and return the trained policy too.

        Args:
            problem: The problem, fresh.
            callback: Called with the problem after every batch of evaluations.
            tensorboard: A folder to write TensorBoard's events to; needs the package ``tensorboard``.

        Raises:
            ValueError: As :meth:`run`.
        """
        trained: list[Policy] = []
        agent = self.resolve(problem)
        result = run_search(agent, lambda fresh: trained.append(agent._train(fresh, tensorboard)), problem, callback)
        return result, trained[0]

    def _train(self, problem: SearchProblem, tensorboard: Path | str | None) -> Policy:
        from hwgpt_gym.agents.ppo.training import train

        return train(problem, asdict(self.resolve(problem)), masked=self.masked, tensorboard=tensorboard)


def check_minibatches(decisions: int, batch_size: int, masked: bool) -> None:
    """Check that the decisions between two updates can be divided into minibatches.

    Args:
        decisions: Their number, ``num_envs * n_steps``.
        batch_size: Those of a minibatch; the last one has the rest.
        masked: Whether the algorithm is sb3-contrib's, whose advantages of a single decision are no numbers.

    Raises:
        ValueError: If they cannot.
    """
    if batch_size > decisions:
        raise ValueError(f"batch_size must be at most num_envs * n_steps = {decisions}, got {batch_size}")
    if masked and decisions % batch_size == 1:
        raise ValueError(
            f"batch_size must not leave one of the num_envs * n_steps = {decisions} decisions for the last minibatch, "
            f"got {batch_size}"
        )


@dataclass(frozen=True)
class MaskablePPO(PPO):
    """PPO with invalid actions masked (Huang and Ontañón, 2022, arXiv 2006.14171), by sb3-contrib.

    The environment's only mask is that of the bias, which has two choices instead of three. Settings are those of
    :class:`PPO`.
    """

    name: ClassVar[str] = "maskable_ppo"
    masked: ClassVar[bool] = True
