"""The commands for a device of one's own: plan, measure, fit, check, show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.checks import check_between, check_choice, check_integer
from hwgpt_gym.cli import profile_reports
from hwgpt_gym.cli.options import INTERRUPTED, Json, Scale, Seed, refuse_options
from hwgpt_gym.cli.profile_reports import ProfileFile, describe_profile, print_profile, print_remarks
from hwgpt_gym.console import make_table, messages, output, print_json
from hwgpt_gym.files import check_destination

if TYPE_CHECKING:
    from hwgpt_gym.onboarding.backends import Backend
    from hwgpt_gym.onboarding.measure import Progress
    from hwgpt_gym.onboarding.plan import Plan

profile_app = typer.Typer(
    help="Your own device: from twenty measurements to a profile that every command accepts.", no_args_is_help=True
)

PlanFile = Annotated[Path, typer.Argument(help="A plan that the command plan wrote.", metavar="PLAN")]

FIT_EVERY = 10.0
"""Seconds between two fits of what is being measured, for those who watch."""


@profile_app.command("plan")
def plan(
    context: typer.Context,
    scale: Scale = "s",
    number: Annotated[int, typer.Option("--number", "-k", help="How many architectures to fit, at least 3.")] = 20,
    checks: Annotated[int, typer.Option("--checks", help="How many more to check the fit with.")] = 8,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--architecture", help="Instead: measure this one, and fit none; may be repeated.", metavar="NAME"
        ),
    ] = None,
    path: Annotated[Path, typer.Option("--output", "-o", help="The plan's file.")] = Path("plan.json"),
) -> None:
    """Choose which architectures to measure, the most telling first; the same choice every time.

    Example: hwgpt-gym profile plan --scale s -k 20 --checks 8 --output plan.json
    """
    from hwgpt_gym.onboarding.plan import check_plan, make_plan

    check_destination(path, (".json",), name="--output")
    if names:
        refuse_options(context, ("scale", "number", "checks"), "without --architecture")
    made = check_plan(names) if names else make_plan(scale, number, checks)
    made.save(path)
    output.print(
        f"{path}: {len(made.architectures)} architectures of scale {made.scale} to fit, "
        f"{len(made.checks)} to check with, {len(made.references)} references, {len(made.probes)} probes of layers",
        soft_wrap=True,
    )


@profile_app.command("run")
def run(
    plan_path: PlanFile,
    log_path: Annotated[Path, typer.Option("--output", "-o", help="The log, which is appended to.")],
    minutes: Annotated[float, typer.Option("--minutes", "-t", help="How long to measure.")] = 10.0,
    backend: Annotated[str, typer.Option("--backend", "-b", help="torch, onnxruntime or command.")] = "torch",
    command: Annotated[
        str | None,
        typer.Option(
            "--command",
            help="With --backend command: a program that prints milliseconds; {name} stands for the architecture's "
            "name, {onnx} for the path of its ONNX file.",
        ),
    ] = None,
    workload: Annotated[
        str, typer.Option("--workload", help="prefill: a forward pass; decode: a token with a cache (torch).")
    ] = "prefill",
    batch: Annotated[int, typer.Option("--batch", help="Sequences in the batch.")] = 1,
    sequence: Annotated[int, typer.Option("--sequence", help="Tokens in a sequence, or in the cache.")] = 128,
    precision: Annotated[
        str, typer.Option("--precision", help="float32, bfloat16 or float16 (torch: mixed precision).")
    ] = "float32",
    threads: Annotated[int, typer.Option("--threads", help="Threads on the processor.")] = 1,
    target: Annotated[str, typer.Option("--target", help="cpu or cuda (torch), or what the command runs on.")] = "cpu",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile with torch.compile.")] = False,
    kernels: Annotated[
        bool,
        typer.Option("--kernels", help="With --target cuda: sum the times of kernels too, as the benchmark did."),
    ] = False,
    mlp: Annotated[str, typer.Option("--mlp", help="gated, as the shipped devices were profiled, or gpt2.")] = "gated",
    protocol: Annotated[
        str, typer.Option("--protocol", help="What to time: models, layers, both; auto: both on a CPU with torch.")
    ] = "auto",
    seed: Seed = 0,
) -> None:
    """Measure a plan and append to a log; the same command goes on where it ended, however it ended.

    Ctrl-C keeps everything that was measured.

    Example: hwgpt-gym profile run plan.json --output log.jsonl --minutes 10
    """
    from hwgpt_gym.onboarding.measure import MOST_MINUTES, measure
    from hwgpt_gym.onboarding.plan import Plan

    check_destination(log_path, name="--output")
    check_between("--minutes", minutes, 0.0, MOST_MINUTES, open_low=True)
    for option, value in (("--batch", batch), ("--sequence", sequence), ("--threads", threads)):
        check_integer(option, value, 1)
    check_integer("--seed", seed, 0)
    check_choice("--backend", backend, ("torch", "onnxruntime", "command"))
    check_choice("--protocol", protocol, ("auto", "models", "layers", "both"))
    check_choice("--workload", workload, ("prefill", "decode"))
    check_choice("--mlp", mlp, ("gated", "gpt2"))
    if (backend == "command") != (command is not None):
        raise ValueError("--command and --backend command belong together")
    made = Plan.load(plan_path)
    conditions = {
        "workload": workload,
        "batch_size": batch,
        "sequence_length": sequence,
        "precision": precision,
        "threads": threads,
        "compiled": compiled,
        "mlp": mlp,
        "target": target,
    }
    if kernels and backend != "torch":
        raise ValueError("--kernels needs --backend torch")
    runner = _backend(made, backend, command, conditions, kernels)
    interrupted = False
    with watching(made, minutes) as watch:
        try:
            progress = measure(made, str(log_path), runner, minutes, protocol, seed, watch)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        messages.print(f"Kept all that was measured: {log_path}; the same command goes on", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)
    for name, error in progress.skipped.items():
        messages.print(f"skipped {name}, which keeps failing: {error}", soft_wrap=True, markup=False)
    print_remarks(progress.log.remarks)
    number = sum(progress.visits.values())
    output.print(
        f"{log_path}: {number:,} visits, {len(progress.log.passes):,} passes with timed layers", soft_wrap=True
    )


def _backend(plan: Plan, backend: str, command: str | None, conditions: dict[str, Any], kernels: bool) -> Backend:
    """Make the backend that the options describe."""
    if backend == "torch":
        from hwgpt_gym.onboarding.torch_backend import TorchBackend

        return TorchBackend(plan.scale, **conditions, kernels=kernels)
    if backend == "onnxruntime":
        from hwgpt_gym.onboarding.onnx_backend import OnnxRuntimeBackend

        legal = {"workload": "prefill", "precision": "float32", "compiled": False, "target": "cpu"}
        for key, value in legal.items():
            if conditions.pop(key) != value:
                raise ValueError(f"--backend onnxruntime measures {key} {value!r} only")
        return OnnxRuntimeBackend(**conditions)
    from hwgpt_gym.onboarding.backends import processor_name
    from hwgpt_gym.onboarding.command_backend import CommandBackend
    from hwgpt_gym.onboarding.records import make_conditions

    about = {"backend": "command", "backend_version": command, "processor": processor_name()}
    return CommandBackend(str(command), make_conditions(**conditions, **about))


@contextmanager
def watching(plan: Plan, minutes: float) -> Iterator[Callable[[Progress], None]]:
    """Show what is measured, how noisy, what is known, and the minutes left: in place on a terminal only."""
    if not messages.is_terminal:
        messages.print(f"measuring {len(plan.measured)} architectures for {minutes:g} minutes", soft_wrap=True)
        yield lambda _: None
        return
    from rich.live import Live

    from hwgpt_gym.onboarding.measure import describe

    known, fitted_at = "nothing yet", 0.0
    with Live(console=messages, transient=True, refresh_per_second=4) as live:

        def show(progress: Progress) -> None:
            nonlocal known, fitted_at
            if time.monotonic() - fitted_at > FIT_EVERY:
                known, fitted_at = describe(plan, progress), time.monotonic()
            left = max(progress.ends - time.monotonic(), 0.0) / 60.0
            visits = [progress.visits.get(name, 0) for name in plan.measured]
            rows = [
                ("measuring", progress.current),
                ("visits", f"{sum(visits):,}, from {min(visits)} to {max(visits)} for an architecture"),
                ("known", known),
                ("skipped", str(len(progress.skipped))),
                ("minutes left", f"{left:.1f}"),
            ]
            live.update(make_table("", ("", ""), rows))

        yield show


@profile_app.command("fit")
def fit(
    context: typer.Context,
    plan_path: Annotated[Path | None, typer.Argument(help="The plan.", metavar="[PLAN")] = None,
    log_path: Annotated[Path | None, typer.Argument(help="Its log.", metavar="LOG]")] = None,
    measurements: Annotated[
        Path | None,
        typer.Option(
            "--measurements",
            help="Instead of both: a table (CSV) with the columns architecture and latency_ms or energy_j.",
        ),
    ] = None,
    path: Annotated[Path, typer.Option("--output", "-o", help="The profile, *.safetensors.")] = Path(
        "device.safetensors"
    ),
    name: Annotated[str | None, typer.Option("--name", help="The device's name; by default that of the file.")] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Its name for people; by default the processor's.")
    ] = None,
    clock: Annotated[
        str | None,
        typer.Option("--clock", help="kernels, cpu, cuda or wall; by default the first read of the last three."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Add a scale to the profile that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Fit a profile to what was measured, and say what the checks say.

    Example: hwgpt-gym profile fit plan.json log.jsonl --output mine.safetensors
    """
    from hwgpt_gym.onboarding.fit import add_scales, fit_log, fit_table
    from hwgpt_gym.onboarding.plan import Plan
    from hwgpt_gym.onboarding.profile import SUFFIX, DeviceProfile, check_name, load_profile
    from hwgpt_gym.onboarding.records import read_log

    if clock is not None:
        check_choice("--clock", clock, ("cpu", "cuda", "wall", "kernels"))
    check_destination(path, (SUFFIX,), name="--output")
    if len({plan_path is None, log_path is None, measurements is not None}) > 1:
        raise ValueError("give either PLAN and LOG, or --measurements")
    if measurements is not None:
        refuse_options(context, ("clock",), "with PLAN and LOG: a table does not say which it was")
    if add:
        refuse_options(context, ("name", "label"), "without --add: the profile that is there has them")
    name = path.stem.lower() if name is None else name
    check_name(name)
    known = load_profile(path) if add else None
    if measurements is not None:
        scales = fit_table(measurements)
    else:
        assert plan_path is not None
        assert log_path is not None
        made = Plan.load(plan_path)
        log = read_log(log_path, made)
        print_remarks(log.remarks)
        scales = {made.scale: fit_log(made, log, clock)}  # type: ignore[arg-type]
    if known is not None:
        profile = add_scales(known, scales)
    else:
        processor = next(iter(scales.values())).conditions.processor
        profile = DeviceProfile(name, processor or name if label is None else label, scales)
    profile.save(path)
    if as_json:
        print_json(describe_profile(profile))
        return
    output.print(f"{path}: the device {profile.name}", soft_wrap=True)
    print_profile(profile)


@profile_app.command("register")
def register_profile(
    path: ProfileFile,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of another one of the same name.")] = False,
) -> None:
    """Copy a profile into the folder of registered devices: from then on its name is enough.

    Example: hwgpt-gym profile register mine.safetensors
    """
    from hwgpt_gym.onboarding.devices import devices_folder, load_device, register_device

    device = register_device(load_device(path), replace=replace)
    output.print(f"{device.name}: {devices_folder() / f'{device.name}.safetensors'}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module, and those that report."""
    profile_reports.register(profile_app)
    app.add_typer(profile_app, name="profile", rich_help_panel="Measure and fit")
