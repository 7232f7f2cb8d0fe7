"""The commands that print how good the amortised policy is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer

from hwgpt_gym.checks import check_integer, echo
from hwgpt_gym.cli.completion import complete_device, complete_metric
from hwgpt_gym.cli.options import (
    PICTURES,
    Json,
    Scale,
    Seed,
)
from hwgpt_gym.console import make_table, messages, output, print_json
from hwgpt_gym.files import check_destination
from hwgpt_gym.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwgpt_gym.agents.amortised import Evaluation
    from hwgpt_gym.agents.amortised.policy import AmortisedPolicy

amortised_app = typer.Typer(help="Score the amortised policy that recommend asks.", no_args_is_help=True)

Model = Annotated[
    Path | None,
    typer.Option("--model", help="A policy that train --agent amortised wrote; by default the shipped one."),
]


@amortised_app.command("table")
def table(
    scale: Scale = "s",
    model: Model = None,
    beam: Annotated[list[int], typer.Option("--beam", help="May be repeated.")] = [1, 16, 64],  # noqa: B006
    device: Annotated[
        list[str] | None,
        typer.Option("--device", "-d", help="By default the three never trained on.", autocompletion=complete_device),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", "-m", help="The limited cost, or two; latency_ms by default.", autocompletion=complete_metric
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict/--no-strict", help="Never exceed a limit.")] = True,
    first: Annotated[
        int, typer.Option("--from", help="The first limit's quantile in per cent; the others follow in steps of ten.")
    ] = 10,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the regrets of the first --beam by device and limit.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the policy's regret to the certified constrained optimum under the limits p10, p20, … p90.

    Example: hwgpt-gym amortised table --scale s --beam 16
    """
    from hwgpt_gym.agents.amortised import UNSEEN, evaluate
    from hwgpt_gym.agents.amortised.evaluation import MOST_BEAM, draw_heat_map
    from hwgpt_gym.style import save_figure

    for width in beam:
        check_integer("--beam", width, 1, MOST_BEAM)
    if plot:
        check_destination(plot, PICTURES, name="--plot")
    policy, metrics = _load(scale, model), tuple(metric or ("latency_ms",))
    if len(set(metrics)) < len(metrics):
        raise ValueError(f"--metric names {metrics[0]} twice")
    levels = range(check_integer("--from", first, 1, 10), 100, 10)
    found = {width: evaluate(policy, width, device or UNSEEN, metrics, levels, strict) for width in beam}
    if plot:
        limited = " and ".join(METRICS[key].label.split(" (")[0].lower() for key in metrics)
        title = f"Regret × 1,000 at scale {policy.space.scale}, limits of {limited}, {_answer(beam[0])}"
        save_figure(draw_heat_map(found[beam[0]], title), plot)
        messages.print(f"Picture: {plot}", soft_wrap=True)
    if as_json:
        print_json({str(width): own.summary() | {"regret": own.regret.tolist()} for width, own in found.items()})
        return
    title = f"limits on {' and '.join(metrics)} from p{levels[0]} to p{levels[-1]}"
    _print_scores(policy, title, {_answer(width): own for width, own in found.items()})


def _print_scores(policy: AmortisedPolicy, title: str, found: Mapping[str, Evaluation]) -> None:
    rows = [
        (name, *(f"{own.summary()[key]:.5f}" for key in _SUMMARY), f"{own.kept.mean():.0%}")
        for name, own in found.items()
    ]
    cells = next(iter(found.values())).regret.size
    title = f"Regret at scale {policy.space.scale} on {cells} cells, {title}"
    output.print(make_table(title, ("answer", *_SUMMARY, "limits kept"), rows, right=(1, 2, 3, 4)))


@amortised_app.command("nearest")
def nearest(
    scale: Scale = "s",
    model: Model = None,
    count: Annotated[int, typer.Option("--count", help="How many solved problems are stored.")] = 10_000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Print the regret of a rival that looks up the most similar of many solved problems.

    Example: hwgpt-gym amortised nearest --count 1000
    """
    from hwgpt_gym.agents.amortised.baselines import evaluate_nearest

    check_integer("--count", count, 1, 10**6)
    check_integer("--seed", seed, 0)
    policy = _load(scale, model)
    found = evaluate_nearest(policy, count, seed=seed)
    if as_json:
        print_json({name: own.summary() for name, own in found.items()})
    else:
        _print_scores(policy, f"latency limits, {count:,} solutions stored", found)


@amortised_app.command("profiled")
def profiled(
    scale: Scale = "s",
    model: Model = None,
    profiles: Annotated[int, typer.Option("--profiles", help="How many devices are profiled.")] = 20,
    beam: Annotated[int, typer.Option("--beam", help="Architectures kept at every decision; 1 is greedy.")] = 16,
    as_json: Json = False,
) -> None:
    """Print what it costs that a device is known by twenty simulated measurements instead of exactly.

    Example: hwgpt-gym amortised profiled --profiles 3
    """
    from hwgpt_gym.agents.amortised.baselines import evaluate_profiled
    from hwgpt_gym.agents.amortised.evaluation import MOST_BEAM

    check_integer("--profiles", profiles, 1, 10_000)
    check_integer("--beam", beam, 1, MOST_BEAM)
    policy = _load(scale, model)
    found = evaluate_profiled(policy, profiles, beam)
    if as_json:
        print_json({name: own.summary() for name, own in found.items()})
    else:
        _print_scores(policy, f"latency limits, {profiles} devices of twenty measurements", found)


_SUMMARY: Final = ("mean", "median", "worst")


def _answer(beam: int) -> str:
    return "greedy" if beam == 1 else f"beam {beam}"


@amortised_app.command("curves")
def curves(
    picture: Annotated[Path, typer.Argument(help="The picture to write.", metavar="PICTURE")],
    scale: Scale = "s",
    model: Model = None,
    agent: Annotated[
        list[str],
        typer.Option(
            "--agent",
            "-a",
            help="AGENT=BUDGET:SEEDS, how many evaluations and how many searches in each cell. May be repeated.",
        ),
    ] = [f"{name}=1000:3" for name in ("random_search", "regularized_evolution", "local_search")],  # noqa: B006
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Keep searches there; those it holds are not run again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the regret of searches over their evaluations, and print how many match the policy.

    Example: hwgpt-gym amortised curves curves.png --agent local_search=200:1
    """
    from hwgpt_gym.agents.amortised import UNSEEN, evaluate
    from hwgpt_gym.agents.amortised.curves import draw_curves, search_curves
    from hwgpt_gym.agents.amortised.evaluation import LEVELS
    from hwgpt_gym.style import save_figure

    rivals = [_rival(text) for text in agent]
    agents = dict(rivals)
    if len(agents) < len(rivals):
        raise ValueError(f"--agent names {', '.join(agents)}, and one of them twice")
    check_destination(picture, PICTURES, name="PICTURE")
    policy = _load(scale, model)
    own = {beam: evaluate(policy, beam).regret.ravel() for beam in (1, 16)}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    searched = search_curves(policy.space.scale, agents, folder=folder)
    means = {beam: float(regret.mean()) for beam, regret in own.items()}
    title = f"Scale {policy.space.scale}, latency p{LEVELS[0]} to p{LEVELS[-1]} on {', '.join(UNSEEN)}"
    save_figure(draw_curves(searched, means, title), picture)
    messages.print(f"Picture: {picture}", soft_wrap=True)
    found: dict[str, dict[str, Any]] = {
        name: {
            "budget": budget,
            "seeds": seeds,
            "mean_regret": float(searched.mean(name)[-1]),
            "median_regret": float(np.median(searched.regret[name][..., -1])),
            "worst_regret": float(searched.regret[name][..., -1].max()),
            **{f"mean_to_beam_{beam}": searched.evaluations_to(name, mean) for beam, mean in means.items()},
            **{f"median_to_beam_{beam}": searched.median_evaluations_to(name, regret) for beam, regret in own.items()},
        }
        for name, (budget, seeds) in agents.items()
    }
    if as_json:
        finite = {
            name: {key: None if value == float("inf") else value for key, value in row.items()}
            for name, row in found.items()
        }
        print_json({"policy": {str(beam): mean for beam, mean in means.items()}, "agents": finite})
        return
    rows = [
        (
            name,
            f"{row['budget']:,}",
            str(row["seeds"]),
            *(f"{row[key]:.5f}" for key in ("mean_regret", "median_regret", "worst_regret")),
            *(_evaluations(row[key], row["budget"]) for key in list(row)[5:]),
        )
        for name, row in found.items()
    ]
    matched = [f"{which}: {answer}" for which in ("mean", "median") for answer in ("greedy", "beam 16")]
    columns = ("agent", "budget", "seeds", "mean regret", "median", "worst", *matched)
    output.print(make_table("Regret, and the evaluations that match the policy", columns, rows, right=range(1, 10)))


def _rival(text: str) -> tuple[str, tuple[int, int]]:
    """Read AGENT=BUDGET:SEEDS."""
    from hwgpt_gym.agents import make_agent
    from hwgpt_gym.agents.result import GREATEST_BUDGET

    name, _, numbers = text.partition("=")
    budget, _, seeds = numbers.partition(":")
    if not (numbers.isascii() and budget.isdigit() and seeds.isdigit()):
        raise ValueError(f"--agent must be AGENT=BUDGET:SEEDS, such as local_search=1000:3, got {echo(text)}")
    if make_agent(name).multi_objective:
        raise ValueError(f"--agent must have one objective, {name} has several")
    check_integer("the budget of --agent", int(budget), 1, GREATEST_BUDGET)
    check_integer("the seeds of --agent", int(seeds), 1, 1_000)
    return name, (int(budget), int(seeds))


def _evaluations(number: float | None, budget: int) -> str:
    return f"> {budget:,}" if number is None or number == float("inf") else f"{number:,.0f}"


def _load(scale: str, model: Path | None) -> AmortisedPolicy:
    from hwgpt_gym.agents.amortised.weights import load_pretrained, read_policy

    return load_pretrained(scale) if model is None else read_policy(model)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(amortised_app, name="amortised", rich_help_panel="Search and train")
