"""How far the shipped predictions are off on architectures that were kept out of their fit, by device and width.

They are the margins of the shipped devices where a limit is to hold with a confidence. An error is the 68th percentile
of the absolute log-ratio of predicted and measured cost, the drift at its place taken off: one standard deviation of
normal errors, and not moved by a few contended measurements. What is left of the measurement's own noise is in it, so
that margins are rather too wide than too narrow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hwgpt_gym.files import write_text
from hwgpt_gym.fitting.count_fit import fit_cost
from hwgpt_gym.fitting.scores import held_out_folds
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.onboarding.surrogates import ERRORS_FILE
from hwgpt_gym.search_space import EMBED_DIM

if TYPE_CHECKING:
    from hwgpt_gym.dataset.measurements import Dataset, ScaleMeasurements

ONE_DEVIATION: Final = 0.6827


def write_errors(
    dataset: Dataset,
    scales: Iterable[str],
    path: Path = ERRORS_FILE,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write the held-out errors of all devices as JSON, by scale, metric, device and embedding width.

    Args:
        dataset: The measurements.
        scales: The scales.
        path: The file.
        progress: Called with a line before each device.
    """
    errors: dict[str, Any] = {}
    for scale in scales:
        errors[scale] = {metric: {} for metric in DEVICE_METRICS}
        for device in dataset[scale].devices:
            for metric in DEVICE_METRICS:
                if progress:
                    progress(f"held-out errors {scale} {device} {metric}")
                errors[scale][metric][device] = _errors(dataset[scale], device, metric)
    document = {"dataset": dataset.fingerprint, "errors": errors}
    write_text(path, json.dumps(document, indent=1) + "\n")
    return path


def _errors(measurements: ScaleMeasurements, device: str, metric: str) -> list[float]:
    """Return the error of each width, rounded to six digits."""
    space, encoded, order = measurements.space, measurements.encoded, measurements.order
    measured = np.median(getattr(measurements.device(device), metric), axis=1)
    test = held_out_folds(len(measurements), 0) == 0
    fit = fit_cost(space, encoded[~test], order[~test], measured[~test])
    width = encoded[test, EMBED_DIM].astype(np.int64)
    drift = fit.drift_at(order[test], width)
    logs = np.abs(np.log(fit.model.predict(encoded[test]) / measured[test]) + drift)
    return [float(f"{np.quantile(logs[width == w], ONE_DEVIATION):.6g}") for w in range(len(space.embed_dims))]
