"""What a picture of an episode shows, apart from how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from hwgpt_gym.envs.episodes import Episodes
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

_SEEN: Final = 5e-4
"""The least loss of a decision that is written out."""


@dataclass(frozen=True)
class Gauge:
    """A cost and its limit.

    Attributes:
        label: The name of the cost.
        unit: Its unit.
        value: The cost, predicted while the architecture is incomplete.
        limit: Its limit.
    """

    label: str
    unit: str
    value: float
    limit: float

    @property
    def ratio(self) -> float:
        """The cost by its limit."""
        return self.value / self.limit

    @property
    def within(self) -> bool:
        """Whether the cost keeps its limit."""
        return self.ratio <= 1.0


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
        lost: By how much each decision lowered the greatest reward within reach, where the optimum is known; ``D``
            numbers, 0 where no decision exists.
        reference: What the gauges' limits are called.
        result_name: What the result's reward is called.
        caption: How far the episode is, where that is not which decision is next.
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
    lost: tuple[float, ...] = ()
    reference: str = "limit"
    result_name: str = "reward"
    caption: str = ""

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
    def losses(self) -> list[tuple[str, float]]:
        """The decisions that lost something that can be seen in three digits, in words, the most first."""
        named = zip(self._decisions, self.lost, strict=False)
        return sorted([(name, lost) for name, lost in named if lost >= _SEEN], key=lambda item: -item[1])

    @property
    def headline(self) -> str:
        """What is decided next, or how far the episode is, in words."""
        if self.caption:
            return self.caption
        if self.complete:
            return f"complete after {self.num_decisions} decisions"
        return f"decision {self.position + 1} of {self.num_decisions}: {self._decisions[self.position]}"

    @property
    def _decisions(self) -> list[str]:
        """The decisions in words. Layers count from 1, as they do in the picture."""
        layers = [f"{kind} of layer {i + 1}" for i in range(self.space.max_layers) for kind in ("MLP", "heads")]
        return [*self.space.decision_names[:FIRST_LAYER], *layers]

    def _value(self, column: int, values: tuple[Any, ...]) -> str:
        choice = self.choices[column]
        return "?" if choice == NOT_SET else str(values[choice])


def view_of(episodes: Episodes, lane: int) -> View:
    """Return what to show of a lane: what it reached, or predictions while it is incomplete."""
    task, construction = episodes.task, episodes.construction
    score = episodes.score_of(lane)
    device, limits = int(episodes.contexts.device[lane]), tuple(episodes.contexts.limits[lane].tolist())
    quality = float(score.outcome.quality[0])
    position, num_decisions = int(construction.position[lane]), construction.num_decisions_of(lane)
    view = View(
        space=task.space,
        device=task.bench.devices[device].label,
        choices=tuple(construction.encoded[lane].tolist()),
        position=position,
        num_decisions=num_decisions,
        perplexity=float(score.metrics["perplexity"][0]),
        result=Result(float(score.outcome.reward[0]), quality),
        gauges=tuple(
            Gauge(METRICS[key].label, METRICS[key].unit, float(score.metrics[key][0]), limit)
            for key, limit in zip(task.constrained, limits, strict=True)
        ),
        optimum=None,
        caption=episodes.caption_of(lane),
    )
    if not episodes.reward.constrained:
        return replace(view, result=Result(quality, quality), reference="median", result_name="quality")
    if not view.complete:
        return view
    row = np.array([lane])
    lost = task.problems.decision_regrets(construction.encoded[row], episodes.contexts.of(row))[0]
    return replace(view, optimum=_optimum(episodes, lane), lost=tuple(lost.tolist()))


def _optimum(episodes: Episodes, lane: int) -> Result:
    """Return what the best architecture of a lane's context earns, proven."""
    optimum = episodes.task.problems.optimum(episodes.contexts, lane)
    return Result(optimum.reward, float(optimum.outcome.quality[0]))
