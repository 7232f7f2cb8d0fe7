"""A Gymnasium environment over the episodes of one lane, whatever they are rewarded with."""

from __future__ import annotations

from typing import Any, SupportsIndex

import gymnasium
import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_integer
from hwgpt_gym.envs.construction import Lanes, ObservationLayout
from hwgpt_gym.envs.episodes import Episodes
from hwgpt_gym.envs.gym_interface import (
    Observation,
    check_action,
    check_render_mode,
    first_lane,
    make_action_space,
    make_observation_space,
)
from hwgpt_gym.search_space import Encoded, FloatArray


class OneLaneEnv(gymnasium.Env[Observation, np.int64]):
    """Builds one architecture at a time; :class:`~hwgpt_gym.envs.hwgpt.HWGPTEnv` says what an episode is.

    Args:
        episodes: The episodes, of one lane.
        render_mode: The render mode.

    Raises:
        ValueError: If the render mode is not legal.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012

    _window: Any = None

    def __init__(self, episodes: Episodes, render_mode: str | None = None) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self._episodes = episodes
        self.action_space = make_action_space(episodes.num_actions)
        self.observation_space = make_observation_space(self.layout)
        self._num_actions, self._truncates = episodes.num_actions, episodes.truncates
        self._as_numpy = not episodes.info_strings
        self._always_settles = episodes.always_settles
        self._reward_shape, self._reward_dtype = episodes.reward.shape, episodes.reward.dtype
        self._decisions_left = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an architecture.

        Args:
            seed: Seeds ``np_random``, from which contexts and noise are drawn.
            options: ``device`` (a name) and ``constraint`` (costs to limits) of the new episode instead of drawn
                ones, where the observation shows a context.

        Returns:
            The observation and the information; see the class.

        Raises:
            ValueError: If the seed or an option is not legal; nothing is changed then.
            TypeError: If ``options`` is no dictionary.
        """
        self._episodes.check_options(options)
        super().reset(seed=None if seed is None else check_integer("seed", seed, 0))
        context = self._episodes.reset(self._draw, options=options)
        self._decisions_left = True
        if self.render_mode == "human":
            self.render()
        return self._episodes.construction.observation[0].copy(), {
            "action_mask": self._episodes.construction.masks(0),
            **first_lane(context, self._as_numpy),
        }

    def step(self, action: SupportsIndex) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Take the next decision.

        Args:
            action: The choice, 0 to 2; a decision with two choices takes the second one for 2 as well.

        Returns:
            Observation, reward (a Python ``float``, or an array if it is a vector), whether the episode terminated,
            whether it was truncated, and the information.

        Raises:
            ValueError: If there is no such action; nothing is changed then.
            gymnasium.error.ResetNeeded: If there is no decision to take.
        """
        choice = check_action(action, self._num_actions)
        if not self._decisions_left:
            raise gymnasium.error.ResetNeeded("there is no decision to take: call reset() to begin an architecture")
        construction = self._episodes.construction
        ended = bool(construction.apply(choice, 0))
        info: dict[str, Any] = {"action_mask": construction.masks(0)}
        reward: Any = np.zeros(self._reward_shape, self._reward_dtype) if self._reward_shape else 0.0
        if ended or self._always_settles:
            step = self._episodes.settle(np.array([ended]), self._draw)
            info |= first_lane(step.info | step.end_info, self._as_numpy)
            reward = step.reward[0] if self._reward_shape else float(step.reward[0])
            self._decisions_left = not ended
        if self.render_mode == "human":
            self.render()
        terminated, truncated = ended and not self._truncates, ended and self._truncates
        return construction.observation[0].copy(), reward, terminated, truncated, info

    def render(self) -> Any:
        """Draw the architecture; see the class for the modes."""
        if self.render_mode is None:
            gymnasium.logger.warn(
                "render() was called without a render mode: pass render_mode='rgb_array' to gymnasium.make()"
            )
            return None
        import hwgpt_gym.envs.rendering as rendering
        from hwgpt_gym.envs.view import view_of

        view = view_of(self._episodes, 0)
        if self.render_mode == "ansi":
            return rendering.draw_text(view)
        if self.render_mode == "rgb_array":
            return rendering.draw_frame(view)
        if self._window is None:
            self._window = rendering.Window()
        self._window.show(view, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are distinct, ``bool (actions,)``."""
        mask: npt.NDArray[np.bool_] = self._episodes.construction.bool_masks()[0]
        return mask

    @property
    def bench(self) -> Benchmark:
        """The benchmark that evaluates architectures, of all devices of the environment."""
        return self._episodes.task.bench

    @property
    def layout(self) -> ObservationLayout:
        """Which columns of an observation say what."""
        layout: ObservationLayout = self._episodes.construction.layout
        return layout

    @property
    def encoded(self) -> Encoded:
        """The choices so far, ``int8 (1, D)``, -1 where undecided; a copy."""
        encoded: Encoded = self._episodes.construction.encoded.copy()
        return encoded

    def _draw(self, lanes: Lanes, count: int) -> FloatArray:
        return self.np_random.random((len(lanes), count))
