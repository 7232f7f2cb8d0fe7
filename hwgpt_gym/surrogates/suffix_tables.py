"""The least sum that the layers still to be decided can add to a chain, by dynamic programming from the last layer.

:mod:`hwgpt_gym.surrogates.chain_tables` solves whole chains from the first layer on. Here the same recurrence runs
backwards: for every layer, every choice of the two layers before it and every combination of counts that the remaining
layers can have, the least sum of these layers' terms. ``docs/action_values.md`` has the formula.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import BIAS, EMBED_DIM, N_LAYER, NUM_CHOICES, Encoded, FloatArray, SearchSpace, layers_of
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.chain_tables import HEAD_CHAIN, MLP_CHAIN, count_states

_SHIFTS: Final = np.array([(0, 0), (1, 0), (0, 1)])
"""What each choice adds to the counts ``(c1, c2)``."""


class SuffixTables:
    """What the layers from each layer on add at least to a chain model, by their counts.

    The tables take 4 MB at scale s, 27 MB at m and 88 MB at l.

    Args:
        model: The chain model.

    Attributes:
        space: The search space.
    """

    def __init__(self, model: ChainModel) -> None:
        # Arrays of the model, not the model: tables are cached for as long as the model lives.
        self.space: SearchSpace = model.space
        self._terms = _terms(model)
        solved = [self._solve(depth) for depth in range(len(self.space.depths))]
        self._after = [after for after, _ in solved]
        self._least = [least for _, least in solved]

    def after(self, chain: int, depth: int, layer: int) -> FloatArray:
        """Return the least sum of the terms of a layer and all after it, by the layer's own choice.

        Args:
            chain: :data:`MLP_CHAIN` or :data:`HEAD_CHAIN`.
            depth: Choice index of the depth ``n``.
            layer: The layer ``i``, below ``n``.

        Returns:
            ``float64 (6, 3, 3, 3, S)`` by ``2 * embed_dim + bias``, choice of layer ``i - 2``, of ``i - 1`` and of
            ``i``, and state of the ``n - i`` layers from ``i`` on; infinite where the choice excludes the state. The
            choice of a layer before the first is 0.
        """
        after: FloatArray = self._after[depth][layer][chain]
        return after

    def least(self, chain: int, depth: int, layer: int) -> FloatArray:
        """Return the least of :meth:`after` over the layer's choice, ``float64 (6, 3, 3, S)``; at layer ``n``, zero."""
        least: FloatArray = self._least[depth][layer][chain]
        return least

    def decided(self, encoded: Encoded) -> FloatArray:
        """Return the sum of the terms of all layers that are decided, of both chains, ``float64 (n,)``.

        Args:
            encoded: Prefixes whose width, depth and bias are chosen, ``int8 (n, D)``.
        """
        width, depth, bias = (encoded[:, column, None].astype(np.intp) for column in (EMBED_DIM, N_LAYER, BIAS))
        total = np.zeros(len(encoded))
        for chain, terms in enumerate(self._terms):
            choices = layers_of(encoded)[:, :, chain].astype(np.intp)
            layers = np.arange(choices.shape[1])
            single, pair, skip = terms
            # A layer that is not decided has choice -1, which reads zero.
            total += single[width, depth, bias, layers, choices].sum(axis=1)
            for distance, part in ((1, pair), (2, skip)):
                before, own = choices[:, :-distance], choices[:, distance:]
                total += part[width, depth, bias, layers[distance:], before, own].sum(axis=1)
        return total

    def _solve(self, depth: int) -> tuple[list[FloatArray], list[FloatArray]]:
        """Run the recurrence for one depth; both results by layer, with a leading axis of chains."""
        n_layer = self.space.depths[depth]
        least = [np.zeros((2, 6, NUM_CHOICES, NUM_CHOICES, 1))]
        afters: list[FloatArray] = []
        for layer in reversed(range(n_layer)):
            # (chain, group, choice of layer - 2, of layer - 1, of layer)
            term = np.stack([self._layer_terms(chain, depth, layer) for chain in (MLP_CHAIN, HEAD_CHAIN)])
            rest = count_states(n_layer - layer - 1)
            after = np.full((*term.shape, len(count_states(n_layer - layer))), np.inf)
            for choice, shift in enumerate(_SHIFTS):
                states = state_index(n_layer - layer, rest + shift)
                after[..., choice, states] = term[..., choice, None] + least[-1][:, :, None, :, choice]
            afters.append(after)
            least.append(after.min(axis=4))
        return afters[::-1], least[::-1]

    def _layer_terms(self, chain: int, depth: int, layer: int) -> FloatArray:
        """Return a layer's own terms and those with the two layers before it, ``float64 (6, 3, 3, 3)``."""
        single, pair, skip = (part[:, depth, :, layer] for part in self._terms[chain])
        terms: FloatArray = single[:, :, None, None, :] + pair[:, :, None, :, :] + skip[:, :, :, None, :]
        return terms[:, :, :-1, :-1, :-1].reshape(6, NUM_CHOICES, NUM_CHOICES, NUM_CHOICES)


def state_index(n_layer: int, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the positions of counts ``(…, 2)`` among the states of a chain of ``n_layer`` layers, ``int64 (…)``."""
    second, third = counts[..., 0], counts[..., 1]
    # Of states with c1 layers of the second choice there are n_layer - c1 + 1.
    index: npt.NDArray[np.int64] = second * (2 * n_layer + 3 - second) // 2 + third
    return index


def _terms(model: ChainModel) -> list[list[FloatArray]]:
    """Return the terms of both chains, by the *last* layer they depend on.

    Returns:
        For each chain the terms of single layers, ``float64 (3, 3, 2, L, 4)``, of neighbours and of layers two apart,
        ``float64 (3, 3, 2, L, 4, 4)``; zero where a layer before the first would be needed, and for the fourth choice,
        which stands for none.
    """
    layers = model.space.max_layers
    chains = ((model.mlp, model.mlp_pair, model.mlp_skip), (model.head, model.head_pair, model.head_skip))
    return [
        [np.pad(part, [(0, 0)] * 3 + [(layers - part.shape[3], 0)] + [(0, 1)] * (part.ndim - 4)) for part in parts]
        for parts in chains
    ]


_CACHE: WeakKeyDictionary[ChainModel, SuffixTables] = WeakKeyDictionary()


def suffix_tables(model: ChainModel) -> SuffixTables:
    """Return the tables of a chain model; made once for each model, whatever the objective."""
    if model not in _CACHE:
        _CACHE[model] = SuffixTables(model)
    return _CACHE[model]
