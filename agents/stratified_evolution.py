"""Regularised evolution with a population of its own for every embedding width."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.regularized_evolution import Population, RegularizedEvolution
from hwgpt_gym.search_space import EMBED_DIM, GROUP_SHAPE, Encoded


@dataclass(frozen=True)
class StratifiedEvolution(RegularizedEvolution):
    """Aging evolution in every embedding width at once, in turn; no mutation changes the width.

    Under a low limit the width that looks best after a few hundred evaluations is often not that of the optimum, and a
    single population, once it has left a width, hardly returns to it: every layer would have to change at once.

    Attributes:
        population_size: Architectures in the population of each width, at least 2.
        sample_size: Architectures in a tournament, at most ``population_size``.
        mutations: Decisions that a mutation changes.
        warm_start: As for :class:`RegularizedEvolution`; widths that the policy samples nothing of have no population.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "stratified_evolution"

    def search(self, problem: SearchProblem) -> None:
        """Evolve until the budget is spent."""
        rng = np.random.default_rng(problem.seed)
        first = self._first(problem, rng)
        losses = self._losses(problem, first)
        strata: list[Population] = []
        for width in np.unique(first[:, EMBED_DIM]):
            rows = np.flatnonzero(first[:, EMBED_DIM] == width).tolist()
            members = ((first[row : row + 1], losses[row]) for row in rows)
            strata.append(deque(members, maxlen=self.population_size))
        while problem.remaining:
            for population in strata[: problem.remaining]:
                self._evolve(problem, rng, population)

    def _first(self, problem: SearchProblem, rng: np.random.Generator) -> Encoded:
        if self.warm_start:
            return super()._first(problem, rng)
        widths = GROUP_SHAPE[EMBED_DIM]
        first = problem.space.sample(rng, min(widths * self.population_size, problem.budget))
        first[:, EMBED_DIM] = np.arange(len(first)) % widths
        return first

    def _mutate(self, problem: SearchProblem, rng: np.random.Generator, parent: Encoded) -> Encoded:
        while True:
            child = super()._mutate(problem, rng, parent)
            if child[0, EMBED_DIM] == parent[0, EMBED_DIM]:
                return child
