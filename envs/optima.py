"""What environments of one number as the reward say about the optimum of their problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hwgpt_gym.checks import check_integer, check_list
from hwgpt_gym.envs.episodes import Episodes

if TYPE_CHECKING:
    from hwgpt_gym.optimum import Optimum


class HasOptimum:
    """An environment of one lane with an exact optimum."""

    _episodes: Episodes

    def optimum(self) -> Optimum:
        """Solve the current problem exactly: the best architecture of the space on this device under these limits.

        Returns:
            The optimum; its ``reward`` is the best that an architecture can earn without noise. Solved once, then
            remembered.
        """
        return self._episodes.task.problems.optimum(self._episodes.contexts, 0)


class HasOptima:
    """An environment of many lanes with an exact optimum each."""

    num_envs: int
    _episodes: Episodes

    def optimum(self, lanes: Sequence[int] | None = None) -> list[Optimum]:
        """Solve the current problems of some lanes, or of all, exactly; equal ones are solved once.

        Args:
            lanes: The lanes, by number.

        Raises:
            ValueError: If there is no such lane.
        """
        numbers = list(range(self.num_envs)) if lanes is None else check_list("lanes", lanes, "numbers of lanes")
        for lane in numbers:
            check_integer("lanes", lane, 0, self.num_envs - 1)
        return [self._episodes.task.problems.optimum(self._episodes.contexts, lane) for lane in numbers]
