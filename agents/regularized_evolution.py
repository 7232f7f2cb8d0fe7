"""Regularised evolution (Real et al., 2019, AAAI, Algorithm 1), for one objective and for several."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.warm_start import policy_samples
from hwgpt_gym.checks import check_choice, check_integer
from hwgpt_gym.combinatorics import MOST_CHANGES
from hwgpt_gym.pareto import crowded_ranks, crowding_distances, non_domination_ranks
from hwgpt_gym.search_space import Encoded, FloatArray

Population: TypeAlias = deque[tuple[Encoded, FloatArray]]
"""Architectures ``int8 (1, D)`` with what is minimised, ``float64 (objectives,)``, the oldest first."""


@dataclass(frozen=True)
class RegularizedEvolution(Agent):
    """Aging evolution: a tournament's winner is mutated, its child replaces the oldest of the population.

    Attributes:
        population_size: Architectures in the population, at least 2.
        sample_size: Architectures in a tournament, at most ``population_size``.
        mutations: Decisions that a mutation changes.
        warm_start: How many samples of the amortised policy, at most ``population_size``, the population begins with
            instead of random architectures; they count as evaluations, and it grows until it is full. None by default.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "regularized_evolution"
    population_size: int = 50
    sample_size: int = 10
    mutations: int = 1
    warm_start: int = 0

    def __post_init__(self) -> None:
        check_integer("population_size", self.population_size, 2)
        check_integer("mutations", self.mutations, 1, MOST_CHANGES)
        for name, least in (("sample_size", 1), ("warm_start", 0)):
            if check_integer(name, getattr(self, name), least) > self.population_size:
                raise ValueError(
                    f"{name} must be at most population_size = {self.population_size}, got {getattr(self, name)}"
                )

    def search(self, problem: SearchProblem) -> None:
        """Evolve until the budget is spent."""
        rng = np.random.default_rng(problem.seed)
        first = self._first(problem, rng)
        losses = self._losses(problem, first)
        population: Population = deque(
            ((first[row : row + 1], losses[row]) for row in range(len(first))), maxlen=self.population_size
        )
        while problem.remaining:
            self._evolve(problem, rng, population)

    def _first(self, problem: SearchProblem, rng: np.random.Generator) -> Encoded:
        """Return the architectures to begin with, ``int8 (n, D)``."""
        if self.warm_start:
            return policy_samples(problem, rng, min(self.warm_start, problem.budget))
        return problem.space.sample(rng, min(self.population_size, problem.budget))

    def _evolve(self, problem: SearchProblem, rng: np.random.Generator, population: Population) -> None:
        """Let the winner of a tournament have a child, and add it to the population."""
        members = rng.choice(len(population), size=min(self.sample_size, len(population)), replace=False)
        winner = self._winner(np.stack([losses for _, losses in population]), members)
        child = self._mutate(problem, rng, population[winner][0])
        # From a full queue the oldest member leaves as the child enters.
        population.append((child, self._losses(problem, child)[0]))

    def _mutate(self, problem: SearchProblem, rng: np.random.Generator, parent: Encoded) -> Encoded:
        """Return a child, ``int8 (1, D)``."""
        return problem.space.mutate(parent, rng, self.mutations)

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
        warm_start: As for :class:`RegularizedEvolution`.
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
