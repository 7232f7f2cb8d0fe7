"""The shipped weights: what they say of themselves, what they reach, and what they predict for the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from hwgpt_gym import DEVICES, METRICS, Benchmark
from hwgpt_gym.dataset.measurements import load_dataset
from hwgpt_gym.fitting.fit import fit_device_cost
from hwgpt_gym.surrogates import load_surrogates
from hwgpt_gym.surrogates.chain_extremes import chain_extremes

SCALES = ("s", "m", "l")


def scores(scale: str, metric: str) -> list[dict[str, float]]:
    return [row for row in load_surrogates(scale).metadata["scores"] if row["metric"] == metric]


@pytest.mark.parametrize("scale", SCALES)
def test_weights_name_their_dataset(scale: str, dataset_path: Path) -> None:
    metadata = load_surrogates(scale).metadata
    measurements = load_dataset(dataset_path)[scale]
    assert metadata["dataset_fingerprint"] == measurements.fingerprint
    assert metadata["architectures"] == len(measurements)
    assert metadata["fit_command"] == "hwgpt-gym surrogates fit"


@pytest.mark.parametrize("scale", SCALES)
def test_weights_carry_a_score_of_everything_they_predict(scale: str) -> None:
    for metric in METRICS:
        expected = [*DEVICES] if METRICS[metric].per_device else [""]
        assert [row["device"] for row in scores(scale, metric)] == (
            expected if metric not in ("params", "flops") else []
        )


@pytest.mark.parametrize(
    ("scale", "tau", "error"), [("s", 0.9948, 0.0125), ("m", 0.9925, 0.0062), ("l", 0.976, 0.0105)]
)
def test_perplexity_of_held_out_architectures(scale: str, tau: float, error: float) -> None:
    row = scores(scale, "perplexity")[0]
    assert row["kendall_tau"] >= tau
    assert row["mean_abs_error"] <= error
    assert row["kendall_tau"] > row["upstream_kendall_tau"]
    assert row["mean_abs_error"] < row["upstream_mean_abs_error"]


@pytest.mark.parametrize("scale", SCALES)
def test_noise_covers_held_out_observations(scale: str) -> None:
    for metric in ("latency_ms", "energy_j"):
        rows = scores(scale, metric)
        for level, (low, high), (least, greatest) in (
            (50, (0.47, 0.53), (0.40, 0.60)),
            (90, (0.88, 0.92), (0.84, 0.95)),
        ):
            shares = [row[f"coverage_{level}"] for row in rows]
            assert low <= np.mean(shares) <= high
            assert least <= min(shares)
            assert max(shares) <= greatest


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("metric", ["perplexity", "accuracy"])
def test_stored_ranges_are_the_exact_extremes(scale: str, metric: str) -> None:
    surrogates = load_surrogates(scale)
    found = chain_extremes(getattr(surrogates, metric))
    assert surrogates.ranges[metric] == (found.least, found.greatest)


@pytest.mark.parametrize("scale", SCALES)
def test_predictions_rank_what_was_measured(scale: str, dataset_path: Path) -> None:
    measurements = load_dataset(dataset_path)[scale]
    predicted = Benchmark(scale, "a6000").evaluate(measurements.encoded)
    known = np.isfinite(measurements.perplexity)
    assert kendalltau(predicted["perplexity"][known], measurements.perplexity[known]).statistic > 0.98
    latency = np.median(measurements.device("a6000").latency_ms, axis=1)
    assert kendalltau(predicted["latency_ms"], latency).statistic > 0.97
    np.testing.assert_allclose(predicted["bfloat16_memory_mb"], measurements.bfloat16_memory_mb, rtol=0.02)


def test_a_fit_gives_the_shipped_numbers(dataset_path: Path) -> None:
    fit, noise = fit_device_cost(load_dataset(dataset_path)["s"], "a40", "latency_ms")
    surrogates = load_surrogates("s")
    device = surrogates.index_of("a40")
    shipped = surrogates.costs["latency_ms"][device]
    for name in ("base", "mlp", "head"):
        np.testing.assert_allclose(getattr(fit.model, name), getattr(shipped, name), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(noise.session, surrogates.noise["latency_ms"].session[device], atol=1e-6)
