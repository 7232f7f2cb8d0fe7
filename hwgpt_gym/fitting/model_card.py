"""Report how good the surrogates are: the tables and figures of ``docs/surrogates.md`` and ``docs/worlds.md``.

Everything is computed on architectures that were kept out of the fit. The pages' text is written by hand; the report
replaces what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hwgpt_gym.dataset.measurements import Dataset
from hwgpt_gym.devices import DEVICES, memory_conditions
from hwgpt_gym.files import write_text
from hwgpt_gym.fitting import figures
from hwgpt_gym.fitting.world_card import certainty_rows, coverage_rows, model_form_rows, upstream_rows
from hwgpt_gym.markdown import markdown_table, replace_section
from hwgpt_gym.metrics import DEVICE_METRICS, MEMORY_METRICS
from hwgpt_gym.search_space import SEARCH_SPACES
from hwgpt_gym.surrogates.worlds import load_worlds

if TYPE_CHECKING:
    import pandas

REFERENCE_TAUS: Final = {
    "kendall_tau": "reference_tau",
    "kendall_tau_after_drift_removal": "reference_tau_after_drift_removal",
}


def write_report(
    dataset: Dataset, page: str | os.PathLike[str], progress: Callable[[str], None] | None = None
) -> pandas.DataFrame:
    """Score fits on held-out architectures and write tables and figures into two pages.

    Args:
        dataset: The measurements.
        page: The Markdown page with the markers; those of worlds are in ``worlds.md`` beside it, and figures go to
            the folder ``figures`` there.
        progress: Called with a line before each piece of work.

    Returns:
        The scores, a row per scale, device and metric.

    Raises:
        FileNotFoundError: If a page does not exist.
        ValueError: If one lacks a marker.
    """
    import pandas

    from hwgpt_gym.fitting.fit import score_scale

    path, beside = Path(page), Path(page).with_name("worlds.md")
    text, text_beside = (file.read_text(encoding="utf-8") for file in (path, beside))
    report = progress or (lambda line: None)
    scores = pandas.concat([score_scale(dataset[scale], report) for scale in dataset], ignore_index=True)
    tables = {
        "conditions": conditions_table(),
        "quality": quality_table(scores),
        "costs": costs_table(scores, read_reference_scores(dataset)),
        "memory": memory_table(scores),
        "coverage": coverage_table(scores),
    }
    report("solving posterior worlds")
    worlds = [load_worlds(scale) for scale in dataset]
    tables_beside = {
        "worlds": markdown_table(*coverage_rows(worlds)),
        "model_form": markdown_table(*model_form_rows(worlds)),
        "certainty": markdown_table(*certainty_rows(dataset)),
        "upstream": markdown_table(*upstream_rows(dataset)),
    }
    for name, table in tables.items():
        text = replace_section(text, name, table)
    for name, table in tables_beside.items():
        text_beside = replace_section(text_beside, name, table)
    folder = path.parent / "figures"
    folder.mkdir(exist_ok=True)
    report("drawing figures")
    figures.draw_predicted_against_measured(dataset, folder / "surrogates_predicted.png")
    figures.draw_drift(dataset["s"], "cpu_amd_7513", "energy_j", folder / "surrogates_drift.png")
    figures.draw_calibration(dataset, folder / "surrogates_calibration.png")
    write_text(path, text)
    write_text(beside, text_beside)
    return scores


def read_reference_scores(dataset: Dataset) -> dict[tuple[str, str, str], dict[str, float]]:
    """Read the scores of a plain robust linear fit, where the dataset's folder has them: by scale, device, metric."""
    import pandas

    path = dataset.path / "reference_scores.csv"
    if not path.is_file():
        return {}
    table = pandas.read_csv(path)
    return {
        (row["scale"], row["device"].lower(), row["metric"]): {
            name: float(row[column]) for column, name in REFERENCE_TAUS.items()
        }
        for row in table.to_dict("records")
    }


def conditions_table() -> str:
    """Tabulate the conditions that every metric was profiled under."""
    rows = []
    for device in DEVICES.values():
        for metric in DEVICE_METRICS:
            by_scale = [device.conditions(metric, scale) for scale in SEARCH_SPACES]
            batches = " / ".join(str(conditions.batch_size) for conditions in by_scale)
            rows.append([f"`{device.name}`", f"`{metric}`", batches, device.precision, by_scale[1].method])
    for metric in MEMORY_METRICS:
        by_scale = [memory_conditions(metric, scale) for scale in SEARCH_SPACES]
        batches = " / ".join(str(conditions.batch_size) for conditions in by_scale)
        rows.append(["any", f"`{metric}`", batches, by_scale[0].precision, by_scale[0].method])
    return markdown_table(["device", "metric", "batch size (s / m / l)", "precision", "method"], rows)


def quality_table(scores: pandas.DataFrame) -> str:
    """Tabulate the scores of perplexity and accuracy, beside those of upstream's predictor."""
    rows = []
    for row in scores[scores["metric"].isin(["perplexity", "accuracy"])].to_dict("records"):
        digits = 6 if row["metric"] == "accuracy" else 4
        cells = [f"{row['scale']} {row['metric']}", _number(row["kendall_tau"], 4)]
        cells += [_number(row["mean_abs_error"], digits)]
        cells += [_number(row.get(f"upstream_{name}"), 4) for name in ("kendall_tau", "mean_abs_error")]
        rows.append(cells)
    header = ["scale, metric", "Kendall tau", "mean abs. error", "upstream's MLP: tau", "upstream's MLP: error"]
    return markdown_table(header, rows)


def costs_table(scores: pandas.DataFrame, reference: Mapping[tuple[str, str, str], Mapping[str, float]]) -> str:
    """Tabulate the scores of latency and energy for all scales, devices and metrics."""
    rows = []
    for row in scores[scores["metric"].isin(DEVICE_METRICS)].to_dict("records"):
        plain = reference.get((row["scale"], row["device"], row["metric"].split("_")[0]), {})
        cells = [f"{row['scale']} `{row['device']}` {row['metric'].split('_')[0]}"]
        for suffix in ("", "_after_drift_removal"):
            cells += [
                _number(row[f"kendall_tau{suffix}"], 4),
                _number(plain.get(f"reference_tau{suffix}"), 4),
                _number(row[f"median_abs_error_pct{suffix}"], 2),
            ]
        rows.append(cells)
    header = ["scale, device, metric", "tau", "plain fit", "error %", "drift off: tau", "plain fit", "error %"]
    return markdown_table(header, rows)


def memory_table(scores: pandas.DataFrame) -> str:
    """Tabulate the scores of both memories."""
    rows = [
        [
            f"{row['scale']} {row['metric']}",
            _number(row["kendall_tau"], 4),
            _number(row["median_abs_error_pct"], 3),
            _number(row["max_error_pct"], 2),
        ]
        for row in scores[scores["metric"].isin(MEMORY_METRICS)].to_dict("records")
    ]
    return markdown_table(["scale, metric", "Kendall tau", "median error %", "greatest error %"], rows)


def coverage_table(scores: pandas.DataFrame) -> str:
    """Tabulate how many real measurements fall within the central intervals of simulated ones."""
    rows = []
    costs = scores[scores["metric"].isin(DEVICE_METRICS)]
    for (scale, metric), group in costs.groupby(["scale", "metric"], sort=False):
        cells = [f"{scale} {metric}"]
        for level in (50, 90):
            column = 100.0 * group[f"coverage_{level}"]
            cells += [_number(column.mean(), 1), f"{column.min():.1f} to {column.max():.1f}"]
        rows.append(cells)
    header = ["scale, metric", "50 % interval: mean", "over devices", "90 % interval: mean", "over devices"]
    return markdown_table(header, rows)


def _number(value: object, digits: int) -> str:
    return "" if value is None or value != value else f"{float(value):.{digits}f}"  # type: ignore[arg-type]
