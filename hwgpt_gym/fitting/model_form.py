"""Measure how much too narrow posterior worlds are at exact optima: the model-form factor of a scale.

Worlds are chain models: they do not know what no chain model can hold. On architectures like the measured ones that is
noise among others, but optima lie outside of them, where it adds up. The factor is the root mean square, over optima
under many limits, of how far a better-informed model is from the chain model, in units of the worlds' deviation:

- where each width has a fit of its own, the better-informed model is the richer Gaussian process
  (:mod:`hwgpt_gym.fitting.richer_process`), fitted to the same measurements;
- where few are measured, that process has too little to learn from. There the case is emulated at a scale where more is
  measured: a fit to as few rows, with the teacher, against the fit to all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.dataset.measurements import Dataset, ScaleMeasurements
from hwgpt_gym.fitting.chain_block import POOLED_BELOW
from hwgpt_gym.fitting.chain_fit import fit_chain, fit_teacher
from hwgpt_gym.fitting.posterior import draw_worlds
from hwgpt_gym.fitting.richer_process import RicherProcess
from hwgpt_gym.fitting.scores import held_out_parts
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.optimum.front import pareto_front
from hwgpt_gym.search_space import EMBED_DIM, Encoded, FloatArray
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.store import load_surrogates
from hwgpt_gym.surrogates.worlds import Worlds

PROBLEM_DEVICES: Final = ("a6000", "h100", "cpu_amd_7513")
"""The devices that the problems of the factor are about, each with a limit on latency or on energy."""

PROBLEM_LEVELS: Final = tuple(range(10, 91, 5))
"""Their limits, as quantiles of the search space in percent."""

EMULATED_BY: Final = {"l": "m"}
"""The scale that stands in for one where little is measured."""

EMULATIONS: Final = 8
"""How many times rows are drawn for an emulation."""


def measure_model_form(dataset: Dataset, worlds: Worlds, seed: int = 0) -> dict[str, Any]:
    """Measure the model-form factor of a scale.

    Args:
        dataset: The measurements, of the scale that emulates it too.
        worlds: The worlds of the scale.
        seed: Seeds the draw of rows, and the deal into held-out parts.

    Returns:
        ``model_form_factor``, at least 1, and ``model_form``: the ``judge``; the ``factor`` over all optima,
        ``factor_by_width`` and ``optima_by_width``, how many there are; ``mean_shift_pct``, by how much the informed
        perplexity is greater on average; and for the richer process its held-out errors beside the chain model's, in
        percent of perplexity by width.
    """
    scale = worlds.space.scale
    measurements = dataset[scale]
    measured = int(np.isfinite(measurements.perplexity).sum())
    if measured < POOLED_BELOW:
        shift = _emulate(dataset[EMULATED_BY[scale]], measured, seed)
        judge: dict[str, Any] = {"judge": f"{measured} rows of scale {EMULATED_BY[scale]} against all of them"}
    else:
        known = np.log(measurements.perplexity)
        process = RicherProcess(measurements.space, measurements.encoded, known, _teacher(measurements))
        optima = constrained_optima(scale, worlds.nominal["perplexity"])
        shift = _summary(*_shifts(worlds, optima, process.predict(optima)))
        judge = {"judge": "richer process", **_held_out_errors(measurements, seed)}
    return {"model_form_factor": max(1.0, shift["factor"]), "model_form": {**judge, **shift}}


def constrained_optima(scale: str, model: ChainModel) -> Encoded:
    """Return the architectures of the least log-perplexity within each limit, by a given model, ``int8 (n, D)``."""
    surrogates = replace(load_surrogates(scale), perplexity=model, ranges={})
    optima = []
    for device in PROBLEM_DEVICES:
        bench = Benchmark(scale, device, surrogates)
        for cost in DEVICE_METRICS:
            front = pareto_front(bench, (cost, "perplexity"))
            limits = [bench.quantile(cost, level / 100.0) for level in PROBLEM_LEVELS]
            # A front ascends in the cost: the last within a limit is the best.
            optima.append(front.encoded[np.searchsorted(front.values[:, 0], limits, side="right") - 1])
    return np.concatenate(optima)


def _emulate(measurements: ScaleMeasurements, rows: int, seed: int) -> dict[str, Any]:
    """Measure the shift of optima where only so many rows are measured."""
    rng = np.random.default_rng(seed)
    space, encoded, perplexity = measurements.space, measurements.encoded, measurements.perplexity
    teacher = _teacher(measurements)
    informed = fit_chain(space, encoded, np.log(perplexity), teacher)
    shifts = []
    for _ in range(EMULATIONS):
        chosen = rng.choice(np.flatnonzero(np.isfinite(perplexity)), size=rows, replace=False)
        known = np.full(len(perplexity), np.nan)
        known[chosen] = perplexity[chosen]
        worlds = draw_worlds(space, encoded, known, rng, teacher)
        optima = constrained_optima(space.scale, worlds.nominal["perplexity"])
        shifts.append(_shifts(worlds, optima, informed.predict(optima)))
    return _summary(*(np.concatenate(parts) for parts in zip(*shifts, strict=True)))


def _shifts(
    worlds: Worlds, optima: Encoded, informed: FloatArray
) -> tuple[npt.NDArray[np.int8], FloatArray, FloatArray]:
    """Return the width of optima, by how much an informed log-perplexity is greater, and that in worlds' deviations."""
    differences = informed - worlds.nominal["perplexity"].predict(optima)
    spread = np.sqrt(np.square(worlds.deviations("perplexity", optima)).mean(axis=1))
    return optima[:, EMBED_DIM], differences, differences / spread


def _summary(width: npt.NDArray[np.int8], differences: FloatArray, deviations: FloatArray) -> dict[str, Any]:
    by_width = [deviations[width == e] for e in range(3)]
    return {
        "factor": _root_mean_square(deviations),
        "factor_by_width": [_root_mean_square(part) if len(part) else None for part in by_width],
        "optima_by_width": [len(part) for part in by_width],
        "mean_shift_pct": round(100.0 * float(differences.mean()), 4),
    }


def _root_mean_square(values: FloatArray) -> float:
    return round(float(np.sqrt(np.mean(np.square(values)))), 2)


def _held_out_errors(measurements: ScaleMeasurements, seed: int) -> dict[str, list[float]]:
    """Return root mean squared errors of the richer process and of the chain model, in percent, by width."""
    space, encoded = measurements.space, measurements.encoded
    rows = held_out_parts(measurements, seed)[0]
    known = np.log(measurements.perplexity)
    measured, unseen = known[rows], encoded[rows]
    known[rows] = np.nan
    unmeasured = np.where(np.isnan(measurements.perplexity), measurements.perplexity_upstream_mlp, np.nan)
    teacher = fit_teacher(space, encoded, measurements.perplexity, unmeasured)
    models: dict[str, RicherProcess | ChainModel] = {
        "richer_error_pct": RicherProcess(space, encoded, known, teacher),
        "chain_error_pct": fit_chain(space, encoded, known, teacher),
    }
    width = unseen[:, EMBED_DIM]
    errors = {name: np.square(model.predict(unseen) - measured) for name, model in models.items()}
    return {
        name: [round(100.0 * float(np.sqrt(squared[width == e].mean())), 4) for e in range(3)]
        for name, squared in errors.items()
    }


def _teacher(measurements: ScaleMeasurements) -> ChainModel | None:
    return fit_teacher(
        measurements.space, measurements.encoded, measurements.perplexity, measurements.perplexity_upstream_mlp
    )
