"""The commands for those who measure: building a dataset, fitting surrogates, reporting how good they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.checks import check_integer
from hwgpt_gym.cli.completion import complete_scale
from hwgpt_gym.cli.options import Json, Seed
from hwgpt_gym.console import make_table, messages, output, print_json
from hwgpt_gym.files import check_destination
from hwgpt_gym.search_space import SEARCH_SPACES, get_search_space

if TYPE_CHECKING:
    from hwgpt_gym.dataset.measurements import Dataset

dataset_app = typer.Typer(help="Build and check a dataset of measurements.", no_args_is_help=True)
surrogates_app = typer.Typer(help="Fit the surrogates, and report how good they are.", no_args_is_help=True)

Scales = Annotated[
    list[str] | None,
    typer.Option(
        "--scale",
        "-s",
        help="A scale; may be repeated. All by default.",
        autocompletion=complete_scale,
        metavar="s|m|l",
    ),
]
DatasetFolder = Annotated[
    Path | None,
    typer.Option("--dataset", help="The dataset's folder; by default the one that HWGPT_DATASET names."),
]


@dataset_app.command("build")
def build(
    checkout: Annotated[Path, typer.Argument(help="A checkout of HW-GPT-Bench at commit c730d4b.")],
    folder: Annotated[Path, typer.Argument(help="The dataset's folder, made if it does not exist.")],
    scale: Scales = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Build what is there, and say what is missing.")
    ] = False,
) -> None:
    """Build a dataset from HW-GPT-Bench's raw files, of which nothing is executed.

    Files that are there already are kept, so that after Ctrl-C the same command goes on.

    Example: hwgpt-gym dataset build HW-GPT-Bench measurements --scale s
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from hwgpt_gym.dataset.upstream import build_dataset

    scales = [get_search_space(name).scale for name in scale or SEARCH_SPACES]
    if not checkout.is_dir():
        raise ValueError(f"checkout {str(checkout)!r} is no folder")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=messages) as progress:
        task = progress.add_task("reading", total=None)

        def show(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        report = build_dataset(checkout, folder, scales, show, allow_partial=allow_partial)
    output.print(f"{len(report.written)} files written, {len(report.kept)} kept: {folder}", soft_wrap=True)
    for line in report.missing:
        messages.print(f"missing: {line}", soft_wrap=True, markup=False)


@dataset_app.command("check")
def check(
    folder: Annotated[Path | None, typer.Argument(help="By default the folder that HWGPT_DATASET names.")] = None,
    as_json: Json = False,
) -> None:
    """Read a whole dataset, and complain of the first thing that is wrong.

    Example: hwgpt-gym dataset check measurements
    """
    from hwgpt_gym.dataset.measurements import load_dataset

    dataset = load_dataset(folder)
    dataset.validate()
    rows: list[dict[str, Any]] = [
        {"scale": scale, "architectures": len(part), "devices": list(part.devices)} for scale, part in dataset.items()
    ]
    if as_json:
        print_json({"fingerprint": dataset.fingerprint, "scales": rows})
        return
    for row in rows:
        output.print(f"scale {row['scale']}: {row['architectures']:,} architectures, {len(row['devices'])} devices")
    output.print(f"fingerprint {dataset.fingerprint}", soft_wrap=True)


@surrogates_app.command("fit")
def fit(
    dataset: DatasetFolder = None,
    scale: Scales = None,
    folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder of the weights; by default the package's own.")
    ] = None,
) -> None:
    """Fit all surrogates to the measurements, the same bytes every time: nothing in it is random.

    Each scale's file is written as soon as it is fitted, so that Ctrl-C keeps what was finished.

    Example: hwgpt-gym surrogates fit --dataset measurements --scale s --output weights
    """
    from hwgpt_gym.dataset.measurements import load_dataset
    from hwgpt_gym.fitting.fit import fit_surrogates
    from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER

    _check_folder(folder)
    measurements = load_dataset(dataset)
    scales = _scales_of(measurements, scale)
    with _status() as show:
        written = fit_surrogates(measurements, folder or WEIGHTS_FOLDER, scales, show)
    for path in written:
        output.print(str(path), soft_wrap=True)


@surrogates_app.command("errors")
def errors(
    dataset: DatasetFolder = None,
    path: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; by default the package's own, beside the weights.")
    ] = None,
) -> None:
    """Write how far predictions are off on held-out architectures: the margins of limits with a confidence.

    Example: hwgpt-gym surrogates errors --dataset measurements --output errors.json
    """
    from hwgpt_gym.dataset.measurements import load_dataset
    from hwgpt_gym.fitting.held_out_errors import write_errors
    from hwgpt_gym.onboarding.surrogates import ERRORS_FILE

    if path is not None:
        check_destination(path, (".json",), name="--output")
    measurements = load_dataset(dataset)
    with _status() as show:
        written = write_errors(measurements, list(measurements), path or ERRORS_FILE, show)
    output.print(str(written), soft_wrap=True)


@surrogates_app.command("worlds")
def worlds(
    dataset: DatasetFolder = None,
    scale: Scales = None,
    folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder of the weights; by default the package's own.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw posterior worlds of the fitted surrogates, and score such draws on held-out architectures.

    Each scale's file is written as soon as it is drawn; the same seed gives the same bytes.

    Example: hwgpt-gym surrogates worlds --dataset measurements --scale l --output weights
    """
    from hwgpt_gym.dataset.measurements import load_dataset
    from hwgpt_gym.fitting.world_card import coverage_rows, model_form_rows
    from hwgpt_gym.fitting.world_fit import fit_worlds
    from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER

    check_integer("--seed", seed, 0)
    _check_folder(folder)
    measurements = load_dataset(dataset)
    with _status() as show:
        drawn = fit_worlds(measurements, folder or WEIGHTS_FOLDER, _scales_of(measurements, scale), seed, show)
    if as_json:
        print_json({item.space.scale: dict(item.metadata) for item in drawn})
        return
    for title, (header, rows) in (
        ("Held-out perplexities in the intervals of worlds and noise", coverage_rows(drawn)),
        ("How much too narrow worlds are at exact optima", model_form_rows(drawn)),
    ):
        output.print(make_table(title, header, rows, right=range(1, len(header))))


@surrogates_app.command("report")
def report(
    dataset: DatasetFolder = None,
    page: Annotated[
        Path, typer.Option("--page", help="The page whose marked sections are written anew, with worlds.md beside it.")
    ] = Path("docs/surrogates.md"),
) -> None:
    """Score the surrogates on held-out architectures; write tables and figures into the model card.

    Example: hwgpt-gym surrogates report --dataset measurements --page docs/surrogates.md
    """
    from hwgpt_gym.dataset.measurements import load_dataset
    from hwgpt_gym.fitting.model_card import write_report

    for path in (check_destination(page, (".md",), name="--page"), page.with_name("worlds.md")):
        if not path.is_file():
            raise ValueError(f"--page must be a page with marked sections, {str(path)!r} does not exist")
    measurements = load_dataset(dataset)
    with _status() as show:
        scores = write_report(measurements, page, show)
    output.print(f"{len(scores)} scores: {page}", soft_wrap=True)


def _check_folder(folder: Path | None) -> None:
    """Check that files can be written to a folder, before the work; it is made if it does not exist.

    Raises:
        ValueError: If it is a file, or nothing can be written there.
    """
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output must be a folder, {str(folder)!r} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    check_destination(folder / "weights", name="a file of --output")


def _scales_of(dataset: Dataset, scale: list[str] | None) -> list[str]:
    return [get_search_space(name).scale for name in scale] if scale else list(dataset)


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """Show what is being done: in place on a terminal, line by line elsewhere."""
    if not messages.is_terminal:
        yield lambda line: messages.print(line, soft_wrap=True)
        return
    with messages.status("reading") as status:
        yield status.update


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(dataset_app, name="dataset", rich_help_panel="Measure and fit")
    app.add_typer(surrogates_app, name="surrogates", rich_help_panel="Measure and fit")
