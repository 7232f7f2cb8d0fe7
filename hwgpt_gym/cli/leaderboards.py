"""The commands that run many searches: the leaderboard, and the study behind PPO's settings."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.checks import echo
from hwgpt_gym.cli.completion import complete_agent, complete_device, complete_suite
from hwgpt_gym.cli.options import Json, Scale, Seed, check_known, refuse_options
from hwgpt_gym.console import make_table, messages, output, print_json
from hwgpt_gym.files import check_destination

if TYPE_CHECKING:
    from hwgpt_gym.agents.leaderboard.suites import Suite

Workers = Annotated[int | None, typer.Option("--workers", help="Processes at a time; by default one a processor.")]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", "-d", help="A device; may be repeated.", autocompletion=complete_device, metavar="NAME"),
]


def leaderboard(
    context: typer.Context,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite",
            help="core (the default), another name that completion lists, or all of the published ones; repeatable.",
            autocompletion=complete_suite,
        ),
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            "--agent",
            "-a",
            help="Instead of a suite: AGENT=BUDGET; may be repeated.",
            metavar="AGENT=BUDGET",
            autocompletion=complete_agent,
        ),
    ] = None,
    device: Devices = None,
    scale: Scale = "s",
    limit: Annotated[
        list[str] | None,
        typer.Option("--limit", help="With --agent: the limits of latency, quantiles; p50 by default.", metavar="pNN"),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="With --agent: how many seeds, from 0 on.")] = 5,
    folder: Annotated[Path, typer.Option("--output", "-o", help="Where the searches' files go.")] = Path("results"),
    page: Annotated[
        Path | None, typer.Option("--page", help="The page to write; by default leaderboard.md in the folder.")
    ] = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="Run nothing: write the page of what is on disk, and say what is not.")
    ] = False,
    submission: Annotated[
        list[Path] | None,
        typer.Option("--submission", help="A folder of result files that somebody else made; may be repeated."),
    ] = None,
    workers: Workers = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run the searches as Ray tasks, on this machine or at the address.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Argument(help="With --ray: a cluster's, such as auto or 10.0.0.1:6379.", show_default=False),
    ] = None,
) -> None:
    """Rank agents by regret: run every search that is not on disk yet, then write tables and figures.

    A search's file is written when it ends, so that after Ctrl-C the same command goes on. A page that is there keeps
    its text: what stands between its markers is replaced.

    Example: hwgpt-gym leaderboard --agent random_search=1000 --agent local_search=1000 --device a6000 --seeds 3
    """
    from hwgpt_gym.agents.leaderboard.execute import run_leaderboard
    from hwgpt_gym.agents.leaderboard.page import check_report, write_report
    from hwgpt_gym.agents.leaderboard.suites import PUBLISHED, SUITES, get_suite

    if suite and agent:
        raise ValueError("--suite and --agent exclude each other")
    if address is not None and not ray:
        raise ValueError(f"what does {echo(address)} stand for? An address belongs to --ray")
    if address is not None and workers is not None:
        raise ValueError("--workers is for this machine; the cluster at an address has its own number of processors")
    if page:
        check_destination(page, (".md",), name="--page")
    if agent:
        suites = [_custom_suite(agent, device, scale, limit, seeds)]
        words = [*(word for text in agent for word in ("--agent", text))]
        words += [word for name in device or () for word in ("--device", name)]
        words += [
            "--scale",
            scale,
            *(word for text in limit or () for word in ("--limit", text)),
            "--seeds",
            str(seeds),
        ]
    else:
        refuse_options(context, ("scale", "limit", "seeds"), "with --agent; a suite has its own")
        names = suite or ["core"]
        for name in names:
            check_known("suite", name, [*SUITES, "all"])
        chosen = dict.fromkeys(item for name in names for item in (PUBLISHED if name == "all" else [name]))
        suites = [get_suite(name).on(device) if device else get_suite(name) for name in chosen]
        words = [word for name in names for word in ("--suite", name)]
        words += [word for name in device or () for word in ("--device", name)]
    words += ["--output", str(folder), *(("--page", str(page)) if page else ())]
    words += [word for path in submission or () for word in ("--submission", str(path))]
    command = shlex.join(["hwgpt-gym", "leaderboard", *words])
    page = page or folder / "leaderboard.md"
    check_report(page, submission or ())
    for item in () if finished else suites:
        run_leaderboard(item, folder, workers=workers, ray=(address or "local") if ray else None)
    written = write_report(suites, folder, page, command=command, partial=finished, submissions=submission or ())
    output.print(f"Leaderboard: {written}", soft_wrap=True)


def _custom_suite(
    agents: list[str], devices: list[str] | None, scale: str, limits: list[str] | None, seeds: int
) -> Suite:
    from hwgpt_gym.agents import make_agent
    from hwgpt_gym.agents.leaderboard.grids import Entry
    from hwgpt_gym.agents.leaderboard.suites import custom_suite
    from hwgpt_gym.onboarding.devices import get_device, reference_of

    entries = []
    for text in agents:
        name, _, budget = text.partition("=")
        if not (budget.isascii() and budget.isdigit()):
            raise ValueError(f"--agent must be AGENT=BUDGET, such as local_search=1000, got {echo(text)}")
        entries.append(Entry(make_agent(name), int(budget), seeds))
    options: dict[str, Any] = {"devices": [reference_of(get_device(name)) for name in devices]} if devices else {}
    return custom_suite(entries, scale=scale, constraints=limits or ["p50"], **options)


def study(
    path: Annotated[
        Path, typer.Option("--output", "-o", help="The record, JSON: written after every trial, and gone on from.")
    ] = Path("ppo_study.json"),
    scale: Scale = "s",
    device: Devices = None,
    trials: Annotated[int, typer.Option("--trials", help="Settings that the first stage tries.")] = 20,
    startup: Annotated[int, typer.Option("--startup", help="How many of them are random, the first ones.")] = 8,
    budget: Annotated[int, typer.Option("--budget", help="Evaluations of a run of the first stage.")] = 20_000,
    seeds: Annotated[int, typer.Option("--seeds", help="Runs on every device in the first stage.")] = 2,
    finalists: Annotated[int, typer.Option("--finalists", help="Settings that the second stage tries.")] = 2,
    final_budget: Annotated[
        int, typer.Option("--final-budget", help="Evaluations of a run of the second stage.")
    ] = 50_000,
    final_seeds: Annotated[int, typer.Option("--final-seeds", help="Runs on every device in the second stage.")] = 2,
    hidden_size: Annotated[
        list[int] | None, typer.Option("--hidden-size", help="A width to choose from; may be repeated; 32 and 64.")
    ] = None,
    transfer: Annotated[
        Path | None, typer.Option("--transfer", help="A finished study's record, whose best settings are tried second.")
    ] = None,
    seed: Seed = 0,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Tune PPO's settings for a scale, by optuna, and print what was tried.

    What is on record is not run again, so that after Ctrl-C the same command goes on.

    Example: hwgpt-gym study --scale m --transfer docs/studies/ppo_s.json --output study.json
    """
    import json

    from rich.progress import Progress

    from hwgpt_gym.agents.ppo.study import Study, best_hyperparameters, run_study
    from hwgpt_gym.agents.ppo.study_record import read_transfer

    check_destination(path, (".json",), name="--output")
    defaults = Study()
    plan = Study(
        scale=scale,
        devices=tuple(device) if device else defaults.devices,
        trials=trials,
        startup=startup,
        budget=budget,
        seeds=seeds,
        finalists=finalists,
        final_budget=final_budget,
        final_seeds=final_seeds,
        seed=seed,
        hidden_sizes=tuple(hidden_size) if hidden_size else defaults.hidden_sizes,
        transferred=read_transfer(transfer) if transfer else None,
    )
    with Progress(console=messages) as progress:
        bar = progress.add_task("Training", total=plan.runs)
        record = run_study(plan, path, workers=workers, report=lambda done: progress.update(bar, completed=done))
        progress.update(bar, completed=plan.runs)
    best = best_hyperparameters(record)
    if as_json:
        print_json(best)
        return
    for stage in ("trials", "finals"):
        rows = [
            (str(trial["number"]), f"{trial['value']:.3f}", json.dumps(trial["settings"]))
            for trial in sorted(record[stage], key=lambda item: float(item["value"]))
        ]
        output.print(make_table(stage, ("number", "value", "settings"), rows, right=(0, 1)))
    output.print(f"best: {json.dumps(best)}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (leaderboard, study):
        app.command(rich_help_panel="Search and train")(command)
