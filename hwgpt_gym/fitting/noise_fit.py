"""Fit the noise: how observations of the benchmark's profiling scatter around the predicted cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import FloatArray
from hwgpt_gym.surrogates.noise_model import LEVELS, NoiseModel

SESSION_RANKS: Final = 8
"""Parts into which sessions are ranked, each with a distribution of repeats of its own."""

_GRID: Final = 256


@dataclass(frozen=True, eq=False)
class NoiseFit:
    """The noise of one device and metric.

    Attributes:
        session: Quantiles of the session's log-ratio at :data:`~hwgpt_gym.surrogates.noise_model.LEVELS`, ``(3, K)``.
        repeat: Quantiles of the repeat's log-ratio by the session's rank, ``(3, SESSION_RANKS, K)``.
    """

    session: FloatArray
    repeat: FloatArray


def fit_noise(embed_dim: npt.NDArray[np.integer], predicted: FloatArray, observations: FloatArray) -> NoiseFit:
    """Fit the noise of one device and metric.

    A row's session is the log-ratio of its median observation to its prediction; its repeats are the log-ratios of
    its observations to their median. With a single observation per row the repeats are 0.

    Args:
        embed_dim: Choice index of the embedding width, ``(n,)``.
        predicted: The predicted cost, positive, ``(n,)``.
        observations: Observations in the same unit, positive, ``(n, repeats)``.

    Returns:
        The fit.

    Raises:
        ValueError: If shapes disagree, a number is not positive and finite, or an embedding width has fewer rows
            than there are ranks.
    """
    if observations.ndim != 2 or len(observations) == 0 or predicted.shape != (len(observations),):
        raise ValueError(f"observations must be (n, repeats) with n = {predicted.shape}, got {observations.shape}")
    for name, values in (("predicted", predicted), ("observations", observations)):
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name} must be positive and finite")
    if np.bincount(embed_dim, minlength=3).min() < SESSION_RANKS:
        raise ValueError(f"embed_dim must have at least {SESSION_RANKS} rows of every width")
    median = np.median(observations, axis=1)
    sessions = np.log(median / predicted)
    repeats = np.log(observations / median[:, None])
    session = np.empty((3, len(LEVELS)))
    repeat = np.empty((3, SESSION_RANKS, len(LEVELS)))
    for width in range(3):
        rows = np.flatnonzero(embed_dim == width)
        session[width] = np.quantile(sessions[rows], LEVELS)
        ranked = rows[np.argsort(sessions[rows], kind="stable")]
        for rank, part in enumerate(np.array_split(ranked, SESSION_RANKS)):
            repeat[width, rank] = np.quantile(repeats[part], LEVELS)
    return NoiseFit(session, repeat)


def noise_model(fits: list[NoiseFit]) -> NoiseModel:
    """Combine the fits of several devices, in their order, rounded to the single precision they are stored in."""
    return NoiseModel(
        np.stack([fit.session for fit in fits]).astype(np.float32).astype(np.float64),
        np.stack([fit.repeat for fit in fits]).astype(np.float32).astype(np.float64),
    )


def coverage(
    fit: NoiseFit,
    embed_dim: npt.NDArray[np.integer],
    predicted: FloatArray,
    observations: FloatArray,
    level: float,
) -> float:
    """Return the share of observations within the central interval of a simulated measurement.

    Args:
        fit: The noise.
        embed_dim: Choice index of the embedding width, ``(n,)``.
        predicted: The predicted cost, ``(n,)``.
        observations: Real observations, ``(n, repeats)``; every one counts.
        level: The probability of the interval, for example 0.9.
    """
    # A simulated measurement's quantiles, from a grid of uniforms instead of draws: nothing random about it.
    middle = (np.arange(_GRID) + 0.5) / _GRID
    uniforms = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 2)
    model = NoiseModel(fit.session[None], fit.repeat[None])
    bounds = np.empty((3, 2))
    for width in range(3):
        factors = model.factors(uniforms, 0, np.full(len(uniforms), width, dtype=np.intp))
        bounds[width] = np.quantile(factors, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    ratios = observations / predicted[:, None]
    inside = (ratios >= bounds[embed_dim, 0][:, None]) & (ratios <= bounds[embed_dim, 1][:, None])
    return float(inside.mean())
