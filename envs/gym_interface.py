"""What the scalar and the vector environment share of Gymnasium's interface: spaces, checks, information."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from hwgpt_gym.checks import check_array, echo, suggest
from hwgpt_gym.envs.construction import NUM_ACTIONS, Lanes, ObservationLayout

Observation: TypeAlias = npt.NDArray[np.float32]

RENDER_MODES: Final = ("human", "rgb_array", "ansi")


def make_action_space(num_actions: int = NUM_ACTIONS) -> spaces.Space[np.int64]:
    """Return the action space: by default the choice of the next decision."""
    return spaces.Discrete(num_actions)


def make_observation_space(layout: ObservationLayout) -> spaces.Space[Observation]:
    """Return the observation space of one lane."""
    return spaces.Box(0.0, 1.0, shape=(layout.num_columns,), dtype=np.float32)


def check_render_mode(render_mode: str | None, legal: Sequence[str] = RENDER_MODES) -> None:
    """Check a render mode.

    Raises:
        ValueError: If it is neither ``None`` nor a legal one.
    """
    if render_mode is not None and render_mode not in legal:
        raise ValueError(f"render_mode must be None or one of {list(legal)}, got {echo(render_mode)}")


def check_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return an autoreset mode, given as it is or by its value.

    Raises:
        ValueError: If there is no such mode.
    """
    try:
        return AutoresetMode(mode if isinstance(mode, str | AutoresetMode) else "")
    except ValueError:
        values = {item.name.replace("_", "").lower(): item.value for item in AutoresetMode}
        near = values.get(echo(mode).strip("'").replace("_", "").replace("-", "").lower())
        raise ValueError(
            f"autoreset_mode must be one of {list(values.values())}, got {echo(mode)}"
            + (f": write autoreset_mode={near!r}" if near else "")
        ) from None


def refuse_unknown(unknown: Mapping[str, Any], environment: type) -> None:
    """Refuse arguments that an environment does not take, with the ones that may be meant.

    Raises:
        TypeError: If there is one.
    """
    for name, value in unknown.items():
        legal = [key for key in inspect.signature(environment).parameters if key != "unknown"]
        lanes = name == "n_envs" and "num_envs" in legal
        right = f"write num_envs={value!r}" if lanes else suggest(name, legal)
        # In Python's words: TorchRL takes an argument back where it reads them.
        raise TypeError(f"{environment.__name__}() got an unexpected keyword argument {name!r}: {right}")


def check_action(action: SupportsIndex, num_actions: int = NUM_ACTIONS) -> int:
    """Return an action as an integer; the rule of :func:`check_actions` for one.

    Raises:
        ValueError: If it is no integer from 0 to the last one; a bool is none.
    """
    try:
        choice = -1 if isinstance(action, bool | np.bool_) else operator.index(action)
    except TypeError:
        choice = -1
    if not 0 <= choice < num_actions:
        raise ValueError(f"action must be an integer from 0 to {num_actions - 1}, got {echo(action)}")
    return choice


def check_actions(actions: npt.ArrayLike, num_lanes: int, num_actions: int = NUM_ACTIONS) -> npt.NDArray[np.integer]:
    """Return the actions of all lanes as an array.

    Raises:
        TypeError: If they are no integers; a bool is none.
        ValueError: If they are not ``num_lanes`` from 0 to the last one.
    """
    array = check_array("actions", actions, "iu", f"{num_lanes} integers from 0 to {num_actions - 1}")
    if array.shape != (num_lanes,) or array.dtype.kind not in "iu":
        raise ValueError(f"actions must be {num_lanes} integers, got {array.dtype} of shape {array.shape}")
    if array.min() < 0 or array.max() >= num_actions:
        wrong = int(np.flatnonzero((array < 0) | (array >= num_actions))[0])
        raise ValueError(f"actions must be from 0 to {num_actions - 1}, got {array[wrong]} for lane {wrong}")
    # Unsigned integers of 64 bits would make floats beside signed ones.
    return array.astype(np.int64) if array.dtype == np.uint64 else array


def first_lane(info: dict[str, Any], as_numpy: bool = False) -> dict[str, Any]:
    """Turn information on one lane, arrays ``(1, …)``, into that of a scalar environment.

    Args:
        info: Arrays by key, or dictionaries of such.
        as_numpy: Whether numbers stay numpy's, whose type libraries can ask for, instead of becoming Python's.
    """
    return {
        key: first_lane(value, as_numpy) if isinstance(value, dict) else value[0] if as_numpy else value.item()
        for key, value in info.items()
    }


def rows_of(info: dict[str, Any], rows: Any) -> dict[str, Any]:
    """Return the rows of information, arrays ``(m, …)`` by key or dictionaries of such, that an index chooses."""
    return {key: rows_of(value, rows) if isinstance(value, dict) else value[rows] for key, value in info.items()}


def add_info(infos: dict[str, Any], info: dict[str, Any], lanes: Lanes | slice, num_lanes: int) -> None:
    """Add information on some lanes to that of a vector environment, as Gymnasium's ``VectorEnv`` would lane by lane.

    Every key has an array over all lanes, zero (or ``None``) where there is nothing, and a mask under ``_key``.

    Args:
        infos: What to add to.
        info: Arrays ``(m, …)`` by key, or dictionaries of such.
        lanes: The lanes, ``intp (m,)``, or a slice of them.
        num_lanes: The number of all lanes.
    """
    if isinstance(lanes, np.ndarray) and not len(lanes):
        return
    for key, value in info.items():
        if isinstance(value, dict):
            add_info(infos.setdefault(key, {}), value, lanes, num_lanes)
        else:
            if key not in infos:
                fill = None if value.dtype == object else 0
                infos[key] = np.full((num_lanes, *value.shape[1:]), fill, dtype=value.dtype)
            infos[key][lanes] = value
        if f"_{key}" not in infos:
            infos[f"_{key}"] = np.zeros(num_lanes, dtype=np.bool_)
        infos[f"_{key}"][lanes] = True
