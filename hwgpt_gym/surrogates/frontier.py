"""Which architectures can be best: those that no cheaper one beats, of the best of each combination of counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.pareto import non_dominated
from hwgpt_gym.search_space import GROUPS, Encoded, FloatArray
from hwgpt_gym.surrogates.cautious_cost import Cost
from hwgpt_gym.surrogates.chain_tables import ChainTables, cost_matrix

TOLERANCE: Final = 1e-9
"""How much worse in log-perplexity (or accuracy) than a cheaper one an architecture is still taken for a candidate."""


class Frontier(NamedTuple):
    """Candidates for the Pareto front of a search space, a superset of it up to rounding.

    Attributes:
        losses: The value of the chain model, negated if the greatest is sought (up to rounding), then the costs (to the
            last bit), ``float64 (n, 1 + costs)``.
        group: Position in :data:`GROUPS`, ``intp (n,)``, ascending.
        state: Flat index into the group's values, ``intp (n,)``.
    """

    losses: FloatArray
    group: npt.NDArray[np.intp]
    state: npt.NDArray[np.intp]

    def decode(self, tables: ChainTables) -> Encoded:
        """Return the architectures, ``int8 (n, D)``."""
        parts = [tables.decode(group, self.state[self.group == i]) for i, group in enumerate(GROUPS)]
        return np.concatenate(parts)


def frontier(tables: ChainTables, costs: Sequence[Cost]) -> Frontier:
    """Find the candidates for the Pareto front of a chain model and of costs.

    At given counts all costs are given, so only the best architectures of each combination of counts can be on it.

    Args:
        tables: The tables of the chain model.
        costs: The costs, each of one device, at least one.
    """
    sign = -1.0 if tables.greatest else 1.0
    losses: list[FloatArray] = []
    states: list[npt.NDArray[np.intp]] = []
    for group in GROUPS:
        counts = tables.states(group.depth)
        columns = [sign * tables.values(group), *(cost_matrix(cost, group, counts) for cost in costs)]
        of_group = np.stack([column.ravel() for column in columns], axis=1)
        states.append(_candidates(of_group))
        losses.append(of_group[states[-1]])
    pooled = np.concatenate(losses)
    kept = _candidates(pooled)
    of_groups = np.repeat(np.arange(len(GROUPS)), [len(part) for part in states])
    return Frontier(pooled[kept], of_groups[kept], np.concatenate(states)[kept])


def _candidates(losses: FloatArray) -> npt.NDArray[np.intp]:
    """Return which rows can be on the front, losses being known up to rounding in their first column.

    Args:
        losses: Quality, then the costs; less is better. ``float64 (n, 1 + costs)``.

    Returns:
        Indices in ascending order, ``intp (k,)``.
    """
    if losses.shape[1] > 2:
        return np.flatnonzero(non_dominated(losses))
    ascending = np.argsort(losses[:, 1], kind="stable")
    quality = losses[ascending, 0]
    best_of_cheaper = np.minimum.accumulate(quality)[:-1]
    improves = np.concatenate([[True], quality[1:] <= best_of_cheaper + TOLERANCE])
    return np.sort(ascending[improves])
