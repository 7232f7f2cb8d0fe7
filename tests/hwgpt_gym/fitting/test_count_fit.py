"""The fit of costs: it finds what was put in, and beats the floors on the real measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwgpt_gym import SEARCH_SPACES
from hwgpt_gym.dataset.measurements import load_dataset
from hwgpt_gym.fitting.count_fit import fit_cost, fit_memory
from hwgpt_gym.fitting.drift import fit_drift, grouped_median
from hwgpt_gym.fitting.scores import FOLDS, held_out_folds, score_costs
from hwgpt_gym.surrogates.count_model import CountModel

SPACE = SEARCH_SPACES["s"]
ROWS = 2000


def true_model() -> CountModel:
    scale = np.array([1.0, 2.0, 5.0])[:, None, None]
    base = scale * np.array([[4.0, 4.1], [4.2, 4.3], [4.5, 4.6]])
    coefficients = scale * np.array([[0.0, 0.1, 0.2], [0.0, 0.11, 0.21]])
    return CountModel(SPACE, base, coefficients, 1.5 * coefficients)


@pytest.fixture(scope="module")
def profiled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Architectures, their positions (a fifth is missing) and the drift they were measured under."""
    rng = np.random.default_rng(1)
    order = np.sort(rng.permutation(ROWS * 5 // 4)[:ROWS])
    encoded = SPACE.sample(rng, ROWS)
    # Two jobs; in the second the small models are hit harder. The greater part is the median state: no drift.
    drift = np.where(order < 1500, 0.0, np.array([0.3, 0.2, 0.1])[encoded[:, 0]])
    return encoded, order, drift


def test_fit_finds_model_and_drift_through_outliers(profiled: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    encoded, order, drift = profiled
    rng = np.random.default_rng(2)
    noise = 0.002 * rng.standard_normal(ROWS)
    noise[rng.random(ROWS) < 0.05] += 0.5
    fit = fit_cost(SPACE, encoded, order, true_model().predict(encoded) * np.exp(drift + noise))
    unseen = SPACE.sample(rng, 500)
    # The median of a state that holds three fifths of the rows lies within it, half a spread above its centre.
    np.testing.assert_allclose(fit.model.predict(unseen), true_model().predict(unseen), rtol=0.006)
    for width, expected in enumerate((0.3, 0.2, 0.1)):
        steps = fit.drift_at(np.array([100, 2400]), np.array([width, width]))
        assert np.diff(steps)[0] == pytest.approx(expected, abs=0.002)
    assert len(fit.drift.edges) == 1
    assert fit.drift.edges[0] == pytest.approx(1500, abs=3)
    np.testing.assert_allclose(grouped_median(fit.residuals, encoded[:, 0].astype(int), 3), 0.0, atol=1e-12)


def test_fit_is_deterministic_to_the_byte(profiled: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    encoded, order, drift = profiled
    values = true_model().predict(encoded) * np.exp(drift + 0.1 * np.random.default_rng(3).standard_normal(ROWS))
    first, second = (fit_cost(SPACE, encoded, order, values) for _ in range(2))
    for name in ("base", "mlp", "head"):
        assert getattr(first.model, name).tobytes() == getattr(second.model, name).tobytes()
    assert first.drift.levels.tobytes() == second.drift.levels.tobytes()


def test_line_that_falls_below_zero_is_flattened_and_ranks_the_same(
    profiled: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    encoded, order, _ = profiled
    model = true_model()
    # The measured counts lie near the middle, where this is positive; at the ends it is not.
    steep = replace(model, base=model.base - 2.1 * model.base, mlp=model.mlp * 8, head=model.head * 2)
    values = steep.predict(encoded)
    keep = values > 0.05 * model.predict(encoded)
    assert keep.mean() > 0.8
    assert steep.extremes()[0] < 0
    fit = fit_cost(SPACE, encoded[keep], order[keep], values[keep])
    assert fit.model.extremes()[0] > 0
    for width in range(3):
        rows = keep & (encoded[:, 0] == width)
        ranks = np.corrcoef(fit.model.predict(encoded[rows]), values[rows])[0, 1]
        assert ranks > 0.9999


def test_memory_is_fitted_exactly_where_it_is_linear(profiled: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    encoded = profiled[0]
    fit = fit_memory(SPACE, encoded, true_model().predict(encoded))
    np.testing.assert_allclose(fit.predict(encoded), true_model().predict(encoded), rtol=1e-9)


def test_drift_without_change_is_a_constant() -> None:
    rng = np.random.default_rng(4)
    width = rng.integers(0, 3, ROWS)
    drift = fit_drift(np.arange(ROWS), width, 0.01 * rng.standard_normal(ROWS) + width)
    assert len(drift.edges) == 0
    np.testing.assert_allclose(drift.levels, [[0.0, 1.0, 2.0]], atol=0.003)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, o, v: (e, o, v[:-1]), "a row each"),
        (lambda e, o, v: (e, o, np.where(o == o[0], 0.0, v)), "values must be positive"),
        (lambda e, o, v: (e, o, np.where(o == o[0], np.nan, v)), "values must be positive"),
        (lambda e, o, v: (e, o[::-1], v), "order must be strictly ascending"),
        (lambda e, o, v: (e[e[:, 2] == 0], o[e[:, 2] == 0], v[e[:, 2] == 0]), "every combination"),
    ],
)
def test_bad_input_is_refused(change, message, profiled) -> None:  # type: ignore[no-untyped-def]
    encoded, order, _ = profiled
    with pytest.raises(ValueError, match=message):
        fit_cost(SPACE, *change(encoded, order, true_model().predict(encoded)))


def test_every_ninth_neighbour_is_held_out() -> None:
    folds = held_out_folds(8999, seed=0)
    assert len(folds) == 8999
    blocks = np.sort(folds[: 8999 // FOLDS * FOLDS].reshape(-1, FOLDS), axis=1)
    np.testing.assert_array_equal(blocks, np.broadcast_to(np.arange(FOLDS), blocks.shape))
    assert (folds != held_out_folds(8999, seed=1)).any()


def test_scores_of_one_device(dataset_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measurements = load_dataset(dataset_path)["l"]
    monkeypatch.setattr(measurements, "devices", ("a6000",))
    lines: list[str] = []
    scores = score_costs(measurements, seed=1, progress=lines.append).set_index("metric")
    assert lines == ["scoring l a6000"]
    assert list(scores.index) == ["latency_ms", "energy_j", "float16_memory_mb", "bfloat16_memory_mb"]
    latency, memory = scores.loc["latency_ms"], scores.loc["float16_memory_mb"]
    assert latency["kendall_tau_after_drift_removal"] > latency["kendall_tau"] > 0.99
    assert latency["median_abs_error_pct_after_drift_removal"] < latency["median_abs_error_pct"] < 0.1
    assert 0.47 < latency["coverage_50"] < 0.53
    assert 0.88 < latency["coverage_90"] < 0.92
    assert memory["device"] == ""
    assert 0 < memory["median_abs_error_pct"] < memory["max_error_pct"] < 1.9
    with pytest.raises(ValueError, match="folds must be some of 0 to 8"):
        score_costs(measurements, folds=[9])


@pytest.mark.parametrize(
    ("scale", "device", "metric", "tau", "error_pct"),
    [
        ("s", "a100", "latency_ms", 0.998, 0.06),
        ("l", "rtx3080", "latency_ms", 0.996, 0.04),
        ("s", "cpu_amd_7513", "energy_j", 0.945, 0.8),
        ("m", "v100", "energy_j", 0.935, 2.0),
    ],
)
def test_real_measurements_of_unseen_architectures(
    dataset_path: Path, scale: str, device: str, metric: str, tau: float, error_pct: float
) -> None:
    from scipy.stats import kendalltau

    measurements = load_dataset(dataset_path)[scale]
    encoded, order = measurements.encoded, measurements.order
    values = np.median(getattr(measurements.device(device), metric), axis=1)
    test = held_out_folds(len(measurements), seed=5) == 0
    fit = fit_cost(measurements.space, encoded[~test], order[~test], values[~test])
    assert fit.model.extremes()[0] > 0
    predicted = fit.model.predict(encoded[test])
    drift_free = values[test] / np.exp(fit.drift_at(order[test], encoded[test, 0]))
    assert kendalltau(predicted, drift_free).statistic > tau
    assert 100 * np.median(np.abs(predicted / drift_free - 1)) < error_pct


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_real_memory_of_unseen_architectures(dataset_path: Path, scale: str) -> None:
    from scipy.stats import kendalltau

    measurements = load_dataset(dataset_path)[scale]
    test = held_out_folds(len(measurements), seed=5) == 0
    values = measurements.float16_memory_mb
    model = fit_memory(measurements.space, measurements.encoded[~test], values[~test])
    predicted = model.predict(measurements.encoded[test])
    # The allocator's remainders leave no more to a model of counts, whatever is added to it.
    assert kendalltau(predicted, values[test]).statistic > 0.98
    assert np.max(np.abs(predicted / values[test] - 1)) < 0.019
