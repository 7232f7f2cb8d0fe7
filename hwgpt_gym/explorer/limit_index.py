"""The certified constrained optimum in milliseconds, whatever the limits: all combinations of counts, the best first.

:func:`hwgpt_gym.optimum.solve` looks at all combinations anew for every objective. Here they are sorted by perplexity
once, so that an optimum is the first combination that keeps all limits, and its neighbours are as quick to find: what
the next better optimum needs of one limit, the others being as they are. Costs are kept in single precision to find
candidates, which are then evaluated by the benchmark itself, so the result is that of ``solve``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.penalties import keeps
from hwgpt_gym.search_space import GROUPS, Encoded, FloatArray
from hwgpt_gym.surrogates.chain_extremes import TOLERANCE
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.chain_tables import chain_tables, cost_matrix
from hwgpt_gym.surrogates.count_model import CountModel

_ROUNDING: Final = 1e-6
"""Relative error that a cost in single precision has less than."""

_CHUNK: Final = 128
_CACHED: Final = 16
"""Costs whose arrays are kept: those of four devices with four limits each, 32 MB a cost at scale l."""

Positions = npt.NDArray[np.intp]


class Combinations:
    """All combinations of counts of a search space, those of the least perplexity first.

    Args:
        model: The chain model of log-perplexity.
    """

    def __init__(self, model: ChainModel) -> None:
        self._tables = chain_tables(model)
        values = np.concatenate([self._tables.values(group).ravel() for group in GROUPS])
        self._order = np.argsort(values, kind="stable").astype(np.int32)
        self.log_perplexity: FloatArray = values[self._order]
        sizes = [len(self._tables.states(group.depth)) ** 2 for group in GROUPS]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])
        self._costs: OrderedDict[CountModel, npt.NDArray[np.float32]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._order)

    def costs(self, cost: CountModel) -> npt.NDArray[np.float32]:
        """Return the costs of all combinations; those used last are kept."""
        if cost not in self._costs:
            matrices = [cost_matrix(cost, group, self._tables.states(group.depth)) for group in GROUPS]
            values = np.concatenate([matrix.ravel().astype(np.float32) for matrix in matrices])
            self._costs[cost] = values[self._order]
        self._costs.move_to_end(cost)
        while len(self._costs) > _CACHED:
            self._costs.popitem(last=False)
        return self._costs[cost]

    def decode(self, positions: Positions) -> Encoded:
        """Return the best architectures of combinations, ``int8 (n, D)``."""
        flat = self._order[positions].astype(np.intp)
        of_group = np.searchsorted(self._offsets, flat, side="right") - 1
        encoded = np.empty((len(flat), self._tables.space.num_decisions), dtype=np.int8)
        for i in np.unique(of_group):
            rows = of_group == i
            encoded[rows] = self._tables.decode(GROUPS[i], flat[rows] - self._offsets[i])
        return encoded

    def in_table_order(self, positions: Positions) -> Positions:
        """Return positions in the order of the solver's tables, which breaks ties."""
        return positions[np.argsort(self._order[positions])]


class LimitIndex:
    """The constrained optima of one device.

    Args:
        bench: The benchmark, of one device.
        combinations: All combinations of its search space.
    """

    def __init__(self, bench: Benchmark, combinations: Combinations) -> None:
        self.bench, self._combinations = bench, combinations

    def best(self, limits: Mapping[str, float]) -> Encoded | None:
        """Return the architecture of the least perplexity within limits, ``int8 (1, D)``; ``None`` if there is none.

        Args:
            limits: Costs to limits, in the metrics' units.
        """
        kept = np.flatnonzero(self._kept(limits))
        for start in range(0, len(kept), _CHUNK):
            rows = kept[start : start + _CHUNK]
            exactly = self._keeps_exactly(rows, limits)
            if exactly.any():
                first = start + int(exactly.argmax())
                values = self._combinations.log_perplexity[kept]
                last = int(np.searchsorted(values, values[first] + TOLERANCE, side="right"))
                rows = self._combinations.in_table_order(kept[first:last])
                rows = rows[self._keeps_exactly(rows, limits)]
                return self._least(rows, "perplexity")
        return None

    def next_better(self, encoded: Encoded, metric: str, limits: Mapping[str, float]) -> Encoded | None:
        """Return the optimum that takes over when one limit is raised just enough, ``int8 (1, D)``.

        Args:
            encoded: The optimum within the limits, ``int8 (1, D)``.
            metric: The cost whose limit is raised.
            limits: All limits.

        Returns:
            ``None`` if nothing better keeps the other limits, however high this one is.
        """
        others = {key: limit for key, limit in limits.items() if key != metric}
        own = float(np.log(self.bench.evaluate(encoded, ["perplexity"])["perplexity"][0]))
        end = int(np.searchsorted(self._combinations.log_perplexity, own - TOLERANCE))
        better = np.flatnonzero(self._kept(others, end))
        if not len(better):
            return None
        costs = self._combinations.costs(self.bench.count_model(metric))[better]
        rows = better[costs <= costs.min() * (1.0 + _ROUNDING)]
        # Of the cheapest, the first is the best one; ties in single precision are broken exactly.
        rows = rows[self._keeps_exactly(rows, others)]
        return self._least(rows, metric) if len(rows) else None

    def _kept(self, limits: Mapping[str, float], end: int | None = None) -> npt.NDArray[np.bool_]:
        """Return which of the first combinations may keep limits."""
        size = len(self._combinations) if end is None else end
        kept = np.ones(size, dtype=bool)
        for metric, limit in limits.items():
            costs = self._combinations.costs(self.bench.count_model(metric))[:size]
            kept &= costs <= np.float32(limit * (1.0 + _ROUNDING))
        return kept

    def _keeps_exactly(self, positions: Positions, limits: Mapping[str, float]) -> npt.NDArray[np.bool_]:
        metrics = self.bench.evaluate(self._combinations.decode(positions), list(limits))
        return keeps(np.zeros(len(positions)), [metrics[metric] / limit for metric, limit in limits.items()])

    def _least(self, positions: Positions, metric: str) -> Encoded:
        """Return the architecture of the least value; of equal ones that of the least perplexity."""
        encoded = self._combinations.decode(positions)
        metrics = self.bench.evaluate(encoded, ["perplexity", metric])
        first = np.lexsort((metrics["perplexity"], metrics[metric]))[:1]
        return encoded[first]
