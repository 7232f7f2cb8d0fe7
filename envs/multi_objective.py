"""The environment ``HWGPT-MO-v0``: quality and costs as a vector of rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from hwgpt_gym.envs.episodes import Step
from hwgpt_gym.envs.gym_interface import Observation, check_render_mode
from hwgpt_gym.envs.hwgpt import HWGPTEnv
from hwgpt_gym.envs.settings import DeviceArgument, make_settings
from hwgpt_gym.envs.task import get_task
from hwgpt_gym.metrics import COST_METRICS, get_metric

if TYPE_CHECKING:
    from hwgpt_gym.envs.view import View

_SCALAR_ONLY: Final = ("penalty", "feasible", "constraint")

RewardVector = npt.NDArray[np.float32]


class HWGPTMultiObjectiveEnv(HWGPTEnv):
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

    Raises:
        ValueError: If an argument is not legal.
    """

    def __init__(
        self,
        device: DeviceArgument = "a6000",
        scale: str = "s",
        costs: Sequence[str] = ("latency_ms",),
        noise: bool = False,
        world: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.costs = _check_costs(costs)
        constraint = dict.fromkeys(self.costs, "p50")
        task = get_task(make_settings(device, scale, constraint, "hinge", None, False, noise, world))
        self._set_up(task)
        self.reward_dim = 1 + len(self.costs)
        dearest = [np.max(self.bench.extremes(key)[1] / self.bench.quantile(key, 0.5)) for key in self.costs]
        # Measurements have no bound.
        low = np.array([0.0, *(-np.inf if noise else -ratio for ratio in dearest)], dtype=np.float32)
        high = np.array([1.0, *np.zeros(len(self.costs))], dtype=np.float32)
        # Rounding to single precision must not put the dearest architecture outside.
        low[1:] = np.nextafter(low[1:], np.float32(-np.inf))
        self.reward_space = spaces.Box(low, high, dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an architecture; as for ``HWGPT-v0``, and the only option is ``device``.

        Raises:
            ValueError: If an option is unknown or not legal; nothing is changed then.
        """
        if options and "constraint" in options:
            raise ValueError("options['constraint'] has no meaning here: the rewards are unconstrained")
        observation, info = super().reset(seed=seed, options=options)
        return observation, _unconstrained(info)

    def step(  # type: ignore[override]  # MO-Gymnasium's convention: the reward is a vector.
        self, action: SupportsIndex
    ) -> tuple[Observation, RewardVector, bool, bool, dict[str, Any]]:
        """Take the next decision; as for ``HWGPT-v0``, with a reward ``float32 (1 + costs,)``."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, _unconstrained(info)  # type: ignore[return-value]

    def pareto_front(self, gamma: float = 1.0) -> list[RewardVector]:
        """Return the exact Pareto front, of the last episode's device if there are several.

        :func:`hwgpt_gym.optimum.front.pareto_front` also tells the architectures.

        Args:
            gamma: The discount factor, which MO-Gymnasium's tools hand over; rewards come at the end, so only 1 keeps
                architectures of different depths comparable.

        Returns:
            The returns that no architecture beats in one component without losing in another, in the order of the
            first cost, each ``float32 (1 + costs,)``.

        Raises:
            ValueError: If ``gamma`` is not 1.
        """
        if gamma != 1.0:
            raise ValueError(f"gamma must be 1, got {gamma!r}: the front is that of undiscounted returns")
        from hwgpt_gym.optimum.front import pareto_front

        task = self._episodes.task
        device = int(self._episodes.contexts.device[0])
        bench = self.bench.on(task.settings.devices[device])
        front = pareto_front(bench, ("perplexity", *self.costs))
        medians = [bench.quantile(key, 0.5) for key in self.costs]
        quality = task.objective.quality(front.values[:, 0])
        vectors = np.column_stack([quality, -front.values[:, 1:] / medians])
        return list(vectors.astype(np.float32))

    def _view(self) -> View:
        from hwgpt_gym.envs.view import Result

        view = super()._view()
        result = Result(view.result.quality, view.result.quality)
        return replace(view, result=result, optimum=None, reference="median", result_name="quality")

    def _reward(self, step: Step) -> RewardVector:
        medians = self._episodes.task.medians[self._episodes.contexts.device[0]]
        costs = [-step.end_info[key][0] / median for key, median in zip(self.costs, medians, strict=True)]
        return np.array([step.end_info["quality"][0], *costs], dtype=np.float32)

    def _no_reward(self) -> RewardVector:
        return np.zeros(self.reward_dim, dtype=np.float32)


def _check_costs(costs: Sequence[str]) -> tuple[str, ...]:
    if isinstance(costs, str) or not isinstance(costs, Sequence) or not costs or len(set(costs)) < len(costs):
        raise ValueError(f"costs must list at least one cost metric, none twice, got {costs!r}")
    return tuple(get_metric(key, COST_METRICS).key for key in costs)


def _unconstrained(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key not in _SCALAR_ONLY}
