"""NSGA-II (Deb et al., 2002), by pymoo, with operators for discrete choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import (
    SearchProblem,
)
from hwgpt_gym.checks import check_between, check_integer
from hwgpt_gym.search_space import Encoded, SearchSpace


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
            losses = problem.evaluate_losses(express(problem.space, offspring.get("X")))
            Evaluator().eval(StaticProblem(algorithm.problem, F=losses), offspring)
            if problem.remaining:
                algorithm.tell(infills=offspring)

    def _algorithm(self, problem: SearchProblem) -> Any:
        from pymoo.algorithms.moo.nsga2 import NSGA2 as PymooNSGA2
        from pymoo.core.mutation import Mutation
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.ux import UX
        from pymoo.operators.sampling.rnd import IntegerRandomSampling

        num_choices = np.asarray(problem.space.num_choices)
        probability = min(1.0, self.mutations / len(num_choices))

        class DrawAnew(Mutation):  # type: ignore[misc]
            def _do(self, problem: Any, X: Any, random_state: Any = None, **kwargs: Any) -> Any:
                drawn = random_state.random(X.shape) < probability
                return np.where(drawn, random_state.integers(0, num_choices, X.shape), X)

        genome = Problem(n_var=len(num_choices), n_obj=len(problem.trade_off), xl=0, xu=num_choices - 1, vtype=int)
        algorithm = PymooNSGA2(
            pop_size=self.population_size,
            sampling=IntegerRandomSampling(),
            crossover=UX(prob=self.crossover_probability),
            mutation=DrawAnew(prob=1.0),
        )
        algorithm.setup(genome, termination=("n_gen", np.inf), seed=problem.seed, verbose=False)
        return algorithm


def express(space: SearchSpace, genomes: Any) -> Encoded:
    """Return the architectures of genomes: layers beyond the depth are taken out, ``int8 (n, D)``."""
    return space.canonical(np.asarray(genomes).astype(np.int8))
