"""What a measurement would show: the session's state and the repeat within it, as empirical distributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import FloatArray


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """The distribution of observation over prediction of one metric, for several devices.

    An observation is ``prediction * exp(session + repeat)``. Both are drawn from empirical quantiles.

    Attributes:
        session: Quantiles of the session's log-ratio at evenly spaced levels from 0 to 1, ascending,
            ``float64 (devices, 3, K)``; the second axis is the embedding width.
        repeat: Likewise of the repeat within a session, ``float64 (devices, 3, K)``.
    """

    session: FloatArray
    repeat: FloatArray

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
        total = _interpolate(self.session, uniforms[:, 0], device, embed_dim)
        total += _interpolate(self.repeat, uniforms[:, 1], device, embed_dim)
        return np.exp(total)


def _interpolate(
    quantiles: FloatArray,
    uniform: FloatArray,
    device: npt.NDArray[np.intp] | int,
    embed_dim: npt.NDArray[np.intp],
) -> FloatArray:
    position = uniform * (quantiles.shape[-1] - 1)
    below = position.astype(np.intp)
    low = quantiles[device, embed_dim, below]
    high = quantiles[device, embed_dim, below + 1]
    result: FloatArray = low + (high - low) * (position - below)
    return result
