"""What a measurement would show: the session's state and the repeat within it, as empirical distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_array
from hwgpt_gym.encoding import read_only
from hwgpt_gym.search_space import FloatArray

_TAIL: Final = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075)

LEVELS: Final[FloatArray] = np.array([*_TAIL, *np.linspace(0.1, 0.9, 41), *(1.0 - level for level in reversed(_TAIL))])
"""Levels of the stored quantiles, ``(K,)``, ascending from 0 to 1: denser in the tails, which are heavy."""


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """The distribution of observation over prediction of one metric, for several devices.

    An observation is ``prediction * exp(session + repeat)``. The session is what all repeats of a row share: the
    drift of the machine, contention, the heavy tail. Repeats scatter around it. Both are drawn from empirical
    quantiles, and the repeat's distribution depends on the session: in a burst of contention repeats scatter more.

    Attributes:
        session: Quantiles of the session's log-ratio at :data:`LEVELS`, ascending, ``float64 (devices, 3, K)``; the
            second axis is the embedding width.
        repeat: Quantiles of the repeat's log-ratio, ``float64 (devices, 3, B, K)``; the third axis is the session's
            rank, in ``B`` equal parts from the fastest to the slowest sessions.

    Raises:
        ValueError: If a shape is wrong, a number is not finite or quantiles do not ascend.
    """

    session: FloatArray
    repeat: FloatArray

    def __post_init__(self) -> None:
        for name in ("session", "repeat"):
            object.__setattr__(self, name, read_only(check_array(name, getattr(self, name), "iuf", "numbers")))
        devices = self.session.shape[0] if self.session.ndim else 0
        if self.session.shape != (devices, 3, len(LEVELS)):
            raise ValueError(f"session must have shape (devices, 3, {len(LEVELS)}), got {self.session.shape}")
        ranks = self.repeat.shape[2] if self.repeat.ndim == 4 else 1
        if self.repeat.shape != (devices, 3, ranks, len(LEVELS)) or ranks < 1:
            raise ValueError(f"repeat must have shape ({devices}, 3, B, {len(LEVELS)}), got {self.repeat.shape}")
        for name, array in (("session", self.session), ("repeat", self.repeat)):
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite")
            if (np.diff(array, axis=-1) < 0).any():
                raise ValueError(f"{name} must ascend along its last axis")

    def factors(
        self,
        uniforms: FloatArray,
        device: npt.NDArray[np.intp] | int,
        embed_dim: npt.NDArray[np.intp],
    ) -> FloatArray:
        """Turn uniform numbers into factors on the prediction.

        Args:
            uniforms: Uniform in [0, 1), ``float64 (n, 2)``: the session's and the repeat's.
            device: Index of the device, ``(n,)`` or one for all.
            embed_dim: Choice index of the embedding width, ``(n,)``.

        Returns:
            The factors, ``float64 (n,)``.
        """
        ranks = self.repeat.shape[2]
        rank = np.minimum((uniforms[:, 0] * ranks).astype(np.intp), ranks - 1)
        row = np.asarray(device, dtype=np.intp) * 3 + embed_dim
        total = _interpolate(self.session, row, uniforms[:, 0])
        total += _interpolate(self.repeat, row * ranks + rank, uniforms[:, 1])
        return np.exp(total)


def _interpolate(quantiles: FloatArray, row: npt.NDArray[np.intp], uniform: FloatArray) -> FloatArray:
    """Read the inverse distribution function that stands in each row of ``quantiles``, flattened, at ``uniform``."""
    below = np.searchsorted(LEVELS, uniform, side="right") - 1
    below = np.minimum(below, len(LEVELS) - 2)
    position = row * len(LEVELS) + below
    flat = quantiles.reshape(-1)
    low, high = flat[position], flat[position + 1]
    share = (uniform - LEVELS[below]) / (LEVELS[below + 1] - LEVELS[below])
    result: FloatArray = low + (high - low) * share
    return result
