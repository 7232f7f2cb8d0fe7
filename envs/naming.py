"""Names of whole batches of architectures."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import BIAS, EMBED_DIM, N_LAYER, Encoded, SearchSpace, layers_of

_BLOCK_LAYERS: Final = 6
_STATES: Final = 4  # Three choices, and the layer that does not exist.


def names_of(space: SearchSpace, encoded: Encoded) -> npt.NDArray[Any]:
    """Name architectures as :meth:`hwgpt_gym.Architecture.to_string` does, some hundred times faster.

    A name is put together from a few texts of several layers each, that are looked up.

    Args:
        space: The search space.
        encoded: Complete architectures, ``int8 (n, D)``.

    Returns:
        The names, ``object (n,)`` of ``str``.
    """
    heads, tails = _frames(space)
    depth, bias = encoded[:, N_LAYER].astype(np.intp), encoded[:, BIAS].astype(np.intp)
    names = heads[encoded[:, EMBED_DIM].astype(np.intp) * len(space.depths) + depth]
    states = layers_of(encoded).astype(np.intp) + 1
    for kind, values in enumerate((space.mlp_ratios, space.head_counts)):
        for start in range(0, space.max_layers, _BLOCK_LAYERS):
            block = states[:, start : start + _BLOCK_LAYERS, kind]
            texts = _texts(values, block.shape[1])
            names = names + texts[block @ _STATES ** np.arange(block.shape[1])[::-1]]
    result: npt.NDArray[Any] = names + tails[bias]
    return result


@lru_cache
def _frames(space: SearchSpace) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return what a name begins with by embedding width and depth, and what it ends with by bias."""
    heads = [f"gpt-{space.scale}-{depth}-{width}" for width in space.embed_dims for depth in space.depths]
    return np.array(heads, dtype=object), np.array([f"-{bias}" for bias in space.biases], dtype=object)


@lru_cache
def _texts(values: tuple[int, ...], layers: int) -> npt.NDArray[Any]:
    """Return the part of a name that a block of layers makes, by the number its states spell in base 4."""
    states = ["", *(f"-{value}" for value in values)]
    return np.array(["".join(block) for block in itertools.product(states, repeat=layers)], dtype=object)
