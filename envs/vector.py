"""The vector environment of ``HWGPT-v0``: many architectures at a time, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Never

from gymnasium.vector import AutoresetMode

from hwgpt_gym.envs.episodes import Episodes
from hwgpt_gym.envs.gym_interface import refuse_unknown
from hwgpt_gym.envs.many_lanes import ManyLaneEnv
from hwgpt_gym.envs.optima import HasOptima
from hwgpt_gym.envs.rewards import ScalarReward
from hwgpt_gym.envs.settings import DEFAULT_CONSTRAINT, ConstraintArgument, DeviceArgument, make_settings
from hwgpt_gym.envs.task import get_task
from hwgpt_gym.objective import DEFAULT_PENALTY
from hwgpt_gym.search_space import FloatArray


class HWGPTVectorEnv(HasOptima, ManyLaneEnv):
    """Many lanes of :class:`~hwgpt_gym.envs.hwgpt.HWGPTEnv`, stepped together without a loop over them.

    Step by step it equals a ``SyncVectorEnv`` of scalar environments, seeds and information included. All lanes
    share one state; an observation that is returned is a copy.

    Args:
        num_envs: The number of lanes.
        device: As for the scalar environment, as are the others up to ``render_mode``.
        scale: The search space.
        constraint: The limits of costs.
        penalty: What exceeding a limit costs.
        penalty_weight: How much.
        shaping: Whether steps earn the change of a potential.
        noise: Whether costs are measurements instead of predictions.
        regret: Whether the end of an episode reports how far it is from the optimum.
        world: The posterior world that answers, if any.
        render_mode: The render mode; ``render()`` returns a tuple of one frame a lane.
        confidence: With which each limit is to hold; ``None`` without a margin.
        info_strings: Whether information has strings; otherwise numbers only, always of the same keys.
        pool: How many devices ``"random"`` makes; 256 if not given.
        exclude: Shipped devices that none of them is made from.
        pool_seed: The seed that they are made from; 0 if not given.
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
        scale: str | None = None,
        constraint: ConstraintArgument | None = DEFAULT_CONSTRAINT,
        penalty: str = DEFAULT_PENALTY,
        penalty_weight: float | None = None,
        shaping: bool = False,
        noise: bool = False,
        regret: bool | None = None,
        world: int | None = None,
        render_mode: str | None = None,
        confidence: float | None = None,
        info_strings: bool = True,
        pool: int | None = None,
        exclude: Sequence[str] | None = None,
        pool_seed: int | None = None,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **unknown: Never,
    ) -> None:
        refuse_unknown(unknown, type(self))
        settings = make_settings(
            device,
            scale,
            constraint,
            penalty=penalty,
            penalty_weight=penalty_weight,
            shaping=shaping,
            noise=noise,
            regret=regret,
            world=world,
            confidence=confidence,
            pool=pool,
            exclude=exclude,
            pool_seed=pool_seed,
        )
        task = get_task(settings)
        task.warn_of_limits()
        super().__init__(Episodes(task, num_envs, ScalarReward(), info_strings), render_mode, autoreset_mode)

    def action_values(self) -> FloatArray:
        """Return the exact value of every action on every lane, ``float64 (num_envs, 3)``.

        As :meth:`HWGPTEnv.action_values <hwgpt_gym.envs.hwgpt.HWGPTEnv.action_values>`.
        """
        episodes = self._episodes
        return episodes.task.problems.action_values(episodes.construction.encoded, episodes.contexts)
