"""Episodes on a batch of lanes: construction, context, reward and information.

The scalar and the vector environment differ in how they call this, and in nothing that an episode is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_flag, check_integer, echo
from hwgpt_gym.envs.construction import NUM_ACTIONS, Construction, Lanes
from hwgpt_gym.envs.numeric_info import blank_info, numbers_of
from hwgpt_gym.envs.rewards import Reward, shown
from hwgpt_gym.envs.task import Score, Task
from hwgpt_gym.search_space import FloatArray

MOST_LANES: Final = 10**6
"""The most lanes; at scale s they take half a gigabyte."""

Draw = Callable[[Lanes, int], FloatArray]
"""Draws so many uniform numbers on each of some lanes, ``float64 (m, count)``."""


class Step(NamedTuple):
    """What a step on some lanes gave.

    Attributes:
        reward: As the episodes' reward says, ``(m, *reward.shape)``.
        finished: Whether the lane's episode ended, ``bool (m,)``.
        info: Information on every lane, arrays ``(m,)``.
        ended: The lanes whose episode ended, ``intp (k,)``.
        end_info: Information on these, arrays ``(k,)``.
    """

    reward: npt.NDArray[Any]
    finished: npt.NDArray[np.bool_]
    info: dict[str, Any]
    ended: Lanes
    end_info: dict[str, Any]


class Episodes:
    """The episodes of one environment.

    Args:
        task: What the episodes are about.
        num_lanes: The number of lanes, ``n``.
        reward: What they are rewarded with.
        info_strings: Whether information names devices and architectures and has what there is; otherwise it is of
            numbers only and always of the same keys (:mod:`hwgpt_gym.envs.numeric_info`).

    Attributes:
        task: What the episodes are about.
        reward: What they are rewarded with.
        info_strings: As given.
        num_actions: The size of the action space.
        truncates: Whether the last step truncates an episode instead of terminating it.
        reset_options: What ``reset(options=…)`` may set.
        construction: The architectures under construction.
        contexts: The contexts of all lanes.
    """

    truncates: ClassVar[bool] = False
    reset_options: ClassVar[tuple[str, ...]] = ("device", "constraint")
    construction: Any

    def __init__(self, task: Task, num_lanes: int, reward: Reward, info_strings: bool = True) -> None:
        check_integer("num_envs", num_lanes, 1, MOST_LANES)
        self.task = task
        self.reward = reward
        self.info_strings = check_flag("info_strings", info_strings)
        self.construction = self._construct(num_lanes)
        self.num_actions = NUM_ACTIONS
        self.contexts = task.generator.draw(np.zeros((num_lanes, task.generator.num_uniforms)))
        self._lanes = np.arange(num_lanes)
        self._potential = np.zeros(num_lanes)
        self._shaped = np.zeros(num_lanes)
        # The batch that the last score of each lane is in, and its row there. Whoever is told of it gets copies.
        self._score_batch = np.full(num_lanes, None, dtype=object)
        self._score_row = np.zeros(num_lanes, dtype=np.intp)

    def reset(self, draw: Draw, lanes: Lanes | None = None, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Begin new episodes on some lanes, or on all.

        Args:
            draw: Where random numbers come from; not called if nothing is random.
            lanes: The lanes, distinct, ``intp (m,)``; all if not given.
            options: ``device`` and ``constraint`` of the new episodes, instead of drawn ones.

        Returns:
            Information on the lanes' contexts, arrays ``(m,)``.

        Raises:
            ValueError: As :meth:`check_options`.
        """
        given = self.check_options(options)
        rows = self._lanes if lanes is None else lanes
        info: dict[str, Any] = {}
        if self.task.settings.has_context:
            generator = self.task.generator
            count = generator.num_uniforms
            contexts = generator.draw(draw(rows, count) if count else np.empty((len(rows), 0)))
            if given.keys() & Episodes.reset_options:
                contexts = generator.replace(contexts, given)
            self.contexts.put(rows, contexts)
            self.construction.show_limits(rows, *contexts)
            info = shown(generator.info(contexts), self.reward)
        self.construction.begin(lanes)
        if self.task.settings.shaping:
            self._potential[rows] = self.task.predict_reward(self.construction.completed(lanes), self.contexts.of(rows))
            self._shaped[rows] = 0.0
        return info if self.info_strings else self.numeric_info(lanes)

    def step(self, actions: npt.NDArray[np.integer], draw: Draw, lanes: Lanes | None = None) -> Step:
        """Take one decision on some lanes, or on all.

        Args:
            actions: Choice indices from 0 to 2, ``(m,)``.
            draw: Where random numbers come from; not called if nothing is random.
            lanes: The lanes, distinct and with decisions left, ``intp (m,)``; all if not given.
        """
        return self.settle(self.construction.apply(actions, lanes), draw, lanes)

    def settle(self, finished: npt.NDArray[np.bool_], draw: Draw, lanes: Lanes | None = None) -> Step:
        """Reward the lanes that took a decision: the second half of :meth:`step`.

        Where no lane is finished and nothing shapes rewards there is nothing to settle: rewards are zero.

        Args:
            finished: Whether each lane is complete, ``bool (m,)``.
            draw: As for :meth:`step`.
            lanes: As for :meth:`step`.
        """
        reward = np.zeros((len(finished), *self.reward.shape), self.reward.dtype)
        info: dict[str, Any] = {} if self.info_strings else self.numeric_info(lanes)
        if self.task.settings.shaping:
            reward += self._shaping(finished, lanes)
            info["shaping"] = reward.copy()
        if not finished.any():
            return Step(reward, finished, info, _NONE, {})
        ended = (self._lanes if lanes is None else lanes)[finished]
        encoded, contexts = self.construction.encoded[ended], self.contexts.of(ended)
        noise = self.task.num_score_uniforms
        score = self.task.score(encoded, contexts, draw(ended, noise) if noise else None)
        reward[finished] += self.reward(score, contexts)
        self._score_batch[ended] = score
        self._score_row[ended] = np.arange(len(ended))
        report = shown(self.task.report(encoded, contexts, score), self.reward)
        return Step(reward, finished, info, ended, report if self.info_strings else numbers_of(report))

    def numeric_info(self, lanes: Lanes | None = None, before_end: float = np.nan) -> dict[str, Any]:
        """Return all that information can hold before the end of an episode, as numbers, of some lanes or of all."""
        rows = self._lanes if lanes is None else lanes
        blank = blank_info(self.task, self.construction.encoded[rows], self.contexts.of(rows), before_end)
        return shown(blank, self.reward)

    def score_of(self, lane: int) -> Score:
        """Return what one lane shows, arrays ``(1,)``: what it reached, or predictions while it is incomplete."""
        rows, construction = self._lanes[lane : lane + 1], self.construction
        if construction.position[lane] == construction.num_decisions_of(lane):
            reached: Score = self._score_batch[lane].of(self._score_row[rows])
            return reached
        return self.task.score(construction.completed(rows), self.contexts.of(rows))

    def check_options(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the options that set a context; nothing is changed.

        Raises:
            ValueError: If one is unknown or not legal, or the environment shows no context.
            TypeError: If they are no dictionary.
        """
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"options must be a dictionary or None, got {echo(options)}")
        given = dict(options or {})
        unknown = set(given) - set(self.reset_options)
        if unknown:
            raise ValueError(f"unknown options {echo(list(unknown))}, legal are {list(self.reset_options)}")
        if "constraint" in given and not self.reward.constrained:
            raise ValueError("options['constraint'] has no meaning here: the rewards are unconstrained")
        if given.keys() & Episodes.reset_options:
            self.task.generator.replace(self.contexts.of(self._lanes[:1]), given)
        return given

    @property
    def always_settles(self) -> bool:
        """Whether a step has something to settle even where no lane is finished."""
        return self.task.settings.shaping or not self.info_strings

    def caption_of(self, lane: int) -> str:
        """Return what a picture says of a lane's progress, where that is not which decision is next."""
        return ""

    def _construct(self, num_lanes: int) -> Any:
        return Construction(self.task.layout, num_lanes, self.task.generator.limited)

    def _shaping(self, finished: npt.NDArray[np.bool_], lanes: Lanes | None) -> FloatArray:
        """Return the change of the potential, which takes back at the end all that it gave."""
        rows = self._lanes if lanes is None else lanes
        potential = self.task.predict_reward(self.construction.completed(lanes), self.contexts.of(rows))
        change: FloatArray = np.where(finished, -self._shaped[rows], potential - self._potential[rows])
        self._potential[rows] = potential
        self._shaped[rows] += change
        return change


_NONE: Final[Lanes] = np.empty(0, dtype=np.intp)
