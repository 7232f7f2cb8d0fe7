"""What episodes are rewarded with: a number, or a vector of several objectives."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from hwgpt_gym.envs.contexts import Contexts
from hwgpt_gym.envs.task import Score
from hwgpt_gym.search_space import FloatArray

_OF_CONSTRAINTS: Final = frozenset({"penalty", "feasible", "constraint", "regret"})


class Reward(Protocol):
    """How scores become rewards. Whatever steps episodes takes one of these and knows no other difference.

    Attributes:
        shape: The shape of one reward.
        dtype: Its type.
        constrained: Whether costs have limits; without them there is none to set, to keep or to report.
    """

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    constrained: bool

    def __call__(self, score: Score, contexts: Contexts) -> npt.NDArray[Any]:
        """Return the rewards of finished architectures in their contexts, ``(m, *shape)``."""


class ScalarReward:
    """Quality less the penalty, ``float64``."""

    shape: tuple[int, ...] = ()
    dtype: npt.DTypeLike = np.float64
    constrained = True

    def __call__(self, score: Score, contexts: Contexts) -> FloatArray:
        """Return the rewards, ``float64 (m,)``."""
        return score.outcome.reward


class VectorReward:
    """Quality and the negative costs, each by its median on the device: ``float32 (1 + costs,)``.

    Args:
        costs: The costs.
        medians: Their medians over the search space, ``float64 (devices, costs)``.
    """

    dtype: npt.DTypeLike = np.float32
    constrained = False

    def __init__(self, costs: tuple[str, ...], medians: FloatArray) -> None:
        self.shape: tuple[int, ...] = (1 + len(costs),)
        self._costs = costs
        self._medians = medians

    def __call__(self, score: Score, contexts: Contexts) -> npt.NDArray[np.float32]:
        """Return the rewards, ``float32 (m, 1 + costs)``."""
        costs = np.stack([score.metrics[key] for key in self._costs], axis=1) / self._medians[contexts.device]
        return np.column_stack([score.outcome.quality, -costs]).astype(np.float32)


def shown(info: dict[str, Any], reward: Reward) -> dict[str, Any]:
    """Return information without what has no meaning under a reward."""
    return info if reward.constrained else {key: value for key, value in info.items() if key not in _OF_CONSTRAINTS}
