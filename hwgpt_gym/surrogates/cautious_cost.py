r"""Costs with a margin: how far a prediction may be off, and what it is taken for when a limit must hold.

The cost of an architecture is linear in its counts, so its uncertainty is a quadratic form of them. With
:math:`c = (1, m_1, m_2, h_1, h_2)` the counts of the second and third choices, the prediction is :math:`f = t \cdot c`
and the variance of its logarithm :math:`c^T Q\, c / f^2`, where :math:`t` and :math:`Q` are those of the embedding
width, depth and bias. A cost that is to be kept with a confidence :math:`p` is

.. math:: f e^{z s}, \qquad s = \sqrt{c^T Q\, c} / f, \quad z = \Phi^{-1}(p).

It depends on counts alone, as the prediction does: what is solved exactly for predictions is solved exactly for these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_between
from hwgpt_gym.search_space import GROUPS, Encoded, FloatArray, Group, IntArray, SearchSpace
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.features import Features, extract

TERMS: Final = 5
"""The constant and the four counts."""


def check_confidence(confidence: float | None) -> float | None:
    """Check a confidence: ``None``, for no margin, or from 0.5 to 0.9999.

    Raises:
        ValueError: If it is neither.
    """
    return None if confidence is None else check_between("confidence", confidence, 0.5, 0.9999)


@dataclass(frozen=True, eq=False)
class CautiousCost:
    """A cost of one device or of several, with the margin of a confidence.

    Attributes:
        model: What is predicted.
        covariance: That of constant and coefficients by group (see :meth:`CountModel.terms`), ``float64 (18, 5, 5)``
            or ``(devices, 18, 5, 5)``, as the model is of one device or of several.
        confidence: With which the true cost is to be at most the cautious one, each architecture by itself.

    Raises:
        ValueError: If the shape of the covariance does not go with the model, or the confidence is not legal.
    """

    model: CountModel
    covariance: FloatArray
    confidence: float

    def __post_init__(self) -> None:
        shape = (*self.model.base.shape[:-3], len(GROUPS), TERMS, TERMS)
        if self.covariance.shape != shape:
            raise ValueError(f"covariance must have shape {shape}, got {self.covariance.shape}")
        check_confidence(self.confidence)

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.model.space

    @cached_property
    def quantile(self) -> float:
        """The margin in standard deviations, :math:`z`."""
        return NormalDist().inv_cdf(self.confidence)

    def margins(self, features: Features, costs: FloatArray, device: npt.NDArray[np.intp] | None = None) -> FloatArray:
        """Return the factors between predictions and cautious costs, of the shape of the predictions.

        Args:
            features: The features of ``n`` architectures.
            costs: Their predicted costs, ``float64 (n,)``; ``(n, devices)`` if the model is of several devices and
                ``device`` is not given.
            device: The index of every row's own device, ``intp (n,)``.
        """
        counts: Sequence[FloatArray] = list(features.counts)
        if self.covariance.ndim == 3:
            return self._factor(self._entries(self.covariance[features.group]), counts, costs)
        if device is not None:
            return self._factor(self._entries(self.covariance[device, features.group]), counts, costs)
        columns = [
            self._factor(self._entries(own[features.group]), counts, costs[:, index])
            for index, own in enumerate(self.covariance)
        ]
        return np.stack(columns, axis=1)

    def predict_margins(self, encoded: Encoded, device: npt.NDArray[np.intp] | None = None) -> FloatArray:
        """Return the :meth:`margins` of a valid batch ``int8 (n, D)``."""
        features = extract(self.model.space, encoded)
        return self.margins(features, self.model.predict_features(features, device), device)

    def matrix(self, group: Group, states: IntArray) -> FloatArray:
        """Return a group's cautious costs by state of the MLP chain and of the head chain, ``float64 (S, S)``.

        As :meth:`CountModel.matrix`, and of one device as there.
        """
        costs = self.model.matrix(group, states)
        second, third = states.T.astype(np.float64)
        counts = [second[:, None], third[:, None], second[None, :], third[None, :]]
        entries = self._entries(self.covariance[GROUPS.index(group)])
        result: FloatArray = costs * self._factor(entries, counts, costs)
        return result

    def extremes(self) -> tuple[float, float]:
        """Return the least and the greatest cautious cost over the whole space, exactly; of one device."""
        space = self.model.space
        matrices = []
        for group in GROUPS:
            pairs = np.indices((space.depths[group.depth] + 1,) * 2).reshape(2, -1).T
            matrices.append(self.matrix(group, pairs[pairs.sum(axis=1) <= space.depths[group.depth]]))
        return min(float(costs.min()) for costs in matrices), max(float(costs.max()) for costs in matrices)

    @staticmethod
    def _entries(covariance: FloatArray) -> list[list[FloatArray]]:
        return [[covariance[..., row, column] for column in range(TERMS)] for row in range(TERMS)]

    def _factor(self, q: list[list[FloatArray]], counts: Sequence[FloatArray], costs: FloatArray) -> FloatArray:
        """Return the factors; all arguments broadcast, so that rows and matrices have the same sums in the same order.

        Args:
            q: The entries of the covariances.
            counts: The four counts.
            costs: The predicted costs.
        """
        m1, m2, h1, h2 = counts
        own_mlp = (
            q[0][0] + m1 * (2.0 * q[0][1] + q[1][1] * m1 + 2.0 * q[1][2] * m2) + m2 * (2.0 * q[0][2] + q[2][2] * m2)
        )
        own_head = h1 * (2.0 * q[0][3] + q[3][3] * h1 + 2.0 * q[3][4] * h2) + h2 * (2.0 * q[0][4] + q[4][4] * h2)
        both = m1 * (q[1][3] * h1 + q[1][4] * h2) + m2 * (q[2][3] * h1 + q[2][4] * h2)
        variance = own_mlp + own_head + 2.0 * both
        deviation = np.sqrt(np.maximum(variance, 0.0)) / costs
        factor: FloatArray = np.exp(self.quantile * deviation)
        return factor


Cost: TypeAlias = CountModel | CautiousCost
"""A cost as it goes into ratios: predicted, or with a margin."""


def relative_covariance(model: CountModel, errors: FloatArray) -> FloatArray:
    """Return the covariance of a cost whose relative error depends on the embedding width alone.

    Args:
        model: The cost of one device.
        errors: Standard deviation of the logarithm of its predictions, for each width, ``float64 (3,)``.

    Returns:
        ``float64 (18, 5, 5)``.
    """
    width = np.array([group.embed_dim for group in GROUPS])
    scaled = model.terms() * errors[width][:, None]
    covariance: FloatArray = scaled[:, :, None] * scaled[:, None, :]
    return covariance
