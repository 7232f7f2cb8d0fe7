"""One policy for many devices and limits: what reinforcement learning can do and search cannot.

A search begins anew for every device and every limit. A contextual policy reads both from the observation and builds
an architecture in one episode, also for devices it was never trained on: the environment describes a device by its
cost coefficients. ``hwgpt-gym train --agent contextual_ppo`` trains and scores it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.agent import WIDEST
from hwgpt_gym.agents.amortised.devices import UNSEEN
from hwgpt_gym.benchmark import AnyDevice, Benchmark
from hwgpt_gym.checks import check_between, check_integer, check_list, check_type, echo
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.metrics import COST_METRICS, get_metric
from hwgpt_gym.onboarding.devices import get_device
from hwgpt_gym.search_space import FloatArray, get_search_space
from hwgpt_gym.surrogates.cost_tables import SLOTS, make_tables

if TYPE_CHECKING:
    from pathlib import Path

    from hwgpt_gym.agents.ppo.policy import Policy

LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Quantiles of each limited cost: the limits that the policy is evaluated under."""


def _seen_devices() -> tuple[str, ...]:
    return tuple(name for name in DEVICES if name not in UNSEEN)


@dataclass(frozen=True)
class ContextualPPO:
    """PPO on episodes that draw a device and limits of one or two costs.

    Attributes:
        scale: The search space.
        devices: The devices to train on.
        metrics: The limited costs.
        low: The low end of the limits, a quantile of the cost on the device from 0 to 1.
        high: The high end.
        evaluations: The number of architectures to build.
        seed: Seeds everything random.
        num_envs: Lanes of the vector environment.
        n_steps: Decisions of every lane between two updates; by default as many as the longest episode has, which is
            the least.
        batch_size: Decisions in a minibatch.
        n_epochs: Passes over the decisions in an update.
        learning_rate: Adam's at the start; it falls linearly to zero.
        entropy_start: Weight of the policy's entropy at the start.
        entropy_end: The same at the end; linear in between.
        clip_range: How far the ratio of probabilities may move from 1 in an update.
        gae_lambda: Lambda of generalised advantage estimation.
        hidden_size: Width of the two hidden layers of policy and value network.

    Raises:
        ValueError: If a setting is not legal.
    """

    scale: str = "s"
    devices: tuple[str, ...] = field(default_factory=_seen_devices)
    metrics: tuple[str, ...] = ("latency_ms",)
    low: float = 0.05
    high: float = 0.95
    evaluations: int = 170_000
    seed: int = 0
    num_envs: int = 128
    n_steps: int | None = None
    batch_size: int = 864
    n_epochs: int = 4
    learning_rate: float = 0.003
    entropy_start: float = 0.3
    entropy_end: float = 0.0
    clip_range: float = 0.2
    gae_lambda: float = 1.0
    hidden_size: int = 128

    def __post_init__(self) -> None:
        for name in self.devices:
            get_device(name)
        if len(self.devices) < 2:
            raise ValueError(f"devices must name at least two devices, got {echo(self.devices)}")
        check_between("low", self.low, 0.0, 1.0)
        check_between("high", self.high, self.low, 1.0)
        if not 1 <= len(self.metrics) <= SLOTS:
            raise ValueError(f"metrics must name one or two costs, got {echo(self.metrics)}")
        for metric in self.metrics:
            get_metric(metric, COST_METRICS)
        for name in ("evaluations", "num_envs", "n_epochs"):
            check_integer(name, getattr(self, name), 1)
        check_integer("hidden_size", self.hidden_size, 1, WIDEST)
        decisions = get_search_space(self.scale).num_decisions
        if self.n_steps is None:
            object.__setattr__(self, "n_steps", decisions)
        check_integer("n_steps", self.n_steps, decisions)
        check_integer("batch_size", self.batch_size, 2)
        check_integer("seed", self.seed, 0)

    @property
    def constraint(self) -> dict[str, tuple[str, str]]:
        """The environment's constraint: the ranges that limits are drawn from."""
        return dict.fromkeys(self.metrics, (f"p{100 * self.low:g}", f"p{100 * self.high:g}"))

    def train(
        self,
        callback: Callable[[int, float], None] | None = None,
        folder: Path | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Policy:
        """Train a policy; the same settings give the same policy on the same machine, interrupted or not.

        Args:
            callback: Called before every update with the number of architectures built so far, and the mean reward of
                those since the last one.
            folder: Where a checkpoint is kept, from which an interrupted training goes on; none by default.
            stopped: Whether to end now; the checkpoint is that of the last update then.

        Raises:
            ValueError: If the folder's checkpoint is that of other settings.
        """
        from hwgpt_gym.agents.ppo.contextual_training import train

        return train({**asdict(self), "constraint": self.constraint}, callback, folder, stopped)


@dataclass(frozen=True, eq=False)
class ContextualScore:
    """Regrets of greedy episodes over a grid of devices and limits.

    Attributes:
        devices: The devices.
        levels: The quantiles of the limited costs that are the limits.
        regret: In reward, below the certified optimum of each device and limit, ``float64 (devices, levels)``.
        feasible: Whether the limit was kept, ``bool (devices, levels)``.
    """

    devices: tuple[str, ...]
    levels: tuple[float, ...]
    regret: FloatArray
    feasible: npt.NDArray[np.bool_]

    def mean_regret(self, devices: Sequence[str]) -> float:
        """Return the mean regret over some of the devices and all limits."""
        return float(self.regret[[self.devices.index(name) for name in devices]].mean())


def evaluate(
    policy: Policy,
    devices: Sequence[AnyDevice] = tuple(DEVICES),
    levels: Sequence[float] = LEVELS,
    metrics: Sequence[str] = ("latency_ms",),
) -> ContextualScore:
    """Score the greedy episodes of a contextual policy, one for each device and limit, under the default penalty.

    Args:
        policy: The policy.
        devices: The devices, seen in training or not.
        levels: The limits, as quantiles of each cost on the device.
        metrics: The limited costs, one or two.

    Raises:
        ValueError: If the policy has no context, or limits cannot be kept.
    """
    from hwgpt_gym.agents.ppo.policy import Policy
    from hwgpt_gym.objective import Objective
    from hwgpt_gym.optimum import solve

    check_type("policy", policy, Policy, "a contextual policy")
    devices, levels = check_list("devices", devices, "devices"), check_list("levels", levels, "quantiles")
    for level in levels:
        check_between("levels", level, 0.0, 1.0)
    metrics = check_list("metrics", metrics, "names of costs")
    benches = [Benchmark(policy.space.scale, device) for device in devices]
    objectives = [Objective(dict.fromkeys(metrics, f"p{100 * level:g}")) for level in levels]
    bounds = [objective.bind(bench) for bench in benches for objective in objectives]
    encoded = policy.greedy(make_tables([bound.limited_costs() for bound in bounds]))
    outcomes = [
        bound.evaluate(bound.bench.evaluate(row, bound.metrics))
        for bound, row in zip(bounds, encoded[:, None], strict=True)
    ]
    shape = (len(benches), len(levels))
    reward = np.array([outcome.reward[0] for outcome in outcomes])
    optimum = np.array([solve(bound.bench, bound.objective).reward for bound in bounds])
    feasible = np.array([outcome.feasible[0] for outcome in outcomes])
    names = tuple(bench.devices[0].name for bench in benches)
    return ContextualScore(names, tuple(levels), (optimum - reward).reshape(shape), feasible.reshape(shape))
