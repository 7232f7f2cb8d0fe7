"""The command that shows all of it at once: a device, its certified optimum, and PPO up to it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hwgpt_gym.checks import check_between
from hwgpt_gym.cli.options import (
    DEFAULT_PENALTY,
    INTERRUPTED,
    Constraint,
    Device,
    DeviceScale,
    Folder,
    Seed,
    Target,
    make_benchmark,
    make_objective,
    refuse_options,
)
from hwgpt_gym.cli.profile import watching
from hwgpt_gym.console import messages, output, warn

if TYPE_CHECKING:
    from hwgpt_gym.benchmark import Benchmark

QUIET: Final = 3.0
"""The median error, in per cent, up to which a machine was quiet enough to be measured."""

_FITTED, _CHECKS, _SEQUENCE = 8, 3, 64


def demo(
    context: typer.Context,
    device: Device = "a6000",
    scale: DeviceScale = None,
    here: Annotated[
        bool, typer.Option("--here", help="For this machine: profile its processor first, if it is quiet enough.")
    ] = False,
    minutes: Annotated[float, typer.Option("--minutes", "-t", help="How long to profile, with --here.")] = 2.0,
    constraint: Constraint = ["latency_ms=p40"],  # noqa: B006  # Typer copies it.
    budget: Annotated[int, typer.Option("--budget", help="The evaluations after which it gives up.")] = 50_000,
    target: Target = 0.001,
    seed: Seed = 0,
    folder: Folder = None,
) -> None:
    """Train PPO until it stands within the target of the certified optimum, and write a report.

    With --here it is for the processor of this machine, which is profiled for two minutes; where that is too noisy, for
    the RTX A6000. Exit code 1 if PPO does not get there within the budget.

    Example: hwgpt-gym demo --device h100 --constraint latency_ms=p30
    """
    from hwgpt_gym.agents import SearchProblem
    from hwgpt_gym.agents.runs.records import RunConfig
    from hwgpt_gym.agents.runs.run import perform_into_folder
    from hwgpt_gym.files import take_folder

    if here:
        refuse_options(context, ("device",), "without --here, which is for this machine")
        check_between("--minutes", minutes, 0.0, 1440.0, open_low=True)
    else:
        refuse_options(context, ("minutes",), "with --here")
    objective = make_objective(constraint, DEFAULT_PENALTY, None)
    bench = make_benchmark(scale, device)
    if here:
        # What is asked for is checked before minutes are spent on measuring; a limit in milliseconds is this machine's.
        RunConfig.of("demo", "ppo", SearchProblem(bench, None, budget, seed), target)
        if folder is not None:
            take_folder(folder, name="--output")
        bench = profile_here(bench.scale, minutes) or bench
    config = RunConfig.of("demo", "ppo", SearchProblem(bench, objective, budget, seed), target)
    summary = perform_into_folder(config, folder, output)
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not summary.reached:
        raise typer.Exit(1)


def profile_here(scale: str, minutes: float) -> Benchmark | None:
    """Profile the processor of this machine with a small plan.

    Args:
        scale: The search space.
        minutes: How long to measure.

    Returns:
        The benchmark of its profile, which lies in a new folder in ``runs``; ``None`` if this machine was too noisy or
        too slow for it.
    """
    from hwgpt_gym.agents.runs.run import RUNS
    from hwgpt_gym.files import new_folder
    from hwgpt_gym.onboarding.fit import fit_log
    from hwgpt_gym.onboarding.measure import measure
    from hwgpt_gym.onboarding.plan import make_plan
    from hwgpt_gym.onboarding.profile import DeviceProfile
    from hwgpt_gym.onboarding.torch_backend import TorchBackend

    backend = TorchBackend(scale, sequence_length=_SEQUENCE)
    plan = make_plan(scale, _FITTED, _CHECKS)
    folder = new_folder(RUNS, f"this-machine-{datetime.now():%Y%m%d-%H%M%S}")
    plan.save(folder / "plan.json")
    with watching(plan, minutes) as watch:
        log = measure(plan, str(folder / "log.jsonl"), backend, minutes, watch=watch).log
    try:
        fitted = fit_log(plan, log)
    except ValueError as error:
        warn(f"{minutes:g} minutes were too short to profile this machine ({error}): the device is the A6000")
        return None
    metric = fitted.metrics["latency_ms"]
    if metric.checks is None or metric.checks.median_error_pct > QUIET:
        found = "nothing to check with" if metric.checks is None else f"{metric.checks.median_error_pct:.1f} %"
        warn(f"this machine is too noisy to be profiled now (median error {found}): the device is the A6000")
        return None
    path = folder / "this-machine.safetensors"
    DeviceProfile("this-machine", f"this machine ({backend.conditions.processor})", {scale: fitted}).save(path)
    messages.print(
        f"Profile: {path}, median error {metric.checks.median_error_pct:.2f} % of {metric.checks.number} architectures "
        "that were not fitted",
        soft_wrap=True,
    )
    return make_benchmark(scale, str(path))


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Search and train")(demo)
