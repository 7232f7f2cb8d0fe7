"""One policy for many devices and budgets: what reinforcement learning can do and search cannot.

A search begins anew for every device and every budget. A contextual policy reads both from the observation and builds
an architecture in one episode, also for devices it was never trained on: the environment describes a device by its
normalised cost coefficients. Rebuild and evaluate it with ``python -m hwgpt_gym.agents.ppo.contextual``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_between, check_integer
from hwgpt_gym.devices import DEVICES, get_device
from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    from hwgpt_gym.agents.ppo.policy import Policy
    from hwgpt_gym.envs.task import Task

UNSEEN_DEVICES: Final = ("a6000", "rtx3080", "cpu_amd_7452")
"""Devices that are kept out of training."""

LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Quantiles of latency whose budgets the policy is evaluated on."""


def _seen_devices() -> tuple[str, ...]:
    return tuple(name for name in DEVICES if name not in UNSEEN_DEVICES)


@dataclass(frozen=True)
class ContextualPPO:
    """PPO on episodes that draw a device and a latency budget.

    Attributes:
        scale: The search space.
        devices: The devices to train on.
        low: The low end of the budgets, a quantile of the device's latency from 0 to 1.
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
            raise ValueError(f"devices must name at least two devices, got {self.devices!r}")
        check_between("low", self.low, 0.0, 1.0)
        check_between("high", self.high, self.low, 1.0)
        for name in ("evaluations", "num_envs", "n_steps", "n_epochs", "hidden_size"):
            check_integer(name, getattr(self, name), 1)
        check_integer("batch_size", self.batch_size, 2)
        check_integer("seed", self.seed, 0)

    @property
    def constraint(self) -> dict[str, tuple[str, str]]:
        """The environment's constraint: the range that budgets are drawn from."""
        return {"latency_ms": (f"p{100 * self.low:g}", f"p{100 * self.high:g}")}

    def train(self, callback: Callable[[int], None] | None = None) -> Policy:
        """Train a policy.

        Args:
            callback: Called with the number of architectures built so far, after every step that finished some.
        """
        from hwgpt_gym.agents.ppo.contextual_training import train

        return train(self, callback)


@dataclass(frozen=True, eq=False)
class ContextualScore:
    """Regrets of greedy episodes over a grid of devices and budgets.

    Attributes:
        devices: The devices.
        levels: The quantiles of latency that are the budgets.
        regret: In reward, below the certified optimum of each device and budget, ``float64 (devices, levels)``.
        feasible: Whether the budget was kept, ``bool (devices, levels)``.
    """

    devices: tuple[str, ...]
    levels: tuple[float, ...]
    regret: FloatArray
    feasible: npt.NDArray[np.bool_]

    def mean_regret(self, devices: Sequence[str]) -> float:
        """Return the mean regret over some of the devices and all budgets."""
        return float(self.regret[[self.devices.index(name) for name in devices]].mean())


def evaluate(
    policy: Policy, devices: Sequence[str] = tuple(DEVICES), levels: Sequence[float] = LEVELS
) -> ContextualScore:
    """Score the greedy episodes of a contextual policy, one for each device and budget.

    Args:
        policy: The policy.
        devices: The devices, seen in training or not.
        levels: The budgets, as quantiles of each device's latency.

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
    budgets = np.array([[bench.quantile("latency_ms", level) for level in levels] for bench in benches])
    index = np.repeat(np.arange(len(benches)), len(levels))
    contexts = Contexts(index, budgets.reshape(-1, 1))
    encoded = policy.greedy(task.generator.columns(contexts))
    outcome = task.score(encoded, contexts).outcome
    optimum = np.array(
        [
            solve(bench, Objective({"latency_ms": float(budget)})).reward
            for bench, row in zip(benches, budgets, strict=True)
            for budget in row
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, evaluate, print and optionally save a contextual policy."""
    import argparse

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    parser = argparse.ArgumentParser(prog="python -m hwgpt_gym.agents.ppo.contextual", description=__doc__)
    for name, default in asdict(ContextualPPO()).items():
        if isinstance(default, int | float):
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--output", help="where to save the policy (safetensors)")
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    output = options.pop("output")
    settings = ContextualPPO(**options)
    console = Console()
    started = time.perf_counter()
    with Progress(console=console) as progress:
        bar = progress.add_task("Training", total=settings.evaluations)
        policy = settings.train(lambda built: progress.update(bar, completed=built))
    seconds = time.perf_counter() - started
    score = evaluate(policy)
    table = Table("device", "training", "mean regret", "worst regret", "feasible")
    for row, device in enumerate(score.devices):
        seen = "seen" if device in settings.devices else "unseen"
        regret = score.regret[row]
        table.add_row(device, seen, f"{regret.mean():.4f}", f"{regret.max():.4f}", f"{score.feasible[row].mean():.0%}")
    console.print(table)
    unseen = [device for device in score.devices if device not in settings.devices]
    console.print(f"mean greedy regret, seen devices: {score.mean_regret(settings.devices):.4f}")
    if unseen:
        console.print(f"mean greedy regret, unseen devices: {score.mean_regret(unseen):.4f}")
    console.print(f"{settings.evaluations} evaluations in {seconds:.0f} s")
    if output:
        notes = {"settings": asdict(settings), "seen": score.mean_regret(settings.devices)}
        console.print(f"saved to {policy.save(output, **notes)}")


if __name__ == "__main__":
    main()
