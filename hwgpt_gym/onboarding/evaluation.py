"""How good a profile from few measurements is: each shipped device in turn is taken for a new one.

The device is left out of the prior, at all scales. Its measurements are rows of the dataset: the design is chosen from
every ninth row, and predictions are held against the device's drift-free model (the shipped one, fitted to all rows)
on a thousand further rows, every ninth again. Each of the nine parts is chosen from in turn, and scores are averages.
*Raw* rows hold the drift of the machine; rows with the drift *divided* out are what a protocol that measures against a
reference comes near to.

Three other methods stand beside, on rows drawn at random, as many of each width: the median of the other devices'
models times a scalar; a ridge regression of relative errors on what operations an architecture takes; and one on the
counts of each width, which is the right family, without a prior.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.onboarding.coordinates import PER_WIDTH, WIDTHS, encoded_coordinates
from hwgpt_gym.onboarding.plan import design
from hwgpt_gym.onboarding.posterior import fit_posterior
from hwgpt_gym.onboarding.prior import make_prior
from hwgpt_gym.search_space import BIAS, EMBED_DIM, Encoded, FloatArray, SearchSpace
from hwgpt_gym.surrogates.store import load_surrogates

if TYPE_CHECKING:
    import pandas as pd

    from hwgpt_gym.dataset.measurements import ScaleMeasurements

PARTS: Final = 9
"""Of the rows, every ninth may be measured and every ninth is held out; each part has its turn."""

APART: Final = 4
"""The part that is held out lies this many rows after the one that may be measured."""

BAYES: Final = "Bayes, I-optimal"
SCALAR: Final = "median device × scalar"
PHYSICS: Final = "ridge on physics"
COUNTS: Final = "per-width counts"
RIDGE_STRENGTHS: Final[FloatArray] = np.geomspace(1e-8, 1e2, 21)
Z_90: Final = 1.6449

Prediction: TypeAlias = tuple[FloatArray, FloatArray | None]
"""The costs of the held-out rows and the deviations of their logarithms, if the method gives any."""


@dataclass(frozen=True, eq=False)
class Case:
    """A part of a device's rows that may be measured, and one that is held out.

    Attributes:
        space: The search space.
        device: The device that is held out.
        metric: Its cost.
        pool: What may be measured, ``int8 (n, D)``.
        test: What is held out, ``int8 (m, D)``.
        measured: By kind of rows, ``"raw"`` and ``"divided"``, the costs of the pool, ``float64 (n,)``.
        truth: The drift-free costs of ``test``, ``float64 (m,)``.
    """

    space: SearchSpace
    device: str
    metric: str
    pool: Encoded
    test: Encoded
    measured: dict[str, FloatArray]
    truth: FloatArray


def evaluate(
    dataset: Mapping[str, ScaleMeasurements],
    scales: Iterable[str] | None = None,
    metrics: Sequence[str] = ("latency_ms", "energy_j"),
    sizes: Sequence[int] = (3, 5, 10, 20, 40, 80),
    parts: Sequence[int] = range(PARTS),
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Take each device for a new one.

    Args:
        dataset: The measurements by scale.
        scales: The scales; all of the dataset by default.
        metrics: The costs.
        sizes: Numbers of measurements.
        parts: Which of the nine parts to choose from.
        progress: Called with a line before each device.

    Returns:
        A row for each scale, device, metric, kind of rows, method and size ``k``: ``median_error_pct`` and
        ``p95_error_pct`` of held-out predictions, ``kendall_tau`` and, where the method has intervals, ``coverage_90``,
        each the mean over the parts.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for scale in scales or dataset:
        for device in dataset[scale].devices:
            for metric in metrics:
                if progress:
                    progress(f"{scale} {device} {metric}")
                for part, case in zip(parts, make_cases(dataset[scale], device, metric, parts), strict=True):
                    about = {"scale": scale, "device": device, "metric": metric}
                    rows += [{**about, **row} for row in _score(case, sizes, part)]
    keys = ["scale", "device", "metric", "rows", "method", "k"]
    return pd.DataFrame(rows).groupby(keys, sort=False).mean().reset_index()


def make_cases(measurements: ScaleMeasurements, device: str, metric: str, parts: Iterable[int]) -> Iterator[Case]:
    """Take a device's measurements apart; its drift is estimated from all of them."""
    from hwgpt_gym.fitting.count_fit import fit_cost

    space, encoded = measurements.space, measurements.encoded
    values = np.median(getattr(measurements.device(device), metric), axis=1)
    divided = values / np.exp(fit_cost(space, encoded, measurements.order, values).drift_log_ratio)
    surrogates = load_surrogates(space.scale)
    truth = surrogates.costs[metric][surrogates.index_of(device)].predict(encoded)
    for part in parts:
        pool, test = slice(part, None, PARTS), slice((part + APART) % PARTS, None, PARTS)
        measured = {"raw": values[pool], "divided": divided[pool]}
        yield Case(space, device, metric, encoded[pool], encoded[test], measured, truth[test])


def _score(case: Case, sizes: Sequence[int], seed: int) -> Iterator[dict[str, Any]]:
    prior = make_prior(case.metric, case.space.scale, exclude=[case.device])
    order = design(case.space, prior, case.pool, max(sizes))
    drawn = stratified(case.pool, max(sizes), np.random.default_rng(seed))
    others = _Others(case)
    coordinates = encoded_coordinates(case.space, case.test)
    for kind, measured in case.measured.items():
        for k in sizes:
            chosen = order[:k]
            posterior = fit_posterior(case.space, prior, case.pool[chosen], measured[chosen])
            prediction = posterior.model.predict(case.test), posterior.log_deviation_at(*coordinates)
            yield {"rows": kind, "method": BAYES, "k": k, **_accuracy(case, prediction)}
            for method, predict in others.methods.items():
                costs = predict(drawn[:k], measured[drawn[:k]])
                yield {"rows": kind, "method": method, "k": k, **_accuracy(case, (costs, None))}


def _accuracy(case: Case, prediction: Prediction) -> dict[str, float]:
    from scipy.stats import kendalltau

    costs, deviation = prediction
    error = np.abs(costs / case.truth - 1.0)
    scores = {
        "median_error_pct": 100.0 * float(np.median(error)),
        "p95_error_pct": 100.0 * float(np.quantile(error, 0.95)),
        "kendall_tau": float(kendalltau(costs, case.truth).statistic),
        "coverage_90": np.nan,
    }
    if deviation is not None:
        scores["coverage_90"] = float(np.mean(np.abs(np.log(costs / case.truth)) <= Z_90 * deviation))
    return scores


def stratified(pool: Encoded, k: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Draw rows of a pool, as many of each width as can be, ``intp (k,)``."""
    by_width = [rng.permutation(np.flatnonzero(pool[:, EMBED_DIM] == w)) for w in range(WIDTHS)]
    return np.array([by_width[number % WIDTHS][number // WIDTHS] for number in range(k)], dtype=np.intp)


class _Others:
    """The other methods: each predicts the held-out rows from rows of the pool and their costs."""

    def __init__(self, case: Case) -> None:
        surrogates = load_surrogates(case.space.scale)
        others = [index for index, name in enumerate(surrogates.devices) if name != case.device]
        models = surrogates.costs[case.metric][others]
        both = np.concatenate([case.pool, case.test])
        logs = np.log(models.predict(both))
        self._split = len(case.pool)
        self._median_device = np.median(logs - logs.mean(axis=0), axis=1)
        self._physics = physics_columns(case.space, both)
        self._counts = _count_columns(case.space, both)
        self.methods: dict[str, Callable[[npt.NDArray[np.intp], FloatArray], FloatArray]] = {
            SCALAR: self._scalar,
            PHYSICS: lambda rows, costs: self._ridge(self._physics, rows, costs),
            COUNTS: lambda rows, costs: self._ridge(self._counts, rows, costs),
        }

    def _scalar(self, rows: npt.NDArray[np.intp], costs: FloatArray) -> FloatArray:
        level = np.median(np.log(costs) - self._median_device[rows])
        costs_there: FloatArray = np.exp(self._median_device[self._split :] + level)
        return costs_there

    def _ridge(self, columns: FloatArray, rows: npt.NDArray[np.intp], costs: FloatArray) -> FloatArray:
        """Ridge regression to 0 in relative error; its strength by leaving one out."""
        x = columns[rows] / costs[:, None]
        size = np.sqrt(np.square(x).mean(axis=0))
        size[size == 0.0] = 1.0
        left, singular, right = np.linalg.svd(x / size, full_matrices=False)
        along = left.T @ np.ones(len(rows))
        best, found = np.inf, np.zeros(len(size))
        for strength in RIDGE_STRENGTHS:
            shrink = singular**2 / (singular**2 + strength)
            leverage = np.square(left) @ shrink
            errors = (1.0 - left @ (shrink * along)) / np.maximum(1.0 - leverage, 1e-9)
            if np.square(errors).mean() < best:
                best = float(np.square(errors).mean())
                found = right.T @ (singular / (singular**2 + strength) * along) / size
        predicted: FloatArray = columns[self._split :] @ found
        return np.asarray(np.maximum(predicted, 1e-3 * costs.min()), dtype=np.float64)


def physics_columns(space: SearchSpace, encoded: Encoded) -> FloatArray:
    """Return what an architecture takes: a pass's fixed part, embedding, layers, matrix products, attention, biases.

    Returns:
        ``float64 (n, 12)``.
    """
    mlp, head = space.counts(encoded)
    width = np.asarray(space.embed_dims, dtype=np.float64)[encoded[:, EMBED_DIM]]
    layers, bias = space.n_layer(encoded).astype(np.float64), encoded[:, BIAS].astype(np.float64)
    ratios, heads = mlp @ np.array(space.mlp_ratios, float), head @ np.array(space.head_counts, float)
    columns = [
        np.ones(len(encoded)),
        width,
        layers,
        layers * width,
        width * width * ratios,
        width * ratios,
        width * heads,
        heads,
        bias * layers,
        bias * layers * width,
        bias * width * ratios,
        bias * heads,
    ]
    return np.stack(columns, axis=1)


def _count_columns(space: SearchSpace, encoded: Encoded) -> FloatArray:
    """Return level and coordinates of each width, ``float64 (n, 42)``."""
    z, width = encoded_coordinates(space, encoded)
    columns = np.zeros((len(z), WIDTHS, PER_WIDTH))
    columns[np.arange(len(z)), width] = np.column_stack([np.ones(len(z)), z])
    return columns.reshape(len(z), -1)
