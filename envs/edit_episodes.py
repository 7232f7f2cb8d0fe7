"""Episodes of editing on a batch of lanes: where they start, what a change earns, what is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_integer
from hwgpt_gym.envs.construction import MIDDLE, NUM_ACTIONS, Lanes
from hwgpt_gym.envs.editing import Editing
from hwgpt_gym.envs.episodes import Draw, Episodes, Step
from hwgpt_gym.envs.lane_streams import GREATEST_COUNT
from hwgpt_gym.envs.numeric_info import numbers_of
from hwgpt_gym.envs.rewards import ScalarReward
from hwgpt_gym.envs.task import Score, Task
from hwgpt_gym.search_space import NOT_SET, Architecture, Encoded, FloatArray, read_architecture


class EditEpisodes(Episodes):
    """The episodes of one environment that edits architectures.

    Args:
        task: What the episodes are about.
        num_lanes: The number of lanes, ``n``.
        info_strings: As for :class:`Episodes`.
        max_steps: After how many changes an episode is truncated.
        start: The architecture that episodes start from; a random one each if not given.

    Raises:
        ValueError: If ``max_steps`` or ``start`` is not legal.
    """

    truncates: ClassVar[bool] = True
    reset_options: ClassVar[tuple[str, ...]] = (*Episodes.reset_options, "architecture")

    def __init__(self, task: Task, num_lanes: int, info_strings: bool, max_steps: int, start: Any = None) -> None:
        self._max_steps = check_integer("max_steps", max_steps, 1)
        super().__init__(task, num_lanes, ScalarReward(), info_strings)
        self.num_actions = NUM_ACTIONS * task.space.num_decisions
        self._start = None if start is None else self._read_start("start", start)
        self._value = np.zeros(num_lanes)
        self._best = np.zeros(num_lanes)
        self._noise_key = np.zeros(num_lanes, dtype=np.uint64)

    @property
    def always_settles(self) -> bool:
        """Every change is worth something."""
        return True

    def reset(self, draw: Draw, lanes: Lanes | None = None, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Begin new episodes on some lanes, or on all: contexts as for a build, then the architecture to start from.

        Args:
            draw: Where random numbers come from; not called if nothing is random.
            lanes: The lanes, distinct, ``intp (m,)``; all if not given.
            options: ``device`` and ``constraint`` of the new episodes, and the ``architecture`` to start from.

        Returns:
            Information on the lanes, arrays ``(m, …)``.

        Raises:
            ValueError: As :meth:`check_options`.
        """
        given = self.check_options(options)
        rows = self._lanes if lanes is None else lanes
        super().reset(draw, lanes, {key: given[key] for key in given if key != "architecture"})
        if "architecture" in given:
            kept = np.tile(self._read_start("options['architecture']", given["architecture"]), (len(rows), 1))
        elif self._start is not None:
            kept = np.tile(self._start, (len(rows), 1))
        else:
            kept = self._draw_start(draw, rows)
        self.construction.begin_from(rows, kept)
        if self.task.settings.noise:
            self._noise_key[rows] = (draw(rows, 1)[:, 0] * 2.0**53).astype(np.uint64)
        self._best[rows] = -np.inf
        score, info = self._visit(rows)
        self._value[rows] = self.reward(score, self.contexts.of(rows))
        return info

    def settle(self, finished: npt.NDArray[np.bool_], draw: Draw, lanes: Lanes | None = None) -> Step:
        """Reward the lanes that changed a decision with the change of the objective.

        Args:
            finished: Whether the episode of each lane is over, ``bool (m,)``.
            draw: Not used: all that is random is drawn when an episode begins.
            lanes: The lanes, ``intp (m,)``; all if not given.
        """
        rows = self._lanes if lanes is None else lanes
        if not len(rows):
            # Every lane begins anew in this step.
            return Step(np.zeros(0), finished, {}, rows, {})
        score, info = self._visit(rows)
        value = self.reward(score, self.contexts.of(rows))
        reward = value - self._value[rows]
        self._value[rows] = value
        return Step(reward, finished, info, rows[finished], {})

    def score_of(self, lane: int) -> Score:
        """Return what one lane's architecture scores, arrays ``(1,)``."""
        score: Score = self._score_batch[lane].of(self._score_row[lane : lane + 1])
        return score

    def caption_of(self, lane: int) -> str:
        """Return how many changes of an episode are done."""
        return f"after {self.construction.steps[lane]} of {self._max_steps} changes"

    def check_options(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the options that set a context or a start; nothing is changed.

        Raises:
            ValueError: If one is unknown or not legal, or there is no context to set.
            TypeError: If they are no dictionary, or the architecture is none.
        """
        given = super().check_options(options)
        if "architecture" in given:
            self._read_start("options['architecture']", given["architecture"])
        return given

    def _construct(self, num_lanes: int) -> Editing:
        layout = replace(self.task.layout, has_position=False)
        return Editing(layout, num_lanes, self._max_steps, self.task.generator.limited)

    def _read_start(self, name: str, given: Architecture | str | Mapping[str, Any]) -> Encoded:
        """Return the choices that a given architecture starts with, ``int8 (D,)``: middle ones beyond its depth."""
        architecture = read_architecture(given, self.task.space.scale if isinstance(given, Mapping) else None)
        if architecture.scale != self.task.space.scale:
            raise ValueError(f"{name} must be of scale {self.task.space.scale!r}, got {architecture.to_string()!r}")
        encoded = architecture.encode()[0]
        kept: Encoded = np.where(encoded == NOT_SET, MIDDLE, encoded).astype(np.int8)
        return kept

    def _draw_start(self, draw: Draw, rows: Lanes) -> Encoded:
        """Draw the choice of every decision evenly, ``int8 (m, D)``."""
        num_choices = np.array(self.task.space.num_choices)
        counts = [
            len(block) for block in np.split(num_choices, range(GREATEST_COUNT, len(num_choices), GREATEST_COUNT))
        ]
        uniforms = np.concatenate([draw(rows, count) for count in counts], axis=1)
        kept: Encoded = (uniforms * num_choices).astype(np.int8)
        return kept

    def _visit(self, rows: Lanes) -> tuple[Score, dict[str, Any]]:
        """Score the architectures of some lanes, remember the best, and report."""
        encoded, contexts = self.construction.encoded[rows], self.contexts.of(rows)
        uniforms = None
        if self.task.settings.noise:
            uniforms = hashed_uniforms(self._noise_key[rows], encoded, self.task.num_score_uniforms)
        score = self.task.score(encoded, contexts, uniforms)
        if self.task.settings.has_context:
            self.construction.show_shares(rows, self.task.ratios(encoded, contexts))
        self._score_batch[rows] = score
        self._score_row[rows] = np.arange(len(rows))
        self._best[rows] = np.maximum(self._best[rows], score.predicted_reward)
        info = self.task.report(encoded, contexts, score)
        if "regret" in info:
            info["best_regret"] = info["regret"] + score.predicted_reward - self._best[rows]
        if not self.info_strings:
            info = {**self.numeric_info(rows), **numbers_of(info)}
        return score, info


_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


def hashed_uniforms(key: npt.NDArray[np.uint64], encoded: Encoded, count: int) -> FloatArray:
    """Return random numbers that depend on a key and an architecture only, so that each architecture has its own.

    A hash by the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) of the key and of all choices.

    Args:
        key: A random number for each row, ``uint64 (m,)``.
        encoded: Architectures, ``int8 (m, D)``.
        count: How many numbers each.

    Returns:
        Uniform in [0, 1), ``float64 (m, count)``.
    """
    state = _mix(key + _GOLDEN)
    for choices in (encoded.T + 1).astype(np.uint64):
        state = _mix(state + (choices + np.uint64(1)) * _GOLDEN)
    mixed = _mix(state[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return SplitMix64's finaliser of 64-bit states."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
