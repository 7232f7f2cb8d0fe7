"""What the scalar and the vector environment share of Gymnasium's interface: spaces, checks, information."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from hwgpt_gym.envs.construction import NUM_ACTIONS, Lanes, ObservationLayout

Observation: TypeAlias = npt.NDArray[np.float32]

RENDER_MODES: Final = ("human", "rgb_array", "ansi")


def make_action_space() -> spaces.Space[np.int64]:
    """Return the action space: the choice of the next decision."""
    return spaces.Discrete(NUM_ACTIONS)


def make_observation_space(layout: ObservationLayout) -> spaces.Space[Observation]:
    """Return the observation space of one lane."""
    return spaces.Box(0.0, 1.0, shape=(layout.num_columns,), dtype=np.float32)


def check_render_mode(render_mode: str | None, legal: Sequence[str] = RENDER_MODES) -> None:
    """Check a render mode.

    Raises:
        ValueError: If it is neither ``None`` nor a legal one.
    """
    if render_mode is not None and render_mode not in legal:
        raise ValueError(f"render_mode must be None or one of {list(legal)}, got {render_mode!r}")


def check_actions(actions: Any, shape: tuple[int, ...]) -> npt.NDArray[np.integer]:
    """Return actions as an array.

    Args:
        actions: The action of a scalar environment, or those of all lanes.
        shape: ``()``, or ``(num_envs,)``.

    Raises:
        ValueError: If they are not integers from 0 to 2 of that shape; a bool is none.
    """
    array = np.asarray(actions)
    integers = array.shape == shape and array.dtype.kind in "iu"
    if not shape:
        # A number is compared as it is, since reducing it would take as long as the step.
        if integers and 0 <= array.item() < NUM_ACTIONS:
            return array
        raise ValueError(f"action must be an integer from 0 to {NUM_ACTIONS - 1}, got {actions!r}")
    if not integers:
        raise ValueError(f"actions must be {shape[0]} integers, got {array.dtype} of shape {array.shape}")
    if array.min() < 0 or array.max() >= NUM_ACTIONS:
        wrong = int(np.flatnonzero((array < 0) | (array >= NUM_ACTIONS))[0])
        raise ValueError(f"actions must be from 0 to {NUM_ACTIONS - 1}, got {array[wrong]} for lane {wrong}")
    return array


def first_lane(info: dict[str, Any]) -> dict[str, Any]:
    """Turn information on one lane, arrays ``(1,)``, into that of a scalar environment."""
    return {key: first_lane(value) if isinstance(value, dict) else value.item() for key, value in info.items()}


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
