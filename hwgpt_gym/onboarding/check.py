"""How good a profile is, and what to measure next."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from hwgpt_gym.onboarding.coordinates import WIDTHS, encoded_coordinates
from hwgpt_gym.onboarding.measurements import Measurements, reference_times, summarise
from hwgpt_gym.onboarding.plan import EVERYWHERE, Plan, greedy_design, plan_pool
from hwgpt_gym.onboarding.posterior import INTERVAL_FACTOR, CostPosterior, fit_posterior
from hwgpt_gym.onboarding.prior import Prior
from hwgpt_gym.onboarding.profile import ScaleProfile
from hwgpt_gym.onboarding.profile_document import Checks
from hwgpt_gym.onboarding.records import Log, best_clock
from hwgpt_gym.search_space import EMBED_DIM, Architecture, FloatArray

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
    return score("held out", checks, *combined_errors(posterior, checks))


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
    return score("cross-validation", fitted[np.concatenate(rows)], np.concatenate(logs), np.concatenate(deviations))


def later_checks(
    own: ScaleProfile, plan: Plan, log: Log
) -> tuple[Measurements, FloatArray, FloatArray, dict[int, float]]:
    """Hold a profile against architectures that were measured after it, in its state of the machine.

    Times are taken relative to the references, and brought to those that the references had when the profile was made:
    by how much the machine is slower or faster meanwhile is told apart from what an architecture takes.

    Args:
        own: The profile at the plan's scale.
        plan: What was measured later.
        log: Its log.

    Returns:
        The measurements; the log-ratios of predicted to measured and their deviations, each ``float64 (n,)``; and, for
        each width, the time of its reference by that in the profile.

    Raises:
        ValueError: If the profile has no latency, the conditions are not those of the profile, or nothing was measured.
    """
    if "latency_ms" not in own.metrics:
        raise ValueError("the profile has no latency to hold against")
    metric = own.metrics["latency_ms"]
    if log.conditions != own.conditions:
        raise ValueError(f"the profile holds for {own.conditions}; the log is of {log.conditions}")
    clock = metric.clock or best_clock(log)
    known = {
        row.tobytes(): value for row, value in zip(metric.measurements.encoded, metric.measurements.values, strict=True)
    }
    encoded = plan.space.encode([Architecture.from_string(name) for name in plan.references])
    predicted = metric.posterior.model.predict(encoded)
    typical = {
        width: float(known.get(row.tobytes(), value))
        for width, row, value in zip(plan.space.embed_dims, encoded, predicted, strict=True)
    }
    checks = summarise(plan, log.visits, clock, typical).held_out
    if not len(checks):
        raise ValueError("the log holds no visit of an architecture to check with")
    state = {width: value / typical[width] for width, value in reference_times(log.visits, clock).items()}
    return checks, *combined_errors(metric.posterior, checks), state


def score(
    kind: Literal["held out", "cross-validation"], checks: Measurements, logs: FloatArray, deviations: FloatArray
) -> Checks:
    """Sum up how predictions compare with measurements; arguments as :func:`combined_errors` returns them."""
    from scipy.stats import kendalltau

    errors = 100.0 * np.abs(np.expm1(logs))
    few = len(checks) < 3
    tau = None if few else float(kendalltau(checks.values * np.exp(logs), checks.values).statistic)
    return Checks(
        kind=kind,
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
