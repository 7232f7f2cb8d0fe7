"""Fit all surrogates to a dataset of measurements and store them: what ``hwgpt-gym surrogates fit`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from hwgpt_gym.dataset.measurements import Dataset, ScaleMeasurements
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.fitting.chain_fit import fit_accuracy, fit_perplexity
from hwgpt_gym.fitting.count_fit import CostFit, fit_cost, fit_memory
from hwgpt_gym.fitting.noise_fit import NoiseFit, fit_noise, noise_model
from hwgpt_gym.fitting.scores import score_costs, score_perplexity
from hwgpt_gym.metrics import DEVICE_METRICS, MEMORY_METRICS
from hwgpt_gym.search_space import EMBED_DIM
from hwgpt_gym.surrogates.chain_extremes import chain_extremes
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.noise_model import NoiseModel
from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER, Surrogates, save_surrogates

if TYPE_CHECKING:
    import pandas

Progress: TypeAlias = Callable[[str], None]
"""Called with a line before each piece of work."""

FIT_COMMAND: Final = "hwgpt-gym surrogates fit"


def fit_surrogates(
    dataset: Dataset,
    output: Path = WEIGHTS_FOLDER,
    scales: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Fit the surrogates of some scales on all measurements, and score such a fit on held-out architectures.

    The same dataset gives the same bytes. Each scale's file is written as soon as it is fitted.

    Args:
        dataset: The measurements; every scale must have all thirteen devices and both memories.
        output: The folder to write ``{scale}.safetensors`` to; that of the package by default.
        scales: The scales; all of the dataset by default.
        progress: Called with a line before each piece of work.

    Returns:
        The files written.

    Raises:
        ValueError: If the dataset lacks a scale, a device or a memory.
    """
    chosen = tuple(dataset) if scales is None else tuple(scales)
    for scale in chosen:
        _check_complete(dataset, scale)
    written = []
    for scale in chosen:
        surrogates = fit_scale(dataset[scale], progress)
        written.append(Path(output) / f"{scale}.safetensors")
        save_surrogates(surrogates, written[-1])
    return written


def fit_scale(measurements: ScaleMeasurements, progress: Progress | None = None) -> Surrogates:
    """Fit the surrogates of one scale on all its measurements; the scores stand in their metadata."""
    report = progress or (lambda line: None)
    space, encoded, scale = measurements.space, measurements.encoded, measurements.space.scale
    report(f"fitting {scale} perplexity and accuracy")
    perplexity = fit_perplexity(space, encoded, measurements.perplexity, measurements.perplexity_upstream_mlp)
    accuracy = fit_accuracy(space, encoded, measurements.accuracy, perplexity)
    costs: dict[str, CountModel] = {}
    noise: dict[str, NoiseModel] = {}
    for metric in DEVICE_METRICS:
        fits, noises = [], []
        for device in DEVICES:
            report(f"fitting {scale} {device} {metric}")
            fit, fitted_noise = fit_device_cost(measurements, device, metric)
            fits.append(fit.model)
            noises.append(fitted_noise)
        parts = (np.stack([getattr(model, name) for model in fits]) for name in ("base", "mlp", "head"))
        costs[metric] = CountModel(space, *parts)
        noise[metric] = noise_model(noises)
    for metric in MEMORY_METRICS:
        report(f"fitting {scale} {metric}")
        costs[metric] = fit_memory(space, encoded, getattr(measurements, metric))
    ranges = {name: chain_extremes(model)[:2] for name, model in (("perplexity", perplexity), ("accuracy", accuracy))}
    metadata = {
        "fit_command": FIT_COMMAND,
        "dataset_fingerprint": measurements.fingerprint,
        "architectures": len(measurements),
        "scores": _records(score_scale(measurements, report)),
    }
    return Surrogates(space, perplexity, accuracy, costs, tuple(DEVICES), noise, ranges, metadata)


def fit_device_cost(measurements: ScaleMeasurements, device: str, metric: str) -> tuple[CostFit, NoiseFit]:
    """Fit one device's latency or energy, and its noise, on all measurements."""
    encoded = measurements.encoded
    observations = getattr(measurements.device(device), metric)
    fit = fit_cost(measurements.space, encoded, measurements.order, np.median(observations, axis=1))
    return fit, fit_noise(encoded[:, EMBED_DIM].astype(np.int64), fit.model.predict(encoded), observations)


def score_scale(measurements: ScaleMeasurements, progress: Progress | None = None) -> pandas.DataFrame:
    """Score the surrogates of one scale on architectures that are kept out of the fit.

    Returns:
        A row per metric and device, with the columns of :func:`score_perplexity` and :func:`score_costs`.
    """
    import pandas

    parts = [score_perplexity(measurements), score_costs(measurements, progress=progress)]
    return pandas.concat(parts, ignore_index=True)


def _records(scores: pandas.DataFrame) -> list[dict[str, Any]]:
    """Return scores as plain data, rounded to what they are good for, without empty entries."""
    return [
        {
            str(key): round(value, 6) if isinstance(value, float) else value
            for key, value in row.items()
            if value == value
        }
        for row in scores.to_dict("records")
    ]


def _check_complete(dataset: Dataset, scale: str) -> None:
    if scale not in dataset:
        raise ValueError(f"scales must be among those of the dataset, {list(dataset)}, got {scale!r}")
    measurements = dataset[scale]
    missing: list[str] = [device for device in DEVICES if device not in measurements.devices]
    missing += [metric for metric in MEMORY_METRICS if np.isnan(getattr(measurements, metric)).any()]
    if missing:
        raise ValueError(f"the dataset's scale {scale!r} lacks {', '.join(missing)}: surrogates need all of them")
