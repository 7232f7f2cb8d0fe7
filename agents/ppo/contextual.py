"""One policy for many devices and limits: what reinforcement learning can do and search cannot.

A search begins anew for every device and every limit. A contextual policy reads both from the observation and builds
an architecture in one episode, also for devices it was never trained on: the environment describes a device by its
normalised cost coefficients. ``hwgpt-gym train --agent contextual_ppo`` trains and scores it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_between, check_integer, echo
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.onboarding.devices import get_device
from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    from hwgpt_gym.agents.ppo.policy import Policy
    from hwgpt_gym.envs.task import Task

UNSEEN_DEVICES: Final = ("a6000", "rtx3080", "cpu_amd_7452")
"""Devices that are kept out of training."""

LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Quantiles of latency: the limits that the policy is evaluated under."""


def _seen_devices() -> tuple[str, ...]:
    return tuple(name for name in DEVICES if name not in UNSEEN_DEVICES)


@dataclass(frozen=True)
class ContextualPPO:
    """PPO on episodes that draw a device and a limit of latency.

    Attributes:
        scale: The search space.
        devices: The devices to train on.
        low: The low end of the limits, a quantile of the device's latency from 0 to 1.
        high: The high end.
        evaluations: The number of architectures to build.
        seed: Seeds everything random.
        num_envs: Lanes of the vector environment.
        n_steps: Decisions of every lane between two updates.
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
    low: float = 0.05
    high: float = 0.95
    evaluations: int = 170_000
    seed: int = 0
    num_envs: int = 128
    n_steps: int = 27
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
        for name in ("evaluations", "num_envs", "n_steps", "n_epochs", "hidden_size"):
            check_integer(name, getattr(self, name), 1)
        check_integer("batch_size", self.batch_size, 2)
        check_integer("seed", self.seed, 0)

    @property
    def constraint(self) -> dict[str, tuple[str, str]]:
        """The environment's constraint: the range that limits are drawn from."""
        return {"latency_ms": (f"p{100 * self.low:g}", f"p{100 * self.high:g}")}

    def train(self, callback: Callable[[int], None] | None = None) -> Policy:
        """Train a policy.

        Args:
            callback: Called with the number of architectures built so far, after every step that finished some.
        """
        from hwgpt_gym.agents.ppo.contextual_training import train

        return train({**asdict(self), "constraint": self.constraint}, callback)


@dataclass(frozen=True, eq=False)
class ContextualScore:
    """Regrets of greedy episodes over a grid of devices and limits.

    Attributes:
        devices: The devices.
        levels: The quantiles of latency that are the limits.
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
    policy: Policy, devices: Sequence[str] = tuple(DEVICES), levels: Sequence[float] = LEVELS
) -> ContextualScore:
    """Score the greedy episodes of a contextual policy, one for each device and limit.

    Args:
        policy: The policy.
        devices: The devices, seen in training or not.
        levels: The limits, as quantiles of each device's latency.

    Raises:
        ValueError: If the policy's context is another one.
    """
    from hwgpt_gym.envs.contexts import Contexts
    from hwgpt_gym.objective import Objective
    from hwgpt_gym.optimum import solve

    task = _task(policy.space.scale, tuple(devices))
    columns = task.layout.num_context_columns
    if policy.context_columns != columns:
        raise ValueError(
            f"the policy must have {columns} context columns (limit and device), has {policy.context_columns}"
        )
    benches = [Benchmark(policy.space.scale, name) for name in devices]
    limits = np.array([[bench.quantile("latency_ms", level) for level in levels] for bench in benches])
    index = np.repeat(np.arange(len(benches)), len(levels))
    contexts = Contexts(index, limits.reshape(-1, 1))
    encoded = policy.greedy(task.generator.columns(contexts))
    outcome = task.score(encoded, contexts).outcome
    optimum = np.array(
        [
            solve(bench, Objective({"latency_ms": float(limit)})).reward
            for bench, row in zip(benches, limits, strict=True)
            for limit in row
        ]
    )
    shape = (len(benches), len(levels))
    return ContextualScore(
        tuple(devices), tuple(levels), (optimum - outcome.reward).reshape(shape), outcome.feasible.reshape(shape)
    )


def _task(scale: str, devices: tuple[str, ...]) -> Task:
    from hwgpt_gym.envs.settings import make_settings
    from hwgpt_gym.envs.task import get_task

    return get_task(make_settings(devices, scale, {"latency_ms": ("p5", "p95")}))
