"""The commands about policies: training them, and scoring trained ones."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.checks import check_extra, check_integer
from hwgpt_gym.cli.completion import AMORTISED, CONTEXTUAL, complete_device, complete_trainable, trainable_agents
from hwgpt_gym.cli.options import (
    DEFAULT_CONSTRAINT,
    DEFAULT_PENALTY,
    INTERRUPTED,
    MOST_SAMPLES,
    Confidence,
    Constraint,
    Device,
    DeviceScale,
    Folder,
    Json,
    PenaltyForm,
    Seed,
    Target,
    Weight,
    check_known,
    make_benchmark,
    make_objective,
    parse_constraints,
    refuse_options,
)
from hwgpt_gym.console import make_table, output, print_json, show_progress

if TYPE_CHECKING:
    from hwgpt_gym.agents.ppo.contextual import ContextualScore
    from hwgpt_gym.agents.ppo.policy import Policy


def train(
    context: typer.Context,
    agent: Annotated[
        str,
        typer.Option(
            "--agent", "-a", help=f"ppo, maskable_ppo, {CONTEXTUAL} or {AMORTISED}.", autocompletion=complete_trainable
        ),
    ] = "ppo",
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            help=f"How many architectures may be evaluated; 50,000, 170,000 of {CONTEXTUAL}; that of the shipped "
            f"policy of {AMORTISED}.",
        ),
    ] = None,
    device: Device = "a6000",
    scale: DeviceScale = None,
    constraint: Constraint = list(DEFAULT_CONSTRAINT),  # noqa: B006
    penalty: PenaltyForm = DEFAULT_PENALTY,
    weight: Weight = None,
    confidence: Confidence = None,
    seed: Seed = 0,
    target: Target = 0.001,
    folder: Folder = None,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="Write TensorBoard's events to this folder.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help=f"A cost that {CONTEXTUAL} learns to limit; latency_ms by default, two at most."),
    ] = None,
) -> None:
    """Train a policy and write a run folder: policy, every evaluation, pictures, report.

    Ctrl-C ends the training and writes what there is; a second one ends at once. The agent contextual_ppo trains one
    policy on ten devices and all limits of a cost (it takes neither --device nor --constraint) and writes the policy.
    So does amortised, for every device and cost. Given the folder of an interrupted training, both go on.

    Example: hwgpt-gym train --agent maskable_ppo --device v100 --constraint energy_j=p30 --budget 20000
    """
    from hwgpt_gym.agents import SearchProblem
    from hwgpt_gym.agents.runs.records import RunConfig
    from hwgpt_gym.agents.runs.run import perform_into_folder

    check_known("agent with a policy to train", agent, trainable_agents())
    if agent == CONTEXTUAL:
        others = ("device", "constraint", "penalty", "weight", "confidence", "target", "tensorboard")
        refuse_options(context, others, f"by other agents than {CONTEXTUAL}")
        metrics = ["latency_ms"] if metric is None else metric
        _train_contextual("s" if scale is None else scale, metrics, 170_000 if budget is None else budget, seed, folder)
        return
    if metric is not None:
        raise ValueError(f"--metric is taken only by the agent {CONTEXTUAL}: others take --constraint")
    if agent == AMORTISED:
        others = ("device", "constraint", "penalty", "weight", "confidence", "target", "tensorboard")
        refuse_options(context, others, f"by other agents than {AMORTISED}")
        _train_amortised("s" if scale is None else scale, budget, seed, folder)
        return
    objective = make_objective(constraint, penalty, weight, confidence)
    benchmark = make_benchmark(scale, device)
    problem = SearchProblem(benchmark, objective, 50_000 if budget is None else budget, seed)
    if tensorboard:
        check_extra("tensorboard", "tensorboard")
    summary = perform_into_folder(RunConfig.of("train", agent, problem, target), folder, output, tensorboard)
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)


def _train_contextual(scale: str, metrics: Sequence[str], budget: int, seed: int, folder: Path | None) -> None:
    from dataclasses import asdict

    from hwgpt_gym.agents.ppo.contextual import ContextualPPO, evaluate
    from hwgpt_gym.agents.runs.interrupts import Interrupts
    from hwgpt_gym.agents.runs.run import POLICY

    settings = ContextualPPO(scale=scale, metrics=tuple(metrics), evaluations=budget, seed=seed)
    progress = show_progress("architectures", budget, 50)
    with (
        _training_folder(CONTEXTUAL, asdict(settings), folder) as path,
        progress as show,
        Interrupts(lambda: None) as interrupts,
    ):
        policy = settings.train(
            lambda built, reward: show(built, f"mean reward {reward:.4f}"), path, lambda: interrupts.came
        )
        policy.save(path / POLICY, settings=asdict(settings))
    if interrupts.came:
        output.print(f"Interrupted; the same command with --output {path} goes on.", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)
    _print_contextual(evaluate(policy, metrics=settings.metrics), settings.devices)
    output.print(f"\nPolicy: {path / POLICY}", soft_wrap=True)


def _training_folder(agent: str, settings: dict[str, Any], folder: Path | None) -> AbstractContextManager[Path]:
    """Give the folder of a training: the given one if it holds a checkpoint to go on from, else one that is claimed."""
    import json

    from hwgpt_gym.agents.checkpoint import CHECKPOINT
    from hwgpt_gym.agents.runs.run import run_folder

    if folder is not None and (folder / CHECKPOINT).is_file():
        return nullcontext(folder)
    return run_folder(agent, json.dumps({"agent": agent, "settings": settings}, indent=2) + "\n", folder)


def _train_amortised(scale: str, budget: int | None, seed: int, folder: Path | None) -> None:
    from dataclasses import asdict

    from hwgpt_gym.agents.amortised.training import shipped_training
    from hwgpt_gym.agents.amortised.weights import load_pretrained, save_policy
    from hwgpt_gym.agents.runs.run import POLICY, RUNS

    settings = shipped_training(scale, budget, seed)
    folder = folder or RUNS / f"{AMORTISED}-{scale}-{seed}"
    start = None if scale == "s" else load_pretrained("s")
    progress = show_progress("iterations", settings.iterations, settings.iterations)
    with _training_folder(AMORTISED, asdict(settings), folder) as path, progress as show:
        policy = settings.train(path, lambda done, regret: show(done, f"mean regret {regret:.5f}"), start)
    given = {name: value for name, value in asdict(settings).items() if value is not None}
    save_policy(policy, path / POLICY, {"settings": given, "start": "" if start is None else "s"})
    output.print(f"Policy: {path / POLICY}", soft_wrap=True)


def evaluate(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="A policy that train wrote, or its run folder.", metavar="MODEL")],
    device: Annotated[
        str | None,
        typer.Option("--device", "-d", help="By default that of the training.", autocompletion=complete_device),
    ] = None,
    constraint: Annotated[
        list[str] | None, typer.Option("--constraint", "-c", help="By default those of the training.")
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", help="How many episodes to sample.")] = 1_000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Score a trained policy: reward, regret and feasibility of its greedy and of sampled episodes.

    A contextual policy is scored by its greedy episodes on every device and nine limits.

    Example: hwgpt-gym evaluate runs/ppo-20260101-120000
    """
    from hwgpt_gym.agents.ppo import contextual
    from hwgpt_gym.agents.ppo.policy import Policy
    from hwgpt_gym.agents.runs.run import POLICY

    check_integer("--episodes", episodes, 1, MOST_SAMPLES)
    path = model / POLICY if model.is_dir() else model
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is no file: MODEL must be a policy that train wrote, or its run folder")
    policy = Policy.load(path)
    notes = policy.notes
    if not policy.context_columns:
        _score(policy, notes, path, device, constraint, episodes, seed, as_json)
        return
    others = ("device", "constraint", "episodes", "seed")
    refuse_options(context, others, "by policies without a context: this one is scored on all devices and limits")
    score = contextual.evaluate(policy, metrics=notes.get("settings", {}).get("metrics", ("latency_ms",)))
    if as_json:
        regret = dict(zip(score.devices, score.regret.tolist(), strict=True))
        print_json({"model": str(path), "levels": list(score.levels), "regret": regret})
        return
    _print_contextual(score, notes.get("settings", {}).get("devices", ()))


def _score(
    policy: Policy,
    notes: dict[str, Any],
    path: Path,
    device: str | None,
    constraint: list[str] | None,
    episodes: int,
    seed: int,
    as_json: bool,
) -> None:
    """Score a policy of one device, by default under what it was trained for."""
    from dataclasses import replace

    from hwgpt_gym.objective import Objective
    from hwgpt_gym.onboarding.devices import find_device

    objective = (
        Objective.from_dict(notes["objective"])
        if "objective" in notes
        else make_objective(DEFAULT_CONSTRAINT, DEFAULT_PENALTY, None)
    )
    if constraint:
        objective = replace(objective, constraints=parse_constraints(constraint))
    name = device or notes.get("device") or "a6000"
    trained = device is None and "device" in notes
    found = find_device(name, notes.get("device_content", "")) if trained else name
    benchmark = make_benchmark(policy.space.scale, found)
    score = policy.evaluate(benchmark, objective, episodes, seed)._asdict()
    greedy = policy.space.decode(policy.greedy())[0]
    if as_json:
        described = {"model": str(path), "device": benchmark.devices[0].name, "objective": objective.to_dict()}
        print_json({**described, "greedy": str(greedy), **score})
        return
    output.print(str(greedy), style="bold", soft_wrap=True)
    rows = [
        (label, *(f"{score[f'{kind}_{key}']:.6f}" for key in ("reward", "regret")), f"{score[f'{kind}_feasible']:.1%}")
        for label, kind in (("greedy", "greedy"), (f"{episodes:,} sampled", "sampled"))
    ]
    output.print(
        make_table(
            f"{path} on {benchmark.devices[0].name}", ("episode", "reward", "regret", "feasible"), rows, right=(1, 2, 3)
        )
    )


def _print_contextual(score: ContextualScore, seen: Sequence[str]) -> None:
    rows = [
        (
            device,
            "seen" if device in seen else "never seen",
            *(f"{value:.4f}" for value in (score.regret[i].min(), score.regret[i].mean(), score.regret[i].max())),
            f"{score.feasible[i].mean():.0%}",
        )
        for i, device in enumerate(score.devices)
    ]
    columns = ("device", "in training", "least regret", "mean regret", "greatest regret", "feasible")
    output.print(make_table("Greedy episodes on every device under nine limits", columns, rows, right=(2, 3, 4, 5)))
    for label, chosen in (("seen", True), ("never seen", False)):
        devices = [device for device in score.devices if (device in seen) is chosen]
        if devices:
            output.print(f"mean regret on devices {label} in training: {score.mean_regret(devices):.4f}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (train, evaluate):
        app.command(rich_help_panel="Search and train")(command)
