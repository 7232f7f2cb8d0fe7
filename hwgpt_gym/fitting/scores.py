"""Score the surrogates on architectures that were kept out of the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.dataset.measurements import ScaleMeasurements
from hwgpt_gym.fitting.chain_block import POOLED_BELOW
from hwgpt_gym.fitting.chain_fit import fit_accuracy, fit_chain, fit_teacher
from hwgpt_gym.fitting.count_fit import CostFit, fit_cost, fit_memory
from hwgpt_gym.fitting.noise_fit import coverage, fit_noise
from hwgpt_gym.metrics import DEVICE_METRICS, MEMORY_METRICS
from hwgpt_gym.search_space import EMBED_DIM, FloatArray
from hwgpt_gym.surrogates.chain_model import ChainModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

FOLDS: Final = 9
"""Parts of a scale's rows: of 9,000, each part has 1,000."""


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
    predicted = [_predict_held_out(measurements, rows, lessons) for rows in held_out]
    pooled = np.concatenate(held_out)
    perplexity, accuracy = (np.concatenate(parts) for parts in zip(*predicted, strict=True))
    upstream = _absolute_scores(measurements.perplexity_upstream_mlp[pooled], measurements.perplexity[pooled])
    scores = {
        "perplexity": {
            **_absolute_scores(perplexity, measurements.perplexity[pooled]),
            **{f"upstream_{key}": value for key, value in upstream.items()},
        },
        "accuracy": _absolute_scores(accuracy, measurements.accuracy[pooled]),
    }
    common = {"scale": measurements.space.scale, "device": ""}
    return pd.DataFrame([{**common, "metric": key, "rows": len(pooled), **score} for key, score in scores.items()])


def held_out_parts(measurements: ScaleMeasurements, seed: int) -> list[npt.NDArray[np.intp]]:
    """Deal the rows whose perplexity and accuracy are measured into :data:`FOLDS` parts."""
    measured = np.flatnonzero(~np.isnan(measurements.perplexity) & ~np.isnan(measurements.accuracy))
    parts = np.random.default_rng(seed).permutation(len(measured)) % FOLDS
    return [measured[parts == part] for part in range(FOLDS)]


def _predict_held_out(
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


def _absolute_scores(predicted: FloatArray, measured: FloatArray) -> dict[str, float]:
    from scipy.stats import kendalltau

    return {
        "kendall_tau": float(kendalltau(predicted, measured).statistic),
        "mean_abs_error": float(np.mean(np.abs(predicted - measured))),
    }


def held_out_folds(rows: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal rows into :data:`FOLDS` parts, so that of every nine neighbours in the order each part gets one.

    Returns:
        The part of every row, ``int64 (rows,)``.
    """
    rng = np.random.default_rng(seed)
    blocks = np.tile(np.arange(FOLDS), (-(-rows // FOLDS), 1))
    return rng.permuted(blocks, axis=1).reshape(-1)[:rows].astype(np.int64)


def score_costs(
    measurements: ScaleMeasurements,
    seed: int = 0,
    folds: Sequence[int] = (0,),
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Score latency, energy and memory of every device of a scale on held-out architectures.

    Args:
        measurements: The measurements of a scale.
        seed: Seeds the split.
        folds: Which of the :data:`FOLDS` parts are held out, one after the other; the scores are averages.
        progress: Called with a line before each device.

    Returns:
        A row per device and metric, in the dataset's order, with the columns ``scale``, ``device`` (empty for
        memory), ``metric``; ``kendall_tau`` and ``median_abs_error_pct`` of the predictions against what was measured
        (the median of a row's observations), both also ``_after_drift_removal``: the measured value divided by the
        drift at its place, which is estimated from the other architectures; ``max_error_pct`` (of memory only);
        ``coverage_50`` and ``coverage_90``, the share of single observations in the central intervals of a
        simulated measurement, and ``median_coverage_50`` and ``_90``, that of rows' medians; ``change_points`` of
        the drift.

    Raises:
        ValueError: If a fold does not exist.
    """
    import pandas as pd

    if not folds or not all(0 <= fold < FOLDS for fold in folds):
        raise ValueError(f"folds must be some of 0 to {FOLDS - 1}, got {list(folds)}")
    scale = measurements.space.scale
    parts = held_out_folds(len(measurements), seed)
    rows = []
    for name in measurements.devices:
        if progress:
            progress(f"scoring {scale} {name}")
        for metric in DEVICE_METRICS:
            observations = getattr(measurements.device(name), metric)
            scores = [_score_cost(measurements, observations, parts == fold) for fold in folds]
            rows.append({"scale": scale, "device": name, "metric": metric, **_mean(scores)})
    for metric in MEMORY_METRICS:
        values = getattr(measurements, metric)
        if not np.isnan(values).all():
            scores = [_score_memory(measurements, values, parts == fold) for fold in folds]
            rows.append({"scale": scale, "device": "", "metric": metric, **_mean(scores)})
    return pd.DataFrame(rows)


def _score_cost(
    measurements: ScaleMeasurements, observations: FloatArray, test: npt.NDArray[np.bool_]
) -> dict[str, float]:
    encoded, order = measurements.encoded, measurements.order
    measured = np.median(observations, axis=1)
    fit: CostFit = fit_cost(measurements.space, encoded[~test], order[~test], measured[~test])
    width = encoded[:, EMBED_DIM].astype(np.int64)
    predicted = fit.model.predict(encoded)
    noise = fit_noise(width[~test], predicted[~test], observations[~test])
    drift_free = measured[test] / np.exp(fit.drift_at(order[test], width[test]))
    scores = {
        **_relative_scores(predicted[test], measured[test]),
        **{f"{key}_after_drift_removal": value for key, value in _relative_scores(predicted[test], drift_free).items()},
    }
    for prefix, values in (("", observations), ("median_", measured[:, None])):
        for level in (0.5, 0.9):
            share = coverage(noise, width[test], predicted[test], values[test], level)
            scores[f"{prefix}coverage_{100 * level:.0f}"] = share
    return {**scores, "change_points": float(len(fit.drift.edges))}


def _score_memory(measurements: ScaleMeasurements, values: FloatArray, test: npt.NDArray[np.bool_]) -> dict[str, float]:
    model = fit_memory(measurements.space, measurements.encoded[~test], values[~test])
    predicted = model.predict(measurements.encoded[test])
    greatest = 100.0 * float(np.max(np.abs(predicted / values[test] - 1.0)))
    return {**_relative_scores(predicted, values[test]), "max_error_pct": greatest}


def _relative_scores(predicted: FloatArray, measured: FloatArray) -> dict[str, float]:
    from scipy.stats import kendalltau

    return {
        "kendall_tau": float(kendalltau(predicted, measured).statistic),
        "median_abs_error_pct": 100.0 * float(np.median(np.abs(predicted / measured - 1.0))),
    }


def _mean(scores: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([score[key] for score in scores])) for key in scores[0]}
