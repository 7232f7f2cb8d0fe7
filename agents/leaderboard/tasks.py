"""What a leaderboard searches for: a device, limits, and how an agent gets to know the costs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.task_name import RULES, task_name
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_choice, check_integer, check_list
from hwgpt_gym.devices import Device
from hwgpt_gym.objective import BoundObjective, Objective
from hwgpt_gym.onboarding.devices import get_device, reference_of
from hwgpt_gym.optimum import Optimum, solve
from hwgpt_gym.search_space import get_search_space

COSTS: Final = ("predicted", "measured", "onboarded")
"""How an agent gets to know costs: as the surrogates predict them, by one noisy measurement each, or as a profile of
the device predicts them that was made from twenty measurements, as of a device that nobody knew."""


@dataclass(frozen=True)
class Task:
    """A problem, and what counts in it.

    Attributes:
        scale: The search space.
        device: The device's name, or the absolute path of its profile.
        limits: The limited costs and their limits, quantiles such as ``"p50"``, in order.
        costs: How an agent gets to know the costs, one of :data:`COSTS`.

    Raises:
        ValueError: If something is not legal.
    """

    scale: str
    device: str
    limits: tuple[tuple[str, str], ...] = (("latency_ms", "p50"),)
    costs: str = "predicted"

    def __post_init__(self) -> None:
        get_search_space(self.scale)
        # Worker processes find devices by these names and paths, whatever folder they are in.
        object.__setattr__(self, "device", reference_of(get_device(self.device)))
        pairs = check_list("limits", self.limits, "pairs of a cost and its limit")
        object.__setattr__(self, "limits", tuple((metric, limit) for metric, limit in pairs))
        Objective(dict(self.limits))
        check_choice("costs", self.costs, COSTS)

    @property
    def device_name(self) -> str:
        """The device's name."""
        return get_device(self.device).name

    @property
    def limit_text(self) -> str:
        """The limits in a word."""
        return ",".join(f"{metric}={limit}" for metric, limit in self.limits)

    @property
    def name(self) -> str:
        """The name of the task: results that differ in it do not compare."""
        name = task_name(self.truth.bench, self.truth.objective, self.costs == "measured")
        return name.replace(f"/{self.device_name}/", f"/{self.device_name}@20/") if self.costs == "onboarded" else name

    @property
    def folder(self) -> str:
        """The part of a path that differs between tasks of the same weights."""
        kind = "" if self.costs == "predicted" else f"-{self.costs}"
        return f"{self.scale}/{self.device_name}/{self.limit_text}{kind}"

    @property
    def truth(self) -> BoundObjective:
        """The objective as it counts, bound to the device's benchmark."""
        return _solve(self.scale, get_device(self.device), self.limits)[0]

    @property
    def optimum(self) -> Optimum:
        """The certified optimum."""
        return _solve(self.scale, get_device(self.device), self.limits)[1]

    def problem(self, budget: int, seed: int) -> SearchProblem:
        """Return what an agent searches.

        Args:
            budget: Evaluations.
            seed: The seed of agent and measurements.
        """
        truth = self.truth
        if self.costs != "onboarded":
            return SearchProblem(truth.bench, truth.objective, budget, seed, measured=self.costs == "measured")
        from hwgpt_gym.agents.leaderboard.onboarded import profile_device

        # In its unit: a user knows how long it may take, not which quantile of an unknown device that is.
        objective = Objective({metric: float(limit) for metric, limit in truth.limits.items()})
        profile = profile_device(self.scale, self.device_name, tuple(metric for metric, _ in self.limits))
        return SearchProblem(Benchmark(self.scale, profile), objective, budget, seed)

    def seed(self, number: int) -> int:
        """Return the seed of the run of a number: those of different tasks have nothing in common."""
        text = f"{RULES}/{self.folder}/{check_integer('number', number, 0)}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


@lru_cache(maxsize=512)
def _solve(scale: str, device: Device, limits: tuple[tuple[str, str], ...]) -> tuple[BoundObjective, Optimum]:
    bench, objective = _benchmark(scale, device), Objective(dict(limits))
    return objective.bind(bench), solve(bench, objective)


@lru_cache(maxsize=64)
def _benchmark(scale: str, device: Device) -> Benchmark:
    return Benchmark(scale, device)


def make_tasks(
    scales: Sequence[str],
    devices: Iterable[str],
    limits: Iterable[Mapping[str, str]],
    costs: str = "predicted",
) -> tuple[Task, ...]:
    """Return every limit on every device at every scale."""
    names, pairs = tuple(devices), [tuple(limit.items()) for limit in limits]
    return tuple(Task(scale, device, limit, costs) for scale in scales for limit in pairs for device in names)
