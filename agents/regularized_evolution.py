"""Regularised evolution (Real et al., 2019, AAAI, Algorithm 1), for one objective and for several."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.variation import mutate
from hwgpt_gym.checks import check_integer
from hwgpt_gym.pareto import non_domination_ranks
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
        check_integer("mutations", self.mutations, 1)
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
            winner = members[self._winner(np.stack([population[member][1] for member in members]))]
            child = mutate(problem.space, rng, population[winner][0], self.mutations)
            # The queue is full, so the oldest member leaves as the child enters.
            population.append((child, self._losses(problem, child)[0]))

    def _losses(self, problem: SearchProblem, encoded: Encoded) -> FloatArray:
        """Evaluate architectures: what to minimise, ``float64 (n, objectives)``."""
        return -problem.evaluate(encoded)[:, None]

    def _winner(self, losses: FloatArray) -> int:
        """Return the position of a tournament's winner; ``losses`` is ``float64 (sample_size, objectives)``."""
        return int(np.argmin(losses[:, 0]))


@dataclass(frozen=True)
class MultiObjectiveRegularizedEvolution(RegularizedEvolution):
    """MO-REA, the baseline of HW-GPT-Bench: aging evolution whose tournaments are decided by non-domination.

    Among the architectures of a tournament that none dominates wins the one that is farthest from the others (its
    crowding distance, Deb et al., 2002, section III-B).

    Attributes:
        population_size: Architectures in the population, at least 2.
        sample_size: Architectures in a tournament, at most ``population_size``.
        mutations: Decisions that a mutation changes.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "mo_regularized_evolution"
    multi_objective: ClassVar[bool] = True
    population_size: int = 100

    def _losses(self, problem: SearchProblem, encoded: Encoded) -> FloatArray:
        return problem.evaluate_losses(encoded)

    def _winner(self, losses: FloatArray) -> int:
        first_front = np.flatnonzero(non_domination_ranks(losses) == 0)
        return int(first_front[np.argmax(crowding_distances(losses[first_front]))])


def crowding_distances(losses: FloatArray) -> FloatArray:
    """Return the crowding distance of every point of a front, ``float64 (n,)`` (Deb et al., 2002, section III-B).

    Args:
        losses: The points, ``float64 (n, objectives)``.
    """
    total = np.zeros(len(losses))
    for column in losses.T:
        order: npt.NDArray[np.intp] = np.argsort(column, kind="stable")
        gaps = np.full(len(order), np.inf)
        extent = column[order[-1]] - column[order[0]]
        if extent > 0.0:
            gaps[1:-1] = (column[order[2:]] - column[order[:-2]]) / extent
        total[order] += gaps
    return total
