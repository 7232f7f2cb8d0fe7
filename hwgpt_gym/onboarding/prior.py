r"""What the shipped devices say of one that has not been measured: a normal distribution of its vector.

The vectors (:mod:`~hwgpt_gym.onboarding.coordinates`) of all known devices at the three scales are freed from their
mean level, centred at each scale and pooled. Their covariance is taken as of low rank plus a diagonal, :math:`S =
1.25\,(F F^T + diag(v))`: :math:`F` holds the first three principal directions, :math:`v` what these leave, half of it
averaged over the widths, plus :math:`0.003^2`. The mean is that of the target's scale. The common level says nothing
of a new device: it is left free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from hwgpt_gym.devices import DEVICES, get_device
from hwgpt_gym.onboarding.coordinates import PER_WIDTH, SIZE, WIDTHS, vector_of
from hwgpt_gym.search_space import SEARCH_SPACES, FloatArray, get_search_space
from hwgpt_gym.surrogates.store import load_surrogates

RANK: Final = 3
INFLATION: Final = 1.25
"""Few devices tell too little of how much a further one may differ."""

FLOOR: Final = 0.003
"""The least standard deviation of a number that the principal directions leave."""

LEVEL: Final[FloatArray] = np.where(np.arange(SIZE) % PER_WIDTH == 0, 1.0, 0.0)
"""The direction of the common level, ``float64 (42,)``."""


@dataclass(frozen=True, eq=False)
class Prior:
    """A normal distribution of a device's vector; its common level is left free by those who use it.

    Attributes:
        mean: ``float64 (42,)``.
        covariance: ``float64 (42, 42)``.
    """

    mean: FloatArray
    covariance: FloatArray

    @cached_property
    def fingerprint(self) -> str:
        """A hash of both, of 16 hexadecimal digits."""
        digits = np.round(np.concatenate([self.mean, self.covariance.reshape(-1)]), 9) + 0.0
        return hashlib.sha256(digits.astype("<f8").tobytes()).hexdigest()[:16]


def make_prior(metric: str, scale: str, exclude: Iterable[str] = (), rank: int = RANK) -> Prior:
    """Make the prior from the shipped devices.

    Args:
        metric: ``"latency_ms"`` or ``"energy_j"``.
        scale: The scale of the new device's measurements.
        exclude: Devices that must not count, at any scale, such as one that is held out.
        rank: How many principal directions to keep.

    Raises:
        ValueError: If the metric, the scale or a device is unknown, or fewer devices are left than the rank and one.
    """
    if metric not in ("latency_ms", "energy_j"):
        raise ValueError(f"metric must be 'latency_ms' or 'energy_j', got {metric!r}")
    left_out = {get_device(name).name for name in exclude}
    known = [index for index, name in enumerate(DEVICES) if name not in left_out]
    if len(known) <= rank:
        raise ValueError(f"a prior of rank {rank} needs more than {rank} devices, {len(known)} are left")
    target = get_search_space(scale).scale
    vectors = {name: _shapes(metric, name)[known] for name in SEARCH_SPACES}
    degrees = np.sqrt(len(known) / (len(known) - 1.0))
    centred = np.concatenate([(own - own.mean(axis=0)) * degrees for own in vectors.values()])
    left, size, directions = np.linalg.svd(centred, full_matrices=False)
    main = directions[:rank].T * (size[:rank] / np.sqrt(len(centred)))
    rest = centred - (left[:, :rank] * size[:rank]) @ directions[:rank]
    variance = np.square(rest).sum(axis=0) / (len(centred) - rank)
    shared = np.tile(variance.reshape(WIDTHS, PER_WIDTH).mean(axis=0), WIDTHS)
    diagonal = 0.5 * variance + 0.5 * shared + FLOOR**2
    return Prior(vectors[target].mean(axis=0), INFLATION * (main @ main.T + np.diag(diagonal)))


@lru_cache
def _shapes(metric: str, scale: str) -> FloatArray:
    """Return the vectors of all shipped devices without their common level, ``float64 (devices, 42)``."""
    surrogates = load_surrogates(scale)
    model = surrogates.costs[metric]
    vectors = np.array([vector_of(model[surrogates.index_of(name)]) for name in DEVICES])
    level = vectors[:, ::PER_WIDTH].mean(axis=1, keepdims=True)
    shapes: FloatArray = vectors - level * LEVEL
    return shapes
