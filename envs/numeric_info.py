"""Information of numbers only and always of the same keys, for libraries that keep it in arrays.

Each is a number or an array of numbers from the first reset on: the architecture as its encoding, the device as its
position among the environment's, and what is known at the end of an episode alone is NaN before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hwgpt_gym.envs.contexts import Contexts
from hwgpt_gym.envs.task import Task
from hwgpt_gym.search_space import Encoded

_STRINGS = frozenset({"architecture", "device"})


def blank_info(task: Task, encoded: Encoded, contexts: Contexts, before_end: float) -> dict[str, Any]:
    """Return the information of episodes that are not at their end, arrays ``(m, …)`` by key.

    Args:
        task: What the episodes are about.
        encoded: The choices so far, ``int8 (m, D)``.
        contexts: Their contexts.
        before_end: What stands for numbers that are known at the end only.
    """
    settings = task.settings
    at_end = [*task.bench.metrics, "quality", "penalty", "feasible", *(["regret"] if settings.regret else [])]
    info: dict[str, Any] = {"architecture": encoded, **{key: np.full(len(encoded), before_end) for key in at_end}}
    if settings.shaping:
        info["shaping"] = np.zeros(len(encoded))
    if settings.has_context:
        info |= task.generator.info(contexts) | {"device": contexts.device}
    return info


def numbers_of(info: dict[str, Any]) -> dict[str, Any]:
    """Return information without what is a string, and feasibility as 0 or 1; of lanes or of one.

    What is not a number, such as what other wrappers add, stays as it is.
    """
    numbers = {key: value for key, value in info.items() if key not in _STRINGS}
    if "feasible" in numbers:
        numbers["feasible"] = numbers["feasible"] * 1.0
    return {key: _as_numpy(value) for key, value in numbers.items()}


def _as_numpy(value: Any) -> Any:
    """Return a Python float as numpy's, also within a dictionary, and all else as it is."""
    if isinstance(value, dict):
        return {key: _as_numpy(item) for key, item in value.items()}
    return np.float64(value) if isinstance(value, float) else value
