"""What the commands share: options, the reading of constraints, tables and JSON.

Nothing here loads more than the catalogues of devices and metrics: a command that fails or completes a word is done
before numpy's slower relatives are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hwgpt_gym.checks import suggest
from hwgpt_gym.console import format_metric
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.metrics import COST_METRICS, METRICS
from hwgpt_gym.objective import Objective
from hwgpt_gym.penalties import PENALTIES
from hwgpt_gym.search_space import SEARCH_SPACES

if TYPE_CHECKING:
    from hwgpt_gym.objective import BoundObjective


DEFAULT_CONSTRAINT: Final = ("latency_ms=p50",)
"""The default of ``--constraint``, which is the environment's: the median latency of the search space."""


def complete_device(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a device."""
    return [(name, device.label) for name, device in DEVICES.items() if name.startswith(incomplete.lower())]


def complete_devices(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a device, or ``all``."""
    return [*complete_device(incomplete), *([("all", "all devices")] if "all".startswith(incomplete.lower()) else [])]


def complete_scale(incomplete: str) -> list[tuple[str, str]]:
    """Complete a scale."""
    return [(scale, f"{space.size:.2e} architectures") for scale, space in SEARCH_SPACES.items() if incomplete in scale]


def complete_metric(incomplete: str) -> list[tuple[str, str]]:
    """Complete a metric."""
    return [(key, metric.description) for key, metric in METRICS.items() if key.startswith(incomplete)]


def complete_constraint(incomplete: str) -> list[str]:
    """Complete the metric of a constraint, and then a few quantiles."""
    metric, equals, _ = incomplete.partition("=")
    if equals:
        return [f"{metric}=p{level}" for level in (10, 30, 50, 70, 90) if f"{metric}=p{level}".startswith(incomplete)]
    return [f"{key}=" for key in COST_METRICS if key.startswith(metric)]


def complete_agent(incomplete: str) -> list[str]:
    """Complete the name of an agent."""
    from hwgpt_gym.agents import AGENTS

    return [name for name in AGENTS if name.startswith(incomplete)]


def complete_trainable(incomplete: str) -> list[str]:
    """Complete the name of an agent that trains a policy which can be saved."""
    from hwgpt_gym.agents import AGENTS

    names = [*(name for name, kind in AGENTS.items() if hasattr(kind, "train")), "contextual_ppo"]
    return [name for name in names if name.startswith(incomplete)]


def complete_profile(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a leaderboard."""
    from hwgpt_gym.agents.leaderboard.suites import PROFILES

    return [(name, profile.description) for name, profile in PROFILES.items() if name.startswith(incomplete)]


def complete_penalty(incomplete: str) -> list[str]:
    """Complete the form of a penalty."""
    return [penalty for penalty in PENALTIES if penalty.startswith(incomplete)]


INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, which is the shells' own."""

Name = Annotated[str, typer.Argument(help="An architecture's name, as HW-GPT-Bench writes it.", metavar="NAME")]
Scale = Annotated[
    str,
    typer.Option("--scale", "-s", help="The search space: s, m or l.", autocompletion=complete_scale, metavar="s|m|l"),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", "-d", help="The device; see the command devices.", autocompletion=complete_device, metavar="NAME"
    ),
]
Constraint = Annotated[
    list[str],
    typer.Option(
        "--constraint",
        "-c",
        help="A budget, METRIC=NUMBER in the metric's unit or METRIC=pNN, a quantile of the search space; "
        "may be repeated; none for no budget.",
        autocompletion=complete_constraint,
        metavar="METRIC=BUDGET",
    ),
]
PenaltyForm = Annotated[
    str,
    typer.Option(
        "--penalty", help=f"What exceeding a budget costs: {', '.join(PENALTIES)}.", autocompletion=complete_penalty
    ),
]
Weight = Annotated[float | None, typer.Option("--weight", help="The weight of the penalty; by default the form's own.")]
Seed = Annotated[int, typer.Option("--seed", help="The seed of every random number; the same seed, the same result.")]
Budget = Annotated[int, typer.Option("--budget", help="How many architectures may be evaluated.")]
Target = Annotated[float, typer.Option("--target", help="The regret to reach, in reward.")]
Folder = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run folder; by default a new one in runs/.", metavar="FOLDER")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def parse_constraints(texts: Iterable[str]) -> dict[str, float | str]:
    """Read constraints.

    Args:
        texts: Each ``METRIC=BUDGET``, a number or a quantile; a lone ``none`` for no constraint.

    Raises:
        ValueError: If one has another form, or a metric stands there twice. What an objective would refuse is left
            to it.
    """
    items = list(texts)
    if [text.lower() for text in items] == ["none"]:
        return {}
    constraints: dict[str, float | str] = {}
    for text in items:
        metric, equals, budget = (part.strip() for part in text.partition("="))
        if not (metric and equals and budget):
            raise ValueError(
                f"--constraint must be METRIC=BUDGET, such as latency_ms=p30 or latency_ms=20, got {text!r}"
            )
        if metric in constraints:
            raise ValueError(f"--constraint bounds {metric!r} twice")
        try:
            constraints[metric] = float(budget)
        except ValueError:
            constraints[metric] = budget
    return constraints


def make_objective(constraint: Iterable[str], penalty: str, weight: float | None) -> Objective:
    """Make the objective that the options describe.

    Raises:
        ValueError: If they are not legal.
    """
    return Objective(parse_constraints(constraint), penalty, weight)


def check_at_least(option: str, value: int, least: int = 1) -> None:
    """Check a number that counts something.

    Raises:
        ValueError: If it is too small.
    """
    if value < least:
        raise ValueError(f"{option} must be at least {least}, got {value}")


def check_known(option: str, value: str, legal: Iterable[str]) -> None:
    """Check a name against a catalogue.

    Raises:
        ValueError: If it is not in it; the message names the nearest ones.
    """
    names = list(legal)
    if value not in names:
        raise ValueError(f"unknown {option} {value!r}: {suggest(value, names)}")


def budget_rows(metrics: Mapping[str, float], bound: BoundObjective) -> list[tuple[str, str, str, str]]:
    """Return rows of metric, value, budget and the share of the budget that is used."""
    rows = []
    for key, value in metrics.items():
        budget = bound.limits.get(key)
        share = "" if budget is None else f"{100.0 * value / budget:.1f} %"
        rows.append(
            (METRICS[key].label, format_metric(key, value), "" if budget is None else format_metric(key, budget), share)
        )
    return rows
