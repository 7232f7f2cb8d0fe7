"""Pictures of a profile, and of how good profiles are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.metrics import METRICS
from hwgpt_gym.onboarding.check import T4_DEVIATION
from hwgpt_gym.onboarding.coordinates import encoded_coordinates
from hwgpt_gym.onboarding.profile import DeviceProfile
from hwgpt_gym.style import AMBER, BLUE, FAINT, GREEN, INK, RED, new_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd

Z_90: Final = 1.6449


def save_profile_figure(profile: DeviceProfile, path: str | os.PathLike[str]) -> None:
    """Draw predicted against measured costs with 90 % intervals, a panel for each scale and metric."""
    panels = [(scale, metric, item) for scale, own in profile.scales.items() for metric, item in own.metrics.items()]
    figure = new_figure(1.0 + 5.0 * len(panels), 4.8)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (scale, metric, item) in zip(axes, panels, strict=True):
        measured = item.measurements
        predicted = item.posterior.model.predict(measured.encoded)
        own = item.posterior.log_deviation_at(*encoded_coordinates(measured.space, measured.encoded))
        noise = np.where(np.isnan(measured.deviations), T4_DEVIATION * item.posterior.sigma, measured.deviations)
        for chosen, label, color in ((~measured.checks, "fitted", BLUE), (measured.checks, "never fitted", AMBER)):
            if chosen.any():
                x, y = measured.values[chosen], predicted[chosen]
                bars = [
                    np.stack([v * -np.expm1(-Z_90 * s[chosen]), v * np.expm1(Z_90 * s[chosen])])
                    for v, s in ((x, noise), (y, own))
                ]
                axis.errorbar(x, y, bars[1], bars[0], "o", color=color, ms=4, lw=1, label=f"{label} ({chosen.sum()})")
        ends = [measured.values.min(), measured.values.max()] if len(measured) else [1.0, 2.0]
        axis.plot(ends, ends, color=FAINT, lw=1, zorder=0)
        axis.set(xscale="log", yscale="log", xlabel=f"measured, {METRICS[metric].label}", ylabel="predicted")
        axis.set_title(f"{profile.label}, scale {scale}", color=INK, fontsize=10)
        axis.legend(frameon=False)
    save_figure(figure, path)


def save_evaluation_figure(scores: pd.DataFrame, path: str | os.PathLike[str], metric: str = "latency_ms") -> None:
    """Draw the median error over the number of measurements, a panel for each kind of rows, a line for each method."""
    figure = new_figure(9.5, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    titles = {"raw": "rows as they were measured", "divided": "drift divided out"}
    for axis, (kind, title) in zip((left, right), titles.items(), strict=True):
        own = scores[(scores["metric"] == metric) & (scores["rows"] == kind)]
        means = own.groupby(["method", "k"], sort=False)["median_error_pct"].mean()
        for method, color in zip(own["method"].unique(), (BLUE, GREEN, AMBER, RED), strict=False):
            errors = means[method]
            axis.plot(errors.index, errors.to_numpy(), "o-", ms=4, color=color, label=method)
        axis.set(xscale="log", yscale="log", xlabel="measured architectures", title=title)
        axis.set_xticks(sorted(own["k"].unique()), [str(k) for k in sorted(own["k"].unique())])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    left.set_ylabel(f"median error of {METRICS[metric].label.split(' (')[0].lower()} (%)")
    right.legend(frameon=False, fontsize=8)
    save_figure(figure, path)
