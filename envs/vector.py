"""The vector environment of ``HWGPT-v0``: many architectures at a time, in one batch."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.envs.construction import Lanes
from hwgpt_gym.envs.episodes import Episodes
from hwgpt_gym.envs.gym_interface import (
    RENDER_MODES,
    Observation,
    add_info,
    check_actions,
    check_render_mode,
    make_action_space,
    make_observation_space,
)
from hwgpt_gym.envs.lane_streams import LaneStreams
from hwgpt_gym.envs.settings import ConstraintArgument, DeviceArgument, make_settings
from hwgpt_gym.envs.task import get_task
from hwgpt_gym.search_space import Encoded

StepReturn = tuple[Observation, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]


class HWGPTVectorEnv(VectorEnv[Observation, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """Many lanes of :class:`~hwgpt_gym.envs.hwgpt.HWGPTEnv`, stepped together without a loop over them.

    Step by step it equals a ``SyncVectorEnv`` of scalar environments, seeds and information included. All lanes
    share one state; an observation that is returned is a copy.

    Args:
        num_envs: The number of lanes.
        device: As for the scalar environment, as are the others up to ``render_mode``.
        scale: The search space.
        constraint: The budgets of costs.
        penalty: What exceeding a budget costs.
        penalty_weight: How much.
        shaping: Whether steps earn the change of a potential.
        noise: Whether costs are measurements instead of predictions.
        world: The posterior world that answers, if any.
        render_mode: The render mode; ``render()`` returns a tuple of one frame a lane.
        autoreset_mode: When a finished lane begins anew: ``NEXT_STEP`` (the default), ``SAME_STEP`` or ``DISABLED``.

    Raises:
        ValueError: If an argument is not legal.

    Example:
        >>> import gymnasium as gym
        >>> import hwgpt_gym
        >>> envs = gym.make_vec("HWGPT-v0", num_envs=1024, device="all")
        >>> observations, infos = envs.reset(seed=0)
        >>> observations, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())
        >>> infos["action_mask"].shape
        (1024, 3)
    """

    def __init__(
        self,
        num_envs: int = 1,
        device: DeviceArgument = "a6000",
        scale: str = "s",
        constraint: ConstraintArgument | None = None,
        penalty: str = "hinge",
        penalty_weight: float | None = None,
        shaping: bool = False,
        noise: bool = False,
        world: int | None = None,
        render_mode: str | None = None,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        if not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"num_envs must be an integer of at least 1, got {num_envs!r}")
        check_render_mode(render_mode, [mode for mode in RENDER_MODES if mode != "human"])
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            "render_modes": ["rgb_array", "ansi"],
            "render_fps": 4,
            "autoreset_mode": self.autoreset_mode,
        }
        settings = make_settings(device, scale, constraint, penalty, penalty_weight, shaping, noise, world)
        self._episodes = Episodes(get_task(settings), num_envs)
        self.single_action_space = make_action_space()
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = make_observation_space(self._episodes.construction)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._streams = LaneStreams(num_envs)
        self._finished = np.zeros(num_envs, dtype=np.bool_)
        self._begun = np.zeros(num_envs, dtype=np.bool_)

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
        self._episodes.check_options(options)
        seeds = self._check_seeds(seed)
        lanes = self._check_reset_mask(options)
        super().reset(seed=seeds[0] if seeds else None)
        if seeds:
            self._streams.seed(seeds, lanes)
        infos: dict[str, Any] = {}
        self._begin(infos, lanes, options)
        rows: Lanes | slice = slice(None) if lanes is None else lanes
        add_info(infos, {"action_mask": self._episodes.construction.masks(lanes)}, rows, self.num_envs)
        return self._episodes.construction.observation.copy(), infos

    def step(self, actions: npt.ArrayLike) -> StepReturn:
        """Take the next decision on every lane.

        Args:
            actions: The choices, integers from 0 to 2, ``(num_envs,)``.

        Returns:
            Observations ``float32 (num_envs, …)``, rewards ``float64 (num_envs,)``, terminations and truncations
            ``bool (num_envs,)`` (the latter all false), and information.

        Raises:
            ValueError: If the actions are not legal; nothing is changed then.
            gymnasium.error.ResetNeeded: If a lane has no decision to take and is not reset automatically.
        """
        checked = check_actions(actions, self.num_envs)
        self._check_begun()
        infos: dict[str, Any] = {}
        if self._finished.any():
            acting, waiting = np.flatnonzero(~self._finished), np.flatnonzero(self._finished)
            rewards, terminations = self._act(infos, checked[acting], acting)
            self._begin(infos, waiting)
        else:
            rewards, terminations = self._act(infos, checked, None)
        # Once for all lanes, whatever each of them did.
        infos["action_mask"] = self._episodes.construction.masks()
        infos["_action_mask"] = np.ones(self.num_envs, dtype=np.bool_)
        return (
            self._episodes.construction.observation.copy(),
            rewards,
            terminations,
            np.zeros(self.num_envs, dtype=np.bool_),
            infos,
        )

    def render(self) -> tuple[Any, ...] | None:
        """Draw every lane: a tuple of frames, of texts in mode ``"ansi"``, or ``None`` without a mode."""
        if self.render_mode is None:
            return None
        import hwgpt_gym.envs.rendering as rendering

        draw = rendering.draw_text if self.render_mode == "ansi" else rendering.draw_frame
        return tuple(draw(rendering.view_of(self._episodes, lane)) for lane in range(self.num_envs))

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are distinct choices of the next decisions, ``bool (num_envs, 3)``."""
        return self._episodes.construction.bool_masks()

    @property
    def bench(self) -> Benchmark:
        """The benchmark that evaluates architectures, of all devices of the environment."""
        return self._episodes.task.bench

    @property
    def encoded(self) -> Encoded:
        """The choices so far, ``int8 (num_envs, D)``, -1 where undecided; a copy."""
        return self._episodes.construction.encoded.copy()

    def _act(
        self, infos: dict[str, Any], actions: npt.NDArray[np.integer], lanes: Lanes | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Take decisions on some lanes, or on all, and begin anew where the mode says so."""
        step = self._episodes.step(actions, self._streams.draw, lanes)
        rewards, terminations = step.reward, step.finished
        if lanes is not None:
            rewards, terminations = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=np.bool_)
            rewards[lanes], terminations[lanes] = step.reward, step.finished
        self._finished = terminations.copy()
        rows: Lanes | slice = slice(None) if lanes is None else lanes
        if len(step.ended) and self.autoreset_mode is AutoresetMode.SAME_STEP:
            # In this mode no lane ever waits: all of them acted.
            going = np.flatnonzero(~step.finished)
            add_info(infos, {key: value[going] for key, value in step.info.items()}, going, self.num_envs)
            final = {key: value[step.finished] for key, value in step.info.items()} | step.end_info
            self._add_final(infos, final, step.ended)
            self._begin(infos, step.ended)
        else:
            add_info(infos, step.info, rows, self.num_envs)
            add_info(infos, step.end_info, step.ended, self.num_envs)
        return rewards, terminations

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
                "reset(options={'reset_mask': terminations})"
            )

    def _check_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """Return the seed of every lane; none at all if nothing is to be seeded."""
        if seed is None:
            return []
        if isinstance(seed, int | np.integer):
            seeds: list[int | None] = [int(seed) + lane for lane in range(self.num_envs)]
        else:
            seeds = [None if item is None else operator.index(item) for item in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed must be one number or a list of {self.num_envs}, got a list of {len(seeds)}")
        if any(item is not None and item < 0 for item in seeds):
            raise ValueError(f"seeds must be integers of at least 0, got {seed!r}")
        return seeds

    def _check_reset_mask(self, options: dict[str, Any] | None) -> Lanes | None:
        """Return the lanes to reset; ``None`` for all."""
        if not options or "reset_mask" not in options:
            return None
        mask = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a numpy array of bool, got {mask!r}")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask'] must have shape ({self.num_envs},), got {mask.shape}")
        if not mask.any():
            raise ValueError("options['reset_mask'] must choose at least one lane, got none")
        return np.flatnonzero(mask)
