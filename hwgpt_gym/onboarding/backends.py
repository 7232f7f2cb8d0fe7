"""What runs an architecture and says how long it took."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from hwgpt_gym.onboarding.records import Conditions, Timing

Run = Callable[[], list[Timing]]
"""Runs an architecture once or several times, and returns the time of each run."""


class Backend(Protocol):
    """What runs architectures.

    Attributes:
        conditions: The conditions of its measurements.
        warms_up: Whether a run right before one that counts makes a difference.
    """

    conditions: Conditions
    warms_up: bool

    def prepare(self, name: str) -> Run:
        """Return what runs the architecture of a name."""
        ...


@runtime_checkable
class LayerBackend(Protocol):
    """A backend that can read the clocks within a forward pass."""

    def prepare_layers(self, name: str) -> Callable[[], dict[str, list[float]]]:
        """Return what runs an architecture once, and returns the milliseconds of its parts by clock."""
        ...


def timed(run: Callable[[], object], *, one_thread: bool) -> Timing:
    """Run something and read the clocks; the processor's only where one thread does all."""
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    run()
    cpu_ms, wall_ms = (time.thread_time_ns() - cpu) / 1e6, (time.perf_counter_ns() - wall) / 1e6
    # A clock that has not moved says nothing.
    return {"wall": wall_ms, "cpu": cpu_ms} if one_thread and cpu_ms > 0.0 else {"wall": wall_ms}


def processor_name() -> str:
    """Return the name of the host's processor as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
