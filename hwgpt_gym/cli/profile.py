"""The commands for a device of one's own: plan, measure, fit, check, show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.cli.options import INTERRUPTED, Json, Scale, Seed, check_at_least
from hwgpt_gym.console import make_table, messages, output, print_json

if TYPE_CHECKING:
    from hwgpt_gym.onboarding.backends import Backend
    from hwgpt_gym.onboarding.measure import Progress
    from hwgpt_gym.onboarding.plan import Plan
    from hwgpt_gym.onboarding.profile import DeviceProfile

profile_app = typer.Typer(
    help="Your own device: from twenty measurements to a profile that every command accepts.", no_args_is_help=True
)

PlanFile = Annotated[Path, typer.Argument(help="A plan that the command plan wrote.", metavar="PLAN")]
ProfileFile = Annotated[Path, typer.Argument(help="A profile that the command fit wrote.", metavar="PROFILE")]

FIT_EVERY = 10.0
"""Seconds between two fits of what is being measured, for those who watch."""


@profile_app.command("plan")
def plan(
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
    from hwgpt_gym.checks import check_choice
    from hwgpt_gym.onboarding.measure import measure
    from hwgpt_gym.onboarding.plan import Plan

    for option, value in (("--batch", batch), ("--sequence", sequence), ("--threads", threads)):
        check_at_least(option, value)
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
    runner = _backend(made, backend, command, conditions)
    interrupted = False
    with _watching(made, minutes) as watch:
        try:
            progress = measure(made, str(log_path), runner, minutes, protocol, seed, watch)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        messages.print(f"Kept all that was measured: {log_path}; the same command goes on", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)
    for name, error in progress.skipped.items():
        messages.print(f"skipped {name}, which keeps failing: {error}", soft_wrap=True, markup=False)
    _print_remarks(progress.log.remarks)
    number = sum(progress.visits.values())
    output.print(
        f"{log_path}: {number:,} visits, {len(progress.log.passes):,} passes with timed layers", soft_wrap=True
    )


def _backend(plan: Plan, backend: str, command: str | None, conditions: dict[str, Any]) -> Backend:
    """Make the backend that the options describe."""
    if backend == "torch":
        from hwgpt_gym.onboarding.torch_backend import TorchBackend

        return TorchBackend(plan.scale, **conditions)
    if backend == "onnxruntime":
        from hwgpt_gym.onboarding.onnx_backend import OnnxRuntimeBackend

        legal = {"workload": "prefill", "precision": "float32", "compiled": False, "target": "cpu"}
        for key, value in legal.items():
            if conditions.pop(key) != value:
                raise ValueError(f"--backend onnxruntime measures {key} {value!r} only")
        return OnnxRuntimeBackend(**conditions)
    from hwgpt_gym.onboarding.backends import CommandBackend, processor_name
    from hwgpt_gym.onboarding.records import Conditions

    about = {"backend": "command", "backend_version": command, "processor": processor_name()}
    return CommandBackend(str(command), Conditions.model_validate({**conditions, **about}))


@contextmanager
def _watching(plan: Plan, minutes: float) -> Iterator[Callable[[Progress], None]]:
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
        str | None, typer.Option("--clock", help="cpu, cuda or wall; by default the first of them that was read.")
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
        from hwgpt_gym.checks import check_choice

        check_choice("--clock", clock, ("cpu", "cuda", "wall"))
    if path.suffix != SUFFIX:
        raise ValueError(f"--output must end in {SUFFIX!r}, got {str(path)!r}")
    if (measurements is None) == (plan_path is None or log_path is None):
        raise ValueError("give either PLAN and LOG, or --measurements")
    name = name or path.stem.lower()
    check_name(name)
    if measurements is not None:
        scales = fit_table(measurements)
    else:
        assert plan_path is not None
        assert log_path is not None
        made = Plan.load(plan_path)
        log = read_log(log_path, made)
        _print_remarks(log.remarks)
        scales = {made.scale: fit_log(made, log, clock)}  # type: ignore[arg-type]
    if add:
        profile = add_scales(load_profile(path), scales)
    else:
        processor = next(iter(scales.values())).conditions.processor
        profile = DeviceProfile(name, label or processor or name, scales)
    profile.save(path)
    if as_json:
        print_json(_describe(profile))
        return
    output.print(f"{path}: the device {profile.name}", soft_wrap=True)
    _print_profile(profile)


@profile_app.command("check")
def check(
    path: ProfileFile,
    plan_path: Annotated[Path | None, typer.Argument(help="A plan that was measured later.", metavar="[PLAN")] = None,
    log_path: Annotated[Path | None, typer.Argument(help="Its log.", metavar="LOG]")] = None,
    target: Annotated[
        float, typer.Option("--target", help="The error to reach, in percent: half of all predictions are better.")
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Say how good a profile is on what it was not fitted to, and what to measure next.

    With PLAN and LOG: hold it against architectures that were measured after it.

    Example: hwgpt-gym profile check mine.safetensors --target 1
    """
    from hwgpt_gym.checks import check_between
    from hwgpt_gym.onboarding.check import further
    from hwgpt_gym.onboarding.profile import load_profile

    check_between("--target", target, 0.0, 100.0, open_low=True)
    profile = load_profile(path)
    if (plan_path is None) != (log_path is None):
        raise ValueError("PLAN and LOG belong together")
    if plan_path is not None and log_path is not None:
        _check_later(profile, plan_path, log_path, as_json)
        return
    advice = {
        (scale, metric): further(item.posterior, item.measurements, target / 100.0)
        for scale, own in profile.scales.items()
        for metric, item in own.metrics.items()
    }
    if as_json:
        more = [{"scale": scale, "metric": metric, "measure": names} for (scale, metric), names in advice.items()]
        print_json({**_describe(profile), "target_pct": target, "further": more})
        return
    _print_profile(profile)
    for (scale, metric), names in advice.items():
        where = f"scale {scale}, {metric}"
        if names is None:
            output.print(f"{where}: forty more would not reach {target:g} %: visit what there is more often")
        elif not names:
            output.print(f"{where}: {target:g} % is reached")
        else:
            output.print(f"{where}: measure {len(names)} more here to reach {target:g} %:")
            for item in names:
                output.print(f"  {item}", soft_wrap=True)


def _check_later(profile: DeviceProfile, plan_path: Path, log_path: Path, as_json: bool) -> None:
    from hwgpt_gym.onboarding.check import later_checks, score
    from hwgpt_gym.onboarding.plan import Plan
    from hwgpt_gym.onboarding.records import read_log

    made = Plan.load(plan_path)
    if made.scale not in profile.scales:
        raise ValueError(f"the profile is of scale {' and '.join(profile.scales)}, the plan of scale {made.scale}")
    log = read_log(log_path, made)
    _print_remarks(log.remarks)
    checks, logs, deviations, state = later_checks(profile.scales[made.scale], made, log)
    scores = score("held out", checks, logs, deviations).model_dump()
    names = [str(item) for item in checks.space.decode(checks.encoded)]
    found = [
        {"architecture": name, "measured_ms": float(value), "predicted_ms": float(value * exp(log)), "errors": float(z)}
        for name, value, log, z in zip(names, checks.values, logs, logs / deviations, strict=True)
    ]
    if as_json:
        print_json({**scores, "architectures": found, "reference_by_profile": {str(k): v for k, v in state.items()}})
        return
    rows = [
        (row["architecture"], f"{row['measured_ms']:.3f}", f"{row['predicted_ms']:.3f}", f"{row['errors']:+.2f}")
        for row in found
    ]
    columns = ("architecture", "measured (ms)", "predicted (ms)", "combined standard errors")
    output.print(make_table("Measured after the profile", columns, rows, right=(1, 2, 3)))
    within = round(scores["within_two"] * scores["number"])
    output.print(
        f"{within} of {scores['number']} within two combined standard errors, median error "
        f"{scores['median_error_pct']:.2f} %"
    )
    slower = ", ".join(f"{width}: {value:.3f}" for width, value in state.items())
    output.print(f"references by their time in the profile, by width: {slower}")


@profile_app.command("show")
def show(
    path: ProfileFile,
    picture: Annotated[
        Path | None, typer.Option("--output", "-o", help="Draw predicted against measured to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a profile: its conditions, its accuracy, and one picture.

    Example: hwgpt-gym profile show mine.safetensors --output mine.png
    """
    from hwgpt_gym.onboarding.profile import load_profile

    profile = load_profile(path)
    if as_json:
        print_json(_describe(profile))
    else:
        output.print(f"{profile.name}: {profile.label}, content {profile.content_hash[:16]}", soft_wrap=True)
        for scale, own in profile.scales.items():
            output.print(f"scale {scale}: {own.conditions}", soft_wrap=True)
        _print_profile(profile)
    if picture:
        from hwgpt_gym.onboarding.figures import save_profile_figure

        save_profile_figure(profile, picture)
        messages.print(f"Picture: {picture}", soft_wrap=True)


@profile_app.command("evaluate")
def evaluate(
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", help="The dataset's folder; by default that of HWGPT_DATASET."),
    ] = None,
    scale: Annotated[list[str] | None, typer.Option("--scale", "-s", help="A scale; may be repeated.")] = None,
    table: Annotated[Path | None, typer.Option("--output", "-o", help="Write all scores to this file (CSV).")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the errors to this file.")] = None,
) -> None:
    """Take each shipped device for a new one: how good are profiles from few measurements, beside other methods?

    Example: hwgpt-gym profile evaluate --dataset measurements --output devices.csv --picture devices.png
    """
    from hwgpt_gym.dataset.measurements import load_dataset
    from hwgpt_gym.onboarding.evaluation import evaluate as score
    from hwgpt_gym.onboarding.figures import save_evaluation_figure

    with messages.status("reading") as status:
        scores = score(load_dataset(dataset), scale, progress=status.update)
    if table:
        from hwgpt_gym.files import write_text

        write_text(table, scores.to_csv(index=False, float_format="%.6g"))
    if picture:
        save_evaluation_figure(scores, picture)
    keys = ["metric", "rows", "method", "k"]
    means = scores.groupby(keys, sort=False).mean(numeric_only=True).reset_index()
    rows: list[tuple[str, ...]] = [
        (
            *(str(row[key]) for key in keys),
            f"{row['median_error_pct']:.2f}",
            f"{row['p95_error_pct']:.2f}",
            f"{row['kendall_tau']:.3f}",
            "" if row["coverage_90"] != row["coverage_90"] else f"{row['coverage_90']:.3f}",
        )
        for row in means.to_dict("records")
    ]
    columns = ("metric", "rows", "method", "k", "median error %", "95th percentile %", "tau", "coverage of 90 %")
    output.print(make_table("One device left out; means over devices and scales", columns, rows, right=(3, 4, 5, 6, 7)))


def _describe(profile: DeviceProfile) -> dict[str, Any]:
    from hwgpt_gym.onboarding.check import expected_error

    return {
        "name": profile.name,
        "label": profile.label,
        "content": profile.content_hash,
        "scales": {
            scale: {
                "conditions": own.conditions.model_dump(),
                "metrics": {
                    metric: {
                        "clock": item.clock,
                        "fitted": len(item.measurements.fitted),
                        "passes": item.layers,
                        "sigma": item.posterior.sigma,
                        "expected_error_by_width": expected_error(item.posterior).tolist(),
                        "checks": item.checks.model_dump() if item.checks else None,
                    }
                    for metric, item in own.metrics.items()
                },
            }
            for scale, own in profile.scales.items()
        },
    }


def _print_profile(profile: DeviceProfile) -> None:
    rows = []
    for scale, own in _describe(profile)["scales"].items():
        for metric, item in own["metrics"].items():
            checks = item["checks"] or {}
            expected = "/".join(f"{100.0 * value:.1f}" for value in item["expected_error_by_width"])
            scores = (
                (
                    f"{checks['number']} ({checks['kind']})",
                    f"{checks['median_error_pct']:.2f}",
                    f"{checks['greatest_error_pct']:.2f}",
                    f"{checks['within_two']:.0%}",
                    f"{checks['coverage_90']:.0%}",
                )
                if checks
                else ("none", "", "", "", "")
            )
            rows.append((scale, metric, str(item["fitted"]), f"{100.0 * item['sigma']:.2f}", expected, *scores))
    columns = (
        "scale",
        "metric",
        "fitted",
        "noise %",
        "expected error % by width",
        "checks",
        "median error %",
        "greatest %",
        "within 2 s.e.",
        "in 90 % intervals",
    )
    output.print(make_table("Accuracy", columns, rows, right=(2, 3, 6, 7, 8, 9)))


def _print_remarks(remarks: list[str]) -> None:
    for remark in remarks:
        messages.print(f"remark: {remark}", soft_wrap=True, markup=False)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(profile_app, name="profile", rich_help_panel="Measure and fit")
