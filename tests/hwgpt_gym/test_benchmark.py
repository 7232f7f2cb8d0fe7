"""The benchmark's interface, on the shipped surrogates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwgpt_gym import DEVICES, METRICS, Architecture, Benchmark, analytic

SCALES = ("s", "m", "l")
DEVICE_FREE = [key for key, metric in METRICS.items() if not metric.per_device]


@pytest.mark.parametrize("scale", SCALES)
def test_every_metric_of_every_device_is_positive_and_finite(scale: str) -> None:
    bench = Benchmark(scale, "all")
    encoded = bench.space.sample(np.random.default_rng(0), 2000)
    metrics = bench.evaluate(encoded)
    assert list(metrics) == list(METRICS)
    for key, values in metrics.items():
        assert values.dtype == np.float64
        assert values.shape == ((2000, 13) if METRICS[key].per_device else (2000,))
        assert np.isfinite(values).all()
        assert (values > 0).all(), key
        # Also at the extremes of the space, which no sample reaches.
        assert np.all(np.asarray(bench.extremes(key)[0]) > 0), key
    np.testing.assert_array_equal(metrics["params"], analytic.params(bench.space, encoded))
    np.testing.assert_array_equal(metrics["flops"], analytic.flops(bench.space, encoded))


@pytest.mark.parametrize("scale", SCALES)
def test_one_device_several_and_each_its_own_agree(scale: str) -> None:
    names = ["h100", "cpu_amd_7452", "a6000"]
    several = Benchmark(scale, names)
    encoded = several.space.sample(np.random.default_rng(1), 9000)
    together = several.evaluate(encoded)
    own = np.random.default_rng(2).integers(3, size=len(encoded))
    each = several.evaluate_on(encoded, own)
    for position, name in enumerate(names):
        alone = Benchmark(scale, name).evaluate(encoded)
        for key, values in alone.items():
            column = together[key][:, position] if METRICS[key].per_device else together[key]
            np.testing.assert_array_equal(values, column)
            np.testing.assert_array_equal(each[key][own == position], values[own == position])


def test_results_do_not_depend_on_the_batch_or_on_what_else_is_asked() -> None:
    bench = Benchmark("l", "v100")
    encoded = bench.space.sample(np.random.default_rng(3), 5000)
    whole = bench.evaluate(encoded)
    for key in METRICS:
        np.testing.assert_array_equal(bench.evaluate(encoded[4321:4322], [key])[key], whole[key][4321:4322])
    assert list(bench.evaluate(encoded[:5], ["flops", "perplexity"])) == ["flops", "perplexity"]
    assert all(values.shape == (0,) for values in bench.evaluate(encoded[:0]).values())


def test_query_takes_every_form_of_an_architecture() -> None:
    bench = Benchmark("s", "P100")
    architecture = Architecture.decode(bench.space.sample(np.random.default_rng(4), 1), "s")
    expected = {key: float(values[0]) for key, values in bench.evaluate(architecture.encode()).items()}
    config = {**architecture.to_config(), "sample_bias": str(architecture.bias)}
    for form in (architecture, architecture.to_string(), config):
        assert bench.query(form) == expected
    several = Benchmark("s", ["P100", "a40"]).query(architecture)
    assert several["latency_ms"]["p100"] == expected["latency_ms"]
    assert several["perplexity"] == expected["perplexity"]


def test_without_a_device_there_are_the_metrics_that_need_none() -> None:
    bench = Benchmark("m", device=None)
    encoded = bench.space.sample(np.random.default_rng(5), 3)
    assert list(bench.evaluate(encoded)) == DEVICE_FREE
    assert list(bench.measure(encoded, np.random.default_rng(0))) == DEVICE_FREE
    with pytest.raises(ValueError, match="metric 'latency_ms' depends on the device"):
        bench.evaluate(encoded, ["latency_ms"])
    with pytest.raises(ValueError, match="depends on the device"):
        bench.extremes("energy_j")


def test_measurements_are_seeded_and_scatter_around_predictions() -> None:
    bench = Benchmark("s", ["a100", "cpu_xeon_gold"])
    encoded = np.repeat(bench.space.sample(np.random.default_rng(6), 1), 20_000, axis=0)
    predicted = bench.evaluate(encoded[:1])
    measured = bench.measure(encoded, np.random.default_rng(7))
    again = bench.measure(encoded, np.random.default_rng(7), metrics=["energy_j"])
    np.testing.assert_array_equal(again["energy_j"], measured["energy_j"])
    for key in METRICS:
        if METRICS[key].per_device:
            assert measured[key].std(axis=0).min() > 0
            # Predictions refer to the machine's median state.
            np.testing.assert_allclose(np.median(measured[key], axis=0), predicted[key][0], rtol=0.1)
        else:
            assert np.all(measured[key] == predicted[key])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("metric", ["latency_ms", "bfloat16_memory_mb", "params"])
def test_cost_quantiles_are_those_of_the_samples(scale: str, metric: str) -> None:
    bench = Benchmark(scale, "a40")
    values = np.sort(bench.evaluate(bench.space.sample(np.random.default_rng(8), 200_000), [metric])[metric])
    for level in (0.01, 0.25, 0.5, 0.9):
        quantile = bench.quantile(metric, level)
        # The share of samples below must be the level, to five standard errors.
        below, at_most = np.searchsorted(values, [quantile * (1 - 1e-9), quantile * (1 + 1e-9)]) / len(values)
        tolerance = 5 * np.sqrt(level * (1 - level) / len(values))
        assert below - tolerance <= level <= at_most + tolerance
    assert (bench.quantile(metric, 0.0), bench.quantile(metric, 1.0)) == bench.extremes(metric)


@pytest.mark.parametrize("metric", ["perplexity", "accuracy"])
def test_quality_quantiles_are_those_of_the_samples(metric: str) -> None:
    bench = Benchmark("s", None)
    values = bench.evaluate(bench.space.sample(np.random.default_rng(9), 200_000), [metric])[metric]
    assert bench.quantile(metric, 0.5) == pytest.approx(np.quantile(values, 0.5), rel=1e-3)
    assert bench.quantile(metric, 0.1) < bench.quantile(metric, 0.9)


def test_quantiles_and_extremes_of_several_devices() -> None:
    several = Benchmark("s", ["a100", "h100"])
    for position, name in enumerate(("a100", "h100")):
        one = Benchmark("s", name)
        assert several.quantile("latency_ms", 0.3)[position] == one.quantile("latency_ms", 0.3)
        assert several.extremes("energy_j")[1][position] == one.extremes("energy_j")[1]
    assert several.quantile("params", 0.3) == Benchmark("s", None).quantile("params", 0.3)


@pytest.mark.parametrize("metric", METRICS)
def test_layer_effects_are_differences_of_means(metric: str) -> None:
    bench = Benchmark("s", "a100")
    effects = bench.layer_effects(metric)
    assert list(effects.columns) == [
        "metric", "embed_dim", "layer", "decision", "value", "effect", "effect_percent",
    ]  # fmt: skip
    assert len(effects) == 3 * 12 * 2 * 3
    sums = effects.groupby(["embed_dim", "layer", "decision"])["effect"].sum()
    assert np.abs(sums).max() < 1e-9 * np.abs(effects["effect"]).max()

    encoded = bench.space.sample(np.random.default_rng(10), 400_000)
    encoded = encoded[encoded[:, 0] == 2]
    values = bench.evaluate(encoded, [metric])[metric]
    if metric == "perplexity":
        values = np.log(values)
    choice = encoded[:, 3 + 2 * 4 + 1]
    means = np.array([values[choice == k].mean() for k in range(3)])
    errors = np.array([values[choice == k].std() / np.sqrt((choice == k).sum()) for k in range(3)])
    chosen = effects.query("embed_dim == 768 and layer == 4 and decision == 'n_head'")["effect"].to_numpy()
    np.testing.assert_array_less(np.abs(chosen - (means - means.mean())), 5 * errors + 1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": "xl"}, "scale must be one of"),
        ({"device": "a600"}, "unknown device 'a600': did you mean"),
        ({"device": []}, "device must name at least one device"),
        ({"device": ["a100", "A100"]}, "must not repeat a device"),
        ({"device": ["a100", "tpu"]}, "unknown device 'tpu'"),
    ],
)
def test_wrong_construction_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Benchmark(**arguments)


def test_wrong_arguments_are_refused() -> None:
    bench = Benchmark("s", "a100")
    encoded = bench.space.sample(np.random.default_rng(0), 2)
    with pytest.raises(ValueError, match="unknown metric 'latency': did you mean 'latency_ms'"):
        bench.evaluate(encoded, ["latency"])
    with pytest.raises(TypeError, match="metrics must be a list"):
        bench.evaluate(encoded, "latency_ms")
    with pytest.raises(ValueError, match=r"shape \(n, 27\)"):
        bench.evaluate(encoded[:, :5])
    with pytest.raises(ValueError, match=r"level must be a number from 0\.0 to 1\.0, got 30"):
        bench.quantile("latency_ms", 30)
    with pytest.raises(ValueError, match="unknown metric 'params'"):
        bench.chain_model("params")
    with pytest.raises(ValueError, match="unknown metric 'perplexity'"):
        bench.count_model("perplexity")
    with pytest.raises(ValueError, match="device must hold 2 positions from 0 to 0"):
        bench.evaluate_on(encoded, np.array([0, 1]))
    with pytest.raises(ValueError, match="of one device"):
        Benchmark("s", list(DEVICES)[:2]).layer_effects("latency_ms")
    with pytest.raises(ValueError, match=r"sample_n_layer must be one of \[10, 11, 12\]"):
        bench.query({"sample_embed_dim": 320, "sample_n_layer": 34, "sample_mlp_ratio": [2] * 34,
                     "sample_n_head": [8] * 34, "sample_bias": True})  # fmt: skip
    with pytest.raises(ValueError, match="is of scale 'l', this space is of scale 's'"):
        bench.query(Architecture("l", 320, 34, (2,) * 34, (8,) * 34, True))


def test_the_view_of_one_of_several_devices() -> None:
    several = Benchmark("s", ["h100", "cpu_amd_7502"])
    view = several.on("CPU_AMD_7502")
    assert several.on(DEVICES["cpu_amd_7502"]) is view
    assert view.device is DEVICES["cpu_amd_7502"]
    encoded = several.space.sample(np.random.default_rng(0), 20)
    np.testing.assert_array_equal(view.evaluate(encoded)["energy_j"], several.evaluate(encoded)["energy_j"][:, 1])
    assert view.on("cpu_amd_7502") is view
    assert view.quantile("latency_ms", 0.3) == several.quantile("latency_ms", 0.3)[1]
    with pytest.raises(ValueError, match=r"device must be one of \['h100', 'cpu_amd_7502'\], got 'a100'"):
        several.on("a100")
    with pytest.raises(ValueError, match="unknown device"):
        several.on("tpu")
    with pytest.raises(ValueError, match=r"bench.on\(device\)"):
        several.count_model("latency_ms")
    assert several.count_model("params").base.shape == (3, 3, 2)
