"""The exact values of actions in many drawn problems under the default penalty: what the policy is taught.

Which reward a width, depth and bias allow is found by one sweep over all combinations of counts, which also gives the
jump of the penalty; the values of decisions about layers are those of :class:`hwgpt_gym.optimum.ActionValues`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import ActionValues, Problem
from hwgpt_gym.penalties import JUMP_MARGIN
from hwgpt_gym.search_space import FIRST_LAYER, GROUP_SHAPE, GROUPS, NUM_CHOICES, Encoded, FloatArray
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.chain_tables import chain_tables
from hwgpt_gym.surrogates.cost_tables import SLOTS, CostTables, table_model

_CHUNK: Final = 1 << 16
"""Numbers worked on at once, so that they stay in the processor's caches."""

_DEFAULT: Final = Objective()


class Teacher:
    """The exact values of actions in some problems.

    Args:
        model: The chain model of log-perplexity.
        extremes: Its least and greatest value over the search space.
        costs: The problems, whose limits can be kept.

    Attributes:
        groups: The greatest reward of each width, depth and bias, ``float64 (n, 3, 3, 2)``.
        jumps: The jump of the penalty in each problem, ``float64 (n,)``.
    """

    def __init__(self, model: ChainModel, extremes: tuple[float, float], costs: CostTables) -> None:
        self._model, self._extremes, self._costs = model, extremes, costs
        penalised, kept = self._sweep()
        best = kept.max(axis=1)
        self.jumps = np.maximum(penalised.max(axis=1) - best, 0.0) + JUMP_MARGIN
        self.groups = np.maximum(kept, penalised - self.jumps[:, None]).reshape(-1, *GROUP_SHAPE)
        self._values = ActionValues(model, [self._problem(row) for row in range(len(costs.tables))])

    @property
    def best(self) -> FloatArray:
        """The reward of the optimum of each problem, ``float64 (n,)``."""
        best: FloatArray = self.groups.max(axis=(1, 2, 3))
        return best

    def __call__(self, encoded: Encoded, place: int, problem: npt.NDArray[np.intp]) -> FloatArray:
        """Return the values of the choices of one decision, ``float64 (n, 3)``, ``-inf`` for what is no choice.

        Args:
            encoded: Partial architectures that all stand at the decision, ``int8 (n, D)``.
            place: The column of the decision.
            problem: The problem of every row.
        """
        if place >= FIRST_LAYER:
            return self._values(encoded, problem)
        best = self.groups[problem]
        for column in range(place):
            best = best[np.arange(len(encoded)), encoded[:, column]]
        best = best.max(axis=tuple(range(2, best.ndim)))
        return np.pad(best, ((0, 0), (0, NUM_CHOICES - best.shape[1])), constant_values=-np.inf)

    def _problem(self, row: int) -> Problem:
        present = self._costs.present[row]
        models = tuple(table_model(self._model.space, table) for table in self._costs.tables[row, present])
        return Problem(_DEFAULT, models, (1.0,) * len(models), float(self.jumps[row]), self._extremes)

    def _sweep(self) -> tuple[FloatArray, FloatArray]:
        """Return the best penalised quality without a jump, and the best that keeps all limits, ``float64 (n, 18)``.

        In single precision: the difference is far below the margin of the jump.
        """
        tables, n = chain_tables(self._model), len(self._costs.tables)
        least, greatest = self._extremes
        terms = np.array(
            [[table_model(self._model.space, table).terms() for table in row] for row in self._costs.tables],
            dtype=np.float32,
        )
        weight = np.float32(_DEFAULT.weight)
        penalised, kept = np.empty((n, len(GROUPS))), np.empty((n, len(GROUPS)))
        for column, group in enumerate(GROUPS):
            states = tables.states(group.depth).T.astype(np.float32)
            quality = ((greatest - tables.values(group)) / (greatest - least)).astype(np.float32)
            own = terms[:, :, column]
            mlp = own[:, :, :1] + own[:, :, 1:3] @ states - np.float32(1.0)
            head = own[:, :, 3:] @ states
            step = max(_CHUNK // quality.size, 1)
            for start in range(0, n, step):
                rows = slice(start, start + step)
                excess = np.maximum(mlp[rows, 0, :, None] + head[rows, 0, None, :], 0.0)
                for slot in range(1, SLOTS):
                    if self._costs.present[rows, slot].any():
                        excess += np.maximum(mlp[rows, slot, :, None] + head[rows, slot, None, :], 0.0)
                kept[rows, column] = np.where(excess == 0.0, quality, -np.inf).max(axis=(1, 2))
                excess *= -weight
                excess += quality
                penalised[rows, column] = excess.max(axis=(1, 2))
        return penalised, kept
