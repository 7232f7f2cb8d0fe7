"""The commands that report on a profile: checking it, showing it, and how good profiles are."""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.cli.options import PICTURES, Json
from hwgpt_gym.console import make_table, messages, output, print_json
from hwgpt_gym.files import check_destination

if TYPE_CHECKING:
    from hwgpt_gym.onboarding.profile import DeviceProfile

ProfileFile = Annotated[Path, typer.Argument(help="A profile that the command fit wrote.", metavar="PROFILE")]


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
        print_json({**describe_profile(profile), "target_pct": target, "further": more})
        return
    print_profile(profile)
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
    print_remarks(log.remarks)
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
        (str(row["architecture"]), f"{row['measured_ms']:.3f}", f"{row['predicted_ms']:.3f}", f"{row['errors']:+.2f}")
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

    if picture:
        check_destination(picture, PICTURES, name="--output")
    profile = load_profile(path)
    if as_json:
        print_json(describe_profile(profile))
    else:
        output.print(f"{profile.name}: {profile.label}, content {profile.content_hash[:16]}", soft_wrap=True)
        for scale, own in profile.scales.items():
            output.print(f"scale {scale}: {own.conditions}", soft_wrap=True)
        print_profile(profile)
    if picture:
        from hwgpt_gym.onboarding.figures import save_profile_figure

        save_profile_figure(profile, picture)
        messages.print(f"Picture: {picture}", soft_wrap=True)


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

    if table:
        check_destination(table, (".csv",), name="--output")
    if picture:
        check_destination(picture, PICTURES, name="--picture")
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


def describe_profile(profile: DeviceProfile) -> dict[str, Any]:
    """Return what a profile says, as JSON can hold it."""
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


def print_profile(profile: DeviceProfile) -> None:
    """Print how good a profile is."""
    rows = []
    for scale, own in describe_profile(profile)["scales"].items():
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


def print_remarks(remarks: list[str]) -> None:
    """Print what had to be left out of a log."""
    for remark in remarks:
        messages.print(f"remark: {remark}", soft_wrap=True, markup=False)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (check, show, evaluate):
        app.command()(command)
