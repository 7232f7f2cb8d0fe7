"""Random search (Bergstra and Bengio, 2012): the baseline of all baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.checks import check_integer


@dataclass(frozen=True)
class RandomSearch(Agent):
    """Draw every choice uniformly and independently.

    Attributes:
        batch_size: Architectures evaluated at once; it changes speed only, not the result.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "random_search"
    batch_size: int = 4_096

    def __post_init__(self) -> None:
        check_integer("batch_size", self.batch_size, 1)

    def search(self, problem: SearchProblem) -> None:
        """Evaluate random architectures until the budget is spent."""
        encoded = problem.space.sample(np.random.default_rng(problem.seed), problem.budget)
        for start in range(0, problem.budget, self.batch_size):
            problem.evaluate(encoded[start : start + self.batch_size])
