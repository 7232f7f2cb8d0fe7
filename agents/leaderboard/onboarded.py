"""Shipped devices as if nobody knew them: profiles from twenty measurements, without the device in the prior."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.onboarding.check import cross_validate
from hwgpt_gym.onboarding.measurements import Measurements
from hwgpt_gym.onboarding.noise import noise_of_fit
from hwgpt_gym.onboarding.plan import design
from hwgpt_gym.onboarding.posterior import fit_posterior
from hwgpt_gym.onboarding.prior import make_prior
from hwgpt_gym.onboarding.profile import DeviceProfile, MetricProfile, ScaleProfile
from hwgpt_gym.onboarding.records import Conditions

MEASUREMENTS: Final = 20
_POOL: Final = 1_000
_VISITS: Final = 3


@lru_cache(maxsize=64)
def profile_device(scale: str, device: str, metrics: tuple[str, ...], seed: int = 0) -> DeviceProfile:
    """Make the profile of a shipped device from simulated measurements of twenty architectures.

    The architectures are chosen from a thousand random ones as ``hwgpt-gym profile plan`` chooses them. The value of
    each is the median of three measurements. Every call gives the same profile.

    Args:
        scale: The search space.
        device: The shipped device. It counts in no prior.
        metrics: The costs, of ``latency_ms`` and ``energy_j``.
        seed: The seed of the measurements.
    """
    bench, rng = Benchmark(scale, device), np.random.default_rng(seed)
    pool = bench.space.sample(rng, _POOL)
    profiles = {}
    for metric in metrics:
        prior = make_prior(metric, scale, exclude=[device])
        encoded = pool[design(bench.space, prior, pool, MEASUREMENTS)]
        visits = np.stack([bench.measure(encoded, rng, [metric])[metric] for _ in range(_VISITS)])
        values = np.median(visits, axis=0)
        measured = Measurements(
            bench.space,
            encoded,
            values,
            np.full(len(encoded), _VISITS),
            np.full(len(encoded), np.nan),
            np.zeros(len(encoded), dtype=np.bool_),
        )
        posterior = fit_posterior(bench.space, prior, encoded, values)
        noise, checks = noise_of_fit(posterior), cross_validate(prior, measured)
        profiles[metric] = MetricProfile(posterior, noise, measured, None, prior.fingerprint, 0, checks)
    name = f"{device}-onboarded"
    return DeviceProfile(name, name, {scale: ScaleProfile(Conditions(), profiles)})
