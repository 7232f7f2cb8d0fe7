"""How good a profile is, and what to measure next."""

from __future__ import annotations

from typing import Final

import numpy as np

from hwgpt_gym.onboarding.coordinates import WIDTHS, encoded_coordinates
from hwgpt_gym.onboarding.measurements import Measurements
from hwgpt_gym.onboarding.plan import EVERYWHERE, greedy_design, plan_pool
from hwgpt_gym.onboarding.posterior import INTERVAL_FACTOR, CostPosterior, fit_posterior
from hwgpt_gym.onboarding.prior import Prior
from hwgpt_gym.onboarding.profile import Checks
from hwgpt_gym.search_space import EMBED_DIM, FloatArray

Z_90: Final = 1.6449
T4_DEVIATION: Final = float(np.sqrt(2.0))
"""Standard deviation of Student's t with 4 degrees of freedom, by its scale."""

MOST: Final = 40
"""Further measurements that are looked at."""

FOLDS: Final = 5


def combined_errors(posterior: CostPosterior, checks: Measurements) -> tuple[FloatArray, FloatArray]:
    """Hold predictions against measurements that were not fitted.

    Returns:
        The log-ratio of predicted to measured, and its standard deviation: that of the prediction and that of the
        measurement together; each ``float64 (n,)``.
    """
    logs = np.log(posterior.model.predict(checks.encoded) / checks.values)
    noise = np.where(np.isnan(checks.deviations), T4_DEVIATION * posterior.sigma, checks.deviations)
    own = posterior.log_deviation_at(*encoded_coordinates(posterior.space, checks.encoded))
    return logs, np.hypot(own, noise)


def held_out_checks(posterior: CostPosterior, checks: Measurements) -> Checks | None:
    """Score the predictions of architectures that were kept out of the fit; ``None`` if there are none."""
    if not len(checks):
        return None
    return _score("held out", checks, *combined_errors(posterior, checks))


def cross_validate(prior: Prior, fitted: Measurements) -> Checks | None:
    """Score the fit where nothing was kept out of it: a fifth of the measurements is left out in turn.

    Returns:
        The scores; ``None`` where no fit is possible without a fifth.
    """
    # The first of each width stay in every fit: without them the level of a width would not be known.
    widths = fitted.encoded[:, EMBED_DIM]
    number = np.array([np.count_nonzero(widths[:row] == widths[row]) for row in range(len(widths))], dtype=int)
    fold = np.where(number == 0, -1, np.arange(len(widths)) % FOLDS)
    logs, deviations, rows = [], [], []
    for part in range(FOLDS):
        out = np.flatnonzero(fold == part)
        if len(out):
            kept = fitted[np.flatnonzero(fold != part)]
            posterior = fit_posterior(fitted.space, prior, kept.encoded, kept.values, kept.variances)
            own_logs, own_deviations = combined_errors(posterior, fitted[out])
            logs.append(own_logs)
            deviations.append(own_deviations)
            rows.append(out)
    if not rows:
        return None
    return _score("cross-validation", fitted[np.concatenate(rows)], np.concatenate(logs), np.concatenate(deviations))


def _score(kind: str, checks: Measurements, logs: FloatArray, deviations: FloatArray) -> Checks:
    from scipy.stats import kendalltau

    errors = 100.0 * np.abs(np.expm1(logs))
    few = len(checks) < 3
    tau = None if few else float(kendalltau(checks.values * np.exp(logs), checks.values).statistic)
    return Checks(
        kind="held out" if kind == "held out" else "cross-validation",
        number=len(checks),
        median_error_pct=float(np.median(errors)),
        greatest_error_pct=float(errors.max()),
        kendall_tau=None if tau is None or np.isnan(tau) else tau,
        within_two=float(np.mean(np.abs(logs) <= 2.0 * deviations)),
        coverage_90=float(np.mean(np.abs(logs) <= Z_90 * deviations)),
    )


def expected_error(posterior: CostPosterior) -> FloatArray:
    """Return the median standard deviation of log costs over the space, for each width, ``float64 (3,)``."""
    encoded = posterior.space.sample(np.random.default_rng(1), EVERYWHERE)
    z, width = encoded_coordinates(posterior.space, encoded)
    deviation = posterior.log_deviation_at(z, width)
    return np.array([np.median(deviation[width == w]) for w in range(WIDTHS)])


def further(posterior: CostPosterior, measured: Measurements, target: float) -> list[str] | None:
    """Choose what to measure next so that predictions come to be as good as asked for.

    Args:
        posterior: What is known.
        measured: What was measured already; it is not proposed again.
        target: The median standard deviation of log costs over the space that is to be reached, such as 0.01.

    Returns:
        Names, the most telling first; empty if it is reached; ``None`` if forty more would not do.
    """
    space = posterior.space
    pool = plan_pool(space)
    known = {row.tobytes() for row in measured.encoded}
    pool = pool[[row.tobytes() not in known for row in pool]]
    everywhere = space.sample(np.random.default_rng(1), EVERYWHERE)
    steps = greedy_design(
        posterior.mean,
        posterior.covariance,
        encoded_coordinates(space, pool),
        encoded_coordinates(space, everywhere),
        T4_DEVIATION * posterior.sigma,
    )
    chosen: list[int] = []
    for row, deviations in steps:
        if INTERVAL_FACTOR * np.median(deviations) <= target:
            return [str(item) for item in space.decode(pool[chosen])]
        if len(chosen) == MOST:
            return None
        chosen.append(row)
    return None
