"""The environment ``HWGPT-MO-v0``: quality and costs as a vector of rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Never

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from hwgpt_gym.checks import check_between, check_list, echo
from hwgpt_gym.envs.episodes import Episodes
from hwgpt_gym.envs.gym_interface import refuse_unknown
from hwgpt_gym.envs.many_lanes import ManyLaneEnv
from hwgpt_gym.envs.one_lane import OneLaneEnv
from hwgpt_gym.envs.rewards import VectorReward
from hwgpt_gym.envs.settings import DeviceArgument, make_settings
from hwgpt_gym.envs.task import Task, get_task
from hwgpt_gym.metrics import COST_METRICS, get_metric

RewardVector = npt.NDArray[np.float32]


class HWGPTMultiObjectiveEnv(OneLaneEnv):
    """:class:`~hwgpt_gym.envs.hwgpt.HWGPTEnv` with a vector of rewards instead of constraints.

    ## Rewards
    At the end of an episode the vector ``(quality, -cost_1 / median_1, …)``, ``float32``: quality as in ``HWGPT-v0``,
    and each cost relative to the median of the search space on the episode's device. Before, zeros. All components
    are to be maximised. `reward_space` bounds them, as MO-Gymnasium's wrappers expect.

    ## Information
    As in ``HWGPT-v0``, without ``penalty``, ``feasible`` and ``constraint``, which have no meaning here.

    ## Arguments
    ``device``, ``scale``, ``noise`` and ``render_mode`` are those of ``HWGPT-v0``; ``costs`` lists the cost metrics.
    Gymnasium's passive checker, which knows scalar rewards only, is off by default for this environment.

    >>> import gymnasium as gym
    >>> import hwgpt_gym
    >>> env = gym.make("HWGPT-MO-v0", device="a6000", costs=["latency_ms", "params"])
    >>> env.unwrapped.reward_space.shape
    (3,)
    >>> front = env.unwrapped.pareto_front()
    >>> len(front) > 100
    True

    ## Vectorized environment
    `gym.make_vec("HWGPT-MO-v0", num_envs=1024)` makes :class:`HWGPTMultiObjectiveVectorEnv`: all lanes in one batch,
    rewards ``float32 (num_envs, 1 + costs)``, every autoreset mode.

    ## References
    Felten et al., *A Toolkit for Reliable Benchmarking and Research in Multi-Objective Reinforcement Learning*,
    NeurIPS 2023 (MO-Gymnasium).

    ## Version History
    - v0: Initial version.

    Args:
        device: The device, or several to draw from.
        scale: The search space.
        costs: The costs that make up the reward besides quality, at least one.
        noise: Whether costs are measurements instead of predictions.
        world: The posterior world that answers, if any.
        render_mode: The render mode.
        info_strings: Whether information has strings; otherwise numbers only, as in ``HWGPT-v0``.

    Raises:
        ValueError: If an argument is not legal.
    """

    def __init__(
        self,
        device: DeviceArgument = "a6000",
        scale: str | None = None,
        costs: Sequence[str] = ("latency_ms",),
        noise: bool = False,
        world: int | None = None,
        render_mode: str | None = None,
        info_strings: bool = True,
        **unknown: Never,
    ) -> None:
        refuse_unknown(unknown, type(self))
        task, reward = _make_task(device, scale, costs, noise, world)
        super().__init__(Episodes(task, 1, reward, info_strings), render_mode)
        self.costs = task.constrained
        self.reward_space = _make_reward_space(task)
        self.reward_dim = 1 + len(self.costs)

    def pareto_front(self, gamma: float = 1.0) -> list[RewardVector]:
        """Return the exact Pareto front, of the last episode's device if there are several.

        :func:`hwgpt_gym.optimum.front.pareto_front` also tells the architectures.

        Args:
            gamma: The discount factor, which MO-Gymnasium's tools hand over. It changes nothing: rewards come at the
                end, so only undiscounted ones keep architectures of different depths comparable. Another one than 1
                is warned of.

        Returns:
            The returns that no architecture beats in one component without losing in another, in the order of the
            first cost, each ``float32 (1 + costs,)``.

        Raises:
            ValueError: If ``gamma`` is not within 0 and 1.
        """
        if check_between("gamma", gamma, 0.0, 1.0) != 1.0:
            gymnasium.logger.warn(f"the front is that of undiscounted returns: gamma={gamma!r} is left out of account")
        from hwgpt_gym.optimum.front import pareto_front

        task = self._episodes.task
        device = int(self._episodes.contexts.device[0])
        bench = task.bench.on(task.bench.devices[device])
        front = pareto_front(bench, ("perplexity", *self.costs))
        medians = [bench.quantile(key, 0.5) for key in self.costs]
        quality = task.objective.quality(front.values[:, 0])
        vectors = np.column_stack([quality, -front.values[:, 1:] / medians])
        return list(vectors.astype(np.float32))


class HWGPTMultiObjectiveVectorEnv(ManyLaneEnv):
    """Many lanes of :class:`HWGPTMultiObjectiveEnv`, stepped together without a loop over them.

    Rewards are ``float32 (num_envs, 1 + costs)``, zeros until an episode ends. As in MO-Gymnasium's vector
    environments, ``reward_space`` is that of one lane.

    Args:
        num_envs: The number of lanes.
        device: As for the scalar environment, as are the others up to ``info_strings``.
        scale: The search space.
        costs: The costs that make up the reward besides quality, at least one.
        noise: Whether costs are measurements instead of predictions.
        world: The posterior world that answers, if any.
        render_mode: The render mode; ``render()`` returns a tuple of one frame a lane.
        info_strings: Whether information has strings; otherwise numbers only, as in ``HWGPT-v0``.
        autoreset_mode: When a finished lane begins anew: ``NEXT_STEP`` (the default), ``SAME_STEP`` or ``DISABLED``.

    Raises:
        ValueError: If an argument is not legal.

    Example:
        >>> import gymnasium as gym
        >>> import hwgpt_gym
        >>> envs = gym.make_vec("HWGPT-MO-v0", num_envs=1024, costs=["latency_ms", "params"])
        >>> observations, infos = envs.reset(seed=0)
        >>> observations, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())
        >>> rewards.shape
        (1024, 3)
    """

    def __init__(
        self,
        num_envs: int = 1,
        device: DeviceArgument = "a6000",
        scale: str | None = None,
        costs: Sequence[str] = ("latency_ms",),
        noise: bool = False,
        world: int | None = None,
        render_mode: str | None = None,
        info_strings: bool = True,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **unknown: Never,
    ) -> None:
        refuse_unknown(unknown, type(self))
        task, reward = _make_task(device, scale, costs, noise, world)
        super().__init__(Episodes(task, num_envs, reward, info_strings), render_mode, autoreset_mode)
        self.costs = task.constrained
        self.reward_space = _make_reward_space(task)
        self.reward_dim = 1 + len(self.costs)


def _make_task(
    device: DeviceArgument, scale: str | None, costs: Sequence[str], noise: bool, world: int | None
) -> tuple[Task, VectorReward]:
    # Gauges and observations compare costs to the medians, which therefore stand where limits would.
    settings = make_settings(
        device,
        scale,
        dict.fromkeys(_check_costs(costs), "p50"),
        penalty="hinge",
        noise=noise,
        regret=False,
        world=world,
        limited=False,
    )
    task = get_task(settings)
    return task, VectorReward(task.constrained, task.generator.medians)


def _make_reward_space(task: Task) -> spaces.Box:
    """Return the bounds of the rewards."""
    bench = task.bench
    dearest = [np.max(bench.extremes(key)[1] / bench.quantile(key, 0.5)) for key in task.constrained]
    # Measurements have no bound.
    low = np.array([0.0, *(-np.inf if task.settings.noise else -ratio for ratio in dearest)], dtype=np.float32)
    high = np.array([1.0, *np.zeros(len(dearest))], dtype=np.float32)
    # Rounding to single precision must not put the dearest architecture outside.
    low[1:] = np.nextafter(low[1:], np.float32(-np.inf))
    return spaces.Box(low, high, dtype=np.float32)


def _check_costs(costs: Sequence[str]) -> tuple[str, ...]:
    keys = tuple(get_metric(key, COST_METRICS).key for key in check_list("costs", costs, "cost metrics"))
    if not keys or len(set(keys)) < len(keys):
        raise ValueError(f"costs must list at least one cost metric, none twice, got {echo(costs)}")
    return keys
