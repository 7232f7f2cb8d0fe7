"""PPO (Schulman et al., 2017, arXiv 1707.06347) that goes on from the amortised policy, on one problem.

The shipped policy of the scale is trained further on the rewards of the architectures that it samples. Rewards are
standardised by batch and there is no value network: an episode earns once, at its end.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.amortised.evaluation import MOST_BEAM
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.warm_start import check_limits
from hwgpt_gym.checks import check_between, check_integer


@dataclass(frozen=True)
class FinetunedPPO(Agent):
    """PPO from the amortised policy. Choices after which no completion keeps the limits have probability zero.

    Attributes:
        batch_size: Architectures between two updates, at least 2.
        n_epochs: Passes over their decisions in an update.
        minibatch_size: Decisions in a gradient step.
        learning_rate: Adam's at the start; it falls linearly to zero.
        clip_range: How far the ratio of probabilities may move from 1 in an update.
        entropy_weight: Weight of the policy's entropy.
        beam: How many architectures of a beam are evaluated first; the first of them is the greedy episode.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "finetuned_ppo"
    has_policy: ClassVar[bool] = True
    batch_size: int = 50
    n_epochs: int = 4
    minibatch_size: int = 700
    learning_rate: float = 3e-4
    clip_range: float = 0.2
    entropy_weight: float = 0.003
    beam: int = 16

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 2), ("n_epochs", 1), ("minibatch_size", 2)):
            check_integer(name, getattr(self, name), least)
        check_integer("beam", self.beam, 0, MOST_BEAM)
        check_between("learning_rate", self.learning_rate, 0.0, 1.0, open_low=True)
        check_between("clip_range", self.clip_range, 0.0, 1.0, open_low=True)
        check_between("entropy_weight", self.entropy_weight, 0.0, 10.0)

    def search(self, problem: SearchProblem) -> None:
        """Build architectures and learn from them until the budget is spent; record the greedy one."""
        from hwgpt_gym.agents.amortised.finetuning import finetune

        check_limits(problem)
        finetune(problem, asdict(self))
