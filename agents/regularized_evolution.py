"""Regularised evolution (Real et al., 2019, AAAI, Algorithm 1), for one objective and for several."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.checks import check_choice, check_integer
from hwgpt_gym.combinatorics import MOST_CHANGES
from hwgpt_gym.pareto import crowded_ranks, crowding_distances, non_domination_ranks
from hwgpt_gym.search_space import Encoded, FloatArray


@dataclass(frozen=True)
class RegularizedEvolution(Agent):
    """Aging evolution: a tournament's winner is mutated, its child replaces the oldest of the population.

    Attributes:
        population_size: Architectures in the population, at least 2.
        sample_size: Architectures in a tournament, at most ``population_size``.
        mutations: Decisions that a mutation changes.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "regularized_evolution"
    population_size: int = 50
    sample_size: int = 10
    mutations: int = 1

    def __post_init__(self) -> None:
        check_integer("population_size", self.population_size, 2)
        check_integer("mutations", self.mutations, 1, MOST_CHANGES)
        if check_integer("sample_size", self.sample_size, 1) > self.population_size:
            raise ValueError(
                f"sample_size must be at most population_size = {self.population_size}, got {self.sample_size}"
            )

    def search(self, problem: SearchProblem) -> None:
        """Evolve until the budget is spent."""
        rng = np.random.default_rng(problem.seed)
        first = problem.space.sample(rng, min(self.population_size, problem.budget))
        losses = self._losses(problem, first)
        population: deque[tuple[Encoded, FloatArray]] = deque(
            ((first[row : row + 1], losses[row]) for row in range(len(first))), maxlen=self.population_size
        )
        while problem.remaining:
            members = rng.choice(len(population), size=self.sample_size, replace=False)
            winner = self._winner(np.stack([losses for _, losses in population]), members)
            child = problem.space.mutate(population[winner][0], rng, self.mutations)
            # The queue is full, so the oldest member leaves as the child enters.
            population.append((child, self._losses(problem, child)[0]))

    def _losses(self, problem: SearchProblem, encoded: Encoded) -> FloatArray:
        """Evaluate architectures: what to minimise, ``float64 (n, objectives)``."""
        return -problem.evaluate(encoded)[:, None]

    def _winner(self, losses: FloatArray, members: npt.NDArray[np.int64]) -> int:
        """Return the position in the population of a tournament's winner.

        Args:
            losses: Of the population, ``float64 (population_size, objectives)``.
            members: Positions of the tournament's members, ``int64 (sample_size,)``.
        """
        return int(members[np.argmin(losses[members, 0])])


@dataclass(frozen=True)
class MultiObjectiveRegularizedEvolution(RegularizedEvolution):
    """MO-REA, the baseline of HW-GPT-Bench: aging evolution whose tournaments are decided by non-domination.

    Among the architectures of a tournament that none dominates wins the one that is farthest from the others (its
    crowding distance, Deb et al., 2002, section III-B).

    Attributes:
        population_size: Architectures in the population, at least 2.
        sample_size: Architectures in a tournament, at most ``population_size``.
        mutations: Decisions that a mutation changes.
        ranked_among: Whom an architecture is compared with: the others in the ``"tournament"``, or the whole
            ``"population"``, as Syne Tune does.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "mo_regularized_evolution"
    multi_objective: ClassVar[bool] = True
    population_size: int = 100
    ranked_among: str = "tournament"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("ranked_among", self.ranked_among, ("tournament", "population"))

    def _losses(self, problem: SearchProblem, encoded: Encoded) -> FloatArray:
        return problem.evaluate_losses(encoded)

    def _winner(self, losses: FloatArray, members: npt.NDArray[np.int64]) -> int:
        if self.ranked_among == "population":
            return int(members[np.argmin(crowded_ranks(losses)[members])])
        losses = losses[members]
        first_front = np.flatnonzero(non_domination_ranks(losses) == 0)
        return int(members[first_front[np.argmax(crowding_distances(losses[first_front]))]])
