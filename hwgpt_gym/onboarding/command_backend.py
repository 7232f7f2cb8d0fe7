"""Running architectures by any program of the user's."""

from __future__ import annotations

import shlex
import subprocess
from typing import Final

from hwgpt_gym.checks import LONGEST_ECHO, echo
from hwgpt_gym.onboarding.backends import Run
from hwgpt_gym.onboarding.onnx_backend import OnnxFiles
from hwgpt_gym.onboarding.records import Conditions, Timing

COMMAND_TIMEOUT: Final = 600.0
"""Seconds after which a program is taken for one that hangs."""


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
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"command is no command line ({error}), got {echo(command)}") from None
        if not any(key in command for key in ("{name}", "{onnx}")):
            raise ValueError(f"command must contain {{name}} or {{onnx}}, got {echo(command)}")
        self.conditions = conditions
        self._files = OnnxFiles(conditions) if "{onnx}" in command else None

    def prepare(self, name: str) -> Run:
        """Return what runs the program for an architecture."""
        onnx = "" if self._files is None else str(self._files.path(name))
        arguments = [item.replace("{name}", name).replace("{onnx}", onnx) for item in self._arguments]
        return lambda: _call(arguments)


def _call(arguments: list[str]) -> list[Timing]:
    try:
        done = subprocess.run(
            arguments, capture_output=True, encoding="utf-8", errors="replace", timeout=COMMAND_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{arguments[0]} was not done after {COMMAND_TIMEOUT:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise RuntimeError(f"{arguments[0]} ended with code {done.returncode} and said: {last[:LONGEST_ECHO]}")
    try:
        times = [float(word) for word in done.stdout.split()]
    except ValueError:
        times = []
    if not times or not all(0.0 < item < float("inf") for item in times):
        raise RuntimeError(f"{arguments[0]} must print milliseconds, positive numbers, got {done.stdout[:80]!r}")
    return [{"wall": item} for item in times]
