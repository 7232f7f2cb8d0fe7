"""What the surrogates read off an encoded batch: its group, its counts, and the blocks that its layers spell.

A *group* is a combination of embedding width, depth and bias (:data:`~hwgpt_gym.search_space.GROUPS`).
The counts of a batch come from two matrix products of small integers in single precision. They are exact, and far
faster than comparing and counting column by column. So do the *blocks*: a chain of choices is cut into blocks of five
layers, each three layers after the one before, and a block's index is the number that its choices spell in base 3. One
look-up then stands for all terms that begin at a block's first three layers: they reach two layers further.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import (
    FIRST_LAYER,
    GROUP_SHAPE,
    GROUP_WEIGHTS,
    GROUPS,
    HEAD_COLUMNS,
    MLP_COLUMNS,
    NUM_CHOICES,
    Encoded,
    FloatArray,
    SearchSpace,
    layers_of,
)

Float32Array: TypeAlias = npt.NDArray[np.float32]

BLOCK_STARTS: Final = 3
"""The layers of a block whose terms are its own."""

BLOCK_REACH: Final = 2
"""The further layers that these terms reach."""

COUNT_FEATURES: Final = 5


def count_features(shares: FloatArray) -> FloatArray:
    """Return the features of one chain's counts, ``[c1, c2, c1 * c1, c1 * c2, c2 * c2]``.

    Args:
        shares: The shares of layers that have the second and the third choice, ``float64 (2, n)``.

    Returns:
        The features, ``float64 (5, n)``.
    """
    features = np.empty((COUNT_FEATURES, *shares.shape[1:]))
    features[:2] = shares
    np.multiply(shares[0], shares, out=features[2:4])
    np.multiply(shares[1], shares[1], out=features[4])
    return features


@dataclass(frozen=True, eq=False)
class Features:
    """What the surrogates read off a batch; what only some of them need is worked out when it is asked for.

    Attributes:
        space: The search space.
        choices: The encoding in single precision, ``float32 (n, D)``.
        group: The group, ``intp (n,)``.
        n_layer: The depth, ``float64 (n,)``.
        counts: The numbers of layers with the second MLP ratio, with the third, with the second head count and with
            the third, ``float64 (4, n)``.
    """

    space: SearchSpace
    choices: Float32Array
    group: npt.NDArray[np.intp]
    n_layer: FloatArray
    counts: FloatArray

    @cached_property
    def blocks(self) -> npt.NDArray[np.intp]:
        """The place of every block's value in the tables of all blocks and groups, ``intp (blocks, n)``."""
        layout = block_layout(self.space)
        # Exact: integers far below 2^24.
        return (self.choices @ layout.weights).astype(np.intp).T + layout.offsets.take(self.group, axis=1)

    @cached_property
    def count_features(self) -> FloatArray:
        """The :func:`count_features` of the MLPs, then of the heads, ``float64 (10, n)``."""
        shares = self.counts / self.n_layer
        return np.concatenate([count_features(shares[:2]), count_features(shares[2:])])


class BlockLayout(NamedTuple):
    """How the blocks of a space are found in an encoding.

    Attributes:
        spans: For each block of a chain, its first layer and the layer after its last.
        weights: What spells the indices, ``float32 (D, blocks)``: the blocks of the MLPs, then those of the heads.
        offsets: Where the table of a block and group begins (less the -1 of layers that do not exist),
            ``intp (blocks, 18)``.
    """

    spans: tuple[tuple[int, int], ...]
    weights: Float32Array
    offsets: npt.NDArray[np.intp]


@lru_cache
def block_layout(space: SearchSpace) -> BlockLayout:
    """Return the layout of a space's blocks."""
    layers = space.max_layers
    starts = range(0, layers, BLOCK_STARTS)
    spans = tuple((start, min(start + BLOCK_STARTS + BLOCK_REACH, layers)) for start in starts)
    weights, offsets, size = [], [], 0
    for chain in range(2):
        for start, stop in spans:
            powers = float(NUM_CHOICES) ** np.arange(stop - start)[::-1]
            weight = np.zeros(space.num_decisions, dtype=np.float32)
            layers_of(weight)[start:stop, chain] = powers
            missing = np.array([powers[max(depth - start, 0) :].sum() for depth in space.depths])
            table_size = NUM_CHOICES ** (stop - start)
            offset = size + table_size * np.arange(len(GROUPS)).reshape(GROUP_SHAPE) + missing[:, None]
            weights.append(weight)
            offsets.append(offset.ravel())
            size += len(GROUPS) * table_size
    return BlockLayout(spans, np.stack(weights, axis=1), np.stack(offsets).astype(np.intp))


def extract(space: SearchSpace, encoded: Encoded) -> Features:
    """Read off the features of a valid batch ``int8 (n, D)``."""
    selector, depths = _selector(space)
    choices = encoded.astype(np.float32)
    selected = (choices @ selector).T
    group = selected[2].astype(np.intp)
    n_layer = depths.take(group)
    inactive = space.max_layers - n_layer
    # A layer that does not exist holds -1: its share is taken out again.
    total = selected[:2] + inactive
    squares = (np.square(choices) @ selector[:, :2]).T - inactive
    counts = np.empty((4, len(encoded)))
    np.subtract(2.0 * total, squares, out=counts[0::2])
    np.subtract(squares, total, out=counts[1::2])
    counts[1::2] *= 0.5
    return Features(space, choices, group, n_layer, counts)


@lru_cache
def _selector(space: SearchSpace) -> tuple[Float32Array, FloatArray]:
    """Return what reads sums and groups off an encoding, and the depth of every group.

    Returns:
        ``float32 (D, 3)``: it sums the MLP choices, sums the head choices and spells the group; and
        ``float64 (18,)``.
    """
    selector = np.zeros((space.num_decisions, 3), dtype=np.float32)
    selector[MLP_COLUMNS, 0] = 1.0
    selector[HEAD_COLUMNS, 1] = 1.0
    selector[:FIRST_LAYER, 2] = GROUP_WEIGHTS
    return selector, np.array([space.depths[group.depth] for group in GROUPS], dtype=np.float64)
