"""The command that records episodes for offline reinforcement learning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hwgpt_gym.checks import check_integer
from hwgpt_gym.cli.measure import dataset_app
from hwgpt_gym.cli.options import DEFAULT_CONSTRAINT, Constraint, Device, Scale, Seed, parse_constraints
from hwgpt_gym.console import output


def minari(
    namespace: Annotated[str, typer.Argument(help="The datasets are NAME/random-v0 and so on.", metavar="NAME")],
    builder: Annotated[
        list[str] | None,
        typer.Option("--builder", "-b", help="random, evolution, policy or optimal; may be repeated. All by default."),
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", "-n", help="Episodes of each dataset.")] = 1_000,
    device: Device = "a6000",
    scale: Scale = "s",
    constraint: Constraint = list(DEFAULT_CONSTRAINT),  # noqa: B006
    seed: Seed = 0,
    folder: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Minari's folder; by default MINARI_DATASETS_PATH, else Minari's own."),
    ] = None,
) -> None:
    """Record episodes as Minari's datasets: random, evolution's, the shipped policy's, and optimal ones.

    Example: hwgpt-gym dataset minari hwgpt/a6000 --builder random --builder optimal --episodes 100
    """
    from hwgpt_gym.agents.offline import BUILDERS, check_recording, write_minari

    check_integer("--seed", seed, 0)
    if folder:
        os.environ["MINARI_DATASETS_PATH"] = str(folder.resolve())
    limits = parse_constraints(constraint)
    datasets = {name: f"{namespace}/{name}-v0" for name in builder or BUILDERS}
    # All before the first one is written.
    for name, dataset_id in datasets.items():
        check_recording(dataset_id, name, episodes)
    for name, dataset_id in datasets.items():
        dataset = write_minari(dataset_id, name, episodes, device=device, scale=scale, constraint=limits, seed=seed)
        output.print(f"{dataset_id}: {dataset.total_episodes:,} episodes, {dataset.total_steps:,} steps")


def register(app: typer.Typer) -> None:
    """Add the command of this module, to those of :mod:`hwgpt_gym.cli.measure`."""
    dataset_app.command("minari")(minari)
