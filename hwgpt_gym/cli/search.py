"""The commands that search with an agent, and those that show and check what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.checks import echo
from hwgpt_gym.cli.completion import complete_agent
from hwgpt_gym.cli.options import (
    DEFAULT_CONSTRAINT,
    DEFAULT_PENALTY,
    INTERRUPTED,
    Budget,
    Confidence,
    Constraint,
    Device,
    DeviceScale,
    Json,
    Name,
    PenaltyForm,
    Seed,
    Weight,
    make_benchmark,
    make_objective,
)
from hwgpt_gym.console import floats, make_table, messages, output, print_json, print_wide
from hwgpt_gym.files import check_destination
from hwgpt_gym.search_space import Architecture

if TYPE_CHECKING:
    from hwgpt_gym.agents.runs.run import Run


def search(
    agent: Annotated[
        str,
        typer.Option("--agent", "-a", help="The agent; a wrong name lists all.", autocompletion=complete_agent),
    ] = "regularized_evolution",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the agent, NAME=VALUE, such as warm_start=16. May be repeated."),
    ] = None,
    budget: Budget = 1_000,
    device: Device = "a6000",
    scale: DeviceScale = None,
    constraint: Constraint = list(DEFAULT_CONSTRAINT),  # noqa: B006
    penalty: PenaltyForm = DEFAULT_PENALTY,
    weight: Weight = None,
    confidence: Confidence = None,
    seed: Seed = 0,
    result: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write every evaluation to this file: Parquet, or with the suffix .csv CSV."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search with an agent and score it against the certified optimum.

    Ctrl-C ends the search and keeps what was evaluated.

    Example: hwgpt-gym search --agent local_search --budget 5000 --device h100 --constraint latency_ms=p30
    """
    from dataclasses import asdict

    from hwgpt_gym.agents import SearchProblem
    from hwgpt_gym.agents.runs.display import summary_table
    from hwgpt_gym.agents.runs.records import RunConfig
    from hwgpt_gym.agents.runs.run import perform

    if result:
        check_destination(result, (".parquet", ".csv"), name="--output")
    objective = make_objective(constraint, penalty, weight, confidence)
    problem = SearchProblem(make_benchmark(scale, device), objective, budget, seed)
    config = RunConfig.of("search", agent, problem, settings=_settings(agent, setting or []))
    with perform(config, messages) as run:
        if result:
            run.result.save(result, run.optimum)
            messages.print(f"Result: {result}", soft_wrap=True)
        summary, ratio = run.summarize(), _hypervolume_ratio(run)
        if as_json:
            what = {"agent": agent, "device": config.device, "scale": config.scale, "regret": summary.regret}
            found = {name: asdict(entry) for name, entry in summary.architectures.items()}
            spent = {"evaluations": summary.evaluations, "seconds": summary.seconds}
            print_json({**what, **spent, "limits": summary.limits, "architectures": found, **ratio})
        else:
            output.print(summary.found.architecture, style="bold", soft_wrap=True)
            output.print(summary_table(summary, agent))
            output.print(f"\n{summary.evaluations:,} evaluations in {summary.seconds:.1f} s")
            for name, value in ratio.items():
                output.print(f"{name.replace('_', ' ')} {value:.4f} over {', '.join(run.result.trade_off)}")
    if run.interrupted:
        raise typer.Exit(INTERRUPTED)


def _settings(agent: str, texts: Sequence[str]) -> dict[str, Any]:
    """Read settings of an agent, whose values are JSON, or else texts."""
    from hwgpt_gym.agents import make_agent

    settings: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise ValueError(f"--set must be NAME=VALUE, such as warm_start=16, got {echo(text)}")
        if name in settings:
            raise ValueError(f"--set gives {echo(name)} twice")
        try:
            settings[name] = json.loads(value)
        except (ValueError, RecursionError):
            settings[name] = value
    try:
        make_agent(agent, **settings)
    except TypeError as error:
        raise ValueError(f"--set: {error}") from None
    return settings


def _hypervolume_ratio(run: Run) -> dict[str, float]:
    """Return how much of the exact front's hypervolume a multi-objective agent has found."""
    import numpy as np

    from hwgpt_gym.agents import AGENTS
    from hwgpt_gym.optimum.front import pareto_front
    from hwgpt_gym.pareto import box, hypervolume_ratio

    if not AGENTS[run.config.agent].multi_objective:
        return {}
    result, benchmark = run.result, run.config.benchmark
    values = np.stack([result.metrics[key] for key in result.trade_off], axis=1)
    front = pareto_front(benchmark, result.trade_off).values
    return {"hypervolume_ratio": hypervolume_ratio(values, front, box(benchmark, result.trade_off))}


def render(
    name: Name,
    device: Device = "a6000",
    constraint: Constraint = list(DEFAULT_CONSTRAINT),  # noqa: B006
    picture: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to draw to; with the suffix .gif a film of the construction."),
    ] = None,
) -> None:
    """Show an architecture as the environment renders it: as text, or as a picture.

    Example: hwgpt-gym render gpt-s-10-192-2-2-2-2-2-2-2-2-2-2-4-4-4-4-4-4-4-4-4-4-True --output architecture.png
    """
    from hwgpt_gym.envs.pictures import save_architecture, text_of

    architecture, objective = Architecture.from_string(name), make_objective(constraint, DEFAULT_PENALTY, None)
    make_benchmark(architecture.scale, device)
    if picture is None:
        typer.echo(text_of(architecture, device, objective), nl=False)
    else:
        check_destination(picture, name="--output")
        save_architecture(architecture, device, objective, picture)
        messages.print(f"Picture: {picture}", soft_wrap=True)


def validate(
    results: Annotated[list[Path], typer.Argument(help="Result files.", metavar="RESULT...")],
    profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            "-d",
            help="The profile of an unregistered device that results name; may be repeated.",
            metavar="PATH",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check result files independently: evaluate every architecture again, and solve for the optimum.

    Example: hwgpt-gym validate runs/demo-20260101-120000/result.parquet
    """
    from hwgpt_gym.agents import validate_result
    from hwgpt_gym.onboarding.devices import get_device

    for profile in profiles or []:
        get_device(profile)  # Results find it by its content.
    checked = []
    for path in results:
        if not path.is_file():
            raise ValueError(f"{path} is no file")
        result = validate_result(path)
        claims = {key: value for key, value in result.claims.items() if key != "best_architecture"}
        about = {"file": str(path), "task": result.task, "agent": result.agent, "evaluations": len(result)}
        checked.append({**about, **floats(claims)})
    if as_json:
        print_json(checked)
        return
    columns = ("file", "agent", "evaluations", "best_reward", "regret", "greedy_regret", "task")
    rows = [[_cell(row.get(column, "")) for column in columns] for row in checked]
    print_wide(make_table("Valid", columns, rows, right=(2, 3, 4, 5)))


def _cell(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (search, render, validate):
        app.command(rich_help_panel="Search and train")(command)
