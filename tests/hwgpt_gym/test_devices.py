"""Devices, metrics and their look-up."""

from __future__ import annotations

import pytest

from hwgpt_gym import DEVICES, METRICS, get_device, get_metric
from hwgpt_gym.devices import memory_conditions

GPUS = ["a100", "a40", "a6000", "h100", "p100", "rtx2080", "rtx3080", "v100"]
CPUS = ["cpu_xeon_silver", "cpu_xeon_gold", "cpu_amd_7502", "cpu_amd_7513", "cpu_amd_7452"]


def test_the_thirteen_devices_in_order() -> None:
    assert list(DEVICES) == GPUS + CPUS
    assert [device.name for device in DEVICES.values() if device.kind == "cpu"] == CPUS


@pytest.mark.parametrize(
    ("written", "name"), [("P100", "p100"), ("A6000", "a6000"), ("CPU_Xeon_Gold", "cpu_xeon_gold")]
)
def test_look_up_ignores_case(written: str, name: str) -> None:
    assert get_device(written) is DEVICES[name]


@pytest.mark.parametrize("name", ["a600", "rtx3090", "tpu", ""])
def test_unknown_devices_are_refused_with_what_is_legal(name: object) -> None:
    with pytest.raises(ValueError, match=r"unknown device .*[lL]egal are a100, a40"):
        get_device(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", [None, 3])
def test_what_is_no_device_at_all_is_refused(device: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"device must be a name, a path, a device or a profile, got"):
        get_device(device)  # type: ignore[arg-type]


def test_near_misses_are_suggested() -> None:
    with pytest.raises(ValueError, match=r"unknown device 'a600': did you mean .*'a6000'"):
        get_device("a600")
    with pytest.raises(ValueError, match=r"unknown metric 'latency': did you mean .*'latency_ms'"):
        get_metric("latency")


@pytest.mark.parametrize(
    ("device", "metric", "scale", "batch_size", "precision", "repeats"),
    [
        ("a6000", "latency_ms", "s", 8, "bfloat16", 10),
        ("a6000", "latency_ms", "m", 4, "bfloat16", 10),
        ("h100", "latency_ms", "l", 1, "bfloat16", 10),
        ("p100", "energy_j", "l", 8, "float16", 50),
        ("cpu_amd_7513", "latency_ms", "s", 8, "float32", 1),
        ("cpu_amd_7513", "latency_ms", "m", 4, "float32", 10),
        ("cpu_xeon_gold", "energy_j", "l", 1, "float32", None),
    ],
)
def test_profiling_conditions(
    device: str, metric: str, scale: str, batch_size: int, precision: str, repeats: int | None
) -> None:
    conditions = DEVICES[device].conditions(metric, scale)
    assert (conditions.batch_size, conditions.precision, conditions.repeats) == (batch_size, precision, repeats)
    assert conditions.sequence_length == 1024
    assert f"batch {batch_size} × 1024 tokens" in str(conditions)
    assert ("repeats," in str(conditions)) == (repeats is not None and repeats > 1)
    assert ("1 repeat," in str(conditions)) == (repeats == 1)


def test_conditions_need_a_metric_and_a_scale_that_have_them() -> None:
    with pytest.raises(ValueError, match="metric must be 'latency_ms' or 'energy_j'"):
        DEVICES["a100"].conditions("params", "s")
    with pytest.raises(ValueError, match="scale must be one of"):
        DEVICES["a100"].conditions("latency_ms", "xl")
    assert memory_conditions("bfloat16_memory_mb", "m").batch_size == 4
    assert memory_conditions("float16_memory_mb", "s").precision == "float16"
    with pytest.raises(ValueError, match="metric must be one of"):
        memory_conditions("latency_ms", "s")
    with pytest.raises(ValueError, match="scale must be one of"):
        memory_conditions("float16_memory_mb", "")


def test_the_catalogue_of_metrics() -> None:
    assert list(METRICS) == [
        "perplexity",
        "accuracy",
        "latency_ms",
        "energy_j",
        "float16_memory_mb",
        "bfloat16_memory_mb",
        "params",
        "flops",
    ]
    assert [key for key, metric in METRICS.items() if metric.per_device] == ["latency_ms", "energy_j"]
    assert [key for key, metric in METRICS.items() if not metric.lower_is_better] == ["accuracy"]
    for metric in METRICS.values():
        assert not metric.unit or f"({metric.unit})" in metric.label
