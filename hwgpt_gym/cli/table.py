"""The command that writes a table of sampled architectures and everything the surrogates say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwgpt_gym.checks import check_integer
from hwgpt_gym.cli.completion import complete_metric
from hwgpt_gym.cli.lookup import SeveralDevices
from hwgpt_gym.cli.options import Scale, Seed
from hwgpt_gym.console import output
from hwgpt_gym.files import check_destination


def table(
    path: Annotated[Path, typer.Option("--output", "-o", help="The Parquet file.", metavar="FILE")] = Path(
        "table.parquet"
    ),
    number: Annotated[int, typer.Option("--number", "-n", help="How many architectures.")] = 100_000,
    scale: Scale = "s",
    device: SeveralDevices = "all",
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="May be repeated; all by default.", autocompletion=complete_metric),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Write random architectures as a Parquet file: a row for each and device, decisions and metrics as columns.

    Example: hwgpt-gym table --number 1000 --scale l --output table.parquet
    """
    import numpy as np

    from hwgpt_gym.benchmark import Benchmark
    from hwgpt_gym.interop.dataframe import write_parquet

    check_integer("--number", number, 1, 10**7)
    check_integer("--seed", seed, 0)
    check_destination(path, (".parquet",), name="--output")
    bench = Benchmark(scale, device)
    encoded = bench.space.sample(np.random.default_rng(seed), number)
    rows = write_parquet(path, bench, encoded, metric)
    output.print(f"{rows:,} rows: {path}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Look up")(table)
