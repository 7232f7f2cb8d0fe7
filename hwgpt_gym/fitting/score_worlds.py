"""Score posterior worlds: how often held-out measurements lie within the intervals that worlds and noise give."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.dataset.measurements import ScaleMeasurements
from hwgpt_gym.fitting.chain_block import POOLED_BELOW
from hwgpt_gym.fitting.chain_fit import fit_chain, fit_teacher
from hwgpt_gym.fitting.posterior import draw_worlds
from hwgpt_gym.fitting.scores import held_out_parts
from hwgpt_gym.optimum.worlds import NORMAL_WIDTHS
from hwgpt_gym.search_space import EMBED_DIM, Encoded, FloatArray
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.worlds import Worlds

LEVELS: Final = {f"coverage_{level}": width for level, width in NORMAL_WIDTHS.items()}
"""Half the width of central intervals of a normal distribution, in standard deviations."""

BEST_SHARE: Final = 0.1
"""The share of architectures of each width, best predicted first, that is looked at apart."""

SCORED_PAIRS: Final = 16
"""How many pairs of worlds are drawn for a score: enough for a standard deviation."""

Scores = dict[str, dict[str, float]]


def score_worlds(measurements: ScaleMeasurements, seed: int = 0, pairs: int = SCORED_PAIRS) -> Scores:
    """Score worlds on measured perplexities that were kept out of the fit and of the draw.

    The parts held out are those of :func:`~hwgpt_gym.fitting.scores.score_perplexity`, and so is the teacher.

    Args:
        measurements: The measurements of a scale.
        seed: Seeds the deal into parts, and the draws.
        pairs: How many pairs of worlds are drawn.

    Returns:
        ``held_out``, ``held_out_best`` (the :data:`BEST_SHARE` best predicted of each width among them) and
        ``best_left_out`` (the same share of all measured ones, all left out of one fit): for each the number of
        ``rows``, ``coverage_50`` and ``coverage_90`` of world and noise together, ``coverage_90_of_worlds`` alone, and
        mean and standard deviation ``z_mean`` and ``z_sd`` of errors in units of their predicted deviation.
    """
    encoded, log_perplexity = measurements.encoded, np.log(measurements.perplexity)
    unmeasured = np.where(np.isnan(measurements.perplexity), measurements.perplexity_upstream_mlp, np.nan)
    teacher = fit_teacher(measurements.space, encoded, measurements.perplexity, unmeasured)
    few = int(np.isfinite(log_perplexity).sum()) < POOLED_BELOW
    parts = held_out_parts(measurements, seed)
    errors = [_errors(measurements, rows, teacher, seed, pairs) for rows in (parts if few else parts[:1])]
    held_out = tuple(np.concatenate(column) for column in zip(*errors, strict=True))
    best = _best(held_out[0], held_out[1])
    measured = np.concatenate(parts)
    nominal = fit_chain(measurements.space, encoded, log_perplexity, teacher)
    left_out = measured[_best(encoded[measured], nominal.predict(encoded[measured]))]
    return {
        "held_out": _score(*held_out[2:]),
        "held_out_best": _score(*(column[best] for column in held_out[2:])),
        "best_left_out": _score(*_errors(measurements, left_out, teacher, seed, pairs)[2:]),
    }


def draw_without(
    measurements: ScaleMeasurements, rows: npt.NDArray[np.intp], teacher: ChainModel | None, seed: int, pairs: int
) -> Worlds:
    """Draw worlds that do not know the perplexity of some rows."""
    perplexity = measurements.perplexity.copy()
    perplexity[rows] = np.nan
    return draw_worlds(measurements.space, measurements.encoded, perplexity, _rng(seed), teacher, pairs=pairs)


def _errors(
    measurements: ScaleMeasurements, rows: npt.NDArray[np.intp], teacher: ChainModel | None, seed: int, pairs: int
) -> tuple[Encoded, FloatArray, FloatArray, FloatArray]:
    """Return held-out architectures, their predictions, and their errors by what is expected of world and noise.

    Returns:
        ``int8 (n, D)``; log-perplexity, ``float64 (n,)``; errors in units of the standard deviation of world and noise
        together, ``float64 (n,)``; and in units of that of the worlds alone.
    """
    worlds = draw_without(measurements, rows, teacher, seed, pairs)
    encoded = measurements.encoded[rows]
    predicted = worlds.nominal["perplexity"].predict(encoded)
    errors = np.log(measurements.perplexity[rows]) - predicted
    spread = np.sqrt(np.square(worlds.deviations("perplexity", encoded)).mean(axis=1))
    return encoded, predicted, errors / worlds.standard_deviation(encoded), errors / spread


def _best(encoded: Encoded, predicted: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which rows are among the best predicted of their width, ``bool (n,)``."""
    width = encoded[:, EMBED_DIM]
    bounds = np.array([np.quantile(predicted[width == e], BEST_SHARE) for e in range(3)])
    best: npt.NDArray[np.bool_] = predicted <= bounds[width]
    return best


def _score(errors: FloatArray, errors_by_world: FloatArray) -> dict[str, float]:
    coverage = {name: float(np.mean(np.abs(errors) <= bound)) for name, bound in LEVELS.items()}
    alone = float(np.mean(np.abs(errors_by_world) <= LEVELS["coverage_90"]))
    scores = {**coverage, "coverage_90_of_worlds": alone, "z_mean": float(errors.mean()), "z_sd": float(errors.std())}
    return {"rows": len(errors), **{name: round(value, 4) for name, value in scores.items()}}


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)
