"""A richer Gaussian process of log-perplexity: the judge of the chain model, too rich to be solved exactly.

To the terms of the chain model it adds what that cannot hold: all pairs of layers of each chain, pairs of any layer's
MLP with any layer's heads, and all triples of layers. Their Gram matrices are products: with ``k_m = Phi_m Phi_m' /
sqrt(L L')`` that of the MLP choices, ``k_h`` likewise of the heads and ``L`` the depths, they are ``k_m^2``, ``k_h^2``,
``k_m k_h`` and ``(k_m + k_h)^3``. Strengths are chosen by leave-one-out cross-validation, with those of the chain.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hwgpt_gym.fitting.chain_block import Block, layer_features, make_blocks, some_rows, term_gram
from hwgpt_gym.fitting.ridge import choose_strengths, solve_dual
from hwgpt_gym.search_space import EMBED_DIM, Encoded, FloatArray, SearchSpace
from hwgpt_gym.surrogates.chain_model import ChainModel

EXTRA_TERMS: Final = 4
"""How many terms there are beyond those of the chain model."""


class RicherProcess:
    """The posterior mean of a Gaussian process richer than the chain model, fitted to each embedding width.

    Args:
        space: The search space.
        encoded: The architectures, ``int8 (n, D)``.
        values: What was measured, NaN where not, ``float64 (n,)``; enough that each width has a fit of its own.
        teacher: The teacher, if the chain model has one.
    """

    def __init__(
        self, space: SearchSpace, encoded: Encoded, values: FloatArray, teacher: ChainModel | None = None
    ) -> None:
        self._space, self._teacher = space, teacher
        self._fits = [_fit(space, block) for block in make_blocks(space, encoded, values, teacher)]

    def predict(self, encoded: Encoded) -> FloatArray:
        """Predict for a valid batch ``int8 (n, D)``: ``float64 (n,)``."""
        result = np.empty(len(encoded))
        for block, strengths, dual in self._fits:
            for width in block.widths:
                rows = encoded[:, EMBED_DIM] == width
                features = layer_features(self._space, encoded[rows])
                if self._teacher is not None:
                    lessons = self._teacher.predict(encoded[rows]) - block.lesson_centre[width]
                    features["teacher"] = (lessons / block.lesson_spread[width])[:, None]
                unseen = block._replace(encoded=encoded[rows], targets=np.empty(0), features=features)
                gram = _weighted_gram(self._space, unseen, block, strengths)
                result[rows] = block.centre[width] + block.spread[width] * (gram @ dual)
        return result


def _fit(space: SearchSpace, block: Block) -> tuple[Block, FloatArray, FloatArray]:
    """Return a block, the strengths of its terms and the dual coefficients."""
    some = some_rows(block)
    grams = np.stack([*(term_gram(term, some) for term in some.terms), *_extra_grams(space, some, some)])
    strengths = choose_strengths(grams, some.targets)
    return block, strengths, solve_dual(_weighted_gram(space, block, block, strengths), block.targets)


def _weighted_gram(space: SearchSpace, left: Block, right: Block, strengths: FloatArray) -> FloatArray:
    gram = np.zeros((len(left.encoded), len(right.encoded)))
    for strength, term in zip(strengths[:-EXTRA_TERMS], right.terms, strict=True):
        gram += strength * term_gram(term, left, right)
    for strength, extra in zip(strengths[-EXTRA_TERMS:], _extra_grams(space, left, right), strict=True):
        gram += strength * extra
    return gram


def _extra_grams(space: SearchSpace, left: Block, right: Block) -> tuple[FloatArray, ...]:
    depths = np.sqrt(np.outer(space.n_layer(left.encoded), space.n_layer(right.encoded)))
    mlp, head = (left.features[chain] @ right.features[chain].T / depths for chain in ("mlp", "head"))
    return mlp**2, head**2, mlp * head, (mlp + head) ** 3
