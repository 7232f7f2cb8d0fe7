"""From a plan and its log, or from a table, to a profile."""

from __future__ import annotations

import os

from hwgpt_gym.onboarding.check import cross_validate, held_out_checks
from hwgpt_gym.onboarding.layers import fit_layers, layer_posterior, layer_prior
from hwgpt_gym.onboarding.measurements import Measurements, read_table, summarise
from hwgpt_gym.onboarding.noise import noise_of_fit, noise_of_visits
from hwgpt_gym.onboarding.plan import Plan
from hwgpt_gym.onboarding.posterior import CostPosterior, fit_posterior
from hwgpt_gym.onboarding.prior import Prior, make_prior
from hwgpt_gym.onboarding.profile import DeviceProfile, MetricProfile, ScaleProfile
from hwgpt_gym.onboarding.records import Clock, Conditions, Log, best_clock


def fit_log(plan: Plan, log: Log, clock: Clock | None = None) -> ScaleProfile:
    """Fit what a plan's log says.

    Args:
        plan: The plan.
        log: Its log.
        clock: Which clock counts; by default that of the processor where one thread ran, else that of CUDA, else the
            wall's.

    Raises:
        ValueError: If the log holds too little, or the clock was not read.
    """
    if log.conditions is None or not (log.visits or log.passes):
        raise ValueError("the log holds no measurement: run the plan first")
    chosen = clock or best_clock(log)
    prior = make_prior("latency_ms", plan.scale)
    own_prior, layers = prior, None
    if log.passes:
        layers = layer_posterior(prior, fit_layers(plan.space, log.passes, chosen))
        own_prior = layer_prior(layers)
    if log.visits:
        measured = summarise(plan, log.visits, chosen)
        posterior = _fit(own_prior, measured.fitted)
        noise = noise_of_visits(posterior, log.visits, chosen)
    else:
        assert layers is not None
        measured, posterior = _nothing(plan), layers
        noise = noise_of_fit(posterior)
    checks = held_out_checks(posterior, measured.held_out)
    metric = MetricProfile(posterior, noise, measured, chosen, prior.fingerprint, len(log.passes), checks)
    return ScaleProfile(log.conditions, {"latency_ms": metric})


def fit_table(path: str | os.PathLike[str], conditions: Conditions | None = None) -> dict[str, ScaleProfile]:
    """Fit a table of measurements, of one scale or several.

    Args:
        path: The table; see :func:`~hwgpt_gym.onboarding.measurements.read_table`.
        conditions: How it was measured, as far as that is known.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the table is not legal, or holds too little of a scale.
    """
    scales = {}
    for scale, by_metric in read_table(path).items():
        metrics = {}
        for metric, measured in by_metric.items():
            prior = make_prior(metric, scale)
            try:
                posterior = _fit(prior, measured)
            except ValueError as error:
                raise ValueError(f"{path}, scale {scale!r}, {metric}: {error}") from error
            checks = cross_validate(prior, measured)
            noise = noise_of_fit(posterior)
            metrics[metric] = MetricProfile(posterior, noise, measured, None, prior.fingerprint, 0, checks)
        scales[scale] = ScaleProfile(conditions or Conditions(), metrics)
    return scales


def _fit(prior: Prior, measured: Measurements) -> CostPosterior:
    return fit_posterior(measured.space, prior, measured.encoded, measured.values, measured.variances)


def _nothing(plan: Plan) -> Measurements:
    return summarise(plan, [], "wall")


def add_scales(known: DeviceProfile, scales: dict[str, ScaleProfile]) -> DeviceProfile:
    """Return a profile with further scales; those that it has already are replaced."""
    return DeviceProfile(known.name, known.label, {**known.scales, **scales})
