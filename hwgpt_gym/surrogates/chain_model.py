"""The chain model of log-perplexity (and of accuracy).

Sums of single layers, of neighbouring layers and of counts predict log-perplexity on unseen architectures better than
a neural network does (``docs/surrogates.md``). No term couples one layer's MLP with its heads except through counts,
so the model splits into two chains: that is what makes the exact optimum computable (``docs/optimum.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_array, check_type
from hwgpt_gym.encoding import read_only
from hwgpt_gym.search_space import GROUP_SHAPE, GROUPS, NUM_CHOICES, FloatArray, SearchSpace
from hwgpt_gym.surrogates.features import BLOCK_STARTS, COUNT_FEATURES, Features, block_layout, extract


@dataclass(frozen=True, eq=False)
class ChainModel:
    """A quantity that is a sum over two chains of layers and over counts.

    With ``e``, ``d``, ``b`` the choice indices of embedding width, depth and bias, ``m_i`` and ``h_i`` those of layer
    ``i``'s MLP and heads, and ``phi`` the :func:`count_features` of each chain's *shares* of layers::

        value = intercept[e, d, b]
              + sum_i mlp[e, d, b, i, m_i] + sum_i head[e, d, b, i, h_i]
              + sum_i mlp_pair[e, d, b, i, m_i, m_(i+1)] + sum_i head_pair[e, d, b, i, h_i, h_(i+1)]
              + sum_i mlp_skip[e, d, b, i, m_i, m_(i+2)] + sum_i head_skip[e, d, b, i, h_i, h_(i+2)]
              + mlp_count[e, d, b] @ phi_mlp + head_count[e, d, b] @ phi_head
              + phi_mlp @ cross[e, d, b] @ phi_head

    Attributes:
        space: The search space, of ``L = max_layers``.
        intercept: ``float64 (3, 3, 2)``.
        mlp: ``float64 (3, 3, 2, L, 3)``.
        head: ``float64 (3, 3, 2, L, 3)``.
        mlp_pair: ``float64 (3, 3, 2, L - 1, 3, 3)``.
        head_pair: ``float64 (3, 3, 2, L - 1, 3, 3)``.
        mlp_skip: ``float64 (3, 3, 2, max(L - 2, 0), 3, 3)``.
        head_skip: ``float64 (3, 3, 2, max(L - 2, 0), 3, 3)``.
        mlp_count: ``float64 (3, 3, 2, 5)``.
        head_count: ``float64 (3, 3, 2, 5)``.
        cross: ``float64 (3, 3, 2, 5, 5)``.

    Entries of layers beyond the depth are zero. The arrays are read-only views.

    Raises:
        ValueError: If a shape is wrong, a number is not finite or an entry beyond the depth is not zero.
    """

    space: SearchSpace
    intercept: FloatArray
    mlp: FloatArray
    head: FloatArray
    mlp_pair: FloatArray
    head_pair: FloatArray
    mlp_skip: FloatArray
    head_skip: FloatArray
    mlp_count: FloatArray
    head_count: FloatArray
    cross: FloatArray

    @staticmethod
    def shapes(space: SearchSpace) -> dict[str, tuple[int, ...]]:
        """Return the shape of every array by name."""
        layers, group, choices = space.max_layers, GROUP_SHAPE, NUM_CHOICES
        return {
            "intercept": group,
            "mlp": (*group, layers, choices),
            "head": (*group, layers, choices),
            "mlp_pair": (*group, layers - 1, choices, choices),
            "head_pair": (*group, layers - 1, choices, choices),
            "mlp_skip": (*group, max(layers - 2, 0), choices, choices),
            "head_skip": (*group, max(layers - 2, 0), choices, choices),
            "mlp_count": (*group, COUNT_FEATURES),
            "head_count": (*group, COUNT_FEATURES),
            "cross": (*group, COUNT_FEATURES, COUNT_FEATURES),
        }

    def __post_init__(self) -> None:
        check_type("space", self.space, SearchSpace, "a SearchSpace")
        for name, shape in self.shapes(self.space).items():
            array = check_array(name, getattr(self, name), "iuf", "numbers")
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite")
            object.__setattr__(self, name, read_only(array))
        for depth, n_layer in enumerate(self.space.depths):
            beyond = [
                getattr(self, f"{chain}{reach}")[:, depth, :, max(n_layer - distance, 0) :]
                for chain in ("mlp", "head")
                for distance, reach in enumerate(("", "_pair", "_skip"))
            ]
            if any(np.any(part) for part in beyond):
                raise ValueError(f"entries of layers beyond the depth {n_layer} must be zero")

    def predict(self, encoded: np.ndarray) -> FloatArray:
        """Predict the quantity for a valid batch ``int8 (n, D)``: ``float64 (n,)``."""
        return self.predict_features(extract(self.space, encoded))

    def predict_features(self, features: Features) -> FloatArray:
        """Predict from features that are already extracted; otherwise as :meth:`predict`."""
        blocks = self._block_tables.take(features.blocks)
        blocks[0] += self._group_constant.take(features.group)
        coefficients, crossed = self._count_table
        phi = features.count_features
        terms = coefficients.take(features.group, axis=1)
        terms[: len(phi)] *= phi
        terms[len(phi) :] *= phi[crossed[0]] * phi[crossed[1]]
        # Accumulated one after the other, so that a row's result does not depend on the batch it stands in.
        terms[0] += np.add.accumulate(blocks, axis=0, out=blocks)[-1]
        result: FloatArray = np.add.accumulate(terms, axis=0, out=terms)[-1]
        return result

    @cached_property
    def _group_constant(self) -> FloatArray:
        return np.ascontiguousarray(self.intercept.ravel())

    @cached_property
    def _count_table(self) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """Coefficients of the count features by group, and which features the last of them cross.

        Returns:
            ``float64 (10 + crossings, 18)``: the MLP features, the head features and those products of the two that
            any group has a coefficient for; and the rows of both factors of these, ``intp (2, crossings)``.
        """
        cross = np.moveaxis(self.cross.reshape(len(GROUPS), COUNT_FEATURES, COUNT_FEATURES), 0, 2)
        crossed = np.stack(np.nonzero(cross.any(axis=2)))
        singles = [array.reshape(len(GROUPS), COUNT_FEATURES).T for array in (self.mlp_count, self.head_count)]
        table = np.concatenate([*singles, cross[crossed[0], crossed[1]]])
        return np.ascontiguousarray(table), crossed + np.array([[0], [COUNT_FEATURES]])

    @cached_property
    def _block_tables(self) -> FloatArray:
        """The values of all blocks of both chains, for all groups and choices, flat: see :func:`block_layout`."""
        chains = ((self.mlp, self.mlp_pair, self.mlp_skip), (self.head, self.head_pair, self.head_skip))
        spans = block_layout(self.space).spans
        return np.concatenate([_block_table(chain, *span).ravel() for chain in chains for span in spans])


def _block_table(chain: tuple[FloatArray, FloatArray, FloatArray], start: int, stop: int) -> FloatArray:
    """Sum the terms that begin at a block's first layers, for every combination of its choices.

    Args:
        chain: The terms of single layers, of neighbours and of layers two apart.
        start: The block's first layer.
        stop: The layer after its last.

    Returns:
        ``float64 (18, 3 ** layers)``.
    """
    layers = stop - start
    table = np.zeros((len(GROUPS),) + (NUM_CHOICES,) * layers)
    for i in range(min(BLOCK_STARTS, layers)):
        for distance, terms in enumerate(chain):
            if i + distance < layers:
                shape = [1] * layers
                shape[i] = shape[i + distance] = NUM_CHOICES
                table += terms[:, :, :, start + i].reshape(len(GROUPS), *shape)
    return table.reshape(len(GROUPS), -1)
