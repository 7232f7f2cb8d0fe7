"""The commands that search: agents, the leaderboard, the demonstration; and those that show and check results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.cli.options import (
    DEFAULT_CONSTRAINT,
    INTERRUPTED,
    Budget,
    Constraint,
    Device,
    Folder,
    Json,
    Name,
    PenaltyForm,
    Scale,
    Seed,
    Target,
    Weight,
    check_at_least,
    complete_agent,
    complete_device,
    complete_profile,
    make_objective,
)
from hwgpt_gym.console import floats, make_table, messages, output, print_json
from hwgpt_gym.search_space import Architecture

if TYPE_CHECKING:
    from hwgpt_gym.agents import Agent
    from hwgpt_gym.agents.runs.run import Run


def search(
    agent: Annotated[
        str,
        typer.Option("--agent", "-a", help="The agent; a wrong name lists all.", autocompletion=complete_agent),
    ] = "regularized_evolution",
    budget: Budget = 1_000,
    device: Device = "a6000",
    scale: Scale = "s",
    constraint: Constraint = list(DEFAULT_CONSTRAINT),  # noqa: B006
    penalty: PenaltyForm = "hinge",
    weight: Weight = None,
    seed: Seed = 0,
    result: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write every evaluation to this file (Parquet).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search with an agent and score it against the certified optimum.

    Ctrl-C ends the search and keeps what was evaluated.

    Example: hwgpt-gym search --agent local_search --budget 5000 --device h100 --constraint latency_ms=p30
    """
    from hwgpt_gym.agents import make_agent
    from hwgpt_gym.agents.runs.demo import title_of
    from hwgpt_gym.agents.runs.display import RunDisplay, summary_table
    from hwgpt_gym.agents.runs.run import StoppableProblem, run_agent, summarize
    from hwgpt_gym.benchmark import Benchmark
    from hwgpt_gym.optimum import solve

    searcher = make_agent(agent)
    benchmark, objective = Benchmark(scale, device), make_objective(constraint, penalty, weight)
    problem = StoppableProblem(benchmark, objective, budget, seed)
    optimum = solve(benchmark, objective)
    with RunDisplay(title_of(agent, benchmark, optimum), optimum, budget) as display:
        run = run_agent(searcher, problem, display)
    if result:
        run.result.save(result, run.optimum)
        messages.print(f"Result: {result}", soft_wrap=True)
    summary = summarize(run, benchmark, target=0.0)
    ratio = _hypervolume_ratio(run, searcher)
    if as_json:
        kept = {key: summary[key] for key in ("regret", "evaluations", "seconds", "budgets", "architectures")}
        print_json({"agent": agent, "device": device.lower(), "scale": scale, **kept, **ratio})
    else:
        output.print(summary_table(summary, agent))
        output.print(f"\n{summary['evaluations']:,} evaluations in {summary['seconds']:.1f} s")
        for name, value in ratio.items():
            output.print(f"{name.replace('_', ' ')} {value:.4f} over {', '.join(run.result.trade_off)}")
    if run.interrupted:
        raise typer.Exit(INTERRUPTED)


def _hypervolume_ratio(run: Run, agent: Agent) -> dict[str, float]:
    """Return how much of the exact front's hypervolume a multi-objective agent has found."""
    from hwgpt_gym.benchmark import Benchmark
    from hwgpt_gym.optimum.front import pareto_front
    from hwgpt_gym.pareto import box, hypervolume_ratio

    if not agent.multi_objective:
        return {}
    import numpy as np

    result = run.result
    benchmark = Benchmark(result.scale, result.device)
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

    architecture, objective = Architecture.from_string(name), make_objective(constraint, "hinge", None)
    if picture is None:
        typer.echo(text_of(architecture, device, objective), nl=False)
    else:
        save_architecture(architecture, device, objective, picture)
        messages.print(f"Picture: {picture}", soft_wrap=True)


def validate(
    results: Annotated[list[Path], typer.Argument(help="Result files.", metavar="RESULT...")],
    as_json: Json = False,
) -> None:
    """Check result files independently: evaluate every architecture again, and solve for the optimum.

    Example: hwgpt-gym validate runs/demo-20260101-120000/result.parquet
    """
    from hwgpt_gym.agents import validate_result

    checked = []
    for path in results:
        if not path.is_file():
            raise ValueError(f"{path} is no file")
        result = validate_result(path)
        claims = {key: value for key, value in result.claims.items() if key != "best_architecture"}
        checked.append({"file": str(path), "agent": result.agent, "evaluations": len(result), **floats(claims)})
    if as_json:
        print_json(checked)
        return
    columns = ("file", "agent", "evaluations", "best_reward", "regret", "greedy_regret")
    rows = [[_cell(row.get(column, "")) for column in columns] for row in checked]
    output.print(make_table("Valid", columns, rows, right=(2, 3, 4, 5)))


def _cell(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def demo(
    device: Device = "a6000",
    scale: Scale = "s",
    constraint: Constraint = ["latency_ms=p40"],  # noqa: B006
    budget: Annotated[int, typer.Option("--budget", help="The evaluations after which it gives up.")] = 50_000,
    target: Target = 0.001,
    seed: Seed = 0,
    folder: Folder = None,
) -> None:
    """Train PPO until it stands within the target of the certified optimum, and write a report.

    Exit code 1 if it does not get there within the budget.

    Example: hwgpt-gym demo --device h100 --constraint latency_ms=p30
    """
    from hwgpt_gym.agents.runs.demo import command_line, run_demo
    from hwgpt_gym.benchmark import Benchmark

    check_at_least("--budget", budget)
    benchmark, objective = Benchmark(scale, device), make_objective(constraint, "hinge", None)
    options = {"device": device, "scale": scale, "budget": budget, "target": target, "seed": seed}
    command = command_line("demo", objective, **options).partition(" --penalty")[0]
    summary = run_demo(
        benchmark,
        objective,
        target=target,
        budget=budget,
        seed=seed,
        folder=folder,
        console=output,
        command=command,
    )
    if summary["interrupted"]:
        raise typer.Exit(INTERRUPTED)
    if not summary["reached"]:
        raise typer.Exit(1)


def leaderboard(
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            "-p",
            help="smoke, quick, policies, models or full; may be repeated.",
            autocompletion=complete_profile,
        ),
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            "--agent", "-a", help="Instead of a profile: AGENT=BUDGET; may be repeated.", metavar="AGENT=BUDGET"
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", "-d", help="With --agent; all by default.", autocompletion=complete_device),
    ] = None,
    scale: Scale = "s",
    level: Annotated[
        list[str] | None, typer.Option("--level", help="With --agent: the latency budgets, quantiles; p50 by default.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="With --agent: how many seeds, from 0 on.")] = 5,
    folder: Annotated[Path, typer.Option("--output", "-o", help="Where the searches' files go.")] = Path("results"),
    page: Annotated[
        Path | None, typer.Option("--page", help="The page to write; by default leaderboard.md in the folder.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes at a time; by default one a processor.")
    ] = None,
) -> None:
    """Rank agents by regret: run every search that is not on disk yet, then write tables and figures.

    A search's file is written when it ends, so that after Ctrl-C the same command goes on.

    Example: hwgpt-gym leaderboard --agent random_search=1000 --agent local_search=1000 --device a6000 --seeds 3
    """
    from hwgpt_gym.agents.leaderboard.execute import custom_profile, get_profile, run_leaderboard
    from hwgpt_gym.agents.leaderboard.page import write_report

    if profile and agent:
        raise ValueError("--profile and --agent exclude each other")
    if agent:
        options: dict[str, Any] = {"devices": device} if device else {}
        budgets = dict(_parse_budget(text) for text in agent)
        profiles = [custom_profile(budgets, scale=scale, constraints=level or ["p50"], seeds=seeds, **options)]
    else:
        profiles = [get_profile(name) for name in profile or ["quick"]]
    for item in profiles:
        run_leaderboard(item, folder, workers=workers)
    written = write_report(profiles, folder, page or folder / "leaderboard.md")
    output.print(f"Leaderboard: {written}", soft_wrap=True)


def _parse_budget(text: str) -> tuple[str, int]:
    name, _, budget = text.partition("=")
    if not budget.isdigit():
        raise ValueError(f"--agent must be AGENT=BUDGET, such as local_search=1000, got {text!r}")
    return name, int(budget)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (search, leaderboard, render, validate, demo):
        app.command(rich_help_panel="Search and train")(command)
