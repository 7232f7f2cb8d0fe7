"""What runs an architecture and says how long it took: an interface, and any program of the user's."""

from __future__ import annotations

import platform
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from hwgpt_gym.onboarding.records import Conditions, Timing

if TYPE_CHECKING:
    from hwgpt_gym.onboarding.onnx_backend import OnnxFiles

Run = Callable[[], list[Timing]]
"""Runs an architecture once or several times, and returns the time of each run."""

COMMAND_TIMEOUT: Final = 600.0
"""Seconds after which a program is taken for one that hangs."""


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


class CommandBackend:
    """Any program that prints milliseconds: a phone, an NPU, a remote board.

    Args:
        command: The program and its arguments, in which ``{name}`` stands for the architecture's name and ``{onnx}``
            for the path of an ONNX file of it. It is run without a shell, and has to print one number or more: the
            milliseconds of each run.
        conditions: The conditions of its measurements.

    Raises:
        ValueError: If the command names neither the architecture nor its file.
    """

    warms_up = False

    def __init__(self, command: str, conditions: Conditions) -> None:
        self._arguments = shlex.split(command)
        if not any(key in command for key in ("{name}", "{onnx}")):
            raise ValueError(f"command must contain {{name}} or {{onnx}}, got {command!r}")
        self.conditions = conditions
        self._files: OnnxFiles | None = None
        if "{onnx}" in command:
            from hwgpt_gym.onboarding.onnx_backend import OnnxFiles

            self._files = OnnxFiles(conditions)

    def prepare(self, name: str) -> Run:
        """Return what runs the program for an architecture."""
        onnx = "" if self._files is None else str(self._files.path(name))
        arguments = [item.replace("{name}", name).replace("{onnx}", onnx) for item in self._arguments]
        return lambda: _call(arguments)


def _call(arguments: list[str]) -> list[Timing]:
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{arguments[0]} was not done after {COMMAND_TIMEOUT:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise RuntimeError(f"{arguments[0]} ended with code {done.returncode} and said: {last}")
    try:
        times = [float(word) for word in done.stdout.split()]
    except ValueError:
        times = []
    if not times or not all(0.0 < item < float("inf") for item in times):
        raise RuntimeError(f"{arguments[0]} must print milliseconds, positive numbers, got {done.stdout[:80]!r}")
    return [{"wall": item} for item in times]


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
