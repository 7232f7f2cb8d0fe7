"""The figures of ``docs/surrogates.md``, drawn from architectures that were kept out of the fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.dataset.measurements import Dataset, ScaleMeasurements
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.fitting.chain_fit import fit_perplexity
from hwgpt_gym.fitting.count_fit import fit_cost, fit_memory
from hwgpt_gym.fitting.noise_fit import coverage, fit_noise
from hwgpt_gym.fitting.scores import held_out_folds
from hwgpt_gym.metrics import DEVICE_METRICS, METRICS
from hwgpt_gym.search_space import EMBED_DIM, FloatArray
from hwgpt_gym.style import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_COLOURS: Final = ("#4c78a8", "#f58518", "#54a24b")
"""One colour an embedding width, the same in every figure."""

GREY: Final = "#bab0ac"


def draw_predicted_against_measured(dataset: Dataset, path: Path, device: str = "a6000") -> None:
    """Draw predictions against measurements of held-out architectures, for every scale and kind of metric."""
    metrics = ("perplexity", "latency_ms", "energy_j", "bfloat16_memory_mb")
    figure = new_figure(3.1 * len(metrics), 2.9 * len(dataset))
    axes = figure.subplots(len(dataset), len(metrics), squeeze=False)
    for row, (scale, measurements) in zip(axes, dataset.items(), strict=True):
        for axis, metric in zip(row, metrics, strict=True):
            width, measured, predicted = _held_out(measurements, metric, device)
            for choice, colour in enumerate(WIDTH_COLOURS):
                chosen = width == choice
                label = f"width {measurements.space.embed_dims[choice]}"
                axis.plot(measured[chosen], predicted[chosen], ".", ms=2.5, color=colour, label=label)
            bounds = [float(predicted.min()), float(predicted.max())]
            axis.plot(bounds, bounds, lw=0.8, color="black", zorder=0)
            where = f", {DEVICES[device].label}" if METRICS[metric].per_device else ""
            axis.set_title(f"{scale}: {METRICS[metric].label}{where}", fontsize=8)
            axis.set_xlim(*np.quantile(measured, [0.0, 0.995]))
            tidy(axis)
        row[0].legend(fontsize=7, frameon=False, markerscale=3)
        row[0].set_ylabel("predicted")
    for axis in axes[-1]:
        axis.set_xlabel("measured")
    save_figure(figure, path)


def draw_drift(measurements: ScaleMeasurements, device: str, metric: str, path: Path) -> None:
    """Draw the residuals over the profiling order, before and after the drift is taken off."""
    observed = getattr(measurements.device(device), metric)
    width = measurements.encoded[:, EMBED_DIM].astype(np.int64)
    fit = fit_cost(measurements.space, measurements.encoded, measurements.order, np.median(observed, axis=1))
    figure = new_figure(9.0, 4.6)
    before, after = figure.subplots(2, 1, sharex=True, sharey=True)
    for choice, colour in enumerate(WIDTH_COLOURS):
        rows = width == choice
        order = measurements.order[rows]
        label = f"width {measurements.space.embed_dims[choice]}"
        before.plot(order, 100 * np.expm1(fit.residuals[rows]), ".", ms=2, color=colour, label=label)
        before.plot(order, 100 * np.expm1(fit.drift_log_ratio[rows]), lw=0.9, color="black", drawstyle="steps-mid")
        freed = fit.residuals[rows] - fit.drift_log_ratio[rows]
        after.plot(order, 100 * np.expm1(freed), ".", ms=2, color=colour)
    label = f"{DEVICES[device].label}, scale {measurements.space.scale}, {METRICS[metric].label.split(' (')[0].lower()}"
    before.set_title(f"{label}: measured over predicted, and the drift found in it (black)", fontsize=9)
    after.set_title("The same with the drift taken off", fontsize=9)
    before.set_ylim(*(100 * np.expm1(np.quantile(fit.residuals, [0.002, 0.998]) * 1.15)))
    before.legend(fontsize=7, frameon=False, markerscale=4, ncols=3, loc="upper right")
    after.set_xlabel("position in the profiling sequence")
    for axis in (before, after):
        axis.set_ylabel("deviation (%)")
        tidy(axis)
    save_figure(figure, path)


def draw_calibration(dataset: Dataset, path: Path) -> None:
    """Draw the share of real observations within the central intervals of simulated measurements."""
    levels = np.array([0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
    figure = new_figure(3.2 * len(dataset), 3.4)
    axes = figure.subplots(1, len(dataset), squeeze=False, sharey=True)[0]
    for axis, (scale, measurements) in zip(axes, dataset.items(), strict=True):
        for metric, colour in zip(DEVICE_METRICS, ("#4c78a8", "#e45756"), strict=True):
            shares = np.array([_coverages(measurements, device, metric, levels) for device in DEVICES])
            axis.plot(levels, shares.T, lw=0.6, alpha=0.5, color=colour)
            axis.plot(levels, shares.mean(axis=0), lw=2, color=colour, label=METRICS[metric].label.split(" (")[0])
        axis.plot([0, 1], [0, 1], lw=0.8, color="black", zorder=0)
        axis.set_title(f"scale {scale}", fontsize=9)
        axis.set_xlabel("nominal probability of the interval")
        tidy(axis)
    axes[0].set_ylabel("share of observations inside")
    axes[0].legend(fontsize=8, frameon=False, title="mean of 13 devices", title_fontsize=8)
    save_figure(figure, path)


def tidy(axis: Axes) -> None:
    """Take off what carries no information."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=7)


def _held_out(
    measurements: ScaleMeasurements, metric: str, device: str
) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray]:
    """Return embedding widths, measured and predicted values of the architectures kept out of a fit."""
    test = held_out_folds(len(measurements), 0) == 0
    space, encoded = measurements.space, measurements.encoded
    if metric == "perplexity":
        measured = measurements.perplexity
        known = np.where(test, np.nan, measured)
        log_perplexity = fit_perplexity(space, encoded, known, measurements.perplexity_upstream_mlp)
        test &= np.isfinite(measured)
        predicted = np.exp(log_perplexity.predict(encoded[test]))
    elif METRICS[metric].per_device:
        measured = np.median(getattr(measurements.device(device), metric), axis=1)
        fit = fit_cost(space, encoded[~test], measurements.order[~test], measured[~test])
        predicted = fit.model.predict(encoded[test])
    else:
        measured = getattr(measurements, metric)
        predicted = fit_memory(space, encoded[~test], measured[~test]).predict(encoded[test])
    return encoded[test, EMBED_DIM].astype(np.int64), measured[test], predicted


def _coverages(measurements: ScaleMeasurements, device: str, metric: str, levels: FloatArray) -> list[float]:
    test = held_out_folds(len(measurements), 0) == 0
    observed: Any = getattr(measurements.device(device), metric)
    width = measurements.encoded[:, EMBED_DIM].astype(np.int64)
    values = np.median(observed, axis=1)
    fit = fit_cost(measurements.space, measurements.encoded[~test], measurements.order[~test], values[~test])
    predicted = fit.model.predict(measurements.encoded)
    noise = fit_noise(width[~test], predicted[~test], observed[~test])
    return [coverage(noise, width[test], predicted[test], observed[test], float(level)) for level in levels]
