"""The noise of a profile: what one measurement of an architecture would show, from the visits themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from hwgpt_gym.onboarding.coordinates import WIDTHS
from hwgpt_gym.onboarding.posterior import FREEDOM, CostPosterior
from hwgpt_gym.onboarding.records import Clock, Visit
from hwgpt_gym.search_space import EMBED_DIM, Architecture, FloatArray
from hwgpt_gym.surrogates.noise_model import LEVELS, NoiseModel

FEWEST: Final = 20
"""Visits of a width below which its noise is that of all widths."""

EXTREME_LEVEL: Final = 5e-4
"""Where the quantiles of a distribution without bounds are cut."""


def noise_of_visits(posterior: CostPosterior, visits: Iterable[Visit], clock: Clock) -> NoiseModel:
    """Take the noise from visits: a session is a visit, with the machine's drift in it, a repeat a run within it."""
    rows = list(visits)
    encoded = posterior.space.encode([Architecture.from_string(visit.visit) for visit in rows])
    predicted = np.log(posterior.model.predict(encoded))
    logs = [np.log([run[clock] for run in visit.runs]) for visit in rows]
    session = np.array([own.mean() for own in logs]) - predicted
    # Runs differ from their visit's mean by less than from what they scatter about.
    apart = [(own - own.mean()) * np.sqrt(len(own) / max(len(own) - 1.0, 1.0)) for own in logs]
    width = encoded[:, EMBED_DIM]
    sessions, repeats = np.empty((1, WIDTHS, len(LEVELS))), np.empty((1, WIDTHS, 1, len(LEVELS)))
    for w in range(WIDTHS):
        own = np.flatnonzero(width == w)
        own = own if len(own) >= FEWEST else np.arange(len(rows))
        sessions[0, w] = np.quantile(session[own], LEVELS)
        repeats[0, w, 0] = np.quantile(np.concatenate([apart[row] for row in own]), LEVELS)
    return NoiseModel(sessions, repeats)


def noise_of_fit(posterior: CostPosterior) -> NoiseModel:
    """Return the noise that the fit found, where there is one value for each architecture: all of it the session's."""
    from scipy.stats import t

    quantiles: FloatArray = posterior.sigma * t.ppf(np.clip(LEVELS, EXTREME_LEVEL, 1.0 - EXTREME_LEVEL), FREEDOM)
    session = np.tile(quantiles, (1, WIDTHS, 1))
    return NoiseModel(session, np.zeros((1, WIDTHS, 1, len(LEVELS))))
