"""What a policy for every device sees of a decision. Nothing of it grows with the depth.

The optimal choice depends on the choices so far through the counts, the last two layers and what the limits leave, so
these are the features: which decision it is, the counts, the last two choices of each chain, what the choices at hand
gain in quality here and elsewhere, and for each limited cost the exact shares of its limit and its table.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import (
    FIRST_LAYER,
    GROUPS,
    NUM_CHOICES,
    Encoded,
    FloatArray,
    layers_of,
)
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.cost_tables import SLOTS, CostTables, split_tables

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

KNOTS: Final = 13
"""Hat functions over the relative position of a layer."""

CONTEXT: Final = 42
"""Columns that describe a table."""

SHARES: Final = 15
"""Columns of shares of a limit, for each slot."""

STATE: Final = 5 + 8 + KNOTS + 8 + 12 + 6 + 8
"""Columns that depend on no cost."""

WIDTH: Final = STATE + SLOTS * (SHARES + 1 + CONTEXT)
"""All columns."""

_ROUNDING: Final = 1e-9
_LEAST_DEVIATION: Final = 0.04


class Features:
    """The features of decisions at one scale.

    Args:
        model: The chain model of log-perplexity.
        centre: The mean of the columns of :meth:`context`, ``float64 (42,)``.
        deviation: Their standard deviation, at least 0.04, ``float64 (42,)``.
    """

    def __init__(self, model: ChainModel, centre: FloatArray, deviation: FloatArray) -> None:
        self.space = model.space
        self.centre, self.deviation = centre, deviation
        self._depths = np.array(self.space.depths)
        self._gains = _Gains(model)

    @classmethod
    def fit(cls, model: ChainModel, drawn: CostTables) -> Features:
        """Return features whose context is standardised for problems such as the given ones."""
        columns = _context_columns(drawn.tables[drawn.present], model.space.depths)
        return cls(model, columns.mean(axis=0), np.maximum(columns.std(axis=0), _LEAST_DEVIATION))

    def context(self, costs: CostTables) -> Float32Array:
        """Return the standardised columns of every problem, ``float32 (n, SLOTS, 1 + 42)``, zeros without a cost."""
        n = len(costs.tables)
        columns = _context_columns(costs.tables.reshape(n * SLOTS, -1), self.space.depths)
        columns = np.clip((columns - self.centre) / self.deviation, -4.0, 4.0).reshape(n, SLOTS, CONTEXT)
        shown = np.concatenate([np.ones((n, SLOTS, 1)), columns], axis=2) * costs.present[:, :, None]
        return shown.astype(np.float32)

    def __call__(
        self, encoded: Encoded, place: int, costs: CostTables, context: Float32Array
    ) -> tuple[Float32Array, BoolArray]:
        """Describe partial architectures that all stand at the same decision.

        Args:
            encoded: ``int8 (n, D)``.
            place: The column of the next decision.
            costs: The problem of every row.
            context: The :meth:`context` of every row's problem.

        Returns:
            The features, ``float32 (n, WIDTH)``, and the choices that exist and after which each limit by itself can
            still be kept, ``bool (n, 3)``. Where none is left, all that exist.
        """
        n = len(encoded)
        state = np.zeros((n, STATE), dtype=np.float32)
        shares = np.zeros((n, SLOTS, SHARES), dtype=np.float32)
        exists = np.arange(NUM_CHOICES) < self.space.num_choices[place]
        chosen = encoded[:, : min(place, FIRST_LAYER)].astype(np.intp)
        for column, offset in zip(range(chosen.shape[1]), (5, 8, 11), strict=False):
            state[np.arange(n), offset + chosen[:, column]] = 1.0
        if place < FIRST_LAYER:
            state[:, place] = 1.0
            open_choices = self._open_groups(chosen, place, costs)
        else:
            chain = (place - FIRST_LAYER) % 2
            state[:, 3 + chain] = 1.0
            open_choices = self._describe_layers(encoded, place, chain, chosen, costs, state[:, 13:], shares)
        open_choices &= exists
        blocked = ~open_choices.any(axis=1)
        open_choices[blocked] = exists
        parts = [state, np.concatenate([shares * costs.present[:, :, None], context], axis=2).reshape(n, -1)]
        return np.concatenate(parts, axis=1), open_choices

    def _open_groups(self, chosen: npt.NDArray[np.intp], place: int, costs: CostTables) -> BoolArray:
        """Return after which choices of width, depth or bias some group is left whose least cost keeps each limit."""
        n = len(chosen)
        base, mlp, head = split_tables(costs.tables)
        least = base + self._depths[:, None] * (mlp.min(axis=-1) + head.min(axis=-1))[:, :, :, None, :]
        keeps = (least <= 1.0 + _ROUNDING).all(axis=1)
        for column in range(place):
            keeps = keeps[np.arange(n), chosen[:, column]]
        open_choices = keeps.any(axis=tuple(range(2, keeps.ndim)))
        return np.pad(open_choices, ((0, 0), (0, NUM_CHOICES - open_choices.shape[1])))

    def _describe_layers(
        self,
        encoded: Encoded,
        place: int,
        chain: int,
        chosen: npt.NDArray[np.intp],
        costs: CostTables,
        state: Float32Array,
        shares: Float32Array,
    ) -> BoolArray:
        """Fill in the columns of a decision about a layer; return which choices keep each limit by itself."""
        n, rows = len(encoded), np.arange(len(encoded))
        layer = (place - FIRST_LAYER) // 2
        width, depth, bias = chosen.T
        group = 6 * width + 2 * depth + bias
        n_layer = self._depths[depth]
        decided = (layer + chain, layer)
        left = [n_layer - count for count in decided]
        # Where it is: hat functions, ends, layers left.
        where = layer / (n_layer - 1.0) * (KNOTS - 1.0)
        state[:, :KNOTS] = np.maximum(1.0 - np.abs(where[:, None] - np.arange(KNOTS)), 0.0)
        ends = [np.full(n, layer == 0), np.full(n, layer == 1), left[chain] == 1, left[chain] == 2]
        longest = float(self._depths[-1])
        rest = [left[0] / longest, left[1] / longest, 1.0 / (1.0 + left[0]), 1.0 / (1.0 + left[1])]
        state[:, KNOTS : KNOTS + 8] = np.stack([*ends, *rest], axis=1)
        # What was chosen: the last two of each chain, and counts.
        layers = layers_of(encoded)
        counts, last = [], np.zeros((2, 2, n), dtype=np.intp)
        column = KNOTS + 8
        for kind in range(2):
            own = layers[:, : decided[kind], kind]
            counts.append(np.stack([np.count_nonzero(own == k, axis=1) for k in range(NUM_CHOICES)], axis=1))
            for back in (1, 2):
                if decided[kind] >= back:
                    last[kind, back - 1] = own[:, -back]
                    state[rows, column + last[kind, back - 1]] = 1.0
                column += NUM_CHOICES
        for kind in range(2):
            state[:, column : column + NUM_CHOICES] = counts[kind] / n_layer[:, None]
            column += NUM_CHOICES
        state[:, column : column + 8] = self._gains(group, n_layer, layer, chain, last[chain])
        return _describe_limits(costs, (width, depth, bias), n_layer, counts, left, chain, shares)


class _Gains:
    """What choices gain in quality, by layer, without the terms of counts; in units of their usual size."""

    def __init__(self, model: ChainModel) -> None:
        layers = model.space.max_layers
        self._terms = []
        gains = []
        for single, pair, skip in (
            (model.mlp, model.mlp_pair, model.mlp_skip),
            (model.head, model.head_pair, model.head_skip),
        ):
            own = single.reshape(len(GROUPS), layers, NUM_CHOICES).copy()
            before = np.zeros((2, len(GROUPS), layers, NUM_CHOICES, NUM_CHOICES))
            for back, part in enumerate((pair, skip), start=1):
                part = part.reshape(len(GROUPS), -1, NUM_CHOICES, NUM_CHOICES)
                before[back - 1, :, back:] = part
                # What a choice means for the layers after it, averaged over theirs.
                own[:, :-back] += part.mean(axis=3)
            self._terms.append((own, before))
            gains.append(own[..., :1] - own[..., 1:])
        size = np.array([self._sizes(part, model.space.depths) for part in gains]).mean()
        self._unit = 1.0 / size
        self._rest, self._rank = [], []
        for part in gains:
            rest, rank = np.zeros((len(GROUPS), layers + 1, 2)), np.zeros((len(GROUPS), layers, 2))
            for group, n_layer in enumerate(model.space.depths[item.depth] for item in GROUPS):
                for layer in range(n_layer):
                    later = part[group, layer + 1 : n_layer]
                    rest[group, layer] = part[group, layer:n_layer].mean(axis=0) * self._unit
                    rank[group, layer] = (later > part[group, layer]).mean(axis=0) if len(later) else 0.0
            self._rest.append(rest)
            self._rank.append(rank)

    def __call__(
        self,
        group: npt.NDArray[np.intp],
        n_layer: npt.NDArray[np.int64],
        layer: int,
        chain: int,
        last: npt.NDArray[np.intp],
    ) -> FloatArray:
        """Return gains here, ranks among the layers left and mean gains of both chains, ``float64 (n, 8)``."""
        own, before = self._terms[chain]
        terms = own[group, layer] + before[0][group, layer, last[0]] + before[1][group, layer, last[1]]
        gain = np.clip((terms[:, :1] - terms[:, 1:]) * self._unit, -5.0, 5.0)
        other = self._rest[1 - chain][group, layer + chain]
        rest = self._rest[chain][group, np.minimum(layer + 1, self._rest[chain].shape[1] - 1)]
        return np.concatenate([gain, self._rank[chain][group, layer], rest, other], axis=1)

    @staticmethod
    def _sizes(gains: FloatArray, depths: tuple[int, ...]) -> float:
        return float(
            np.sqrt(np.mean([np.square(gains[g, : depths[item.depth]]).mean() for g, item in enumerate(GROUPS)]))
        )


def _describe_limits(
    costs: CostTables,
    group: tuple[npt.NDArray[np.intp], ...],
    n_layer: npt.NDArray[np.int64],
    counts: list[npt.NDArray[np.int64]],
    left: list[npt.NDArray[np.int64]],
    chain: int,
    shares: Float32Array,
) -> BoolArray:
    """Fill in the exact shares of every limit; return which choices keep each limit by itself, ``bool (n, 3)``."""
    n, rows = len(n_layer), np.arange(len(n_layer))
    width, depth, bias = group
    base, mlp, head = split_tables(costs.tables)
    open_choices = np.ones((n, NUM_CHOICES), dtype=np.bool_)
    for slot in range(SLOTS):
        constant = base[rows, slot, width, depth, bias]
        prices = [part[rows, slot, width, bias] for part in (mlp, head)]
        used = constant + sum((price * count).sum(axis=1) for price, count in zip(prices, counts, strict=True))
        cheapest = used + sum(price.min(axis=1) * rest for price, rest in zip(prices, left, strict=True))
        dearest = used + sum(price.max(axis=1) * rest for price, rest in zip(prices, left, strict=True))
        slack, span = 1.0 - cheapest, dearest - cheapest
        above = prices[chain] - prices[chain].min(axis=1, keepdims=True)
        open_choices &= above <= slack[:, None] + _ROUNDING
        steps = [price[:, k] - price[:, 0] for price in prices for k in (1, 2)]
        room = [
            np.clip(slack / np.maximum((price.max(axis=1) - price.min(axis=1)) * np.maximum(rest, 1), 1e-3), -1.5, 2.5)
            for price, rest in zip(prices, left, strict=True)
        ]
        upgrades = [np.clip(slack / np.maximum(steps[k], 1e-3) / 3.0, -3.0, 3.0) for k in (1, 3)]
        columns = [
            constant - 0.8,
            used - 0.8,
            np.clip(slack, -1.0, 1.0) * 3.0,
            np.clip(slack / np.maximum(span, 1e-3), -1.5, 2.5),
            np.clip(10.0 * slack, -2.0, 2.0),
            *upgrades,
            *room,
            *(2.0 * n_layer * step for step in steps),
            np.clip(slack / np.maximum(np.abs(steps[2 * chain]), 1e-3) / 3.0, -3.0, 3.0),
            np.clip(slack * n_layer, -3.0, 3.0),
        ]
        shares[:, slot] = np.stack(columns, axis=1)
    return open_choices


def _context_columns(tables: FloatArray, depths: tuple[int, ...]) -> FloatArray:
    """Return what a group costs with all first choices, and what all layers of the others add, ``float64 (n, 42)``."""
    base, mlp, head = split_tables(tables)
    cheap = (mlp[..., 0] + head[..., 0])[:, :, None, :]
    columns = [base + np.array(depths)[:, None] * cheap]
    columns += [depths[1] * (part[..., 1:] - part[..., :1]) for part in (mlp, head)]
    return np.concatenate([column.reshape(len(tables), -1) for column in columns], axis=1)
