"""Score the models of perplexity and accuracy on architectures that were kept out of the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.dataset.measurements import ScaleMeasurements
from hwgpt_gym.fitting.chain_block import POOLED_BELOW
from hwgpt_gym.fitting.chain_fit import fit_accuracy, fit_chain, fit_teacher
from hwgpt_gym.search_space import FloatArray
from hwgpt_gym.surrogates.chain_model import ChainModel

if TYPE_CHECKING:
    import pandas as pd

FOLDS: Final = 9
"""Parts of the measured rows: of 9,000, each part has 1,000."""


def score_perplexity(measurements: ScaleMeasurements, seed: int = 0, splits: int = 1) -> pd.DataFrame:
    """Score perplexity and accuracy on held-out architectures.

    The measured rows are dealt into :data:`FOLDS` parts. ``splits`` of them are held out, one after the other; where
    few rows are measured, all parts are: a cross-validation. The teacher is fitted without what it says of any
    measured row, since it may have been trained on them.

    Args:
        measurements: The measurements of a scale.
        seed: Seeds the deal.
        splits: How many parts are held out, 1 to :data:`FOLDS`.

    Returns:
        A row per metric with the columns ``scale``, ``device`` (empty), ``metric``, ``rows`` (held out),
        ``kendall_tau`` and ``mean_abs_error`` against what was measured, and ``upstream_kendall_tau`` and
        ``upstream_mean_abs_error`` of upstream's perplexity MLP on the same rows (NaN for accuracy).

    Raises:
        ValueError: If ``splits`` is not legal, or too little is measured.
    """
    import pandas as pd

    if not 1 <= splits <= FOLDS:
        raise ValueError(f"splits must be 1 to {FOLDS}, got {splits}")
    parts = held_out_parts(measurements, seed)
    held_out = parts if sum(map(len, parts)) < POOLED_BELOW else parts[:splits]
    teacher = np.where(np.isnan(measurements.perplexity), measurements.perplexity_upstream_mlp, np.nan)
    lessons = fit_teacher(measurements.space, measurements.encoded, measurements.perplexity, teacher)
    predicted = [_predict(measurements, rows, lessons) for rows in held_out]
    pooled = np.concatenate(held_out)
    perplexity, accuracy = (np.concatenate(parts) for parts in zip(*predicted, strict=True))
    upstream = _score(measurements.perplexity_upstream_mlp[pooled], measurements.perplexity[pooled])
    scores = {
        "perplexity": {
            **_score(perplexity, measurements.perplexity[pooled]),
            **{f"upstream_{key}": value for key, value in upstream.items()},
        },
        "accuracy": _score(accuracy, measurements.accuracy[pooled]),
    }
    common = {"scale": measurements.space.scale, "device": ""}
    return pd.DataFrame([{**common, "metric": key, "rows": len(pooled), **score} for key, score in scores.items()])


def held_out_parts(measurements: ScaleMeasurements, seed: int) -> list[npt.NDArray[np.intp]]:
    """Deal the measured rows into :data:`FOLDS` parts."""
    measured = np.flatnonzero(~np.isnan(measurements.perplexity) & ~np.isnan(measurements.accuracy))
    parts = np.random.default_rng(seed).permutation(len(measured)) % FOLDS
    return [measured[parts == part] for part in range(FOLDS)]


def _predict(
    measurements: ScaleMeasurements, held_out: npt.NDArray[np.intp], teacher: ChainModel | None
) -> tuple[FloatArray, FloatArray]:
    """Fit without some rows, and predict their perplexity and accuracy."""
    space, encoded = measurements.space, measurements.encoded
    perplexity, accuracy = measurements.perplexity.copy(), measurements.accuracy.copy()
    for column in (perplexity, accuracy):
        column[held_out] = np.nan
    log_perplexity = fit_chain(space, encoded, np.log(perplexity), teacher)
    accuracy_model = fit_accuracy(space, encoded, accuracy, log_perplexity)
    return np.exp(log_perplexity.predict(encoded[held_out])), accuracy_model.predict(encoded[held_out])


def _score(predicted: FloatArray, measured: FloatArray) -> dict[str, float]:
    from scipy.stats import kendalltau

    return {
        "kendall_tau": float(kendalltau(predicted, measured).statistic),
        "mean_abs_error": float(np.mean(np.abs(predicted - measured))),
    }
