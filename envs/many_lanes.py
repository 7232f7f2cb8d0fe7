"""A Gymnasium vector environment over the episodes of many lanes, whatever they are rewarded with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_integer, echo
from hwgpt_gym.envs.construction import Lanes, ObservationLayout
from hwgpt_gym.envs.episodes import Episodes
from hwgpt_gym.envs.gym_interface import (
    RENDER_MODES,
    Observation,
    add_info,
    check_actions,
    check_autoreset_mode,
    check_render_mode,
    make_action_space,
    make_observation_space,
    rows_of,
)
from hwgpt_gym.envs.lane_streams import LaneStreams
from hwgpt_gym.search_space import Encoded

StepReturn = tuple[Observation, npt.NDArray[Any], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]


class ManyLaneEnv(VectorEnv[Observation, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """Steps many lanes together without a loop over them; see :class:`~hwgpt_gym.envs.vector.HWGPTVectorEnv`.

    Args:
        episodes: The episodes, of as many lanes.
        render_mode: The render mode; ``render()`` returns a tuple of one frame a lane.
        autoreset_mode: When a finished lane begins anew.

    Raises:
        ValueError: If an argument is not legal.
    """

    def __init__(
        self,
        episodes: Episodes,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        check_render_mode(render_mode, [mode for mode in RENDER_MODES if mode != "human"])
        self.num_envs = len(episodes.construction.encoded)
        self.render_mode = render_mode
        self.autoreset_mode = check_autoreset_mode(autoreset_mode)
        self.metadata = {
            "render_modes": ["rgb_array", "ansi"],
            "render_fps": 4,
            "autoreset_mode": self.autoreset_mode,
        }
        self._episodes = episodes
        self.single_action_space = make_action_space(episodes.num_actions)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.single_observation_space = make_observation_space(self.layout)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._streams = LaneStreams(self.num_envs)
        self._finished = np.zeros(self.num_envs, dtype=np.bool_)
        self._begun = np.zeros(self.num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an architecture on every lane, or on some.

        Args:
            seed: The first lane's seed, of which the others' count up; or one for each lane.
            options: ``reset_mask``, ``bool (num_envs,)``, chooses the lanes to reset; ``device`` and ``constraint``
                set their contexts. The dictionary is left as it is.

        Returns:
            The observations of all lanes ``float32 (num_envs, …)`` and information on those that were reset.

        Raises:
            ValueError: If seeds or options are not legal; nothing is changed then.
            TypeError: If ``reset_mask`` is no array of booleans.
        """
        lanes = self._check_reset_mask(options)
        return self._reset(seed, [(lanes, _without_mask(options))])

    def reset_each(
        self, options: Sequence[dict[str, Any] | None], *, seed: int | Sequence[int | None] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an architecture on every lane, each with options of its own; otherwise as :meth:`reset`.

        Args:
            options: ``device`` and ``constraint`` of every lane's context, or ``None``.
            seed: As for :meth:`reset`.

        Raises:
            ValueError: If seeds or options are not legal; nothing is changed then.
            TypeError: If an option is no dictionary.
        """
        if not isinstance(options, Sequence) or len(options) != self.num_envs:
            raise ValueError(f"options must be a list of {self.num_envs}, one for each lane, got {echo(options)}")
        if all(item == options[0] for item in options):
            return self._reset(seed, [(None, options[0])])
        lanes = np.arange(self.num_envs)
        given = np.array([bool(item) for item in options])
        groups = [(lanes[lane : lane + 1], options[lane]) for lane in np.flatnonzero(given).tolist()]
        return self._reset(seed, [(lanes[~given], None), *groups] if not given.all() else groups)

    def step(self, actions: npt.ArrayLike) -> StepReturn:
        """Take the next decision on every lane.

        Args:
            actions: The choices, integers from 0 to 2, ``(num_envs,)``.

        Returns:
            Observations ``float32 (num_envs, …)``, rewards (``float64 (num_envs,)``, or one vector a lane),
            terminations and truncations ``bool (num_envs,)``, and information.

        Raises:
            ValueError: If the actions are not legal; nothing is changed then.
            gymnasium.error.ResetNeeded: If a lane has no decision to take and is not reset automatically.
        """
        checked = check_actions(actions, self.num_envs, self._episodes.num_actions)
        self._check_begun()
        infos: dict[str, Any] = {}
        if self._finished.any():
            acting, waiting = np.flatnonzero(~self._finished), np.flatnonzero(self._finished)
            rewards, ended = self._act(infos, checked[acting], acting)
            self._begin(infos, waiting)
        else:
            rewards, ended = self._act(infos, checked, None)
        # Once for all lanes, whatever each of them did.
        infos["action_mask"] = self._episodes.construction.masks()
        infos["_action_mask"] = np.ones(self.num_envs, dtype=np.bool_)
        never = np.zeros(self.num_envs, dtype=np.bool_)
        terminations, truncations = (never, ended) if self._episodes.truncates else (ended, never)
        return self._episodes.construction.observation.copy(), rewards, terminations, truncations, infos

    def render(self) -> tuple[Any, ...] | None:
        """Draw every lane: a tuple of frames, of texts in mode ``"ansi"``, or ``None`` without a mode."""
        if self.render_mode is None:
            return None
        import hwgpt_gym.envs.rendering as rendering
        from hwgpt_gym.envs.view import view_of

        draw = rendering.draw_text if self.render_mode == "ansi" else rendering.draw_frame
        return tuple(draw(view_of(self._episodes, lane)) for lane in range(self.num_envs))

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are distinct, ``bool (num_envs, actions)``."""
        masks: npt.NDArray[np.bool_] = self._episodes.construction.bool_masks()
        return masks

    @property
    def bench(self) -> Benchmark:
        """The benchmark that evaluates architectures, of all devices of the environment."""
        return self._episodes.task.bench

    @property
    def info_strings(self) -> bool:
        """Whether information has strings."""
        return self._episodes.info_strings

    @property
    def layout(self) -> ObservationLayout:
        """Which columns of an observation say what."""
        layout: ObservationLayout = self._episodes.construction.layout
        return layout

    @property
    def encoded(self) -> Encoded:
        """The choices so far, ``int8 (num_envs, D)``, -1 where undecided; a copy."""
        encoded: Encoded = self._episodes.construction.encoded.copy()
        return encoded

    def lane_generator(self, lane: int) -> np.random.Generator:
        """Return the generator that a lane draws its contexts and noise from: ``np_random`` of a scalar environment."""
        return self._streams.generator(check_integer("lane", lane, 0, self.num_envs - 1))

    def _reset(
        self, seed: int | Sequence[int | None] | None, groups: Sequence[tuple[Lanes | None, dict[str, Any] | None]]
    ) -> tuple[Observation, dict[str, Any]]:
        """Check everything, and then begin on groups of lanes (``None`` for all) with their options."""
        for _, options in groups:
            self._episodes.check_options(options)
        seeds = self._check_seeds(seed)
        super().reset(seed=seeds[0] if seeds else None)
        infos: dict[str, Any] = {}
        for lanes, options in groups:
            if seeds:
                self._streams.seed(seeds, lanes)
            self._begin(infos, lanes, options)
            rows: Lanes | slice = slice(None) if lanes is None else lanes
            add_info(infos, {"action_mask": self._episodes.construction.masks(lanes)}, rows, self.num_envs)
        return self._episodes.construction.observation.copy(), infos

    def _act(
        self, infos: dict[str, Any], actions: npt.NDArray[np.integer], lanes: Lanes | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Take decisions on some lanes, or on all, and begin anew where the mode says so."""
        step = self._episodes.step(actions, self._streams.draw, lanes)
        rewards, ended = step.reward, step.finished
        if lanes is not None:
            rewards = np.zeros((self.num_envs, *step.reward.shape[1:]), step.reward.dtype)
            ended = np.zeros(self.num_envs, dtype=np.bool_)
            rewards[lanes], ended[lanes] = step.reward, step.finished
        self._finished = ended.copy()
        rows: Lanes | slice = slice(None) if lanes is None else lanes
        if len(step.ended) and self.autoreset_mode is AutoresetMode.SAME_STEP:
            # In this mode no lane ever waits: all of them acted.
            going = np.flatnonzero(~step.finished)
            add_info(infos, rows_of(step.info, going), going, self.num_envs)
            final = rows_of(step.info, step.finished) | step.end_info
            self._add_final(infos, final, step.ended)
            self._begin(infos, step.ended)
        else:
            add_info(infos, step.info, rows, self.num_envs)
            add_info(infos, step.end_info, step.ended, self.num_envs)
        return rewards, ended

    def _add_final(self, infos: dict[str, Any], info: dict[str, Any], ended: Lanes) -> None:
        """Add last observations and last information of finished lanes."""
        rows = self._episodes.construction.observation[ended]
        # One array a lane: the array of them must not become one of two dimensions.
        observations = np.fromiter(rows, dtype=object, count=len(rows))
        info = {"action_mask": self._episodes.construction.masks(ended), **info}
        add_info(infos, {"final_obs": observations, "final_info": info}, ended, self.num_envs)

    def _begin(self, infos: dict[str, Any], lanes: Lanes | None, options: dict[str, Any] | None = None) -> None:
        """Begin anew on some lanes, or on all, and add their information."""
        context = self._episodes.reset(self._streams.draw, lanes, options)
        rows: Lanes | slice = slice(None) if lanes is None else lanes
        self._finished[rows] = False
        self._begun[rows] = True
        add_info(infos, context, rows, self.num_envs)

    def _check_begun(self) -> None:
        """Check that every lane has a decision to take, or will begin anew by itself."""
        if not self._begun.all():
            raise gymnasium.error.ResetNeeded("there is no decision to take: call reset() before step()")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._finished.any():
            lanes = np.flatnonzero(self._finished).tolist()
            raise gymnasium.error.ResetNeeded(
                f"lanes {lanes[:8]}{' …' if len(lanes) > 8 else ''} are complete and autoreset is disabled: call "
                "reset(options={'reset_mask': terminations | truncations})"
            )

    def _check_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """Return the seed of every lane; none at all if nothing is to be seeded."""
        if seed is None:
            return []
        if not isinstance(seed, list | tuple | np.ndarray):
            first = check_integer("seed", seed, 0)
            return [first + lane for lane in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"seed must be one number or a list of {self.num_envs}, got a list of {len(seed)}")
        return [None if item is None else check_integer(f"seed[{lane}]", item, 0) for lane, item in enumerate(seed)]

    def _check_reset_mask(self, options: dict[str, Any] | None) -> Lanes | None:
        """Return the lanes to reset; ``None`` for all."""
        if not isinstance(options, dict) or "reset_mask" not in options:
            return None
        mask = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a numpy array of bool, got {echo(mask)}")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask'] must have shape ({self.num_envs},), got {mask.shape}")
        if not mask.any():
            raise ValueError("options['reset_mask'] must choose at least one lane, got none")
        return np.flatnonzero(mask)


def _without_mask(options: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return options without the lanes that they are for; the dictionary is left as it is."""
    if not isinstance(options, dict):
        return options
    return {key: value for key, value in options.items() if key != "reset_mask"}
