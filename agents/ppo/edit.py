"""PPO that edits: it changes complete architectures one decision at a time, by the rules of ``HWGPT-Edit-v0``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

from hwgpt_gym.agents.agent import WIDEST, Agent
from hwgpt_gym.agents.ppo.agent import check_minibatches
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.checks import check_between, check_integer


@dataclass(frozen=True)
class EditPPO(Agent):
    """Maskable PPO on complete architectures: every change is an evaluation, and so is every start of an episode.

    Attributes:
        num_envs: Architectures that are edited at a time.
        n_steps: Changes of each between two updates.
        batch_size: Changes in a minibatch, at most ``num_envs * n_steps``.
        n_epochs: Passes over the changes in an update.
        learning_rate: Adam's at the start; it falls linearly to zero.
        entropy: Weight of the policy's entropy.
        gamma: Discount of later changes.
        max_steps: After how many changes an episode ends and a random architecture is begun with.
        hidden_size: Width of the two hidden layers of policy and value network.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "edit_ppo"
    num_envs: int = 64
    n_steps: int = 16
    batch_size: int = 128
    n_epochs: int = 8
    learning_rate: float = 1e-3
    entropy: float = 0.003
    gamma: float = 0.8
    max_steps: int = 32
    hidden_size: int = 64

    def __post_init__(self) -> None:
        for name in ("num_envs", "n_steps", "n_epochs", "max_steps"):
            check_integer(name, getattr(self, name), 1)
        check_integer("hidden_size", self.hidden_size, 1, WIDEST)
        check_minibatches(self.num_envs * self.n_steps, check_integer("batch_size", self.batch_size, 2), masked=True)
        check_between("learning_rate", self.learning_rate, 0.0, 1.0, open_low=True)
        check_between("entropy", self.entropy, 0.0, 10.0)
        check_between("gamma", self.gamma, 0.0, 1.0)

    def search(self, problem: SearchProblem) -> None:
        """Edit architectures and learn from what changes earn until the budget is spent."""
        from hwgpt_gym.agents.ppo.edit_training import train

        train(problem, asdict(self))
