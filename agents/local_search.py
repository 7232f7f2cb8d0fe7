"""Local search (White, Nolen and Savani, 2021, *Exploring the Loss Landscape in NAS*, UAI), with restarts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.warm_start import MOST_SAMPLES, policy_samples
from hwgpt_gym.checks import check_between, check_flag, check_integer
from hwgpt_gym.combinatorics import MOST_CHANGES
from hwgpt_gym.search_space import Encoded


@dataclass(frozen=True)
class LocalSearch(Agent):
    """Climb to a local optimum over single decisions, then begin anew near the best one, or anywhere.

    Neighbours are tried in random order and the first better one is moved to. Where none is better, the climb ends.
    The next one starts from the best architecture so far with a few decisions changed (iterated local search,
    Lourenço et al., 2003), or from the best of some random ones. A single random start would too often lie in the
    basin of another embedding width, which no change of one decision leads out of.

    Attributes:
        initial_samples: Random architectures, of which the best one is climbed from.
        restart_probability: How likely a later climb starts from random architectures too.
        perturbation: How many decisions are changed otherwise.
        swaps: Whether the architectures in which two layers have swapped their MLP or head choices are neighbours
            too: they cost the same.
        warm_start: How many samples of the amortised policy the first climb starts from instead; they count as
            evaluations. None by default.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "local_search"
    initial_samples: int = 50
    restart_probability: float = 0.1
    perturbation: int = 4
    swaps: bool = False
    warm_start: int = 0

    def __post_init__(self) -> None:
        check_integer("initial_samples", self.initial_samples, 1)
        check_between("restart_probability", self.restart_probability, 0.0, 1.0)
        check_integer("perturbation", self.perturbation, 1, MOST_CHANGES)
        check_flag("swaps", self.swaps)
        check_integer("warm_start", self.warm_start, 0, MOST_SAMPLES)

    def search(self, problem: SearchProblem) -> None:
        """Climb until the budget is spent."""
        rng = np.random.default_rng(problem.seed)
        best: Encoded | None = None
        best_reward = -np.inf
        while problem.remaining:
            if best is None or rng.random() < self.restart_probability:
                if best is None and self.warm_start:
                    samples = policy_samples(problem, rng, min(self.warm_start, problem.remaining))
                else:
                    samples = problem.space.sample(rng, min(self.initial_samples, problem.remaining))
                rewards = problem.evaluate(samples)
                first = int(np.argmax(rewards))
                start, start_reward = samples[first : first + 1], float(rewards[first])
            else:
                start = problem.space.mutate(best, rng, self.perturbation)
                start_reward = float(problem.evaluate(start)[0])
            top, reward = self._climb(problem, rng, start, start_reward)
            if reward > best_reward:
                best, best_reward = top, reward

    def _climb(
        self, problem: SearchProblem, rng: np.random.Generator, current: Encoded, reward: float
    ) -> tuple[Encoded, float]:
        """Move to better neighbours until there is none or the budget is spent; return where that ended."""
        improved = True
        while improved and problem.remaining:
            improved = False
            candidates = problem.space.neighbours(current)
            if self.swaps:
                candidates = np.concatenate([candidates, problem.space.swaps(current)])
            for row in rng.permutation(len(candidates))[: problem.remaining]:
                candidate = candidates[row : row + 1]
                candidate_reward = float(problem.evaluate(candidate)[0])
                if candidate_reward > reward:
                    current, reward, improved = candidate, candidate_reward, True
                    break
        return current, reward
