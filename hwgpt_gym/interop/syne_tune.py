"""Blackboxes for Syne Tune (Salinas et al., 2022), on which HW-GPT-Bench's own baselines run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from syne_tune.blackbox_repository.blackbox import Blackbox
from syne_tune.config_space import choice, ordinal, randint
from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import MOPriority

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.interop.configurations import decision_values, from_configurations
from hwgpt_gym.pareto import crowded_ranks
from hwgpt_gym.search_space import BIAS, FloatArray, SearchSpace

ELAPSED_TIME: Final = "metric_elapsed_time"
"""The objective that Syne Tune's simulator reads as time: every evaluation takes one simulated second."""

FIDELITY: Final = "evaluation"
"""The one fidelity, which has one value: Syne Tune's simulator cannot do without."""


def config_space(space: SearchSpace) -> dict[str, Any]:
    """Return a search space as Syne Tune's: a domain for every decision, by its name.

    Syne Tune has no conditions: layers beyond the depth are chosen in vain. Every value is equally likely.
    """
    return {
        name: choice(list(legal)) if column == BIAS else ordinal(list(legal), kind="equal")
        for column, (name, legal) in enumerate(decision_values(space).items())
    }


class ArchitectureBlackbox(Blackbox):  # type: ignore[misc]  # Syne Tune has no types.
    """One device as a blackbox; :func:`blackboxes` has all of them.

    It has values for the whole space, so no surrogate needs to be added. Objectives are the benchmark's metrics in
    their units and :data:`ELAPSED_TIME`.

    Args:
        benchmark: The benchmark, of one device.
        metrics: The objectives; all metrics by default. Of accuracy more is better, of the others less.

    Attributes:
        benchmark: The benchmark.

    Raises:
        ValueError: If the benchmark is of several devices, or a metric is unknown.
    """

    def __init__(self, benchmark: Benchmark, metrics: Iterable[str] | None = None) -> None:
        self.benchmark = benchmark
        self._metrics = tuple(benchmark.metrics if metrics is None else metrics)
        benchmark.check_one_device(self._metrics)
        super().__init__(
            configuration_space=config_space(benchmark.space),
            fidelity_space={FIDELITY: randint(1, 1)},
            objectives_names=[*self._metrics, ELAPSED_TIME],
        )

    @property
    def fidelity_values(self) -> FloatArray:
        """The values of the fidelity: one."""
        return np.ones(1)

    def _objective_function(
        self, configuration: dict[str, Any], fidelity: dict[str, Any] | None = None, seed: int | None = None
    ) -> Any:
        values = self.benchmark.evaluate(from_configurations(self.benchmark.space, [configuration]), self._metrics)
        objectives = [*(float(values[key][0]) for key in self._metrics), 1.0]
        if fidelity is None:
            return np.array([objectives])
        return dict(zip(self.objectives_names, objectives, strict=True))


def blackboxes(scale: str = "s", metrics: Iterable[str] | None = None) -> dict[str, ArchitectureBlackbox]:
    """Return the blackboxes of all devices by name, as Syne Tune's ``load_blackbox`` returns those of a benchmark.

    Args:
        scale: The search space, ``"s"``, ``"m"`` or ``"l"``.
        metrics: As for :class:`ArchitectureBlackbox`.

    Raises:
        ValueError: If the scale or a metric is unknown.
    """
    keys = None if metrics is None else tuple(metrics)
    every = Benchmark(scale, "all")
    return {device.name: ArchitectureBlackbox(every.on(device), keys) for device in every.devices}


class CrowdedRanks(MOPriority):  # type: ignore[misc]
    """The priority of Syne Tune's multi-objective methods, by non-domination and crowding.

    Syne Tune's own default (0.16.0) answers with the order of the points where their ranks are asked for, so that its
    evolution chooses parents that are no better than others: pass this one as ``multiobjective_priority``.
    """

    def priority_unsafe(self, objectives: FloatArray) -> Any:
        """Return the ranks of points, ``int64 (n,)``; lower ones are picked first."""
        return crowded_ranks(objectives)
