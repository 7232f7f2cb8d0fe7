r"""What measurements say of a device: its cost model with intervals that depend on counts alone.

Measurements are modelled in relative error, :math:`\log y = \log f(x; \theta) + \sigma\, t_4` with noise of Student's
t distribution. The prior is normal with the covariance :math:`\tau S` (:mod:`~hwgpt_gym.onboarding.prior`) and a free
level. For nine values of :math:`\sigma` and three of :math:`\tau` the mode is found by Gauss-Newton steps with the
weights :math:`5 / (4 + (r / \sigma)^2)` of the residuals :math:`r`, from loud to quiet noise, each from the one
before. These fits are mixed by their evidence (Laplace's approximation) times log-normal priors of :math:`\sigma` and
:math:`\tau`, and the mixture is matched in its first two moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from hwgpt_gym.onboarding.coordinates import (
    PER_WIDTH,
    SIZE,
    WIDTHS,
    coordinates,
    encoded_coordinates,
    flattened,
    log_costs,
    model_of,
)
from hwgpt_gym.onboarding.prior import LEVEL, Prior
from hwgpt_gym.search_space import GROUPS, Encoded, FloatArray, IntArray, SearchSpace
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.features import Features

FREEDOM: Final = 4.0
"""Degrees of freedom of the noise."""

SIGMAS: Final[FloatArray] = np.geomspace(0.2, 0.001, 9)
SIGMA_PRIOR: Final = (0.01, 4.0)
"""Median and geometric standard deviation of the noise's prior."""

TAUS: Final = (0.3, 0.6, 1.0, 1.7, 3.0)
TAU_PRIOR: Final = (1.0, 2.0)
LEVEL_VARIANCE: Final = 1e4
STEPS: Final = (5, 2)
"""Gauss-Newton steps at the first sigma, and at each that follows."""

LONGEST_STEP: Final = 1.5
LEAST_WEIGHT: Final = 0.02
"""Fits of less weight are left out of the mixture."""

INTERVAL_FACTOR: Final = 1.15
"""What standard deviations are multiplied with: the prior is itself estimated. Set on simulations."""


@dataclass(frozen=True, eq=False)
class CostPosterior:
    """The cost of one device as far as it is known: a normal distribution of its vector.

    Attributes:
        space: The search space.
        mean: ``float64 (42,)``; :mod:`~hwgpt_gym.onboarding.coordinates` says of what.
        covariance: ``float64 (42, 42)``.
        sigma: Scale of the measurements' relative noise, positive.

    Raises:
        ValueError: If a shape is wrong, a number is not finite, the covariance is not symmetric or has a negative
            variance, or some architecture would cost nothing.
    """

    space: SearchSpace
    mean: FloatArray
    covariance: FloatArray
    sigma: float

    def __post_init__(self) -> None:
        for name, shape in (("mean", (SIZE,)), ("covariance", (SIZE, SIZE))):
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite")
        scale = np.abs(self.covariance).max()
        if np.abs(self.covariance - self.covariance.T).max() > 1e-9 * scale:
            raise ValueError("covariance must be symmetric")
        if np.linalg.eigvalsh(self.covariance)[0] < -1e-9 * scale:
            raise ValueError("covariance must not have a negative eigenvalue")
        if not 0.0 < self.sigma < np.inf:
            raise ValueError(f"sigma must be positive and finite, got {self.sigma!r}")
        least = float(self.model.extremes()[0])
        if least <= 0.0:
            raise ValueError(f"every architecture must cost more than 0, the cheapest costs {least!r}")

    @cached_property
    def model(self) -> CountModel:
        """The cost model of the mean."""
        return model_of(self.space, self.mean)

    def term_covariance(self) -> FloatArray:
        """Return the covariance of constant and coefficients of the cost by group, ``float64 (18, 5, 5)``.

        The terms are those of :meth:`CountModel.terms`. Standard deviations have :data:`INTERVAL_FACTOR` in them.
        """
        shape = (WIDTHS, PER_WIDTH)
        blocks, levels = self.covariance.reshape(*shape, *shape), self.mean.reshape(shape)[:, 0]
        # Coordinates are linear in counts: without counts, and with one of each.
        counts = np.concatenate([np.zeros((4, 1)), np.eye(4)], axis=1)
        covariance = np.empty((len(GROUPS), 5, 5))
        for group, terms in enumerate(self.model.terms()):
            z, width = coordinates(self.space, np.full(5, group), counts)
            z[1:] -= z[0]
            w = int(width[0])
            derivative = np.column_stack([terms, np.exp(levels[w]) * z])
            covariance[group] = INTERVAL_FACTOR**2 * derivative @ blocks[w, :, w] @ derivative.T
        return covariance

    def log_deviation(self, features: Features) -> FloatArray:
        """Return the standard deviation of the logarithm of predicted costs, ``float64 (n,)``."""
        return self.log_deviation_at(*coordinates(self.space, features.group, features.counts))

    def log_deviation_at(self, z: FloatArray, width: IntArray) -> FloatArray:
        """As :meth:`log_deviation`, from :func:`~hwgpt_gym.onboarding.coordinates.coordinates`."""
        shape = (WIDTHS, PER_WIDTH)
        blocks = self.covariance.reshape(*shape, *shape)
        own = self.mean.reshape(shape)
        variance = np.empty(len(z))
        for w in range(WIDTHS):
            rows = width == w
            # Of a row's derivatives only those of its own width are not zero.
            share = 1.0 + z[rows] @ own[w, 1:]
            derivative = np.column_stack([np.ones(len(share)), z[rows] / share[:, None]])
            variance[rows] = ((derivative @ blocks[w, :, w]) * derivative).sum(axis=1)
        deviation: FloatArray = INTERVAL_FACTOR * np.sqrt(np.maximum(variance, 0.0))
        return deviation


class _Mode(NamedTuple):
    """The best vector for one sigma and tau."""

    evidence: float
    vector: FloatArray
    sigma: float
    covariance: FloatArray
    derivative: FloatArray
    weights: FloatArray


def fit_posterior(
    space: SearchSpace, prior: Prior, encoded: Encoded, values: FloatArray, variances: FloatArray | None = None
) -> CostPosterior:
    """Fit a device's cost.

    Args:
        space: The search space.
        prior: What is known beforehand.
        encoded: The measured architectures, ``int8 (n, D)``.
        values: What was measured, in the metric's unit, ``float64 (n,)``.
        variances: By how much the noise's variance of each value differs from the others', as factors about 1,
            ``float64 (n,)``; all 1 if not given.

    Raises:
        ValueError: If there are fewer than three values, none at a width, or one is not positive and finite.
    """
    check_values(space, encoded, values)
    z, width = encoded_coordinates(space, encoded)
    noise = np.ones(len(values)) if variances is None else variances
    modes = [mode for tau in TAUS for mode in _modes(prior, tau, z, width, np.log(values), noise)]
    evidence = np.array([mode.evidence for mode in modes])
    weight = np.exp(evidence - evidence.max())
    kept = np.flatnonzero(weight > LEAST_WEIGHT * weight.sum())
    weight = weight[kept] / weight[kept].sum()
    chosen = [modes[index] for index in kept]
    mean = np.sum([share * mode.vector for share, mode in zip(weight, chosen, strict=True)], axis=0)
    covariance = np.zeros((SIZE, SIZE))
    for share, mode in zip(weight, chosen, strict=True):
        projected = mode.derivative @ mode.covariance
        gram = projected @ mode.derivative.T
        gram[np.diag_indices(len(values))] += mode.sigma**2 * noise / mode.weights
        apart = mode.vector - mean
        covariance += share * (
            mode.covariance - projected.T @ np.linalg.solve(gram, projected) + np.outer(apart, apart)
        )
    sigma = float(np.sqrt(weight @ np.square([mode.sigma for mode in chosen])))
    return CostPosterior(space, flattened(space, mean), (covariance + covariance.T) / 2.0, sigma)


def check_values(space: SearchSpace, encoded: Encoded, values: FloatArray) -> None:
    """Check that measurements suffice for a fit.

    Raises:
        ValueError: If not; see :func:`fit_posterior`.
    """
    if values.shape != (len(encoded),):
        raise ValueError(f"encoded and values must have a row each, got {encoded.shape} and {values.shape}")
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0.0)))
    if len(bad):
        name = space.decode(encoded[bad[:1]])[0]
        raise ValueError(f"a measured cost must be positive and finite, {name} has {values[bad[0]]!r}")
    if len(values) < WIDTHS:
        raise ValueError(f"at least {WIDTHS} architectures must be measured at a scale, got {len(values)}")
    missing = [space.embed_dims[w] for w in range(WIDTHS) if not np.any(encoded[:, 0] == w)]
    if missing:
        raise ValueError(
            f"no architecture of embedding width {' and '.join(map(str, missing))} was measured: the level of a width "
            f"is not known from the other widths, measure at least one of {list(space.embed_dims)} each"
        )


def _modes(
    prior: Prior, tau: float, z: FloatArray, width: IntArray, log_values: FloatArray, noise: FloatArray
) -> Iterator[_Mode]:
    """Find the mode at every sigma, for one strength of the prior."""
    covariance = tau * prior.covariance + LEVEL_VARIANCE * np.outer(LEVEL, LEVEL)
    vector = prior.mean + LEVEL * np.median(log_values - log_costs(prior.mean, z, width)[0])
    weights = np.ones(len(log_values))
    diagonal = np.diag_indices(len(log_values))
    for index, sigma in enumerate(SIGMAS):
        for _ in range(STEPS[min(index, 1)]):
            logs, derivative = log_costs(vector, z, width)
            target = log_values - logs + derivative @ (vector - prior.mean)
            projected = derivative @ covariance
            gram = projected @ derivative.T
            gram[diagonal] += sigma**2 * noise / weights
            factor = np.linalg.cholesky(gram)
            dual = np.linalg.solve(factor.T, np.linalg.solve(factor, target))
            step = prior.mean + projected.T @ dual - vector
            vector = vector + np.clip(step, -LONGEST_STEP, LONGEST_STEP)
            used = weights
            residuals = target - derivative @ (vector - prior.mean)
            weights = (FREEDOM + 1.0) / (FREEDOM + np.square(residuals / sigma) / noise)
        # The normal evidence with the weights' own: -nu w / 2 + (nu - 1) / 2 log w, which is greatest at w = 1.
        evidence = -0.5 * target @ dual - np.log(np.diag(factor)).sum()
        evidence += np.sum((FREEDOM - 1.0) / 2.0 * np.log(used) + FREEDOM / 2.0 * (1.0 - used))
        evidence += _log_normal(sigma, *SIGMA_PRIOR) + _log_normal(tau, *TAU_PRIOR)
        yield _Mode(float(evidence), vector, float(sigma), covariance, derivative, used)


def _log_normal(value: float, median: float, factor: float) -> float:
    return float(-0.5 * (np.log(value / median) / np.log(factor)) ** 2)
