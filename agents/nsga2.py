"""NSGA-II (Deb et al., 2002), by pymoo, with operators for discrete choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import SearchProblem, small_seed
from hwgpt_gym.checks import check_between, check_integer


@dataclass(frozen=True)
class NSGA2(Agent):
    """Evolve a front of architectures by uniform crossover and by drawing choices anew.

    A genome holds the choices of all layers up to the greatest depth; those beyond the depth lie dormant.

    Attributes:
        population_size: Architectures in a generation, at least 4 and even.
        crossover_probability: How likely two parents cross over.
        mutations: How many decisions a child draws anew on average.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "nsga2"
    multi_objective: ClassVar[bool] = True
    population_size: int = 50
    crossover_probability: float = 0.9
    mutations: float = 1.0

    def __post_init__(self) -> None:
        if check_integer("population_size", self.population_size, 4) % 2:
            raise ValueError(f"population_size must be even, got {self.population_size}")
        check_between("crossover_probability", self.crossover_probability, 0.0, 1.0)
        check_between("mutations", self.mutations, 0.0, 1e6)

    def search(self, problem: SearchProblem) -> None:
        """Evolve until the budget is spent; the last generation may be cut short."""
        from pymoo.core.evaluator import Evaluator
        from pymoo.problems.static import StaticProblem

        algorithm = self._algorithm(problem)
        while problem.remaining:
            offspring = algorithm.ask()
            if not len(offspring):  # Nothing new was bred: all of the neighbourhood is known.
                offspring = algorithm.initialization.do(algorithm.problem, self.population_size)
            offspring = offspring[: problem.remaining]
            losses = problem.evaluate_losses(problem.space.canonical(offspring.get("X").astype(np.int8)))
            Evaluator().eval(StaticProblem(algorithm.problem, F=losses), offspring)
            if problem.remaining:
                algorithm.tell(infills=offspring)

    def _algorithm(self, problem: SearchProblem) -> Any:
        from pymoo.algorithms.moo.nsga2 import NSGA2 as PymooNSGA2

        from hwgpt_gym.interop.pymoo import ArchitectureProblem, operators

        algorithm = PymooNSGA2(
            pop_size=self.population_size,
            **operators(problem.space, self.crossover_probability, self.mutations),
        )
        # Evaluations are counted, so it is the search problem that makes them.
        genome = ArchitectureProblem(problem.benchmark, problem.trade_off)
        algorithm.setup(genome, termination=("n_gen", np.inf), seed=small_seed(problem.seed), verbose=False)
        return algorithm
