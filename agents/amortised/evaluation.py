"""How far the policy's architectures are from the certified constrained optimum, by device and limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.amortised.devices import UNSEEN
from hwgpt_gym.agents.amortised.limits import LimitKeeper
from hwgpt_gym.benchmark import AnyDevice, Benchmark
from hwgpt_gym.checks import check_integer, check_list, check_type
from hwgpt_gym.objective import BoundObjective, Objective
from hwgpt_gym.optimum import solve
from hwgpt_gym.search_space import EMBED_DIM, NUM_CHOICES, Encoded, FloatArray
from hwgpt_gym.surrogates.cost_tables import CostTables, make_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hwgpt_gym.agents.amortised.policy import AmortisedPolicy

MOST_BEAM: Final = 10_000
"""The widest beam."""

LEVELS: Final = tuple(range(10, 100, 10))
"""The limits of the evaluation, in per cent: quantiles of the cost over the search space."""

DRAWS: Final = 4
"""How many architectures are sampled for each one that is asked for, since some are the same."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Regrets to the certified constrained optimum.

    Attributes:
        devices: The devices.
        levels: The quantiles of the limits, in per cent.
        regret: ``float64 (devices, levels)``.
        kept: Whether each answer keeps its limits, ``bool (devices, levels)``.
    """

    devices: tuple[str, ...]
    levels: tuple[int, ...]
    regret: FloatArray
    kept: np.ndarray

    def summary(self) -> dict[str, float]:
        """Return mean, median and worst regret, and the share of answers that keep their limits."""
        return {
            "mean": float(self.regret.mean()),
            "median": float(np.median(self.regret)),
            "worst": float(self.regret.max()),
            "kept": float(self.kept.mean()),
        }


def answer(
    policy: AmortisedPolicy,
    bound: BoundObjective,
    beam: int = 16,
    strict: bool = True,
    other_than: int | None = None,
) -> Encoded:
    """Return what a policy builds for one problem, the best first.

    Args:
        policy: The policy.
        bound: The objective, bound to a benchmark of one device, with at most two limits that can be kept.
        beam: How many architectures to keep at every decision; 1 is the greedy episode.
        strict: Whether to leave out choices after which no completion keeps the limits. Under the default penalty this
            never excludes the optimum.
        other_than: A width to leave out, by choice index.

    Returns:
        Up to ``beam`` distinct architectures, ``int8 (k, D)``, by reward; none if nothing is open.
    """
    costs, keeper = tables_of(bound), LimitKeeper(bound)

    def mask(encoded: Encoded, place: int, problem: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        open_choices = keeper(encoded, place, problem) if strict else np.ones((len(encoded), NUM_CHOICES), np.bool_)
        if place == EMBED_DIM and other_than is not None:
            open_choices = open_choices & (np.arange(NUM_CHOICES) != other_than)
        return open_choices

    built = policy.beam(costs, beam, mask)
    if not len(built):
        return built
    outcome = bound.evaluate(bound.bench.evaluate(built, bound.metrics), margins=bound.margins(built))
    return built[np.argsort(-outcome.reward, kind="stable")]


def samples(policy: AmortisedPolicy, bound: BoundObjective, count: int, rng: np.random.Generator) -> Encoded:
    """Return distinct architectures that a policy samples for one problem, all of which keep the limits.

    Args:
        policy: The policy.
        bound: As for :func:`answer`.
        count: How many.
        rng: The generator to draw from.

    Returns:
        Up to ``count``, ``int8 (k, D)``; the greedy episode is the first.

    Raises:
        ValueError: If no architecture keeps the limits.
    """
    costs, keeper = tables_of(bound), LimitKeeper(bound)
    keeper.check_possible()
    drawn = policy.build(costs.of(np.zeros(DRAWS * count, dtype=np.intp)), rng, keeper, greedy=1)
    _, first = np.unique(drawn, axis=0, return_index=True)
    return drawn[np.sort(first)[:count]]


def tables_of(bound: BoundObjective) -> CostTables:
    """Return what a policy is told of one problem."""
    return make_tables([bound.limited_costs()])


def evaluate(
    policy: AmortisedPolicy,
    beam: int = 1,
    devices: Sequence[AnyDevice] = UNSEEN,
    metrics: Sequence[str] = ("latency_ms",),
    levels: Sequence[int] = LEVELS,
    strict: bool = True,
    progress: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Score a policy's answers on devices under limits.

    Args:
        policy: The policy.
        beam: As for :func:`answer`.
        devices: The devices.
        metrics: The limited costs, one or two; each limit is the same quantile.
        levels: The quantiles, in per cent.
        strict: As for :func:`answer`.
        progress: Called after every answer.

    Raises:
        ValueError: If an argument is not legal.
        TypeError: If one is of a wrong kind.
    """
    from hwgpt_gym.agents.amortised.policy import AmortisedPolicy

    check_type("policy", policy, AmortisedPolicy, "an amortised policy, as load_pretrained('s') returns it")
    check_integer("beam", beam, 1, MOST_BEAM)
    devices = check_list("devices", devices, "devices")
    levels = check_list("levels", levels, "quantiles in per cent")
    metrics = check_list("metrics", metrics, "names of costs")
    regret, kept = np.empty((len(devices), len(levels))), np.empty((len(devices), len(levels)), dtype=np.bool_)
    names = []
    for row, device in enumerate(devices):
        bench = Benchmark(policy.space.scale, device)
        names.append(bench.devices[0].name)
        for column, level in enumerate(levels):
            bound = Objective(dict.fromkeys(metrics, f"p{level}")).bind(bench)
            built = answer(policy, bound, beam, strict)[:1]
            outcome = bound.evaluate(bench.evaluate(built, bound.metrics))
            regret[row, column] = solve(bench, bound.objective).reward - outcome.reward[0]
            kept[row, column] = outcome.feasible[0]
            progress()
    return Evaluation(tuple(names), tuple(levels), regret, kept)


def draw_heat_map(evaluation: Evaluation, title: str) -> Figure:
    """Draw the regret by device and limit."""
    from hwgpt_gym.style import new_figure

    figure = new_figure(7.0, 1.4 + 0.42 * len(evaluation.devices))
    axes = figure.add_subplot()
    image = axes.imshow(1e3 * evaluation.regret, cmap="viridis", aspect="auto", vmin=0.0)
    axes.set_xticks(range(len(evaluation.levels)), [f"p{level}" for level in evaluation.levels])
    axes.set_yticks(range(len(evaluation.devices)), evaluation.devices)
    middle = 500.0 * evaluation.regret.max()
    for (row, column), value in np.ndenumerate(1e3 * evaluation.regret):
        colour = "black" if value > middle else "white"
        axes.text(column, row, f"{abs(value):.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xlabel("limit, a quantile of the search space")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="regret × 1,000")
    return figure
