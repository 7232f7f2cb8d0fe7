"""The command that recommends an architecture at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.cli.options import (
    DEFAULT_CONSTRAINT,
    Confidence,
    Constraint,
    Device,
    DeviceScale,
    Json,
    parse_constraints,
)
from hwgpt_gym.console import floats, format_metric, make_table, output, print_json, print_wide
from hwgpt_gym.metrics import METRICS

if TYPE_CHECKING:
    from hwgpt_gym.agents.amortised import Choice, Recommendation


def recommend(
    device: Device = "a6000",
    scale: DeviceScale = None,
    constraint: Constraint = list(DEFAULT_CONSTRAINT),  # noqa: B006  # Typer copies it.
    beam: Annotated[int, typer.Option("--beam", help="Architectures kept at every decision; 1 is greedy.")] = 16,
    strict: Annotated[bool, typer.Option("--strict/--no-strict", help="Never exceed a limit.")] = True,
    confidence: Confidence = None,
    as_json: Json = False,
) -> None:
    """Recommend an architecture for a device under one or two limits, with the certified optimum beside it.

    A policy that was trained on made-up devices answers at once, also for a device that it never saw.

    Example: hwgpt-gym recommend --device h100 --constraint latency_ms=p30 --beam 16
    """
    from hwgpt_gym.agents.amortised import recommend as ask

    found = ask(device, parse_constraints(constraint), scale, beam, strict, confidence)
    bound = found.optimum.objective
    if as_json:
        chosen = _describe(found.choice) | {"regret": found.regret, "seconds": found.seconds}
        described = {"device": bound.bench.devices[0].name, "scale": bound.bench.scale, "limits": floats(bound.limits)}
        optimum = {"architecture": str(found.optimum.architecture), "reward": found.optimum.reward}
        others = {name: _describe(other) for name, other in found.alternatives.items()}
        intervals = {key: list(interval) for key, interval in found.intervals.items()}
        print_json({**described, **chosen, "intervals": intervals, "optimum": optimum, "alternatives": others})
        return
    _print(found)


def _describe(choice: Choice) -> dict[str, Any]:
    return {
        "architecture": str(choice.architecture),
        "reward": choice.reward,
        "keeps_limits": choice.keeps_limits,
        "metrics": choice.metrics,
    }


def _print(found: Recommendation) -> None:
    bound = found.optimum.objective
    output.print(str(found.architecture), style="bold", soft_wrap=True)
    shown = ("perplexity", "accuracy", *bound.limits, *(key for key in found.metrics if key not in bound.limits))
    optimum = floats(found.optimum.metrics)
    rows = []
    for key in dict.fromkeys(shown):
        interval = found.intervals.get(key)
        rows.append(
            (
                METRICS[key].label,
                format_metric(key, found.metrics[key]),
                "" if interval is None else " to ".join(format_metric(key, end) for end in interval),
                format_metric(key, optimum[key]),
                format_metric(key, float(bound.limits[key])) if key in bound.limits else "",
            )
        )
    rows.append(("reward", f"{found.choice.reward:.6f}", "", f"{found.optimum.reward:.6f}", ""))
    rows.append(("regret", f"{found.regret:.6f}", "", "0", ""))
    head = ("metric", "recommended", "90 % interval", "certified optimum", "limit")
    title = f"Recommended at scale {bound.bench.scale} on {bound.bench.devices[0].label}"
    output.print(make_table(title, head, rows, right=(1, 2, 3, 4)))
    others = [
        (
            name,
            format_metric("perplexity", other.metrics["perplexity"]),
            *(format_metric(key, other.metrics[key]) for key in bound.limits),
            "yes" if other.keeps_limits else "no",
            str(other.architecture),
        )
        for name, other in found.alternatives.items()
    ]
    columns = (
        "",
        METRICS["perplexity"].label,
        *(METRICS[key].label for key in bound.limits),
        "in limits",
        "architecture",
    )
    if others:
        print_wide(make_table("Alternatives", columns, others, right=range(1, 2 + len(bound.limits))))
    output.print(f"answered in {1e3 * found.seconds:.0f} ms")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Search and train")(recommend)
