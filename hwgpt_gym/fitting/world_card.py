"""The tables of ``docs/worlds.md`` about posterior worlds and about upstream's predictor at exact fronts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.dataset.measurements import Dataset
from hwgpt_gym.fitting.richer_process import RicherProcess
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum.solver import solve
from hwgpt_gym.search_space import EMBED_DIM, Architecture
from hwgpt_gym.surrogates.worlds import WORLDS, Worlds, load_worlds

FRONTS_FILE: Final = "front_upstream_mlp.csv"
"""Upstream's predictions for architectures on exact fronts, where the dataset's folder has them."""

CARD_DEVICE: Final = "a6000"
CARD_LEVELS: Final = ("p30", "p50", "p70")
"""The problems whose optima the model card looks at: a limit on the latency of one device."""

_SPLITS: Final = {
    "held_out": "held out",
    "held_out_best": "best tenth of these",
    "best_left_out": "best tenth left out of the fit",
}

Table = tuple[list[str], list[list[str]]]
"""The header and the rows of a table."""


def coverage_rows(worlds: Iterable[Worlds]) -> Table:
    """Tabulate what the intervals of worlds and noise cover."""
    header = ["scale, rows", "n", "50 %", "90 %", "90 %, worlds alone", "z mean", "z sd"]
    rows = []
    for item in worlds:
        for split, label in _SPLITS.items():
            score = item.metadata["scores"][split]
            names = ("coverage_50", "coverage_90", "coverage_90_of_worlds", "z_mean", "z_sd")
            numbers = [f"{score[name]:.3f}" for name in names]
            rows.append([f"{item.space.scale}, {label}", str(score["rows"]), *numbers])
    return header, rows


def model_form_rows(worlds: Iterable[Worlds]) -> Table:
    """Tabulate the model-form factors and what they were measured against."""
    header = [
        "scale, judge",
        "factor",
        "by width",
        "shift %",
        "noise sd % by width",
        "held-out rmse %: chain",
        "richer",
    ]
    rows = []
    for item in worlds:
        found = item.metadata["model_form"]
        rows.append(
            [
                f"{item.space.scale}, {found['judge']}",
                f"{item.model_form_factor:.2f}",
                _triple(found["factor_by_width"], 1),
                f"{found['mean_shift_pct']:+.3f}",
                _triple((100.0 * item.noise).tolist(), 3),
                _triple(found.get("chain_error_pct"), 3),
                _triple(found.get("richer_error_pct"), 3),
            ]
        )
    return header, rows


def certainty_rows(scales: Iterable[str]) -> Table:
    """Tabulate how sure the optima of a few problems are: worlds are solved here, which takes minutes at scale l."""
    header = [
        "scale, limit",
        "factor",
        "reward ± 90 %",
        "perplexity ± 90 %",
        "expected regret",
        "within 0.0005",
        "agree",
    ]
    rows = []
    for scale in scales:
        bench = Benchmark(scale, CARD_DEVICE)
        for level in CARD_LEVELS:
            optimum = solve(bench, Objective({"latency_ms": level}), worlds=WORLDS)
            for found in optimum.certainties:
                reward, perplexity = (np.diff(interval[90])[0] / 2.0 for interval in (found.reward, found.perplexity))
                rows.append(
                    [
                        f"{scale}, {level}",
                        f"{found.factor:.2f}",
                        f"{optimum.reward:.5f} ± {reward:.5f}",
                        f"{float(optimum.metrics['perplexity']):.4f} ± {perplexity:.4f}",
                        f"{found.expected_regret:.1e}",
                        f"{found.near:.2f}",
                        "yes" if found.agrees else "no",
                    ]
                )
    return header, rows


def upstream_rows(dataset: Dataset) -> Table:
    """Tabulate how upstream's predictor differs from the chain model on exact fronts; no rows without its file.

    Where upstream's predictor is no teacher, the last column has the correlation, by width, of its differences with
    those of the richer process: whether what judges the chain model agrees with it.
    """
    import pandas

    header = [
        "scale",
        "architectures",
        "mean difference % by width",
        "mean abs. %",
        "worlds' deviations",
        "correlation",
    ]
    path = dataset.path / FRONTS_FILE
    if not path.is_file():
        return header, []
    table = pandas.read_csv(path)
    rows = []
    for scale in dataset:
        chosen = table[table["scale"] == scale].drop_duplicates("arch")
        worlds = load_worlds(scale)
        encoded = worlds.space.encode([Architecture.from_string(name) for name in chosen["arch"]])
        difference = np.log(chosen["perplexity_upstream_mlp"].to_numpy()) - worlds.nominal["perplexity"].predict(
            encoded
        )
        deviation = np.sqrt(np.square(worlds.deviations("perplexity", encoded)).mean(axis=1))
        width = encoded[:, EMBED_DIM]
        by_width = [100.0 * float(difference[width == e].mean()) for e in range(3)]
        cells = [_triple(by_width, 2), f"{100.0 * np.abs(difference).mean():.2f}"]
        cells += [f"{np.median(np.abs(difference / deviation)):.1f}", ""]
        if "teacher.intercept" not in worlds.tensors:
            measurements = dataset[scale]
            process = RicherProcess(measurements.space, measurements.encoded, np.log(measurements.perplexity))
            judged = process.predict(encoded) - worlds.nominal["perplexity"].predict(encoded)
            correlations = [float(np.corrcoef(difference[width == e], judged[width == e])[0, 1]) for e in range(3)]
            cells[-1] = _triple(correlations, 2)
        rows.append([scale, str(len(encoded)), *cells])
    return header, rows


def _triple(values: Sequence[Any] | None, digits: int) -> str:
    if values is None:
        return ""
    return " / ".join("–" if value is None else f"{value:.{digits}f}" for value in values)
