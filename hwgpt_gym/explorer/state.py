"""What a page shows, as one value, and as the query of the page's address.

The address is all the state there is: a link reproduces a page, and two pages have nothing in common. What is wrong
in an address is said in a message and replaced by the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import numpy as np

from hwgpt_gym.checks import check_choice, echo, suggest
from hwgpt_gym.devices import Device
from hwgpt_gym.metrics import COST_METRICS, get_metric
from hwgpt_gym.objective import Limit, Objective
from hwgpt_gym.onboarding.devices import ProfiledDevice
from hwgpt_gym.search_space import NOT_SET, SEARCH_SPACES, Architecture, get_search_space, read_architecture

AXES: Final = ("linear", "log")
"""What the axis of the cost can be."""

MOST_DEVICES: Final = 4
"""Devices side by side: more colours and dashes than these are hard to tell apart."""

MOST_LIMITS: Final = 4
MOST_COMPARED: Final = 40
_LONGEST_LABEL: Final = 60

Compared = tuple[str, Architecture]
"""An architecture to compare, behind what it is called."""


@dataclass(frozen=True)
class State:
    """What a page shows.

    Attributes:
        scale: The search space.
        devices: Names of the devices side by side, the first one first.
        cost: The cost along the axis.
        axis: ``"linear"`` or ``"log"``.
        limits: The limits, as of :class:`~hwgpt_gym.objective.Objective`, in the order of their costs.
        architecture: What is looked at; ``None`` for the optimum of the first device.
        compared: Architectures to compare.
    """

    scale: str = "s"
    devices: tuple[str, ...] = ("a6000",)
    cost: str = "latency_ms"
    axis: str = "linear"
    limits: tuple[tuple[str, Limit], ...] = (("latency_ms", "p50"),)
    architecture: Architecture | None = None
    compared: tuple[Compared, ...] = ()

    @property
    def objective(self) -> Objective:
        """The best perplexity within the limits."""
        return Objective(dict(self.limits))

    def with_limit(self, metric: str, limit: Limit | None) -> State:
        """Return the state with another limit of a cost, or with none; what is looked at is then the optimum."""
        limits = {**dict(self.limits), metric: limit}
        kept = tuple((key, limits[key]) for key in COST_METRICS if limits.get(key) is not None)
        return replace(self, limits=kept, architecture=None)  # type: ignore[arg-type]

    def on_scale(self, scale: str) -> State:
        """Return the state in another search space, where architectures of this one mean nothing."""
        return self if scale == self.scale else replace(self, scale=scale, architecture=None)

    @property
    def compared_here(self) -> list[Compared]:
        """The architectures to compare that are of this search space."""
        return [item for item in self.compared if item[1].scale == self.scale]


def encode_architecture(architecture: Architecture) -> str:
    """Write an architecture in few characters: the scale, and a digit for each choice."""
    choices = architecture.encode()[0]
    return architecture.scale + "".join(map(str, choices[choices != NOT_SET].tolist()))


def decode_architecture(code: str) -> Architecture:
    """Read what :func:`encode_architecture` wrote, or the whole name of an architecture.

    Raises:
        ValueError: If it is neither.
    """
    if not isinstance(code, str) or code.startswith("gpt-"):
        return read_architecture(code)
    space = SEARCH_SPACES.get(code[:1])
    digits = code[1:]
    if space is None or not (digits.isascii() and digits.isdigit()) or len(digits) > space.num_decisions:
        raise ValueError(f"no architecture is written {echo(code)}")
    encoded = np.full((1, space.num_decisions), NOT_SET, dtype=np.int8)
    encoded[0, : len(digits)] = [int(digit) for digit in digits]
    return space.decode(encoded)[0]


def check_device_at(device: Device, scale: str) -> None:
    """Check that a device was measured at a scale.

    Raises:
        ValueError: If it was not.
    """
    if isinstance(device, ProfiledDevice) and scale not in device.metrics:
        raise ValueError(f"the device {device.name!r} was not measured at scale {scale!r}")


def write_query(state: State) -> str:
    """Return the query of the address that shows a state, with its question mark."""
    pairs = [("scale", state.scale), *(("device", name) for name in state.devices)]
    pairs += [("cost", state.cost), ("axis", state.axis)]
    pairs += [("limit", f"{key}:{limit}") for key, limit in state.limits] or [("limit", "none")]
    if state.architecture is not None:
        pairs.append(("architecture", encode_architecture(state.architecture)))
    pairs += [("compare", f"{label}:{encode_architecture(item)}") for label, item in state.compared]
    return "?" + urlencode(pairs, safe=":", quote_via=quote)


Value = TypeVar("Value")


def read_query(query: str, devices: Mapping[str, Device], default: State) -> tuple[State, list[str]]:
    """Read the query of an address.

    Args:
        query: The query, with or without its question mark.
        devices: The devices that can be shown, by name.
        default: What is shown where the query says nothing, or something wrong.

    Returns:
        The state, and what was wrong, in sentences.
    """
    wrong: list[str] = []
    given: dict[str, list[str]] = {}
    for key, value in parse_qsl(query.removeprefix("?"), keep_blank_values=True):
        given.setdefault(key, []).append(value)
    legal = ("scale", "device", "cost", "axis", "limit", "architecture", "compare")
    wrong += [f"The address says {key!r}: {suggest(key, legal)}." for key in given if key not in legal]

    def read(key: str, of: Callable[[list[str]], Value], otherwise: Value) -> Value:
        if key not in given:
            return otherwise
        try:
            return of(given[key])
        except (ValueError, TypeError) as error:
            wrong.append(f"The address has a wrong {key}: {error}.")
            return otherwise

    scale = read("scale", lambda values: get_search_space(values[-1]).scale, default.scale)
    names = read("device", lambda values: read_devices(values, devices, scale), default.devices)
    state = State(
        scale,
        names,
        read("cost", lambda values: get_metric(values[-1], COST_METRICS).key, default.cost),
        read("axis", lambda values: _read_axis(values[-1]), default.axis),
        read("limit", _read_limits, default.limits),
        read("architecture", lambda values: _of_scale(decode_architecture(values[-1]), scale), None),
        read("compare", lambda values: tuple(map(_read_compared, values[:MOST_COMPARED])), default.compared),
    )
    try:
        # Those that the address does not name are the default's, which may not be known at its scale.
        for name in names:
            check_device_at(devices[name], scale)
    except ValueError as error:
        wrong.append(f"{sentence_of(error)}.")
        state = state.on_scale(default.scale)
    return state, wrong


def read_devices(names: list[str], devices: Mapping[str, Device], scale: str) -> tuple[str, ...]:
    """Return the devices to show side by side.

    Args:
        names: Their names, whatever the case of shipped ones.
        devices: The devices that can be shown, by name.
        scale: The search space.

    Raises:
        ValueError: If one cannot be shown, is there twice, or they are none or too many.
    """
    found = []
    for name in names:
        known = name if name in devices else name.lower()
        if known not in devices:
            raise ValueError(f"unknown device {echo(name)}: {suggest(name, list(devices))}")
        check_device_at(devices[known], scale)
        found.append(known)
    if not 1 <= len(set(found)) == len(found) <= MOST_DEVICES:
        raise ValueError(f"from 1 to {MOST_DEVICES} different devices can be side by side, got {found}")
    return tuple(found)


def read_limit(text: str) -> Limit:
    """Read a limit: a quantile as it is, a number as one."""
    try:
        return float(text)
    except ValueError:
        return text


def clean_label(label: str) -> str:
    """Return what something to compare is called, short and in one line."""
    return " ".join(label.split())[:_LONGEST_LABEL] or "architecture"


def sentence_of(error: Exception) -> str:
    """Return what an error says, as a sentence of a page."""
    text = str(error)
    return text[:1].upper() + text[1:]


def _read_axis(text: str) -> str:
    check_choice("axis", text, AXES)
    return text


def _read_limits(values: list[str]) -> tuple[tuple[str, Limit], ...]:
    if values == ["none"]:
        return ()
    limits: dict[str, Any] = {}
    for text in values:
        metric, _, limit = text.partition(":")
        if metric in limits:
            raise ValueError(f"{metric!r} is bounded twice")
        limits[metric] = read_limit(limit)
    if len(limits) > MOST_LIMITS:
        raise ValueError(f"at most {MOST_LIMITS} costs can be bounded, got {len(limits)}")
    checked = Objective(limits).constraints
    return tuple((key, checked[key]) for key in COST_METRICS if key in checked)


def _read_compared(text: str) -> Compared:
    label, _, code = text.rpartition(":")
    return clean_label(label), decode_architecture(code)


def _of_scale(architecture: Architecture, scale: str) -> Architecture:
    if architecture.scale != scale:
        raise ValueError(f"{str(architecture)!r} is not of scale {scale!r}")
    return architecture
