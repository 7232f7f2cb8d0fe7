"""From visits, or from a table, to one value for each architecture."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import echo
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.onboarding.plan import Plan, width_of
from hwgpt_gym.onboarding.records import Clock, Visit
from hwgpt_gym.search_space import SEARCH_SPACES, Architecture, Encoded, FloatArray, SearchSpace, get_search_space

MEDIAN_FACTOR: Final = 1.2533
"""Standard error of a median over that of a mean, of normal values."""

LEAST_SPREAD: Final = 1e-3
"""Relative spread of visits below which no clock is trusted."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """One value for each architecture, and how well each is known.

    Attributes:
        space: The search space.
        encoded: The architectures, ``int8 (n, D)``.
        values: Costs in the metric's unit, ``float64 (n,)``.
        visits: How often each was measured, ``int64 (n,)``.
        deviations: Relative standard errors, ``float64 (n,)``; NaN where the measurements do not tell.
        checks: Which are kept out of the fit, ``bool (n,)``.
    """

    space: SearchSpace
    encoded: Encoded
    values: FloatArray
    visits: npt.NDArray[np.int64]
    deviations: FloatArray
    checks: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        self.space.validate(self.encoded)
        for name in ("values", "visits", "deviations", "checks"):
            if getattr(self, name).shape != (len(self.encoded),):
                raise ValueError(f"{name} must have shape ({len(self.encoded)},), got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def fitted(self) -> Measurements:
        """Those that are fitted."""
        return self[~self.checks]

    @property
    def held_out(self) -> Measurements:
        """Those that are kept out of the fit."""
        return self[self.checks]

    def __getitem__(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Measurements:
        return Measurements(
            self.space,
            self.encoded[rows],
            self.values[rows],
            self.visits[rows],
            self.deviations[rows],
            self.checks[rows],
        )

    @property
    def variances(self) -> FloatArray:
        """Factors about 1 by which the noise's variance differs between the values, ``float64 (n,)``.

        More visits make a value better known, within bounds: beyond them it is the model that is not exact.
        """
        return np.clip(np.median(self.visits) / np.maximum(self.visits, 1), 0.5, 4.0)


def summarise(
    plan: Plan, visits: Iterable[Visit], clock: Clock, typical: Mapping[int, float] | None = None
) -> Measurements:
    """Take the drift of the machine off, and the medians of what is left.

    A visit's value is the architecture's time by the geometric mean of the reference's times before and after it; an
    architecture's is the median over its visits, times the median time of the reference of its width. References
    themselves have that median.

    Args:
        plan: The plan of the visits.
        visits: The visits of architectures that the plan names; others are left out.
        clock: Which clock counts.
        typical: For each width the time of its reference that all is brought to; by default the median one.

    Raises:
        ValueError: If the clock was not read.
    """
    rows, ratios = list(visits), dict[str, list[float]]()
    numbers: dict[int, int] = {}
    for visit in rows:
        times = [visit.before, *visit.runs, visit.after]
        if not all(clock in item for item in times):
            raise ValueError(f"the clock {clock!r} was not read at a visit of {visit.visit}, only {list(times[0])}")
        before, *runs, after = (item[clock] for item in times)
        numbers[width_of(visit.visit)] = numbers.get(width_of(visit.visit), 0) + 1
        ratios.setdefault(visit.visit, []).append(float(np.median(runs) / np.sqrt(before * after)))
    typical = reference_times(rows, clock) if typical is None else typical
    known = [name for name in plan.measured if name in ratios]
    spread = _spreads(ratios)
    values = [(name, typical[width_of(name)] * float(np.median(ratios[name])), len(ratios[name])) for name in known]
    references = [name for name in plan.references if width_of(name) in numbers and name not in known]
    values += [(name, typical[width_of(name)], numbers[width_of(name)]) for name in references]
    deviations = [spread.get(width_of(name), np.nan) * MEDIAN_FACTOR / np.sqrt(number) for name, _, number in values]
    return Measurements(
        plan.space,
        plan.space.encode([Architecture.from_string(name) for name, _, _ in values]),
        np.array([value for _, value, _ in values]),
        np.array([number for _, _, number in values], dtype=np.int64),
        np.array(deviations),
        np.array([name in plan.checks for name, _, _ in values], dtype=bool),
    )


def reference_times(visits: Iterable[Visit], clock: Clock) -> dict[int, float]:
    """Return the median time of the reference of each width that was visited, in milliseconds."""
    around: dict[int, list[float]] = {}
    for visit in visits:
        around.setdefault(width_of(visit.visit), []).append(float(np.sqrt(visit.before[clock] * visit.after[clock])))
    return {width: float(np.median(times)) for width, times in around.items()}


def _spreads(ratios: dict[str, list[float]]) -> dict[int, float]:
    """Return the relative spread of single visits of each width, robustly, from all that were visited again."""
    residuals: dict[int, list[float]] = {}
    for name, own in ratios.items():
        if len(own) > 1:
            logs = np.log(own)
            # The median is fitted to the same visits: of few, it takes some of their spread.
            apart = (logs - np.median(logs)) * np.sqrt(len(own) / (len(own) - 1.0))
            residuals.setdefault(width_of(name), []).extend(np.abs(apart).tolist())
    return {width: max(1.4826 * float(np.median(own)), LEAST_SPREAD) for width, own in residuals.items()}


def read_table(path: str | os.PathLike[str]) -> dict[str, dict[str, Measurements]]:
    """Read a table of measurements, with the columns ``architecture`` and ``latency_ms`` or ``energy_j`` or both.

    An architecture may stand in several rows: its value is their median. An empty cell is no measurement.

    Returns:
        The measurements by scale and metric.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If a column is missing, or a row holds no architecture or a cost that is not positive and finite;
            the message names the line.
    """
    # What is no UTF-8 is no name either, and is said with its line.
    with Path(path).open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        try:
            found = _read_rows(reader)
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if not found:
        raise ValueError(f"{path} holds no measurement")
    return {
        scale: {metric: _tabled(get_search_space(scale), own) for metric, own in found[scale].items()}
        for scale in SEARCH_SPACES
        if scale in found
    }


def _read_rows(reader: csv.DictReader[str]) -> dict[str, dict[str, dict[Architecture, list[float]]]]:
    """Return the costs by scale, metric and architecture."""
    columns = reader.fieldnames or []
    metrics = [key for key in DEVICE_METRICS if key in columns]
    if "architecture" not in columns or not metrics:
        legal = " or ".join(map(repr, DEVICE_METRICS))
        raise ValueError(f"there must be the columns 'architecture' and {legal}, got {echo(list(columns))}")
    found: dict[str, dict[str, dict[Architecture, list[float]]]] = {}
    for row in reader:
        architecture = Architecture.from_string((row["architecture"] or "").strip())
        for metric in metrics:
            if text := (row[metric] or "").strip():
                own = found.setdefault(architecture.scale, {}).setdefault(metric, {})
                own.setdefault(architecture, []).append(_cost(metric, text))
    return found


def _cost(metric: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0.0 < value < np.inf:
        raise ValueError(f"{metric} must be a positive finite number, got {echo(text)}")
    return value


def _tabled(space: SearchSpace, rows: Mapping[Architecture, Sequence[float]]) -> Measurements:
    values = np.array([float(np.median(own)) for own in rows.values()])
    visits = np.array([len(own) for own in rows.values()], dtype=np.int64)
    nothing = np.full(len(values), np.nan)
    return Measurements(space, space.encode(list(rows)), values, visits, nothing, np.zeros(len(values), dtype=bool))
