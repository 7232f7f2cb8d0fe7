"""The best chain of layers for every combination of counts, by dynamic programming.

A :class:`~hwgpt_gym.surrogates.chain_model.ChainModel` couples its two chains (the layers' MLPs and the layers' heads)
only through counts, and every cost depends on counts alone. So of all chains with the same counts only the best one
matters, and there are few counts: with depth ``n`` a chain has ``S = (n + 1) (n + 2) / 2`` of them, its *states*
``(c1, c2)``, the numbers of layers with the second and with the third choice. ``docs/optimum.md`` has the recurrence.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    GROUPS,
    N_LAYER,
    NOT_SET,
    NUM_CHOICES,
    Encoded,
    FloatArray,
    Group,
    IntArray,
    SearchSpace,
    layers_of,
)
from hwgpt_gym.surrogates.cautious_cost import Cost
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.features import count_features

MLP_CHAIN: Final = 0
HEAD_CHAIN: Final = 1
_SHIFTS: Final = ((0, 0), (1, 0), (0, 1))
"""What each choice adds to the counts ``(c1, c2)``."""

BackPointers: TypeAlias = npt.NDArray[np.uint8]


class ChainTables:
    """The least (or greatest) value of a chain model for every group and every combination of counts.

    Args:
        model: The chain model.
        greatest: Whether to find the greatest value instead of the least.

    Attributes:
        space: The search space.
        greatest: Whether the values are the greatest.
    """

    def __init__(self, model: ChainModel, *, greatest: bool = False) -> None:
        # Arrays of the model, not the model: tables are cached for as long as the model lives.
        self.space: SearchSpace = model.space
        self.greatest = greatest
        self._intercept = model.intercept
        self._count_part = (model.mlp_count, model.head_count)
        self._cross = model.cross
        self._states = [count_states(n_layer) for n_layer in self.space.depths]
        self._features = [
            count_features(states.T / n_layer).T
            for states, n_layer in zip(self._states, self.space.depths, strict=True)
        ]
        self._values, self._last, self._back = _solve_chains(model, self._states, greatest=greatest)

    def states(self, depth: int) -> IntArray:
        """Return the counts ``(c1, c2)`` of every state of a chain, ``int64 (S, 2)``, for a depth's choice index."""
        return self._states[depth]

    def values(self, group: Group) -> FloatArray:
        """Return a group's best values.

        Returns:
            ``float64 (S, S)``: by state of the MLP chain and state of the head chain, what the chain model predicts
            for the best architecture with these counts (up to the rounding of a differently ordered sum).
        """
        mlp, head = (self._values[group.depth][chain, group.embed_dim, group.bias] for chain in (MLP_CHAIN, HEAD_CHAIN))
        return self.count_terms(group, mlp, head)

    def count_terms(self, group: Group, mlp: FloatArray | float = 0.0, head: FloatArray | float = 0.0) -> FloatArray:
        """Return a group's intercept and terms of counts, plus values of the chains.

        Args:
            group: The group.
            mlp: What to add by state of the MLP chain, ``float64 (S,)``.
            head: What to add by state of the head chain, ``float64 (S,)``.

        Returns:
            ``float64 (S, S)``, as :meth:`values`.
        """
        features = self._features[group.depth]
        mlp, head = (
            value + features @ self._count_part[chain][tuple(group)]
            for chain, value in ((MLP_CHAIN, mlp), (HEAD_CHAIN, head))
        )
        values: FloatArray = (features @ self._cross[tuple(group)]) @ features.T
        values += (mlp + self._intercept[tuple(group)])[:, None]
        values += head
        return values

    def decode(self, group: Group, states: npt.NDArray[np.intp]) -> Encoded:
        """Return the architectures behind entries of :meth:`values`.

        Args:
            group: The group.
            states: Flat indices into the group's values, ``intp (n,)``.

        Returns:
            ``int8 (n, D)``.
        """
        n_layer = self.space.depths[group.depth]
        chains = np.divmod(states, len(self._states[group.depth]))
        encoded = np.full((len(states), self.space.num_decisions), NOT_SET, dtype=np.int8)
        encoded[:, EMBED_DIM], encoded[:, N_LAYER], encoded[:, BIAS] = group
        layers = layers_of(encoded)
        for chain, state in zip((MLP_CHAIN, HEAD_CHAIN), chains, strict=True):
            row = _row(chain, group)
            second, third = self._states[group.depth][state].T.copy()
            ending = self._last[group.depth][chain, group.embed_dim, group.bias, state]
            previous, choice = np.divmod(ending.astype(np.intp), NUM_CHOICES)
            for layer in reversed(range(n_layer)):
                layers[:, layer, chain] = choice
                before = self._back[layer, previous, choice, row, second, third].astype(np.intp)
                second -= choice == 1
                third -= choice == 2
                previous, choice = before, previous
        return encoded


_CACHE: WeakKeyDictionary[ChainModel, dict[bool, ChainTables]] = WeakKeyDictionary()


def chain_tables(model: ChainModel, *, greatest: bool = False) -> ChainTables:
    """Return the tables of a chain model; made once for each model, whatever the objective."""
    cached = _CACHE.setdefault(model, {})
    if greatest not in cached:
        cached[greatest] = ChainTables(model, greatest=greatest)
    return cached[greatest]


def cost_matrix(cost: Cost, group: Group, states: IntArray) -> FloatArray:
    """Return a group's costs by state of the MLP chain and state of the head chain (:meth:`CountModel.matrix`).

    Args:
        cost: The cost, of one device.
        group: The group.
        states: The counts of every state, ``int64 (S, 2)``.

    Returns:
        ``float64 (S, S)``.
    """
    return cost.matrix(group, states)


@lru_cache
def count_states(n_layer: int) -> IntArray:
    """Return the counts ``(c1, c2)`` of every state of a chain of some layers, ``int64 (S, 2)``."""
    counts = itertools.product(range(n_layer + 1), repeat=2)
    states = np.array([state for state in counts if sum(state) <= n_layer], dtype=np.int64)
    states.setflags(write=False)
    return states


def _row(chain: int, group: Group) -> int:
    """Return the row of a chain and group in arrays over all chains of all groups."""
    return len(GROUPS) * chain + GROUPS.index(group)


def _solve_chains(
    model: ChainModel, states: list[IntArray], *, greatest: bool
) -> tuple[list[FloatArray], list[BackPointers], BackPointers]:
    """Run the recurrence over the layers, for both chains of all groups and all counts at once.

    Returns:
        By depth, the best value of every state, ``float64 (2, 3, 2, S)`` by chain, embedding width and bias, and the
        choices of the last two layers, alike, as ``3 * previous + last``; and the choice two layers before,
        ``uint8 (L, 3, 3, 36, L + 1, L + 1)`` by layer, choice of the layer before it, its own, row and counts up to
        that layer.
    """
    sign = -1.0 if greatest else 1.0
    layers = model.space.max_layers
    single = sign * np.concatenate([part.reshape(len(GROUPS), layers, NUM_CHOICES) for part in (model.mlp, model.head)])
    pair, skip = (
        sign * np.concatenate([part.reshape(len(GROUPS), part.shape[3], NUM_CHOICES, NUM_CHOICES) for part in parts])
        for parts in ((model.mlp_pair, model.head_pair), (model.mlp_skip, model.head_skip))
    )
    # The second layer has no layer two before it.
    skip = np.concatenate([np.zeros((36, 1, NUM_CHOICES, NUM_CHOICES)), skip], axis=1)
    values: list[FloatArray] = []
    last: list[BackPointers] = []
    back = np.zeros((layers, NUM_CHOICES, NUM_CHOICES, 36, layers + 1, layers + 1), dtype=np.uint8)
    # best[j, k]: the best value of the layers so far, by row and counts, if the last two of them have choices j and k.
    # Before the first layer there is none: it has choice 0, by convention.
    best = np.full((NUM_CHOICES, NUM_CHOICES, 36, 2, 2), np.inf)
    for choice, (second, third) in enumerate(_SHIFTS):
        best[0, choice, :, second, third] = single[:, 0, choice]
    for layer in range(1, layers + 1):
        if layer in model.space.depths:
            depth = model.space.depths.index(layer)
            value, choice_of = _ends(best, depth, states[depth])
            values.append(sign * value)
            last.append(choice_of)
        if layer < layers:
            best = _step(best, single[:, layer], pair[:, layer - 1], skip[:, layer - 1], back[layer])
    return values, last, back


def _step(best: FloatArray, single: FloatArray, pair: FloatArray, skip: FloatArray, back: BackPointers) -> FloatArray:
    """Add one layer.

    ``best'[j, k](c) = single[k] + pair[j, k] + min_i (best[i, j](c - shift_k) + skip[i, k])``
    """
    size = best.shape[-1]
    extended = np.full((NUM_CHOICES, NUM_CHOICES, 36, size + 1, size + 1), np.inf)
    for choice, (second, third) in enumerate(_SHIFTS):
        window = (slice(None), slice(None), slice(second, second + size), slice(third, third + size))
        value = best[0] + skip[:, 0, choice, None, None]
        for before in (1, 2):
            other = best[before] + skip[:, before, choice, None, None]
            better = other < value
            np.minimum(value, other, out=value)
            np.putmask(back[:, choice][window], better, np.uint8(before))
        value += (single[:, choice, None] + pair[:, :, choice]).T[:, :, None, None]
        extended[:, choice][window] = value
    return extended


def _ends(best: FloatArray, depth: int, states: IntArray) -> tuple[FloatArray, BackPointers]:
    """Return the best value and the last two choices of every state, ``(2, 3, 2, S)``, for the groups of one depth."""
    second, third = states.T
    ends = best.reshape(NUM_CHOICES**2, 2, 3, 3, 2, *best.shape[3:])[:, :, :, depth, :, second, third]
    # Indices on both sides of a slice put their axis first: (S, 9 choices, 2, 3, 2).
    ends = np.moveaxis(ends, 0, -1)
    return ends.min(axis=0), ends.argmin(axis=0).astype(np.uint8)
