"""The demonstration: train PPO until it stands within a stated distance of the certified optimum."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from hwgpt_gym.agents import make_agent
from hwgpt_gym.agents.runs.display import RunDisplay, summary_table
from hwgpt_gym.agents.runs.run import Run, StoppableProblem, describe, new_folder, run_agent, save_run, summarize
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.console import format_metric
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import Optimum, solve

TARGET: Final = 0.001
"""The regret at which the demonstration ends."""

BUDGET: Final = 50_000
"""The evaluations after which it gives up."""


def run_to_target(
    agent_name: str,
    benchmark: Benchmark,
    objective: Objective,
    *,
    budget: int,
    seed: int,
    target: float,
    command: str,
    stop_at_target: bool,
    folder: Path,
    console: Console,
    tensorboard: Path | None = None,
) -> tuple[Run, dict[str, Any]]:
    """Let an agent search for one architecture with its progress on show, print a table and write a run folder.

    Args:
        agent_name: The agent.
        benchmark: The benchmark, of one device.
        objective: The objective.
        budget: The greatest number of evaluations.
        seed: The seed.
        target: The regret to reach.
        command: The command that does this again.
        stop_at_target: Whether to end as soon as it is reached.
        folder: The run folder.
        console: Where to show all of it.
        tensorboard: A folder for TensorBoard's events.

    Returns:
        The run and its summary.

    Raises:
        ValueError: If an argument is not legal.
    """
    if not 0.0 <= target < float("inf"):
        raise ValueError(f"target must be a number of at least 0, got {target!r}")
    agent = make_agent(agent_name)
    optimum = solve(benchmark, objective)
    enough = optimum.reward - target if stop_at_target else float("inf")
    problem = StoppableProblem(benchmark, objective, budget, seed, enough)
    config = describe(agent, problem, target, command)
    with RunDisplay(title_of(agent_name, benchmark, optimum), optimum, budget, target, console) as display:
        run = run_agent(agent, problem, display, tensorboard)
    summary = summarize(run, benchmark, target)
    console.print()
    console.print(summary_table(summary, agent_name))
    page = save_run(folder, run, benchmark, config, summary)
    console.print(f"\nRun folder: {folder}\nReport:     {page}", soft_wrap=True)
    return run, summary


def run_demo(
    benchmark: Benchmark,
    objective: Objective,
    *,
    target: float = TARGET,
    budget: int = BUDGET,
    seed: int = 0,
    folder: Path | None = None,
    console: Console | None = None,
    command: str = "hwgpt-gym demo",
) -> dict[str, Any]:
    """Train PPO until its best architecture is within the target of the certified optimum, or the budget is spent.

    Args:
        benchmark: The benchmark, of one device.
        objective: The objective.
        target: The regret to reach.
        budget: The greatest number of evaluations.
        seed: The seed.
        folder: The run folder; one named by the time in ``runs`` by default.
        console: Where to show all of it; standard output by default.
        command: The command that does this again.

    Returns:
        The summary; its ``reached`` says whether it was.
    """
    console = console or Console(highlight=False)
    _, summary = run_to_target(
        "ppo",
        benchmark,
        objective,
        budget=budget,
        seed=seed,
        target=target,
        command=command,
        stop_at_target=True,
        folder=folder or new_folder("demo"),
        console=console,
    )
    console.print(f"\n{verdict(summary)}")
    return summary


def title_of(agent: str, benchmark: Benchmark, optimum: Optimum) -> str:
    """Return what stands above a run."""
    limits = [f"{METRICS[key].label} ≤ {format_metric(key, value)}" for key, value in optimum.objective.limits.items()]
    device = benchmark.devices[0].label if benchmark.devices else "any device"
    return f"{agent} on {device}, scale {benchmark.scale}, {', '.join(limits) or 'no budget'}"


def verdict(summary: dict[str, Any]) -> str:
    """Say in a sentence how a run ended."""
    text = f"regret {summary['regret']:.6f} after {summary['evaluations']:,} evaluations, {summary['seconds']:.0f} s"
    if summary["reached"]:
        return f"[bold green]Reached[/]: {text} (target {summary['target']:g})."
    if summary["interrupted"]:
        return f"[bold yellow]Interrupted[/]: {text} (target {summary['target']:g})."
    return f"[bold red]Not reached[/]: {text} (target {summary['target']:g})."


def command_line(name: str, objective: Objective, **options: object) -> str:
    """Return a command that runs something again."""
    words = ["hwgpt-gym", name]
    for key, value in options.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    for metric, budget in objective.constraints.items():
        words += ["--constraint", f"{metric}={budget}"]
    if not objective.constraints:
        words += ["--constraint", "none"]
    return shlex.join([*words, "--penalty", objective.penalty, "--weight", f"{objective.weight:g}"])
