"""Which choices leave a completion that keeps all limits, exactly: the mask that makes an answer keep its limits."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.objective import BoundObjective
from hwgpt_gym.penalties import keeps
from hwgpt_gym.search_space import (
    FIRST_LAYER,
    GROUP_SHAPE,
    GROUP_WEIGHTS,
    GROUPS,
    NUM_CHOICES,
    Encoded,
    SearchSpace,
    layers_of,
)
from hwgpt_gym.surrogates.cautious_cost import CautiousCost
from hwgpt_gym.surrogates.chain_tables import cost_matrix, count_states
from hwgpt_gym.surrogates.suffix_tables import state_index

_STEPS: Final = np.array([(0, 0), (1, 0), (0, 1)])
"""What each choice adds to the counts of the second and third choice."""


class LimitKeeper:
    """The choices after which some completion keeps every limit of one problem.

    What keeps the limits is read off the costs of all counts, to the last bit those of evaluation. Completions of equal
    layers are looked at first: with one linear cost they settle it; otherwise all counts that are left are.

    Args:
        bound: The objective, whose limits can be kept.
    """

    def __init__(self, bound: BoundObjective) -> None:
        self._space: SearchSpace = bound.bench.space
        self._by_metric = dict(bound.limits)
        self._costs, self._limits = bound.limited_costs()
        self._settled = len(self._costs) <= 1 and not any(isinstance(cost, CautiousCost) for cost in self._costs)
        self._kept: list[npt.NDArray[np.bool_]] = [self._keeps(group) for group in range(len(GROUPS))]
        self._groups = np.array([kept.any() for kept in self._kept]).reshape(GROUP_SHAPE)

    def check_possible(self) -> None:
        """Check that some architecture keeps every limit.

        Raises:
            ValueError: If none does.
        """
        if not self._groups.any():
            raise ValueError(f"no architecture keeps the limits {self._by_metric}")

    def __call__(self, encoded: Encoded, place: int, problem: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Return the open choices of partial architectures that stand at one decision, ``bool (n, 3)``.

        Args:
            encoded: ``int8 (n, D)``.
            place: The column of the decision.
            problem: Ignored: there is one.
        """
        if place < FIRST_LAYER:
            open_groups = np.broadcast_to(self._groups, (len(encoded), *GROUP_SHAPE))
            for column in range(place):
                open_groups = open_groups[np.arange(len(encoded)), encoded[:, column]]
            open_choices = open_groups.any(axis=tuple(range(2, open_groups.ndim)))
            return np.pad(open_choices, ((0, 0), (0, NUM_CHOICES - open_choices.shape[1])))
        open_choices = np.zeros((len(encoded), NUM_CHOICES), dtype=np.bool_)
        group = encoded[:, :FIRST_LAYER] @ np.array(GROUP_WEIGHTS)
        for position in np.unique(group).tolist():
            rows = np.flatnonzero(group == position)
            open_choices[rows] = self._open(encoded[rows], place, position)
        return open_choices

    def _open(self, encoded: Encoded, place: int, position: int) -> npt.NDArray[np.bool_]:
        kept, n_layer = self._kept[position], self._space.depths[GROUPS[position].depth]
        layer, chain = divmod(place - FIRST_LAYER, 2)
        decided = (layer + chain, layer)
        counts = np.stack(
            [
                np.stack([(layers_of(encoded)[:, : decided[kind], kind] == k).sum(axis=1) for k in (1, 2)], axis=1)
                for kind in range(2)
            ],
            axis=1,
        )
        # (n, choice, chain, count)
        after = np.repeat(counts[:, None], NUM_CHOICES, axis=1)
        after[:, :, chain] += _STEPS
        left = [n_layer - decided[kind] - (kind == chain) for kind in range(2)]
        found = np.zeros(after.shape[:2], dtype=np.bool_)
        mlp, head = (state_index(n_layer, after[:, :, kind, None] + left[kind] * _STEPS) for kind in range(2))
        found |= kept[mlp[..., :, None], head[..., None, :]].any(axis=(2, 3))
        if self._settled:
            return found
        for row, choice in np.argwhere(~found):
            own = (state_index(n_layer, after[row, choice, kind] + count_states(left[kind])) for kind in range(2))
            found[row, choice] = kept[np.ix_(*own)].any()
        return found

    def _keeps(self, position: int) -> npt.NDArray[np.bool_]:
        """Return which counts of a group keep every limit, ``bool (S, S)``."""
        group = GROUPS[position]
        states = count_states(self._space.depths[group.depth])
        ratios = [
            cost_matrix(cost, group, states) / limit for cost, limit in zip(self._costs, self._limits, strict=True)
        ]
        return keeps(np.zeros((len(states), len(states))), ratios)
