"""What the commands share: options, the reading of constraints, checks.

Nothing here loads more than the catalogues of devices and metrics: a command that fails or completes a word is done
before numpy's slower relatives are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hwgpt_gym.checks import echo, suggest
from hwgpt_gym.cli.completion import complete_constraint, complete_device, complete_penalty, complete_scale
from hwgpt_gym.console import format_metric
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.objective import Objective
from hwgpt_gym.penalties import PENALTIES

if TYPE_CHECKING:
    from hwgpt_gym.benchmark import AnyDevice, Benchmark
    from hwgpt_gym.objective import BoundObjective


DEFAULT_CONSTRAINT: Final = ("latency_ms=p50",)
"""The default of ``--constraint``, which is the environment's: the median latency of the search space."""


DEFAULT_PENALTY: Final = Objective().penalty
"""The default of ``--penalty``, which is the objective's."""

PICTURES: Final = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp")
"""What charts may end in."""

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, which is the shells' own."""

Name = Annotated[str, typer.Argument(help="An architecture's name, as HW-GPT-Bench writes it.", metavar="NAME")]
Scale = Annotated[
    str,
    typer.Option("--scale", "-s", help="The search space: s, m or l.", autocompletion=complete_scale, metavar="s|m|l"),
]
DeviceScale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        "-s",
        help="The search space: s, m or l; by default that of the device's profile if it holds one, else s.",
        autocompletion=complete_scale,
        metavar="s|m|l",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        help="The device; see the command devices. Or the path of a profile.",
        autocompletion=complete_device,
        metavar="NAME",
    ),
]
Constraint = Annotated[
    list[str],
    typer.Option(
        "--constraint",
        "-c",
        help="A limit, METRIC=NUMBER in the metric's unit or METRIC=pNN, a quantile of the search space; "
        "may be repeated; none for no limit.",
        autocompletion=complete_constraint,
        metavar="METRIC=LIMIT",
    ),
]
PenaltyForm = Annotated[
    str,
    typer.Option(
        "--penalty", help=f"What exceeding a limit costs: {', '.join(PENALTIES)}.", autocompletion=complete_penalty
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option("--confidence", help="With which each limit is to hold on the real device, such as 0.95."),
]
Weight = Annotated[float | None, typer.Option("--weight", help="The weight of the penalty; by default the form's own.")]
Seed = Annotated[int, typer.Option("--seed", help="The seed of every random number; the same seed, the same result.")]
Budget = Annotated[int, typer.Option("--budget", help="How many architectures may be evaluated.")]
Target = Annotated[float, typer.Option("--target", help="The regret to reach, in reward.")]
Folder = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run folder; by default a new one in runs/.", metavar="FOLDER")
]
MOST_SAMPLES: Final = 10**6
"""Architectures that a command draws at most: what it makes of them is in memory at once."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def parse_constraints(texts: Iterable[str]) -> dict[str, float | str]:
    """Read constraints.

    Args:
        texts: Each ``METRIC=LIMIT``, a number or a quantile; a lone ``none`` for no constraint.

    Raises:
        ValueError: If one has another form, or a metric stands there twice. What an objective would refuse is left
            to it.
    """
    items = list(texts)
    if [text.lower() for text in items] == ["none"]:
        return {}
    constraints: dict[str, float | str] = {}
    for text in items:
        metric, equals, limit = (part.strip() for part in text.partition("="))
        if text.lower() == "none":
            raise ValueError(f"--constraint none stands alone, got {echo(items)}")
        if not (metric and equals and limit):
            raise ValueError(
                f"--constraint must be METRIC=LIMIT, such as latency_ms=p30 or latency_ms=20, got {echo(text)}"
            )
        if metric in constraints:
            raise ValueError(f"--constraint bounds {metric!r} twice")
        try:
            constraints[metric] = float(limit)
        except ValueError:
            constraints[metric] = limit
    return constraints


def make_objective(
    constraint: Iterable[str], penalty: str, weight: float | None, confidence: float | None = None
) -> Objective:
    """Make the objective that the options describe.

    Raises:
        ValueError: If they are not legal.
    """
    return Objective(parse_constraints(constraint), penalty, weight, confidence)


def make_benchmark(scale: str | None, device: AnyDevice) -> Benchmark:
    """Make the benchmark of one device; without a scale that of its profile, if it holds one, else s.

    Raises:
        ValueError: If there is no such scale or device, or ``all`` is asked for.
    """
    from hwgpt_gym.benchmark import Benchmark

    if isinstance(device, str) and device.lower() == "all":
        raise ValueError("--device must be one device here, got 'all'; the command devices lists them")
    return Benchmark(scale, device)


def refuse_options(context: typer.Context, options: Iterable[str], why: str) -> None:
    """Refuse options that stand on the command line in vain.

    Args:
        context: That of the command.
        options: The parameters that are not taken, by the names of the command's arguments.
        why: What they are taken with, for the message.

    Raises:
        ValueError: If one of them was given.
    """
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for name in options:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(f"{flags[name]} is taken only {why}")


def check_known(option: str, value: str, legal: Iterable[str]) -> None:
    """Check a name against a catalogue.

    Raises:
        ValueError: If it is not in it; the message names the nearest ones.
    """
    names = list(legal)
    if value not in names:
        raise ValueError(f"unknown {option} {echo(value)}: {suggest(value, names)}")


def limit_rows(metrics: Mapping[str, float], bound: BoundObjective) -> list[tuple[str, str, str, str]]:
    """Return rows of metric, value, limit and the share of the limit that is used."""
    rows = []
    for key, value in metrics.items():
        limit = bound.limits.get(key)
        used = "" if limit is None else f"{100.0 * value / limit:.1f} %"
        rows.append(
            (METRICS[key].label, format_metric(key, value), "" if limit is None else format_metric(key, limit), used)
        )
    return rows
