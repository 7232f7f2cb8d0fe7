"""The page of a run: one HTML file with everything in it, that opens without a network."""

from __future__ import annotations

import base64
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Final

from hwgpt_gym.agents.runs.records import RunConfig, RunSummary, read_record
from hwgpt_gym.console import format_metric, limits_in_words
from hwgpt_gym.files import write_text
from hwgpt_gym.metrics import METRICS

_NAMES: Final = {
    "found": "best found",
    "greedy": "greedy episode",
    "random": "random search",
    "constrained": "certified constrained optimum",
}

_AGENTS: Final = {"ppo": "PPO", "maskable_ppo": "MaskablePPO"}
"""Agents that write run folders, as people write them."""

_PICTURES: Final = (
    (
        "learning_curve.png",
        "How it learned",
        "Regret is how far the reward is below the optimum: 0 is the best architecture there is. The axis "
        "is logarithmic down to its lowest mark, and linear from there to 0.",
    ),
    (
        "pareto.png",
        "What it visited",
        "Every architecture that the run evaluated, the later the darker, over the exact Pareto front of the whole "
        "search space. Nothing can lie below the front. Its points say what they are when the pointer is on them.",
    ),
    (
        "architecture.png",
        "What it found",
        "One block a layer, from input to output: as wide as its MLP, as high as its number of attention heads. Red "
        "bars show what each decision lost, below a layer those about its MLP and its heads: by how much it lowered "
        "the best reward that was still within reach. They add up to the regret.",
    ),
    ("optimum.png", "The optimum", "The best architecture of the whole search space, by the exact solver."),
)


def write_report(folder: Path) -> Path:
    """Write ``report.html`` of a run folder from the files in it.

    Args:
        folder: A folder that :func:`hwgpt_gym.agents.runs.run.save_run` wrote.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If the folder lacks a file.
        ValueError: If one of its JSON files is damaged, or of another version.
    """
    config = read_record(RunConfig, folder / "config.json")
    summary = read_record(RunSummary, folder / "summary.json")
    pictures = [_figure(folder / name, title, caption) for name, title, caption in _PICTURES]
    if summary.found.architecture == summary.optimum.architecture:
        pictures[3] = "<section><h2>The optimum</h2>is the architecture that the run found.</section>"
    template = files("hwgpt_gym.agents.runs").joinpath("page_template.html").read_text(encoding="utf-8")
    parts = {
        "title": _title(config),
        "lead": _lead(config, summary),
        "cards": _cards(summary),
        "table": _table(config, summary),
        "names": _names(summary),
        "wide": f'<div class="wide">{pictures[2]}</div>',
        "pair": pictures[0] + pictures[1],
        "optimum": f'<div class="wide">{pictures[3]}</div>',
        "optimum_title": escape(summary.optimum_title),
        "command": escape(config.command),
        "config": escape(config.to_json()),
    }
    page = template
    for key, html in parts.items():
        page = page.replace(f"<!--{key}-->", html)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _title(config: RunConfig) -> str:
    return escape(f"{_AGENTS.get(config.agent, config.agent)} on {config.device_label}")


def _lead(config: RunConfig, summary: RunSummary) -> str:
    text = (
        f"Search space {config.scale}, {limits_in_words(summary.limits)}. The run evaluated "
        f"{summary.evaluations:,} architectures in {summary.seconds:.0f} seconds"
    )
    if summary.interrupted:
        return escape(f"{text} and was interrupted.")
    if summary.target is None:
        return escape(f"{text}.")
    if summary.reached:
        return escape(f"{text} and came within its target of {summary.target:g} of the {summary.optimum_title}.")
    return escape(f"{text}. It did not come within its target of {summary.target:g} of the {summary.optimum_title}.")


def _cards(summary: RunSummary) -> str:
    target = "" if summary.target is None else f" (target ≤ {summary.target:g})"
    regret = f"regret to the {summary.optimum_title}{target}"
    feasible = summary.found.feasible
    cards = (
        ("good" if summary.reached else "bad", f"{summary.regret:.2g}", regret),
        ("", f"{summary.random.regret:.2g}", "regret of random search with as many evaluations"),
        ("", f"{summary.found.metrics['perplexity']:.2f}", "perplexity of the architecture found"),
        ("good" if feasible else "bad", "within" if feasible else "over", "the limits"),
    )
    return "".join(
        f'<div class="card {kind}"><strong>{escape(value)}</strong><span>{escape(label)}</span></div>'
        for kind, value, label in cards
    )


def _table(config: RunConfig, summary: RunSummary) -> str:
    entries = summary.architectures
    names = [_name(name, summary) for name in entries]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = [_row("Regret", names, [(f"{entry.regret:.6f}", "") for entry in entries.values()], "")]
    rows.append(_row("Reward", names, [(f"{entry.reward:.6f}", "") for entry in entries.values()], ""))
    for key, metric in METRICS.items():
        if key in summary.optimum.metrics:
            limit = summary.limits.get(key)
            cells = []
            for entry in entries.values():
                value = entry.metrics[key]
                kind = "" if limit is None else "good" if value <= limit else "bad"
                cells.append((format_metric(key, value), kind))
            rows.append(_row(metric.label, names, cells, "" if limit is None else f"≤ {format_metric(key, limit)}"))
    if summary.limits:
        kept = [("yes", "good") if entry.feasible else ("no", "bad") for entry in entries.values()]
        rows.append(_row("Within the limits", names, kept, ""))
    evaluations = [(f"{entry.evaluations:,}" if entry.evaluations else "–", "") for entry in entries.values()]
    rows.append(_row("Evaluations", names, evaluations, f"≤ {config.budget:,}"))
    return f"<table><thead><tr><th></th>{head}<th>limit</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _name(entry: str, summary: RunSummary) -> str:
    return summary.optimum_title if entry == "optimum" else _NAMES[entry]


def _row(label: str, names: list[str], cells: list[tuple[str, str]], limit: str) -> str:
    """Write a row; on a phone, where it is a block, every cell says of which architecture it is."""
    inner = "".join(
        f'<td class="{kind}"><span>{escape(name)}</span><span>{escape(text)}</span></td>'
        for name, (text, kind) in zip(names, cells, strict=True)
    )
    last = f"<td><span>limit</span><span>{escape(limit)}</span></td>" if limit else "<td></td>"
    return f'<tr><th scope="row"><span>{escape(label)}</span></th>{inner}{last}</tr>'


def _names(summary: RunSummary) -> str:
    return "".join(
        f"<dt>{escape(_name(name, summary))}</dt><dd><code>{escape(entry.architecture)}</code></dd>"
        for name, entry in summary.architectures.items()
    )


def _figure(path: Path, title: str, caption: str) -> str:
    drawn = path.with_suffix(".svg")
    if drawn.is_file():
        # Its points say what they are: it has to stand in the page itself.
        picture = drawn.read_text(encoding="utf-8")
        picture = picture[picture.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    else:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        picture = f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'
    return (
        f"<figure><h2>{escape(title)}</h2>"
        f'<div class="picture scroll drawn" tabindex="0" role="region" aria-label="{escape(title)}">{picture}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
