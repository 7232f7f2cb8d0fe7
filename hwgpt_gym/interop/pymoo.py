"""A problem for pymoo's algorithms (Blank and Deb, 2020), with operators for discrete choices.

A genome holds the choices of all layers up to the greatest depth; those beyond the depth lie dormant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.operators.crossover.ux import UX
from pymoo.operators.sampling.rnd import IntegerRandomSampling

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_between, check_list
from hwgpt_gym.objective import Limit, as_objective
from hwgpt_gym.pareto import losses_sign
from hwgpt_gym.search_space import SearchSpace, check_space


class ArchitectureProblem(Problem):  # type: ignore[misc]  # pymoo has no types.
    """The search for architectures as pymoo's: genomes are choice indices, ``(n, D)``, objectives are losses.

    Args:
        benchmark: The benchmark, of one device if a metric that is needed depends on the device.
        metrics: The metrics to trade off. What is better the greater it is has its sign changed.
        constraints: For each constrained cost its limit, as for :class:`~hwgpt_gym.objective.Objective`; pymoo is
            told how far a cost is above it, by the limit.

    Attributes:
        benchmark: The benchmark.
        metrics: The metrics.
        limits: The constrained costs' limits in their units.

    Raises:
        ValueError: If a metric is unknown, or one depends on the device and the benchmark is not of one.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        metrics: Sequence[str] = ("perplexity", "latency_ms"),
        constraints: Mapping[str, Limit] | None = None,
    ) -> None:
        self.benchmark = check_benchmark(benchmark, "benchmark")
        self.metrics = tuple(check_list("metrics", metrics, "metrics"))
        self._signs = losses_sign(self.metrics)
        self.limits = dict(as_objective({} if constraints is None else constraints).bind(benchmark).limits)
        self._keys = tuple(dict.fromkeys((*self.metrics, *self.limits)))
        benchmark.check_one_device(self._keys)
        num_choices = np.asarray(benchmark.space.num_choices)
        super().__init__(
            n_var=len(num_choices),
            n_obj=len(self.metrics),
            n_ieq_constr=len(self.limits),
            xl=0,
            xu=num_choices - 1,
            vtype=int,
        )

    def _evaluate(self, X: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        values = self.benchmark.evaluate(self.benchmark.space.canonical(np.asarray(X).astype(np.int8)), self._keys)
        out["F"] = np.stack([values[key] for key in self.metrics], axis=1) * self._signs
        if self.limits:
            out["G"] = np.stack([values[key] / limit - 1.0 for key, limit in self.limits.items()], axis=1)


class DrawAnew(Mutation):  # type: ignore[misc]
    """Draw every choice anew with some probability.

    Args:
        space: The search space.
        mutations: How many decisions are drawn anew on average.
    """

    def __init__(self, space: SearchSpace, mutations: float) -> None:
        super().__init__(prob=1.0)
        self.num_choices = np.asarray(check_space(space).num_choices)
        check_between("mutations", mutations, 0.0, 1e6)
        self.probability = min(1.0, mutations / len(self.num_choices))

    def _do(self, problem: Any, X: Any, *args: Any, random_state: Any = None, **kwargs: Any) -> Any:
        drawn = random_state.random(X.shape) < self.probability
        return np.where(drawn, random_state.integers(0, self.num_choices, X.shape), X)


def operators(space: SearchSpace, crossover_probability: float = 0.9, mutations: float = 1.0) -> dict[str, Any]:
    """Return ``sampling``, ``crossover`` and ``mutation`` for pymoo's genetic algorithms.

    Args:
        space: The search space.
        crossover_probability: How likely two parents cross over, uniformly.
        mutations: How many decisions a child draws anew on average.
    """
    check_between("crossover_probability", crossover_probability, 0.0, 1.0)
    return {
        "sampling": IntegerRandomSampling(),
        "crossover": UX(prob=crossover_probability),
        "mutation": DrawAnew(space, mutations),
    }
