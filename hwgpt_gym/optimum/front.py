"""The exact Pareto front of perplexity (or accuracy) against costs, over a whole search space.

At given counts all costs are given, so only the architecture of the best perplexity can be on the front: the front of
the whole space is that of the best architectures of each combination of counts
(:mod:`hwgpt_gym.surrogates.chain_tables`).
With one cost, sorting by cost and keeping what improves perplexity finds it; with several, moocore's filter does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_list
from hwgpt_gym.metrics import COST_METRICS, METRICS, get_metric
from hwgpt_gym.pareto import losses_sign, non_dominated
from hwgpt_gym.search_space import Architecture, Encoded, FloatArray, SearchSpace
from hwgpt_gym.surrogates.chain_tables import chain_tables
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.frontier import frontier


@dataclass(frozen=True, eq=False)
class ParetoFront:
    """The architectures that no other one beats in one metric without losing in another.

    Attributes:
        metrics: The metrics, one a column of ``values``.
        values: In the metrics' units, ascending in the first cost, ``float64 (n, metrics)``. No two rows are equal.
        encoded: An architecture that has these values, ``int8 (n, D)``.
        space: The search space.
    """

    metrics: tuple[str, ...]
    values: FloatArray
    encoded: Encoded
    space: SearchSpace

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def architectures(self) -> list[Architecture]:
        """The architectures, in the order of the values."""
        return self.space.decode(self.encoded)

    @property
    def losses(self) -> FloatArray:
        """The values with the sign that makes less better in every column, ``float64 (n, metrics)``."""
        return self.values * losses_sign(self.metrics)


def pareto_front(
    bench: Benchmark, metrics: Sequence[str] = ("perplexity", "latency_ms"), confidence: float | None = None
) -> ParetoFront:
    """Find the Pareto front of the whole search space.

    Values are those of :meth:`Benchmark.evaluate`. With one cost the front is that of all architectures to the last
    bit; with several, up to ties of less than 1e-12 in log-perplexity.

    Args:
        bench: The benchmark, of one device if a metric depends on the device.
        metrics: ``"perplexity"`` or ``"accuracy"``, and one or several costs, in any order.
        confidence: With which each cost is at most the front's, from 0.5 to 0.9999: costs are then predictions times
            the margin of :mod:`hwgpt_gym.surrogates.cautious_cost`.

    Raises:
        ValueError: If there is not exactly one of perplexity and accuracy or no cost, a metric is repeated or
            unknown, or depends on the device and the benchmark is not of one, or the confidence is not legal.
    """
    metrics = tuple(check_list("metrics", metrics, "metrics"))
    quality, costs = _split(bench, metrics)
    tables = chain_tables(bench.chain_model(quality), greatest=not METRICS[quality].lower_is_better)
    cautious = {} if confidence is None else {metric: bench.cautious_cost(metric, confidence) for metric in costs}
    encoded = frontier(tables, [cautious.get(metric, cost) for metric, cost in costs.items()]).decode(tables)
    predicted = bench.evaluate(encoded, metrics)
    for metric, cost in cautious.items():
        predicted[metric] = predicted[metric] * cost.predict_margins(encoded)
    values = np.stack([predicted[metric] for metric in metrics], axis=1)
    kept = np.flatnonzero(non_dominated(values * losses_sign(metrics)))
    kept = kept[np.argsort(values[kept, metrics.index(next(iter(costs)))], kind="stable")]
    return ParetoFront(metrics, values[kept], encoded[kept], bench.space)


def _split(bench: Benchmark, metrics: tuple[str, ...]) -> tuple[str, dict[str, CountModel]]:
    """Return the one quality metric and the models of the costs, checked."""
    check_benchmark(bench)
    qualities = [metric for metric in metrics if get_metric(metric).kind == "quality"]
    costs = [metric for metric in metrics if METRICS[metric].kind == "cost"]
    if len(qualities) != 1 or not costs or len(set(costs)) < len(costs):
        raise ValueError(
            f"metrics must be 'perplexity' or 'accuracy' and at least one cost of {list(COST_METRICS)}, none twice, "
            f"got {list(metrics)}"
        )
    return qualities[0], {metric: bench.count_model(metric) for metric in costs}
