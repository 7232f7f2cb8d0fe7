"""What a visitor does to a page: from one state to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from hwgpt_gym.checks import check_between, check_choice, check_integer, echo, is_number
from hwgpt_gym.explorer.compare import read_text, read_upload
from hwgpt_gym.explorer.decisions import flip
from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.explorer.state import (
    AXES,
    MOST_COMPARED,
    MOST_LIMITS,
    Compared,
    State,
    decode_architecture,
    read_devices,
)
from hwgpt_gym.metrics import COST_METRICS, get_metric
from hwgpt_gym.objective import Objective
from hwgpt_gym.search_space import Architecture

FIRST_LEVEL: Final = "p50"
"""The limit of a cost that was not bounded before."""


def act(explorer: Explorer, state: State, action: str, value: Any) -> State:
    """Return what a page shows after an action.

    Args:
        explorer: The explorer.
        state: What it showed.
        action: One of :data:`ACTIONS`, or ``"level"`` or ``"number"`` with a colon and the cost whose limit it sets: a
            quantile in percent, or a number in the metric's unit.
        value: What the action takes.

    Raises:
        ValueError: If it cannot be done; the message says why, and the page stays as it was.
        TypeError: If the value is of a wrong kind.
    """
    name, _, metric = action.partition(":")
    if metric:
        get_metric(metric, COST_METRICS)
        check_choice("action", name, ("level", "number"))
        return _bound(explorer, state, metric, value, name)
    check_choice("action", name, list(ACTIONS))
    return ACTIONS[name](explorer, state, value)


def looked_at(explorer: Explorer, state: State) -> Architecture:
    """Return the architecture that a page looks at: the one that was chosen, or the optimum of the first device.

    Raises:
        ValueError: As :meth:`Explorer.limits`.
    """
    if state.architecture is not None:
        return state.architecture
    return explorer.optimum(state, state.devices[0]).architecture


def _bound(explorer: Explorer, state: State, metric: str, value: Any, kind: str) -> State:
    if isinstance(value, str):
        value = float(value)
    if kind == "level":
        return state.with_limit(metric, f"p{check_between('the quantile', value, 0.0, 100.0):g}")
    if not is_number(value):
        raise ValueError(f"the limit must be a number, got {echo(value)}")
    bounded = state.with_limit(metric, float(value))
    for device in bounded.devices:
        Objective(dict(bounded.limits), penalty="hinge").bind(explorer.bench(bounded.scale, device))
    return bounded


def _choose_scale(explorer: Explorer, state: State, value: Any) -> State:
    check_choice("scale", value, explorer.scales(state))
    # Numbers in a unit mean something else in another space.
    limits = tuple((key, limit if isinstance(limit, str) else FIRST_LEVEL) for key, limit in state.limits)
    return state if value == state.scale else replace(state, scale=value, limits=limits, architecture=None)


def _choose_devices(explorer: Explorer, state: State, value: Any) -> State:
    # Those that were shown keep their places, and so their colours.
    names = [name for name in state.devices if name in value] + [name for name in value if name not in state.devices]
    chosen = replace(state, devices=read_devices(names, explorer.devices, state.scale))
    known = explorer.costs(chosen)
    limits = tuple((key, limit) for key, limit in chosen.limits if key in known)
    return replace(chosen, limits=limits, cost=chosen.cost if chosen.cost in known else known[0])


def _choose_cost(explorer: Explorer, state: State, value: Any) -> State:
    check_choice("cost", value, explorer.costs(state))
    return replace(state, cost=value)


def _choose_axis(explorer: Explorer, state: State, value: Any) -> State:
    check_choice("axis", value, AXES)
    return replace(state, axis=value)


def _choose_limited(explorer: Explorer, state: State, value: Sequence[str]) -> State:
    if len(value) > MOST_LIMITS:
        raise ValueError(f"at most {MOST_LIMITS} costs can be bounded")
    for metric in COST_METRICS:
        if (metric in value) != (metric in dict(state.limits)):
            check_choice("limit", metric, explorer.costs(state))
            state = state.with_limit(metric, FIRST_LEVEL if metric in value else None)
    return state


def _look_at(explorer: Explorer, state: State, value: Any) -> State:
    architecture = decode_architecture(value.strip() if isinstance(value, str) else value)
    return replace(state.on_scale(architecture.scale), architecture=architecture)


def _look_along(explorer: Explorer, state: State, value: Any) -> State:
    front = explorer.front(state.scale, state.devices[0], state.cost).front
    position = check_integer("the point", int(value), 0, len(front) - 1)
    return replace(state, architecture=front.space.decode(front.encoded[position : position + 1])[0])


def _flip(explorer: Explorer, state: State, value: Sequence[int]) -> State:
    column, choice = (int(number) for number in value)
    flipped = flip(explorer, state, state.devices[0], looked_at(explorer, state), (column, choice))
    return replace(state, architecture=flipped)


def _look_at_optimum(explorer: Explorer, state: State, value: Any) -> State:
    return replace(state, architecture=None)


def _paste(explorer: Explorer, state: State, value: str) -> State:
    return _compare(state, read_text(value or ""))


def _load(explorer: Explorer, state: State, value: Sequence[tuple[str, bytes]]) -> State:
    return _compare(state, [item for name, content in value for item in read_upload(name, content)])


def _compare_looked_at(explorer: Explorer, state: State, value: Any) -> State:
    return _compare(state, [(f"choice {len(state.compared) + 1}", looked_at(explorer, state))])


def _forget(explorer: Explorer, state: State, value: Any) -> State:
    return replace(state, compared=())


def _compare(state: State, found: Sequence[Compared]) -> State:
    compared = tuple(dict.fromkeys([*state.compared, *found]))
    if len(compared) > MOST_COMPARED:
        raise ValueError(f"at most {MOST_COMPARED} architectures can be compared, these would be {len(compared)}")
    return replace(state, compared=compared)


ACTIONS: Final[dict[str, Callable[[Explorer, State, Any], State]]] = {
    "scale": _choose_scale,
    "devices": _choose_devices,
    "cost": _choose_cost,
    "axis": _choose_axis,
    "limited": _choose_limited,
    "point": _look_at,
    "along": _look_along,
    "flip": _flip,
    "optimum": _look_at_optimum,
    "paste": _paste,
    "files": _load,
    "keep": _compare_looked_at,
    "forget": _forget,
}
"""What can be done, by name."""
