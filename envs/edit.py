"""The environment ``HWGPT-Edit-v0``: a complete architecture, changed one decision at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Never

from gymnasium.vector import AutoresetMode

from hwgpt_gym.envs.edit_episodes import EditEpisodes
from hwgpt_gym.envs.gym_interface import refuse_unknown
from hwgpt_gym.envs.many_lanes import ManyLaneEnv
from hwgpt_gym.envs.one_lane import OneLaneEnv
from hwgpt_gym.envs.optima import HasOptima, HasOptimum
from hwgpt_gym.envs.settings import DEFAULT_CONSTRAINT, ConstraintArgument, DeviceArgument, make_settings
from hwgpt_gym.envs.task import Task, get_task
from hwgpt_gym.objective import DEFAULT_PENALTY

DEFAULT_MAX_STEPS = 64
"""How many changes an episode has if it is not told."""


class HWGPTEditEnv(HasOptimum, OneLaneEnv):
    """Change a GPT-2 one decision at a time, each change worth what it changes of the objective.

    ## Description
    :class:`~hwgpt_gym.envs.hwgpt.HWGPTEnv` builds architectures; here an episode starts from a complete one, random or
    given, and every step changes one of its decisions: the other classical formulation of architecture search as
    reinforcement learning. Metrics, objective, devices, limits and contexts are the same.

    ## Action Space
    `Discrete(3 * D)`: action `3 * i + k` gives decision `i` of the encoding its choice `k`. With `D = 3 + 2 *
    max_layers` these are 81, 153 or 225. Layers beyond the depth keep a choice for each of their decisions, and take it
    when the depth grows.

    No action is invalid, but some change nothing: setting what is set, and decisions of layers beyond the depth.
    `info["action_mask"]` (`int8 (3 D,)`) and `action_masks()` (`bool`) leave them out. The third choice of `bias` means
    the second one, and is left out as well.

    ## Observation Space
    A `Box(0, 1)` of `float32`: `3 D` columns, one-hot, for the choice of every decision, those kept for layers beyond
    the depth included; then, where there is a context, the columns `limits` and `devices` of `HWGPT-v0`. How far the
    episode is does not stand in it: :class:`gymnasium.wrappers.TimeAwareObservation` adds it.

    ## Rewards
    What the change did to the objective, `quality - penalty` as in `HWGPT-v0`: so the return of an episode is the
    objective of its last architecture less that of its first one.

    ## Starting State
    Every decision has a random choice, each alike, or those of a given architecture: `start`, or
    `reset(options={"architecture": ...})` for one episode, a name, a `sample_*` dictionary or an
    :class:`hwgpt_gym.Architecture`. The choices that a given one keeps for layers beyond its depth are the middle ones.
    `options` sets `device` and `constraint` too, as in `HWGPT-v0`.

    ## Episode End
    Nothing terminates. After `max_steps` changes the episode is truncated.

    ## Information
    Every reset and step: `action_mask`, and of the architecture as it is now what `HWGPT-v0` reports at its end:
    `architecture`, every metric, `quality`, `penalty`, `feasible`, `regret`, and with a context `device` and
    `constraint`. Where there is `regret`, `best_regret` is that of the best architecture that the episode has seen, its
    first one included. `optimum()` returns what they are measured by. With `info_strings=False` all are numbers.

    ## Arguments
    `device`, `scale`, `constraint`, `penalty`, `penalty_weight`, `noise`, `regret`, `world`, `render_mode`,
    `confidence` and `info_strings` are those of `HWGPT-v0`. With `noise=True` latency and energy of an architecture are
    measured once in an episode: whoever comes back finds what was measured, so that no reward is to be had by measuring
    again.

    >>> import gymnasium as gym
    >>> import hwgpt_gym
    >>> env = gym.make("HWGPT-Edit-v0", device="h100", constraint={"latency_ms": "p30"}, max_steps=40)
    >>> observation, info = env.reset(seed=0)
    >>> first, total, truncated = info["quality"] - info["penalty"], 0.0, False
    >>> while not truncated:
    ...     action = env.action_space.sample(info["action_mask"])
    ...     observation, reward, terminated, truncated, info = env.step(action)
    ...     total += reward
    >>> abs(total - (info["quality"] - info["penalty"] - first)) < 1e-9
    True

    ## Vectorized environment
    `gym.make_vec("HWGPT-Edit-v0", num_envs=1024)` makes :class:`HWGPTEditVectorEnv`: all lanes in one batch, every
    autoreset mode.

    ## References
    Zoph and Le, *Neural Architecture Search with Reinforcement Learning*, ICLR 2017, build; Cai et al., *Efficient
    Architecture Search by Network Transformation*, AAAI 2018, change what is there.

    ## Version History
    - v0: Initial version.

    Args:
        device: The device, or several to draw from.
        scale: The search space.
        constraint: The limits of costs.
        penalty: What exceeding a limit costs.
        penalty_weight: How much.
        noise: Whether costs are measurements instead of predictions.
        regret: Whether the distance from the optimum is reported; without a context if not given.
        world: The posterior world that answers, if any.
        render_mode: The render mode.
        confidence: With which each limit is to hold; ``None`` without a margin.
        info_strings: Whether information has strings; otherwise numbers only.
        max_steps: After how many changes an episode is truncated.
        start: The name of the architecture that every episode starts from; a random one each if not given.
        pool: How many devices ``"random"`` makes; 256 if not given.
        exclude: Shipped devices that none of them is made from.
        pool_seed: The seed that they are made from; 0 if not given.

    Raises:
        ValueError: If an argument is not legal.
    """

    def __init__(
        self,
        device: DeviceArgument = "a6000",
        scale: str | None = None,
        constraint: ConstraintArgument | None = DEFAULT_CONSTRAINT,
        penalty: str = DEFAULT_PENALTY,
        penalty_weight: float | None = None,
        noise: bool = False,
        regret: bool | None = None,
        world: int | None = None,
        render_mode: str | None = None,
        confidence: float | None = None,
        info_strings: bool = True,
        max_steps: int = DEFAULT_MAX_STEPS,
        start: str | None = None,
        pool: int | None = None,
        exclude: Sequence[str] | None = None,
        pool_seed: int | None = None,
        **unknown: Never,
    ) -> None:
        refuse_unknown(unknown, type(self))
        task = _make_task(
            device=device,
            scale=scale,
            constraint=constraint,
            penalty=penalty,
            penalty_weight=penalty_weight,
            noise=noise,
            regret=regret,
            world=world,
            confidence=confidence,
            pool=pool,
            exclude=exclude,
            pool_seed=pool_seed,
        )
        super().__init__(EditEpisodes(task, 1, info_strings, max_steps, start), render_mode)


class HWGPTEditVectorEnv(HasOptima, ManyLaneEnv):
    """Many lanes of :class:`HWGPTEditEnv`, stepped together without a loop over them.

    Step by step it equals a ``SyncVectorEnv`` of scalar environments, seeds and information included.

    Args:
        num_envs: The number of lanes.
        device: As for the scalar environment, as are the others up to ``start``.
        scale: The search space.
        constraint: The limits of costs.
        penalty: What exceeding a limit costs.
        penalty_weight: How much.
        noise: Whether costs are measurements instead of predictions.
        regret: Whether the distance from the optimum is reported.
        world: The posterior world that answers, if any.
        render_mode: The render mode; ``render()`` returns a tuple of one frame a lane.
        confidence: With which each limit is to hold; ``None`` without a margin.
        info_strings: Whether information has strings; otherwise numbers only.
        max_steps: After how many changes an episode is truncated.
        start: The name of the architecture that every episode starts from; a random one each if not given.
        pool: How many devices ``"random"`` makes; 256 if not given.
        exclude: Shipped devices that none of them is made from.
        pool_seed: The seed that they are made from; 0 if not given.
        autoreset_mode: When a lane whose episode is over begins anew: ``NEXT_STEP`` (the default), ``SAME_STEP`` or
            ``DISABLED``.

    Raises:
        ValueError: If an argument is not legal.

    Example:
        >>> import gymnasium as gym
        >>> import hwgpt_gym
        >>> envs = gym.make_vec("HWGPT-Edit-v0", num_envs=256, device="all")
        >>> observations, infos = envs.reset(seed=0)
        >>> observations, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())
        >>> infos["action_mask"].shape
        (256, 81)
    """

    def __init__(
        self,
        num_envs: int = 1,
        device: DeviceArgument = "a6000",
        scale: str | None = None,
        constraint: ConstraintArgument | None = DEFAULT_CONSTRAINT,
        penalty: str = DEFAULT_PENALTY,
        penalty_weight: float | None = None,
        noise: bool = False,
        regret: bool | None = None,
        world: int | None = None,
        render_mode: str | None = None,
        confidence: float | None = None,
        info_strings: bool = True,
        max_steps: int = DEFAULT_MAX_STEPS,
        start: str | None = None,
        pool: int | None = None,
        exclude: Sequence[str] | None = None,
        pool_seed: int | None = None,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **unknown: Never,
    ) -> None:
        refuse_unknown(unknown, type(self))
        task = _make_task(
            device=device,
            scale=scale,
            constraint=constraint,
            penalty=penalty,
            penalty_weight=penalty_weight,
            noise=noise,
            regret=regret,
            world=world,
            confidence=confidence,
            pool=pool,
            exclude=exclude,
            pool_seed=pool_seed,
        )
        super().__init__(EditEpisodes(task, num_envs, info_strings, max_steps, start), render_mode, autoreset_mode)


def _make_task(**arguments: Any) -> Task:
    task = get_task(make_settings(**arguments))
    task.warn_of_limits()
    return task
