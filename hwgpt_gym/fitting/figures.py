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
from hwgpt_gym.style import BLUE, FAINT, INK, new_figure, save_figure

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
                axis.plot(measured[chosen], predicted[chosen], ".", ms=2.5, color=colour)
                place = (float(np.median(measured[chosen])), float(np.median(predicted[chosen])))
                # Beside the cloud, on the side where there is room.
                right = place[0] < (measured.min() + measured.max()) / 2
                name = f"width {measurements.space.embed_dims[choice]}"
                _name(axis, place, name, colour, (14 if right else -14, -3), "left" if right else "right")
            error = 100 * float(np.median(np.abs(predicted / measured - 1.0)))
            axis.text(0.03, 0.93, f"median error {error:.2g} %", fontsize=7, transform=axis.transAxes)
            bounds = [float(predicted.min()), float(predicted.max())]
            axis.plot(bounds, bounds, lw=0.8, color="black", zorder=0)
            where = f", {DEVICES[device].label}" if METRICS[metric].per_device else ""
            axis.set_title(f"scale {scale}: {METRICS[metric].label}{where}", fontsize=8)
            axis.set_xlim(*np.quantile(measured, [0.0, 0.995]))
            tidy(axis)
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
        before.plot(order, 100 * np.expm1(fit.residuals[rows]), ".", ms=2, color=colour)
        name = f"width {measurements.space.embed_dims[choice]}"
        _name(before, (measurements.order.max(), 45 - 12 * choice), name, colour, (8, 0))
        before.plot(order, 100 * np.expm1(fit.drift_log_ratio[rows]), lw=0.9, color="black", drawstyle="steps-mid")
        freed = fit.residuals[rows] - fit.drift_log_ratio[rows]
        after.plot(order, 100 * np.expm1(freed), ".", ms=2, color=colour)
    label = f"{DEVICES[device].label}, scale {measurements.space.scale}, {METRICS[metric].label.split(' (')[0].lower()}"
    before.set_title(f"{label}: measured over predicted, and the drift found in it (black)", fontsize=9)
    after.set_title("The same with the drift taken off", fontsize=9)
    before.set_ylim(*(100 * np.expm1(np.quantile(fit.residuals, [0.002, 0.998]) * 1.15)))
    after.set_xlabel("position in the profiling sequence")
    for axis in (before, after):
        axis.set_ylabel("deviation (%)")
        tidy(axis)
    save_figure(figure, path)


def draw_calibration(dataset: Dataset, path: Path) -> None:
    """Draw by how much the share of real observations within central intervals of simulated ones misses its level.

    A panel for each metric and scale; a line for each device, the mean and the worst ones by name.
    """
    levels = np.array([0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
    figure = new_figure(3.4 * len(dataset), 5.2)
    axes = figure.subplots(len(DEVICE_METRICS), len(dataset), squeeze=False, sharex=True, sharey=True)
    for row, metric in zip(axes, DEVICE_METRICS, strict=True):
        for axis, (scale, measurements) in zip(row, dataset.items(), strict=True):
            shares = np.array([_coverages(measurements, device, metric, levels) for device in DEVICES])
            misses = 100 * (shares - levels)
            axis.axhline(0.0, lw=0.8, color=INK)
            axis.plot(100 * levels, misses.T, lw=0.7, color=GREY)
            axis.plot(100 * levels, misses.mean(axis=0), "o-", ms=3, lw=2, color=BLUE)
            _name(axis, (100 * float(levels[-1]), float(misses[:, -1].mean())), "mean", BLUE, (5, 0))
            worst, level = map(int, np.unravel_index(np.abs(misses).argmax(), misses.shape))
            place = (float(100 * levels[level]), float(misses[worst, level]))
            _name(axis, place, list(DEVICES.values())[worst].name, FAINT, (3, 4 if place[1] > 0 else -9))
            axis.set_title(f"{METRICS[metric].label.split(' (')[0]}, scale {scale}, {len(DEVICES)} devices", fontsize=9)
            axis.set_xticks([10, 25, 50, 75, 95])
            axis.margins(x=0.12, y=0.12)
            tidy(axis)
        row[0].set_ylabel("inside, minus nominal\n(percentage points)", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("nominal probability of the interval (%)", fontsize=9)
    save_figure(figure, path)


def _name(
    axis: Axes, place: tuple[float, float], text: str, colour: str, offset: tuple[int, int], ha: str = "left"
) -> None:
    """Write a name beside what it names, in its colour; the offset is in points."""
    axis.annotate(text, place, offset, textcoords="offset points", color=colour, fontsize=7, ha=ha)


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
