"""The thirteen devices of HW-GPT-Bench, and the conditions under which each metric was profiled.

Numbers of different scales do not compare where the batch sizes differ, nor do the energy and the latency of one
scale; :meth:`Device.conditions` says under which conditions a number holds. The source of the conditions is
upstream's profiling code and raw results (https://github.com/automl/HW-GPT-Bench, commit c730d4b).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from hwgpt_gym.checks import check_choice, check_type, echo, suggest

SEQUENCE_LENGTH: Final = 1024
"""Tokens in a sequence, for every metric."""

LATENCY_BATCH_SIZES: Final = {"s": 8, "m": 4, "l": 1}
"""Sequences in a batch by scale: latency, memory, and the energy of CPUs."""

GPU_ENERGY_BATCH_SIZE: Final = 8
"""Sequences in a batch when the energy of GPUs was measured, at every scale."""


@dataclass(frozen=True)
class ProfilingConditions:
    """How a metric was measured.

    Attributes:
        batch_size: Sequences in the batch of one forward pass.
        sequence_length: Tokens in a sequence.
        precision: The arithmetic, ``"bfloat16"``, ``"float16"`` or ``"float32"``.
        repeats: How often each architecture was measured; ``None`` where upstream kept only two moments.
        method: What was read off.
    """

    batch_size: int
    sequence_length: int
    precision: str
    repeats: int | None
    method: str

    def __str__(self) -> str:
        repeats = "" if self.repeats is None else f", {self.repeats} repeat{'s' * (self.repeats > 1)}"
        return f"batch {self.batch_size} × {self.sequence_length} tokens, {self.precision}{repeats}, {self.method}"


@dataclass(frozen=True)
class Device:
    """A device that HW-GPT-Bench profiled.

    Attributes:
        name: Its identifier, in lower case.
        label: Its name as a person writes it.
        kind: ``"gpu"`` or ``"cpu"``.
        precision: The arithmetic of its profiling, ``"bfloat16"``, ``"float16"`` or ``"float32"``.
    """

    name: str
    label: str
    kind: Literal["gpu", "cpu"]
    precision: Literal["bfloat16", "float16", "float32"]

    def __str__(self) -> str:
        return self.name

    def conditions(self, metric: str, scale: str) -> ProfilingConditions:
        """Return the conditions under which a metric was profiled on this device.

        Args:
            metric: ``"latency_ms"`` or ``"energy_j"``; other metrics do not depend on the device.
            scale: ``"s"``, ``"m"`` or ``"l"``.

        Raises:
            ValueError: If the metric does not depend on the device, or there is no such scale.
        """
        check_choice("scale", scale, sorted(LATENCY_BATCH_SIZES))
        batch_size = LATENCY_BATCH_SIZES[scale]
        repeats: int | None
        check_type("metric", metric, str, "'latency_ms' or 'energy_j'")
        if metric == "latency_ms":
            repeats = 1 if (self.name, scale) == ("cpu_amd_7513", "s") else 10
            kernels = "summed CUDA kernel time (torch profiler)"
            method = kernels if self.kind == "gpu" else "CPU time (torch profiler)"
        elif metric == "energy_j":
            if self.kind == "gpu":
                batch_size, repeats, method = GPU_ENERGY_BATCH_SIZE, 50, "average board power times time"
            else:
                repeats, method = None, "CodeCarbon's estimate"
        else:
            raise ValueError(
                f"metric must be 'latency_ms' or 'energy_j', which depend on the device, got {echo(metric)}"
            )
        return ProfilingConditions(batch_size, SEQUENCE_LENGTH, self.precision, repeats, method)


DEVICES: Final[dict[str, Device]] = {
    device.name: device
    for device in (
        Device("a100", "NVIDIA A100", "gpu", "bfloat16"),
        Device("a40", "NVIDIA A40", "gpu", "bfloat16"),
        Device("a6000", "NVIDIA RTX A6000", "gpu", "bfloat16"),
        Device("h100", "NVIDIA H100", "gpu", "bfloat16"),
        Device("p100", "NVIDIA P100", "gpu", "float16"),
        Device("rtx2080", "NVIDIA RTX 2080 Ti", "gpu", "float16"),
        Device("rtx3080", "NVIDIA RTX 3080", "gpu", "float16"),
        Device("v100", "NVIDIA V100", "gpu", "float16"),
        Device("cpu_xeon_silver", "Intel Xeon Silver", "cpu", "float32"),
        Device("cpu_xeon_gold", "Intel Xeon Gold", "cpu", "float32"),
        Device("cpu_amd_7502", "AMD EPYC 7502", "cpu", "float32"),
        Device("cpu_amd_7513", "AMD EPYC 7513", "cpu", "float32"),
        Device("cpu_amd_7452", "AMD EPYC 7452", "cpu", "float32"),
    )
}
"""The thirteen devices by name. Arrays over devices name their own (:attr:`Benchmark.devices`), in any order."""


def get_device(name: str) -> Device:
    """Return a device, whatever the case of its name.

    Raises:
        ValueError: If there is no such device; the message names the nearest ones.
    """
    device = DEVICES.get(name.lower()) if isinstance(name, str) else None
    if device is None:
        raise ValueError(f"unknown device {echo(name)}: {suggest(name, DEVICES)}")
    return device


def memory_conditions(metric: str, scale: str) -> ProfilingConditions:
    """Return the conditions under which a memory metric was profiled; it does not depend on the device.

    Raises:
        ValueError: If it is not a memory metric, or there is no such scale.
    """
    profiled_on = {"float16_memory_mb": "rtx2080", "bfloat16_memory_mb": "a100"}
    check_choice("metric", metric, sorted(profiled_on))
    check_choice("scale", scale, sorted(LATENCY_BATCH_SIZES))
    device = DEVICES[profiled_on[metric]]
    return ProfilingConditions(
        LATENCY_BATCH_SIZES[scale],
        SEQUENCE_LENGTH,
        device.precision,
        1,
        f"allocated GPU memory after a forward pass, {device.label}",
    )
