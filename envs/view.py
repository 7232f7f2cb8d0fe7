"""What a picture of an episode shows, apart from how it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from hwgpt_gym.devices import get_device
from hwgpt_gym.envs.episodes import Episodes
from hwgpt_gym.envs.task import Task
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    FIRST_LAYER,
    HEAD_COLUMNS,
    MLP_COLUMNS,
    N_LAYER,
    NOT_SET,
    SearchSpace,
)


@dataclass(frozen=True)
class Gauge:
    """A cost and its budget.

    Attributes:
        label: The name of the cost.
        unit: Its unit.
        value: The cost, predicted while the architecture is incomplete.
        budget: Its budget.
    """

    label: str
    unit: str
    value: float
    budget: float

    @property
    def ratio(self) -> float:
        """The cost by its budget."""
        return self.value / self.budget


@dataclass(frozen=True)
class Result:
    """Reward and quality of an architecture."""

    reward: float
    quality: float


@dataclass(frozen=True)
class View:
    """An episode as it is shown.

    Attributes:
        space: The search space.
        device: The device's name as a person writes it.
        choices: The choices so far by decision, -1 where undecided, ``D`` numbers.
        position: The next decision.
        num_decisions: The number of decisions, as far as it is known: the greatest while the depth is undecided.
        perplexity: The perplexity, predicted while the architecture is incomplete.
        result: What it earns, predicted while the architecture is incomplete.
        gauges: Every constrained cost.
        optimum: What the best architecture earns, once this one is complete and if it is known.
        reference: What the gauges' budgets are called.
        result_name: What the result's reward is called.
    """

    space: SearchSpace
    device: str
    choices: tuple[int, ...]
    position: int
    num_decisions: int
    perplexity: float
    result: Result
    gauges: tuple[Gauge, ...]
    optimum: Result | None
    reference: str = "budget"
    result_name: str = "reward"

    @property
    def complete(self) -> bool:
        """Whether every decision is taken."""
        return self.position == self.num_decisions

    @property
    def embed_dim(self) -> str:
        """The embedding width, or a question mark."""
        return self._value(EMBED_DIM, self.space.embed_dims)

    @property
    def n_layer(self) -> str:
        """The depth, or a question mark."""
        return self._value(N_LAYER, self.space.depths)

    @property
    def bias(self) -> str:
        """Whether there are biases, in words, or a question mark."""
        return self._value(BIAS, ("no", "yes"))

    @property
    def layers(self) -> list[tuple[int | None, int | None]]:
        """MLP ratio and number of heads of every layer that exists or may exist; ``None`` where undecided."""
        chosen = [
            (
                None if mlp == NOT_SET else self.space.mlp_ratios[mlp],
                None if head == NOT_SET else self.space.head_counts[head],
            )
            for mlp, head in zip(self.choices[MLP_COLUMNS], self.choices[HEAD_COLUMNS], strict=True)
        ]
        return chosen[: (self.num_decisions - FIRST_LAYER) // 2]

    @property
    def headline(self) -> str:
        """What is decided next, in words."""
        if self.complete:
            return f"complete after {self.num_decisions} decisions"
        return f"decision {self.position + 1} of {self.num_decisions}: {self.space.decision_names[self.position]}"

    def _value(self, column: int, values: tuple[Any, ...]) -> str:
        choice = self.choices[column]
        return "?" if choice == NOT_SET else str(values[choice])


def view_of(episodes: Episodes, lane: int, info: Mapping[str, Any] | None = None) -> View:
    """Return what to show of a lane.

    Args:
        episodes: The episodes.
        lane: The lane.
        info: The information that the lane's finished episode gave, with measured costs if it is noisy.
    """
    task, construction = episodes.task, episodes.construction
    rows = np.array([lane])
    contexts = episodes.contexts_of(rows)
    score = task.score(construction.completed(rows), contexts)
    values = {key: float(array[0]) for key, array in score.metrics.items()}
    result = Result(float(score.outcome.reward[0]), float(score.outcome.quality[0]))
    if info and "quality" in info:
        values = {key: info[key] for key in values}
        result = Result(info["quality"] - info.get("penalty", 0.0), info["quality"])
    choices = tuple(construction.encoded[lane].tolist())
    depth = choices[N_LAYER]
    num_decisions = task.space.num_decisions if depth == NOT_SET else int(task.space.lengths[depth])
    position = int(construction.position[lane])
    device = int(contexts.device[0])
    budgets = tuple(contexts.budgets[0].tolist())
    return View(
        space=task.space,
        device=get_device(task.settings.devices[device]).label,
        choices=choices,
        position=position,
        num_decisions=num_decisions,
        perplexity=values["perplexity"],
        result=result,
        gauges=tuple(
            Gauge(METRICS[key].label, METRICS[key].unit, values[key], budget)
            for key, budget in zip(task.constrained, budgets, strict=True)
        ),
        optimum=_optimum(task, device, budgets) if position == num_decisions else None,
    )


@lru_cache(maxsize=256)
def _optimum(task: Task, device: int, budgets: tuple[float, ...]) -> Result | None:
    """Return what the best architecture of a context earns, proven; ``None`` if no architecture is feasible."""
    from hwgpt_gym.optimum import solve

    name, objective = task.objective_of(device, budgets)
    try:
        optimum = solve(task.bench.on(name), objective)
    except ValueError:
        # Under the hard penalty there may be no feasible architecture.
        return None
    return Result(optimum.reward, float(optimum.outcome.quality[0]))
