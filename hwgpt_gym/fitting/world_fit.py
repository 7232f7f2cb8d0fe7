"""Draw the posterior worlds of the shipped surrogates and store them: what ``hwgpt-gym surrogates worlds`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from hwgpt_gym.dataset.measurements import Dataset
from hwgpt_gym.fitting.chain_fit import fit_teacher
from hwgpt_gym.fitting.model_form import EMULATED_BY, measure_model_form
from hwgpt_gym.fitting.posterior import draw_worlds
from hwgpt_gym.fitting.score_worlds import score_worlds
from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER, load_surrogates, read_surrogates
from hwgpt_gym.surrogates.worlds import Worlds, save_worlds, worlds_path

WORLDS_COMMAND: Final = "hwgpt-gym surrogates worlds"


def fit_worlds(
    dataset: Dataset,
    output: Path = WEIGHTS_FOLDER,
    scales: Iterable[str] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> list[Worlds]:
    """Draw the worlds of some scales, score such draws on held-out architectures, and measure the model-form factor.

    The same dataset and seed give the same bytes. Each scale's file is written as soon as it is drawn.

    Args:
        dataset: The measurements that the surrogates were fitted to.
        output: The folder to write ``worlds_{scale}.safetensors`` to, that of the package by default. Surrogates are
            taken from there, if it has some, else from the package.
        scales: The scales; all of the dataset by default.
        seed: Seeds every draw.
        progress: Called with a line before each piece of work.

    Returns:
        The worlds written.

    Raises:
        ValueError: If the dataset lacks a scale, or the surrogates were fitted to other measurements.
    """
    report = progress or (lambda line: None)
    chosen = tuple(dataset) if scales is None else tuple(scales)
    for scale in chosen:
        for needed in (scale, EMULATED_BY.get(scale, scale)):
            if needed not in dataset:
                raise ValueError(f"the dataset has the scales {list(dataset)}, worlds of {scale!r} need {needed!r}")
    written = []
    for scale in chosen:
        worlds = draw_scale(dataset, scale, output, seed, report)
        path = worlds_path(scale, output)
        save_worlds(worlds, path)
        written.append(worlds)
    return written


def draw_scale(dataset: Dataset, scale: str, folder: Path, seed: int, report: Callable[[str], None]) -> Worlds:
    """Draw and score the worlds of one scale; what is known of them stands in their metadata."""
    measurements = dataset[scale]
    space, encoded, perplexity = measurements.space, measurements.encoded, measurements.perplexity
    report(f"drawing worlds of {scale}")
    teacher = fit_teacher(space, encoded, perplexity, measurements.perplexity_upstream_mlp)
    worlds = draw_worlds(
        space, encoded, perplexity, np.random.default_rng(seed), teacher, accuracy=measurements.accuracy
    )
    own = folder / f"{scale}.safetensors"
    worlds.check_nominal(read_surrogates(own) if own.is_file() else load_surrogates(scale))
    report(f"solving worlds of {scale} for their extremes")
    ranges = {f"ranges.{metric}": worlds.ranges(metric) for metric in worlds.nominal}
    report(f"measuring the model-form factor of {scale}")
    model_form = measure_model_form(dataset, worlds, seed)
    ranges["ranges.perplexity_model_form"] = worlds.ranges("perplexity", model_form["model_form_factor"])
    report(f"scoring worlds of {scale} on held-out architectures")
    metadata = {
        "worlds_command": WORLDS_COMMAND,
        "dataset_fingerprint": measurements.fingerprint,
        "seed": seed,
        **model_form,
        "scores": score_worlds(measurements, seed),
    }
    return replace(worlds, tensors={**worlds.tensors, **ranges}, metadata=metadata)
