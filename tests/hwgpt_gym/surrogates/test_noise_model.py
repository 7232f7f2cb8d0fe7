"""The noise: simulated measurements are distributed as the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgpt_gym.dataset.measurements import load_dataset
from hwgpt_gym.fitting.count_fit import fit_cost
from hwgpt_gym.fitting.noise_fit import SESSION_RANKS, NoiseFit, coverage, fit_noise, noise_model
from hwgpt_gym.fitting.scores import held_out_folds
from hwgpt_gym.surrogates.noise_model import LEVELS, NoiseModel

ROWS = 3000


def synthetic(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows whose repeats scatter the more, the slower the session is."""
    rng = np.random.default_rng(seed)
    width = rng.integers(0, 3, ROWS)
    session = rng.standard_exponential(ROWS) * 0.1
    repeats = rng.standard_t(3, (ROWS, 10)) * (0.01 + 0.3 * session)[:, None]
    predicted = rng.uniform(1.0, 2.0, ROWS)
    return width, predicted, predicted[:, None] * np.exp(session[:, None] + repeats)


def draw(model: NoiseModel, width: np.ndarray, seed: int) -> np.ndarray:
    uniforms = np.random.default_rng(seed).random((len(width), 2))
    return np.log(model.factors(uniforms, 0, width))


def test_levels_ascend_from_0_to_1() -> None:
    assert LEVELS[0] == 0.0
    assert LEVELS[-1] == 1.0
    assert (np.diff(LEVELS) > 0).all()


def test_draws_have_the_quantiles_of_the_observations() -> None:
    width, predicted, observations = synthetic(0)
    model = noise_model([fit_noise(width, predicted, observations)])
    rows = np.repeat(np.arange(ROWS), 30)
    drawn = draw(model, width[rows].astype(np.intp), 1)
    levels = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    real = np.quantile(np.log(observations / predicted[:, None]), levels)
    np.testing.assert_allclose(np.quantile(drawn, levels), real, rtol=0.06, atol=0.004)


def test_coverage_is_nominal_on_new_rows_of_the_same_noise() -> None:
    fit = fit_noise(*synthetic(0))
    new = synthetic(7)
    assert coverage(fit, *new, level=0.5) == pytest.approx(0.5, abs=0.03)
    assert coverage(fit, *new, level=0.9) == pytest.approx(0.9, abs=0.02)


def test_single_observations_have_no_repeats() -> None:
    width, predicted, observations = synthetic(0)
    fit = fit_noise(width, predicted, observations[:, :1])
    assert not fit.repeat.any()
    assert fit.session.any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_factors_read_the_row_of_their_device_and_width(seed: int) -> None:
    rng = np.random.default_rng(seed)
    session = np.sort(rng.normal(size=(4, 3, len(LEVELS))), axis=-1)
    repeat = np.sort(rng.normal(size=(4, 3, 5, len(LEVELS))), axis=-1)
    uniforms = np.vstack([rng.random((20, 2)), [[0.0, 0.0], [np.nextafter(1.0, 0.0)] * 2]])
    device, width = rng.integers(0, 4, 22), rng.integers(0, 3, 22)
    factors = NoiseModel(session, repeat).factors(uniforms, device, width)
    for i, (first, second) in enumerate(uniforms):
        expected = np.interp(first, LEVELS, session[device[i], width[i]])
        expected += np.interp(second, LEVELS, repeat[device[i], width[i], int(first * 5)])
        assert factors[i] == pytest.approx(np.exp(expected), rel=1e-9)


@pytest.mark.parametrize(
    ("session", "repeat", "message"),
    [
        (np.zeros((2, 3, 5)), np.zeros((2, 3, 4, len(LEVELS))), "session must have shape"),
        (np.zeros((2, 3, len(LEVELS))), np.zeros((1, 3, 4, len(LEVELS))), "repeat must have shape"),
        (np.zeros((2, 3, len(LEVELS))), np.zeros((2, 3, len(LEVELS))), "repeat must have shape"),
        (np.full((2, 3, len(LEVELS)), np.nan), np.zeros((2, 3, 4, len(LEVELS))), "session must be finite"),
        (np.zeros((2, 3, len(LEVELS))) - LEVELS, np.zeros((2, 3, 4, len(LEVELS))), "session must ascend"),
    ],
)
def test_bad_tables_are_refused(session: np.ndarray, repeat: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NoiseModel(session, repeat)


def test_bad_observations_are_refused() -> None:
    width, predicted, observations = synthetic(0)
    with pytest.raises(ValueError, match="observations must be"):
        fit_noise(width, predicted, observations[:, 0])
    with pytest.raises(ValueError, match="observations must be positive"):
        fit_noise(width, predicted, -observations)
    with pytest.raises(ValueError, match=f"at least {SESSION_RANKS} rows"):
        fit_noise(np.zeros(ROWS, dtype=int), predicted, observations)


@pytest.mark.parametrize(
    ("scale", "device", "metric"),
    [("s", "a40", "energy_j"), ("m", "v100", "latency_ms"), ("s", "cpu_xeon_silver", "energy_j")],
)
def test_real_measurements_are_covered(dataset_path: Path, scale: str, device: str, metric: str) -> None:
    measurements = load_dataset(dataset_path)[scale]
    observations = getattr(measurements.device(device), metric)
    width = measurements.encoded[:, 0].astype(np.int64)
    test = held_out_folds(len(measurements), seed=5) == 0
    cost = fit_cost(
        measurements.space,
        measurements.encoded[~test],
        measurements.order[~test],
        np.median(observations[~test], axis=1),
    )
    predicted = cost.model.predict(measurements.encoded)
    fit: NoiseFit = fit_noise(width[~test], predicted[~test], observations[~test])
    assert 0.44 < coverage(fit, width[test], predicted[test], observations[test], 0.5) < 0.56
    assert 0.86 < coverage(fit, width[test], predicted[test], observations[test], 0.9) < 0.94
