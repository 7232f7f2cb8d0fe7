"""What the surrogates read off an encoded batch: its group and its counts.

A *group* is a combination of embedding width, depth and bias; there are ``3 * 3 * 2 = 18``, numbered in that order.
The counts of a batch come from two matrix products of small integers in single precision. They are exact, and far
faster than comparing and counting column by column.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import BIAS, EMBED_DIM, FIRST_LAYER, N_LAYER, Encoded, FloatArray, SearchSpace

Float32Array: TypeAlias = npt.NDArray[np.float32]


class Features(NamedTuple):
    """What the surrogates read off a batch.

    Attributes:
        choices: The encoding in single precision, ``float32 (n, D)``.
        group: The group, ``intp (n,)``.
        n_layer: The depth, ``float64 (n,)``.
        counts: The numbers of layers with the second MLP ratio, with the third, with the second head count and with
            the third, ``float64 (4, n)``.
    """

    choices: Float32Array
    group: npt.NDArray[np.intp]
    n_layer: FloatArray
    counts: FloatArray


def extract(space: SearchSpace, encoded: Encoded) -> Features:
    """Read off the features of a valid batch ``int8 (n, D)``."""
    group = (encoded[:, EMBED_DIM] * np.int8(6) + encoded[:, N_LAYER] * np.int8(2) + encoded[:, BIAS]).astype(np.intp)
    choices = encoded.astype(np.float32)
    n_layer = np.asarray(space.depths, dtype=np.float64)[encoded[:, N_LAYER]]
    inactive = space.max_layers - n_layer
    selector = _layer_selector(space)
    # A layer that does not exist holds -1: its share is taken out again.
    total = (choices @ selector).T + inactive
    squares = (np.square(choices) @ selector).T - inactive
    counts = np.empty((4, len(encoded)))
    np.subtract(2.0 * total, squares, out=counts[0::2])
    np.subtract(squares, total, out=counts[1::2])
    counts[1::2] *= 0.5
    return Features(choices, group, n_layer, counts)


@lru_cache
def _layer_selector(space: SearchSpace) -> Float32Array:
    """The matrix that sums the MLP choices and the head choices of an encoding, ``float32 (D, 2)``."""
    selector = np.zeros((space.num_decisions, 2), dtype=np.float32)
    selector[FIRST_LAYER::2, 0] = 1.0
    selector[FIRST_LAYER + 1 :: 2, 1] = 1.0
    return selector
