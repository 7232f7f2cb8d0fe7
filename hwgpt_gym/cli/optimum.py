"""The commands about what is optimal: the certified optimum, the exact front, and its picture."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from hwgpt_gym.checks import check_integer
from hwgpt_gym.cli.certainty import WorldsOption, certainty_document, certainty_table
from hwgpt_gym.cli.completion import complete_metric
from hwgpt_gym.cli.options import (
    DEFAULT_CONSTRAINT,
    DEFAULT_PENALTY,
    MOST_SAMPLES,
    PICTURES,
    Budget,
    Confidence,
    Constraint,
    Device,
    DeviceScale,
    Json,
    PenaltyForm,
    Seed,
    Weight,
    limit_rows,
    make_benchmark,
    make_objective,
    refuse_options,
)
from hwgpt_gym.console import (
    floats,
    format_metric,
    limits_in_words,
    make_table,
    messages,
    output,
    print_json,
    print_wide,
    warn,
)
from hwgpt_gym.files import check_destination
from hwgpt_gym.metrics import METRICS

if TYPE_CHECKING:
    from hwgpt_gym.optimum.front import ParetoFront

plot_app = typer.Typer(help="Draw figures.", no_args_is_help=True)


def optimum(
    device: Device = "a6000",
    scale: DeviceScale = None,
    constraint: Constraint = list(DEFAULT_CONSTRAINT),  # noqa: B006  # Typer copies it.
    penalty: PenaltyForm = DEFAULT_PENALTY,
    weight: Weight = None,
    worlds: WorldsOption = 0,
    confidence: Confidence = None,
    as_json: Json = False,
) -> None:
    """Solve for the certified optimum: the best architecture of the whole space under the limits.

    Under penalties whose best reward may be that of an architecture that exceeds a limit, it is called the optimum of
    the penalised reward, and the certified constrained optimum stands beside it.

    Example: hwgpt-gym optimum --device a6000 --constraint latency_ms=p30
    """
    from hwgpt_gym.optimum import solve

    objective, bench = make_objective(constraint, penalty, weight, confidence), make_benchmark(scale, device)
    begin = time.perf_counter()
    found = solve(bench, objective, worlds)
    seconds = time.perf_counter() - begin
    outcome = {key: getattr(found.outcome, key)[0].item() for key in ("reward", "quality", "penalty", "feasible")}
    metrics = floats(found.metrics)
    if as_json:
        limits = floats(found.objective.limits)
        description = {"device": bench.devices[0].name, "scale": bench.scale, "objective": objective.to_dict()}
        described = {"architecture": str(found.architecture), **outcome, "metrics": metrics, **description}
        best = found.constrained
        constrained = None if best is None else {"architecture": str(best.architecture), "reward": best.reward}
        said = {"title": found.title, "constrained": constrained, "unmeetable": found.objective.unmeetable}
        print_json({**described, "limits": limits, **said, **certainty_document(found.certainties, seconds)})
        return
    output.print(str(found.architecture), style="bold", soft_wrap=True)
    earned = f"reward {outcome['reward']:.6f} = quality {outcome['quality']:.6f} − penalty {outcome['penalty']:.6f}, "
    verdict = ("within the limits", "green") if outcome["feasible"] else ("over the limits", "red")
    output.print(Text.assemble(earned, verdict))
    title = f"{found.title.capitalize()} of scale {bench.scale} on {bench.devices[0].label}"
    columns = ("metric", "value", "limit", "used")
    output.print(make_table(title, columns, limit_rows(metrics, found.objective), right=(1, 2, 3)))
    if found.objective.unmeetable:
        warn(found.objective.unmeetable)
    elif found.constrained is not None and found.constrained is not found:
        best = found.constrained
        quality = float(best.outcome.quality[0])
        output.print(f"\nCertified constrained optimum, quality {quality:.6f}, reward {best.reward:.6f}:")
        output.print(str(best.architecture), style="bold", soft_wrap=True)
    if found.certainties:
        output.print(certainty_table(found.certainties, seconds))


def pareto(
    context: typer.Context,
    device: Device = "a6000",
    scale: DeviceScale = None,
    metric: Annotated[
        list[str],
        typer.Option(
            "--metric", "-m", help="Perplexity or accuracy, and one or more costs.", autocompletion=complete_metric
        ),
    ] = ["perplexity", "latency_ms"],  # noqa: B006  # Typer copies it.
    number: Annotated[int, typer.Option("--rows", help="Rows of the table, spread evenly over the front.")] = 20,
    confidence: Confidence = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the whole front to this file.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the front to this file (two metrics).")] = None,
    as_json: Json = False,
) -> None:
    """Solve for the exact Pareto front of the whole space.

    Example: hwgpt-gym pareto --device h100 --metric perplexity --metric energy_j --plot front.png
    """
    import numpy as np

    from hwgpt_gym.optimum import pareto_front

    check_integer("--rows", number, 1)
    if as_json:
        refuse_options(context, ("number",), "without --json, which prints the whole front")
    if csv:
        check_destination(csv, (".csv",), name="--csv")
    if plot:
        check_destination(plot, PICTURES, name="--plot")
        if len(metric) != 2:
            raise ValueError(f"--plot draws fronts of two metrics, got {len(metric)}: {', '.join(metric)}")
    bench = make_benchmark(scale, device)
    front = pareto_front(bench, metric, confidence)
    if csv:
        _write_front(front, csv)
    if plot:
        from hwgpt_gym.agents.runs.pictures import save_pareto_picture

        save_pareto_picture(bench, front, plot)
    if as_json:
        print_json([dict(_front_row(front, i)) for i in range(len(front))])
        return
    chosen = np.linspace(0, len(front) - 1, min(number, len(front))).round().astype(int)
    rows = [
        (
            *(format_metric(key, value) for key, value in zip(metric, front.values[i].tolist(), strict=True)),
            str(front.architectures[i]),
        )
        for i in chosen
    ]
    title = f"Exact Pareto front of scale {bench.scale} on {bench.devices[0].label}: {len(chosen)} of {len(front)}"
    columns = [*(METRICS[key].label for key in metric), "architecture"]
    print_wide(make_table(title, columns, rows, right=range(len(metric))))


def _front_row(front: ParetoFront, i: int) -> dict[str, Any]:
    values = zip(front.metrics, front.values[i].tolist(), strict=True)
    return {"architecture": str(front.architectures[i]), **dict(values)}


def _write_front(front: ParetoFront, path: Path) -> None:
    from hwgpt_gym.files import write_text

    lines = [",".join(("architecture", *front.metrics))]
    lines += [",".join(map(str, _front_row(front, i).values())) for i in range(len(front))]
    write_text(path, "\n".join(lines) + "\n")


@plot_app.command("front")
def plot_front(
    picture: Annotated[Path, typer.Argument(help="The picture to write.", metavar="PICTURE")],
    device: Device = "a6000",
    scale: DeviceScale = None,
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", help="Draw this dataset's architectures too; by default that of HWGPT_DATASET."),
    ] = None,
    constraint: Constraint = ["none"],  # noqa: B006  # Typer copies it.
    samples: Annotated[int, typer.Option("--samples", help="Random architectures to draw.")] = 10_000,
    seed: Seed = 0,
) -> None:
    """Draw the exact front of perplexity and latency over random architectures, and those of the dataset.

    With limits, the certified optimum under them is marked.

    Example: hwgpt-gym plot front front.png --device h100 --constraint latency_ms=p30 --samples 2000
    """
    import numpy as np

    from hwgpt_gym import plotting
    from hwgpt_gym.dataset.measurements import default_dataset_path, load_dataset
    from hwgpt_gym.optimum import pareto_front, solve
    from hwgpt_gym.style import new_figure, save_figure

    check_integer("--samples", samples, 1, MOST_SAMPLES)
    check_integer("--seed", seed, 0)
    check_destination(picture, PICTURES, name="PICTURE")
    objective, bench = make_objective(constraint, DEFAULT_PENALTY, None), make_benchmark(scale, device)
    best = solve(bench, objective) if objective.constraints else None
    front = pareto_front(bench)
    compared = {"random": bench.space.sample(np.random.default_rng(seed), samples)}
    if dataset or default_dataset_path():
        compared["dataset"] = load_dataset(dataset)[bench.scale].encoded
    figure = new_figure(8.0, 4.6)
    plotting.plot_front(
        bench,
        front,
        sampled=compared["random"],
        measured=compared.get("dataset"),
        optimum=best,
        axes=figure.add_subplot(),
    )
    save_figure(figure, picture)
    output.print(f"exact front: {len(front)} architectures")
    for name, encoded in compared.items():
        ratio, beyond = plotting.compare_with_front(bench, front, encoded)
        output.print(
            f"{name}: {len(encoded)} architectures, hypervolume ratio {ratio:.4f}, beyond the front {beyond}",
            soft_wrap=True,
        )
    messages.print(f"Picture: {picture}", soft_wrap=True)


@plot_app.command("values")
def plot_values(
    picture: Annotated[Path, typer.Argument(help="The picture to write.", metavar="PICTURE")],
    device: Device = "a6000",
    scale: DeviceScale = None,
    constraint: Constraint = list(DEFAULT_CONSTRAINT),  # noqa: B006  # Typer copies it.
    penalty: PenaltyForm = DEFAULT_PENALTY,
    weight: Weight = None,
    budget: Budget = 50_000,
    seed: Seed = 0,
) -> None:
    """Train PPO, and draw what its value network says of states beside their exact values.

    Example: hwgpt-gym plot values values.png --device a6000 --constraint latency_ms=p30
    """
    from hwgpt_gym.agents import SearchProblem
    from hwgpt_gym.agents.ppo.value_figure import record_values, save_value_figure, shown_records

    check_integer("--budget", budget, 1)
    check_integer("--seed", seed, 0)
    check_destination(picture, PICTURES, name="PICTURE")
    objective, bench = make_objective(constraint, penalty, weight), make_benchmark(scale, device)
    problem = SearchProblem(bench, objective, budget, seed)
    records = record_values(problem)
    title = f"PPO, scale {bench.scale} · {bench.devices[0].label} · {limits_in_words(objective.bind(bench).limits)}"
    save_value_figure(records, picture, title)
    for record in shown_records(records):
        output.print(
            f"after {record.evaluations:>6,} evaluations: mean regret {record.regret:.4f}; the value network is off by "
            f"{record.error:.4f} in its own episodes, by {record.error_elsewhere:.4f} in random ones",
            soft_wrap=True,
        )
    messages.print(f"Picture: {picture}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (optimum, pareto):
        app.command(rich_help_panel="Look up")(command)
    app.add_typer(plot_app, name="plot", rich_help_panel="Look up")
