"""Costs as tables relative to their limits: what a policy for many devices is told about one.

A cost that is linear in counts is 54 numbers (:class:`~hwgpt_gym.surrogates.count_model.CountModel`): 18 bases by
embedding width, depth and bias, 18 costs of an MLP and 18 of a layer's heads by width, bias and choice. Divided by the
limit they say all that an episode has to know of device, cost and limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    GROUPS,
    N_LAYER,
    NUM_CHOICES,
    Encoded,
    FloatArray,
    SearchSpace,
)
from hwgpt_gym.surrogates.cautious_cost import CautiousCost, Cost
from hwgpt_gym.surrogates.count_model import CountModel

SLOTS: Final = 2
"""How many costs may be limited at once."""

BASE: Final = slice(0, 18)
MLP: Final = slice(18, 36)
HEAD: Final = slice(36, 54)
TABLE: Final = 54
"""The entries of a table, and where its parts are."""


class CostTables(NamedTuple):
    """The limited costs of many problems.

    Attributes:
        tables: Each limited cost divided by its limit, zeros where there is none, ``float64 (n, SLOTS, 54)``.
        present: Which slots hold a cost, ``bool (n, SLOTS)``.
    """

    tables: FloatArray
    present: npt.NDArray[np.bool_]

    def of(self, rows: npt.NDArray[np.intp]) -> CostTables:
        """Return some problems."""
        return CostTables(self.tables[rows], self.present[rows])


def make_tables(problems: Sequence[tuple[Sequence[Cost], Sequence[float]]]) -> CostTables:
    """Return the tables of problems.

    Args:
        problems: For each its limited costs, of one device, and their limits.

    Raises:
        ValueError: If a problem limits more than :data:`SLOTS` costs.
    """
    tables, present = np.zeros((len(problems), SLOTS, TABLE)), np.zeros((len(problems), SLOTS), dtype=np.bool_)
    for row, (costs, limits) in enumerate(problems):
        if len(costs) > SLOTS:
            raise ValueError(f"the policy takes at most {SLOTS} limited costs, got {len(costs)}")
        for slot, (cost, limit) in enumerate(zip(costs, limits, strict=True)):
            tables[row, slot] = cost_table(cost) / limit
            present[row, slot] = True
    return CostTables(tables, present)


def cost_table(cost: Cost) -> FloatArray:
    """Return the table of a cost of one device, ``float64 (54,)``, or of several, ``float64 (devices, 54)``.

    A cost with a margin is not linear. Its table is that of the prediction times the margin of each group's middle
    counts, of one device only: a policy sees the margin nearly, and whether limits are kept is checked with the cost
    itself.
    """
    if not isinstance(cost, CautiousCost):
        lead = cost.base.shape[:-3]
        return np.concatenate([part.reshape(*lead, -1) for part in (cost.base, cost.mlp, cost.head)], axis=-1)
    space, model = cost.model.space, cost.model
    factors = []
    for group in GROUPS:
        middle = np.full((1, 2), space.depths[group.depth] // NUM_CHOICES)
        factors.append((cost.matrix(group, middle) / model.matrix(group, middle)).item())
    factor = np.array(factors).reshape(model.base.shape)
    of_layers = factor.mean(axis=1)[..., None]
    parts = (model.base * factor, model.mlp * of_layers, model.head * of_layers)
    return np.concatenate([part.ravel() for part in parts])


def split_tables(tables: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return base, MLP and head costs of tables ``(…, 54)``: ``(…, 3, 3, 2)`` and twice ``(…, 3, 2, 3)``."""
    lead = tables.shape[:-1]
    return (
        tables[..., BASE].reshape(*lead, 3, 3, 2),
        tables[..., MLP].reshape(*lead, 3, 2, 3),
        tables[..., HEAD].reshape(*lead, 3, 2, 3),
    )


def table_model(space: SearchSpace, table: FloatArray) -> CountModel:
    """Return the cost that a table ``float64 (54,)`` is of."""
    return CountModel(space, *split_tables(table))


def count_matrix(space: SearchSpace, encoded: Encoded) -> FloatArray:
    """Return what tables are multiplied with to get the costs of architectures, ``float64 (n, 54)``."""
    matrix = np.zeros((len(encoded), TABLE))
    rows = np.arange(len(encoded))
    width, depth, bias = (encoded[:, column].astype(np.intp) for column in (EMBED_DIM, N_LAYER, BIAS))
    matrix[rows, 6 * width + 2 * depth + bias] = 1.0
    for part, counts in zip((MLP, HEAD), space.counts(encoded), strict=True):
        columns = part.start + NUM_CHOICES * (2 * width + bias)[:, None] + np.arange(NUM_CHOICES)
        matrix[rows[:, None], columns] = counts
    return matrix
