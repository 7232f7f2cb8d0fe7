"""The stand-in for upstream's programming interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwgpt_gym import DEVICES, Architecture, get_search_space
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.compat import HWGPT
from hwgpt_gym.dataset.measurements import JOULES_PER_WATT_HOUR, Dataset, load_dataset

ALL = ["latencies", "energies", "flops", "params", "float16_memory", "bfloat16_memory"]


@pytest.fixture(scope="module", params=["s", "m", "l"])
def scale(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def api(scale: str) -> HWGPT:
    api = HWGPT(search_space=scale, use_supernet_surrogate=False, seed=0)
    api.sample_arch()
    return api


def test_upstreams_example() -> None:
    api = HWGPT(search_space="s", use_supernet_surrogate=False)
    random_arch = api.sample_arch()
    api.set_arch(random_arch)
    results = api.query()
    assert list(results) == ALL
    energy = api.query(metric="energies")
    assert list(energy) == ["energies"]
    assert list(energy["energies"]) == api.device_list
    assert {name.lower() for name in api.device_list} == set(DEVICES)
    rtx2080 = api.query(device="rtx2080")
    assert {name: list(values) for name, values in rtx2080.items()} == {
        "latencies": ["rtx2080"],
        "energies": ["rtx2080"],
    }
    assert list(api.query(metric="perplexity", predictor="mlp")) == ["perplexity"]
    assert list(api.query(metric="perplexity", predictor="supernet")) == ["perplexity", "accuracy"]


def test_agrees_with_the_benchmark(api: HWGPT, scale: str) -> None:
    assert api.config is not None
    for name in api.device_list:
        expected = Benchmark(scale=scale, device=name).query(api.config)
        found = api.query(device=name, metric=[*ALL, "perplexity", "accuracy"])
        assert found["latencies"][name] == pytest.approx(expected["latency_ms"], rel=1e-12)
        assert found["energies"][name] == pytest.approx(1000 * expected["energy_j"] / 3600, rel=1e-12)
        for metric, key in (
            ("float16_memory", "float16_memory_mb"),
            ("bfloat16_memory", "bfloat16_memory_mb"),
            ("perplexity", "perplexity"),
            ("accuracy", "accuracy"),
            ("params", "params"),
            ("flops", "flops"),
        ):
            assert found[metric] == pytest.approx(expected[key], rel=1e-12)


def test_units_are_those_of_the_measurements(dataset_path: Any, scale: str) -> None:
    dataset: Dataset = load_dataset(dataset_path)
    measurements = dataset[scale]
    api = HWGPT(scale, use_supernet_surrogate=False)
    rows = range(0, len(measurements), 1500)
    for row in rows:
        api.set_arch(Architecture.from_string(measurements.names[row]).to_config())
        found = api.query()
        for name in ("a100", "P100", "cpu_xeon_gold"):
            device = measurements.device(name)
            watt_hours = np.median(device.energy_j[row]) / JOULES_PER_WATT_HOUR
            # Loose enough for the drift of the machines; units would be off by a factor of 1,000.
            assert found["latencies"][name] == pytest.approx(float(np.median(device.latency_ms[row])), rel=0.5)
            assert found["energies"][name] == pytest.approx(1000 * float(watt_hours), rel=0.7)
        assert found["float16_memory"] == pytest.approx(measurements.float16_memory_mb[row], rel=0.015)


def test_supernet_surrogate_adds_quality(scale: str) -> None:
    api = HWGPT(scale, seed=0)
    api.sample_arch()
    assert list(api.query()) == [*ALL, "perplexity", "accuracy"]
    assert list(api.query(metric="flops", device="a40")) == ["flops", "perplexity", "accuracy"]


def test_getters(api: HWGPT) -> None:
    results = api.query(metric=[*ALL, "perplexity"], device=["h100", "V100"])
    assert api.get_flops() == results["flops"]
    assert api.get_params() == results["params"]
    assert isinstance(api.get_params(), int)
    assert api.get_memory("float16_memory") == results["float16_memory"]
    assert api.compute_predictions_ppl() == results["perplexity"]
    assert api.compute_predictions_hw("energies", "h100") == results["energies"]["h100"]
    assert list(results["latencies"]) == ["h100", "V100"]


def test_create_model(scale: str) -> None:
    import torch

    api = HWGPT(scale, seed=3)
    api.sample_arch()
    with torch.device("meta"):
        assert api.create_model().num_parameters() == api.get_params()


def test_seed(scale: str) -> None:
    def run(seed: int) -> list[Any]:
        api = HWGPT(scale, seed=seed, noise=True)
        return [(api.sample_arch(), api.query()) for _ in range(3)]

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_noise(api: HWGPT, scale: str) -> None:
    noisy = HWGPT(scale, use_supernet_surrogate=False, seed=0, noise=True)
    assert api.config is not None
    noisy.set_arch(api.config)
    assert api.query() == api.query()
    first, second = noisy.query(), noisy.query()
    for name in api.device_list:
        assert first["latencies"][name] != second["latencies"][name]
        assert first["energies"][name] != second["energies"][name]
    for metric in ALL[2:]:
        assert first[metric] == second[metric] == api.query()[metric]
    observed = [noisy.query(metric="latencies", device="a40")["latencies"]["a40"] for _ in range(99)]
    median = api.query(metric="latencies", device="a40")["latencies"]["a40"]
    assert np.median(observed) == pytest.approx(median, rel=0.05)


def test_configurations_as_upstream_writes_them(api: HWGPT, scale: str) -> None:
    assert api.config is not None
    expected = api.query()
    layers = get_search_space(scale).max_layers
    padding = {key: [*api.config[key], *[2] * layers][:layers] for key in ("sample_mlp_ratio",)}
    assert api.config["sample_bias"] in ("True", "False")
    for bias in (api.config["sample_bias"], api.config["sample_bias"] == "True"):
        api.set_arch({**api.config, **padding, "sample_bias": bias})
        assert api.query() == expected


def test_choices_are_upstreams(scale: str) -> None:
    api = HWGPT(scale)
    space = get_search_space(scale)
    assert api.search_space["embed_dim_choices"] == list(space.embed_dims)
    assert api.search_space["n_layer_choices"] == list(space.depths)
    assert api.search_space["bias_choices"] == ["True", "False"]
    assert api.search_space_name == scale


def test_bad_input(api: HWGPT, scale: str) -> None:
    before = api.config
    assert before is not None
    with pytest.raises(ValueError, match="call set_arch or sample_arch"):
        HWGPT(scale).query()
    with pytest.raises(ValueError, match="unknown metric 'latency'"):
        api.query(metric="latency")
    with pytest.raises(ValueError, match="unknown device 'a101'"):
        api.query(device="a101")
    with pytest.raises(ValueError, match=r"predictor must be one of \['mlp', 'supernet'\], got 'gp'"):
        api.query(predictor="gp")
    with pytest.raises(ValueError, match="sample_n_layer must be one of"):
        api.set_arch({**before, "sample_n_layer": 7})
    with pytest.raises(ValueError, match="objective must be"):
        api.get_memory("memory")
    with pytest.raises(ValueError, match="hw_metric must be one of"):
        api.compute_predictions_hw("flops", "a100")
    with pytest.raises(ValueError, match="scale must be one of"):
        HWGPT("xl")
    assert api.config == before
