"""Coordinates, prior, design and fit."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from hwgpt_gym import DEVICES, SEARCH_SPACES
from hwgpt_gym.onboarding.coordinates import (
    LEAST_SHARE,
    PER_WIDTH,
    encoded_coordinates,
    flattened,
    log_costs,
    model_of,
    uniform_architectures,
    vector_of,
)
from hwgpt_gym.onboarding.plan import Plan, check_plan, design, make_plan, plan_pool
from hwgpt_gym.onboarding.posterior import CostPosterior, fit_posterior
from hwgpt_gym.onboarding.prior import LEVEL, make_prior
from hwgpt_gym.surrogates import load_surrogates
from hwgpt_gym.surrogates.features import extract


@pytest.mark.parametrize("metric", ["latency_ms", "energy_j"])
@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_a_vector_is_the_model_exactly(scale: str, metric: str) -> None:
    space = SEARCH_SPACES[scale]
    encoded = space.sample(np.random.default_rng(0), 500)
    z, width = encoded_coordinates(space, encoded)
    models = load_surrogates(scale).costs[metric]
    for index in range(len(DEVICES)):
        costs = models[index].predict(encoded)
        vector = vector_of(models[index])
        np.testing.assert_allclose(model_of(space, vector).predict(encoded), costs, rtol=3e-15)
        np.testing.assert_allclose(np.exp(log_costs(vector, z, width)[0]), costs, rtol=1e-13)


def test_derivatives_are_those_of_the_logarithm() -> None:
    space = SEARCH_SPACES["m"]
    vector = vector_of(load_surrogates("m").costs["latency_ms"][3])
    z, width = encoded_coordinates(space, space.sample(np.random.default_rng(1), 20))
    _, derivative = log_costs(vector, z, width)
    for number in range(len(vector)):
        step = np.zeros(len(vector))
        step[number] = 1e-6
        finite = (log_costs(vector + step, z, width)[0] - log_costs(vector - step, z, width)[0]) / 2e-6
        np.testing.assert_allclose(derivative[:, number], finite, atol=1e-8)


def test_slopes_that_lead_below_zero_are_flattened() -> None:
    space = SEARCH_SPACES["s"]
    vector = vector_of(load_surrogates("s").costs["latency_ms"][0])
    np.testing.assert_array_equal(flattened(space, vector), vector)
    steep = vector.copy()
    steep[1:PER_WIDTH] *= 5.0
    flat = flattened(space, steep)
    width = encoded_coordinates(space, uniform_architectures(space))[1]
    shares = model_of(space, flat).predict(uniform_architectures(space))[width == 0] / np.exp(flat[0])
    assert shares.min() == pytest.approx(LEAST_SHARE)
    assert model_of(space, steep).predict(uniform_architectures(space)).min() < 0.0
    np.testing.assert_array_equal(flat[PER_WIDTH:], vector[PER_WIDTH:])


def test_the_prior_leaves_devices_out_and_leaves_the_level_free() -> None:
    prior = make_prior("latency_ms", "s")
    without = make_prior("latency_ms", "s", exclude=["A100"])
    assert prior.fingerprint != without.fingerprint
    assert prior.fingerprint == make_prior("latency_ms", "s").fingerprint
    assert prior.mean @ LEVEL == pytest.approx(0.0, abs=1e-12)
    assert np.linalg.eigvalsh(prior.covariance)[0] > 0.0
    with pytest.raises(ValueError, match="unknown device 'a1000'"):
        make_prior("latency_ms", "s", exclude=["a1000"])
    with pytest.raises(ValueError, match="needs more than 3 devices, 2 are left"):
        make_prior("latency_ms", "s", exclude=list(DEVICES)[:11])
    with pytest.raises(ValueError, match="metric must be"):
        make_prior("params", "s")


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_designs_are_nested_deterministic_and_of_all_widths(scale: str) -> None:
    plan = make_plan(scale, 20, 8)
    assert plan == make_plan(scale, 20, 8)
    assert make_plan(scale, 10, 4).architectures == plan.architectures[:10]
    assert {name.split("-")[3] for name in plan.architectures[:3]} == {str(w) for w in plan.space.embed_dims}
    assert len(set(plan.measured)) == 28
    # The references are of the widths, and probes hold all pairs of MLP ratio and heads.
    assert len(plan.probes) == 12
    for name in plan.probes:
        choices = list(map(int, name.split("-")[4:-1]))
        pairs = set(zip(choices[: len(choices) // 2], choices[len(choices) // 2 :], strict=True))
        assert len(pairs) == 9


def test_each_choice_leaves_the_least_mean_variance() -> None:
    space, prior = SEARCH_SPACES["s"], make_prior("latency_ms", "s")
    pool, everywhere = space.sample(np.random.default_rng(1), 40), space.sample(np.random.default_rng(2), 60)
    chosen = design(space, prior, pool, 8, everywhere)
    derivative, over_space = (log_costs(prior.mean, *encoded_coordinates(space, e))[1] for e in (pool, everywhere))

    def mean_variance(rows: list[int]) -> float:
        own, covariance = derivative[rows], prior.covariance + np.outer(LEVEL, LEVEL)
        gram = own @ covariance @ own.T + 0.02**2 * np.eye(len(rows))
        left = covariance - covariance @ own.T @ np.linalg.solve(gram, own @ covariance)
        return float(np.einsum("ij,jk,ik->", over_space, left, over_space) / len(over_space))

    for number in range(3, 8):
        before = chosen[:number].tolist()
        others = [row for row in range(len(pool)) if row not in before]
        assert min(others, key=lambda row: mean_variance([*before, row])) == chosen[number]


def test_what_a_plan_refuses(tmp_path) -> None:
    with pytest.raises(ValueError, match="k must be an integer from 3 to 1500, got 2"):
        make_plan("s", 2)
    with pytest.raises(ValueError, match="checks must be"):
        make_plan("s", 3, -1)
    with pytest.raises(ValueError, match="checks must be an integer from 0 to 1500"):
        make_plan("s", 3, 10**12)
    plan = make_plan("s", 3, 1)
    path = tmp_path / "plan.json"
    plan.save(path)
    assert Plan.load(path) == plan
    path.write_text(path.read_text().replace('"scale": "s"', '"scale": "m"'))
    with pytest.raises(ValueError, match="is of scale 's'"):
        Plan.load(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="no plan of version 1"):
        Plan.load(path)
    path.write_text('{"plan_version": 1, "scale": "s"}')
    with pytest.raises(ValueError, match=r"is no plan: one has \['architectures', .*'scale'\], got \['scale'\]"):
        Plan.load(path)
    for content in (b"{", b"[" * 100_000, b"\xff\xfe", b"9" * 10_000, b"[]"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"plan\.json"):
            Plan.load(path)
    for changed in ({"architectures": None}, {"architectures": [1]}, {"checks": "gpt-s"}, {"more": []}, {"scale": {}}):
        path.write_text(json.dumps({"plan_version": 1, **asdict(plan), **changed}))
        with pytest.raises(ValueError, match=r"plan\.json is no plan: "):
            Plan.load(path)
    with pytest.raises(ValueError, match="names an architecture twice"):
        check_plan([plan.measured[0], plan.measured[0]])


def _measured(seed: int = 0, noise: float = 0.01, k: int = 20):
    space, prior = SEARCH_SPACES["s"], make_prior("latency_ms", "s", exclude=["h100"])
    surrogates = load_surrogates("s")
    truth = surrogates.costs["latency_ms"][surrogates.index_of("h100")]
    pool = plan_pool(space)
    encoded = pool[design(space, prior, pool, k)]
    rng = np.random.default_rng(seed)
    return space, prior, truth, encoded, truth.predict(encoded) * np.exp(noise * rng.standard_t(4, k))


def test_intervals_cover_what_they_should() -> None:
    covered, errors = [], []
    for seed in range(10):
        space, prior, truth, encoded, values = _measured(seed)
        posterior = fit_posterior(space, prior, encoded, values)
        test = space.sample(np.random.default_rng(5), 500)
        logs = np.log(posterior.model.predict(test) / truth.predict(test))
        covered.append(np.mean(np.abs(logs) <= 1.645 * posterior.log_deviation(extract(space, test))))
        errors.append(np.median(np.abs(logs)))
    assert 0.8 <= np.mean(covered) <= 0.99
    assert np.mean(errors) < 0.01


def test_an_outlier_does_little_harm() -> None:
    space, prior, truth, encoded, values = _measured()
    test = space.sample(np.random.default_rng(5), 500)
    spoiled = values.copy()
    spoiled[7] *= 2.0
    errors = [
        np.median(np.abs(fit_posterior(space, prior, encoded, own).model.predict(test) / truth.predict(test) - 1.0))
        for own in (values, spoiled)
    ]
    assert errors[1] < 2.0 * errors[0] + 0.003


def test_the_deviation_is_that_of_the_linearised_logarithm_and_depends_on_counts_alone() -> None:
    space, prior, _, encoded, values = _measured()
    posterior = fit_posterior(space, prior, encoded, values)
    test = space.sample(np.random.default_rng(6), 50)
    _, derivative = log_costs(posterior.mean, *encoded_coordinates(space, test))
    expected = 1.15 * np.sqrt(np.einsum("ij,jk,ik->i", derivative, posterior.covariance, derivative))
    np.testing.assert_allclose(posterior.log_deviation(extract(space, test)), expected, rtol=1e-10)
    layers = int(space.n_layer(test[:1])[0])
    shuffled = test[:1].copy()
    shuffled[0, 3 : 3 + 2 * layers : 2] = np.random.default_rng(0).permutation(test[0, 3 : 3 + 2 * layers : 2])
    both = posterior.log_deviation(extract(space, np.concatenate([test[:1], shuffled])))
    assert both[0] == both[1]


def test_more_visits_count_more() -> None:
    space, prior, _, encoded, values = _measured()
    spoiled = values.copy()
    spoiled[5] *= 1.05
    known = np.ones(len(values))
    trusted, doubted = known.copy(), known.copy()
    trusted[5], doubted[5] = 0.5, 4.0
    ratios = [
        fit_posterior(space, prior, encoded, spoiled, own).model.predict(encoded[5:6])[0] / values[5]
        for own in (trusted, known, doubted)
    ]
    assert ratios[0] > ratios[1] > ratios[2]


def test_what_a_fit_refuses() -> None:
    space, prior, _, encoded, values = _measured()
    with pytest.raises(ValueError, match="at least 3 architectures must be measured at a scale, got 2"):
        fit_posterior(space, prior, encoded[:2], values[:2])
    narrow = encoded[:, 0] < 2
    with pytest.raises(ValueError, match="no architecture of embedding width 768 was measured"):
        fit_posterior(space, prior, encoded[narrow], values[narrow])
    for bad in (0.0, -1.0, np.nan, np.inf):
        wrong = values.copy()
        wrong[4] = bad
        with pytest.raises(ValueError, match=f"must be positive and finite, {space.decode(encoded[4:5])[0]} has"):
            fit_posterior(space, prior, encoded, wrong)
    posterior = fit_posterior(space, prior, encoded, values)
    for changes, message in (
        ({"mean": posterior.mean[:3]}, r"mean must have shape \(42,\)"),
        ({"covariance": np.triu(posterior.covariance)}, "symmetric"),
        ({"covariance": -posterior.covariance}, "negative eigenvalue"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"mean": posterior.mean * np.nan}, "mean must be finite"),
    ):
        given = {"mean": posterior.mean, "covariance": posterior.covariance, "sigma": posterior.sigma, **changes}
        with pytest.raises(ValueError, match=message):
            CostPosterior(space, **given)


def test_reading_a_posterior_loads_nothing_heavy() -> None:
    code = (
        "import sys, hwgpt_gym.onboarding.posterior\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'scipy', 'pydantic', 'stable_baselines3', 'safetensors'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
