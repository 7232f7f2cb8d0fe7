"""Ranking by the number of parameters: LiteTransformerSearch's training-free proxy (Javaheripi et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwgpt_gym import analytic
from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.checks import check_between, check_integer


@dataclass(frozen=True)
class ParamsProxy(Agent):
    """Rank random architectures by parameter count at no cost, and search along the ranking alone.

    The proxy says that among two architectures the larger one has the lower perplexity. Under a limit of cost the
    best size is not known, so rounds of evaluations are spread evenly over a window of the ranking, which then
    shrinks around the round's best one. What parameters do not tell apart, this agent cannot tell apart either.

    Attributes:
        pool_size: Architectures that are ranked.
        round_size: Evaluations in a round, at least 2.
        shrinkage: How much narrower the window becomes from round to round, as a factor.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "params_proxy"
    pool_size: int = 100_000
    round_size: int = 50
    shrinkage: float = 0.7

    def __post_init__(self) -> None:
        check_integer("pool_size", self.pool_size, 1)
        check_integer("round_size", self.round_size, 2)
        check_between("shrinkage", self.shrinkage, 0.0, 1.0, open_low=True)

    def search(self, problem: SearchProblem) -> None:
        """Search along the ranking until the budget is spent, or the pool is."""
        pool = problem.space.sample(np.random.default_rng(problem.seed), max(self.pool_size, problem.budget))
        pool = pool[np.argsort(analytic.params(problem.space, pool), kind="stable")]
        center, width = len(pool) // 2, len(pool)
        best_reward = -np.inf
        left = np.arange(len(pool))
        while problem.remaining:
            low, high = np.searchsorted(left, [center - width // 2, center + width // 2])
            count = min(self.round_size, problem.remaining)
            # A window that is nearly used up reaches beyond its ends.
            low = max(0, min(low, len(left) - count))
            high = max(high, low + count)
            taken = np.linspace(low, min(high, len(left)) - 1, count).round().astype(np.intp)
            rows = left[taken]
            rewards = problem.evaluate(pool[rows])
            if rewards.max() > best_reward:
                best_reward, center = float(rewards.max()), int(rows[np.argmax(rewards)])
            left = np.delete(left, taken)
            width = max(self.round_size, int(width * self.shrinkage))
