"""The page of a run: one HTML file with everything in it, that opens without a network."""

from __future__ import annotations

import base64
import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from hwgpt_gym.console import format_metric
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.files import write_text
from hwgpt_gym.metrics import METRICS

_NAMES: Final = {
    "found": "best found",
    "greedy": "greedy episode",
    "random": "random search",
    "optimum": "certified optimum",
}

_AGENTS: Final = {"ppo": "PPO", "maskable_ppo": "MaskablePPO"}
"""Agents that write run folders, as people write them."""

_PICTURES: Final = (
    (
        "learning_curve.png",
        "How it learned",
        "Regret is how far the reward is below the certified optimum: 0 is the best architecture there is. The axis "
        "is logarithmic down to its lowest mark, and linear from there to 0.",
    ),
    (
        "pareto.png",
        "What it visited",
        "Every architecture that the run evaluated, the later the darker, over the exact Pareto front of the whole "
        "search space. Nothing can lie below the front.",
    ),
    (
        "architecture.png",
        "What it found",
        "One block a layer, from input to output: as wide as its MLP, as high as its number of attention heads.",
    ),
    ("optimum.png", "The certified optimum", "The best architecture of the whole search space, by the exact solver."),
)


def write_report(folder: Path) -> Path:
    """Write ``report.html`` of a run folder from the files in it.

    Args:
        folder: A folder that :func:`hwgpt_gym.agents.runs.run.save_run` wrote.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If the folder lacks a file.
        ValueError: If one of its JSON files is damaged.
    """
    config, summary = (_read(folder / name) for name in ("config.json", "summary.json"))
    pictures = [_figure(folder / name, title, caption) for name, title, caption in _PICTURES]
    entries = summary["architectures"]
    if entries["found"]["architecture"] == entries["optimum"]["architecture"]:
        pictures[3] = "<section><h2>The certified optimum</h2>is the architecture that the run found.</section>"
    template = files("hwgpt_gym.agents.runs").joinpath("page_template.html").read_text(encoding="utf-8")
    parts = {
        "title": _title(config),
        "lead": _lead(config, summary),
        "cards": _cards(summary),
        "table": _table(config, summary),
        "names": _names(summary),
        "wide": pictures[2],
        "pair": pictures[0] + pictures[1],
        "optimum": pictures[3],
        "command": escape(config["command"]),
        "config": escape(json.dumps(config, indent=2)),
    }
    page = template
    for key, html in parts.items():
        page = page.replace(f"<!--{key}-->", html)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    return content


def _title(config: dict[str, Any]) -> str:
    return escape(f"{_AGENTS.get(config['agent'], config['agent'])} on {_device(config)}")


def _device(config: dict[str, Any]) -> str:
    return DEVICES[config["device"]].label if config["device"] else "any device"


def _lead(config: dict[str, Any], summary: dict[str, Any]) -> str:
    limits = [f"{METRICS[key].label} ≤ {format_metric(key, value)}" for key, value in summary["budgets"].items()]
    text = (
        f"Search space {config['scale']}, {', '.join(limits) or 'no budget'}. The run evaluated "
        f"{summary['evaluations']:,} architectures in {summary['seconds']:.0f} seconds"
    )
    if summary["interrupted"]:
        return escape(f"{text} and was interrupted.")
    if summary["reached"]:
        return escape(f"{text} and came within its target of {summary['target']:g} of the certified optimum.")
    return escape(f"{text}. It did not come within its target of {summary['target']:g} of the certified optimum.")


def _cards(summary: dict[str, Any]) -> str:
    found, random = (summary["architectures"][name] for name in ("found", "random"))
    kind = "good" if summary["reached"] else "bad"
    cards = (
        (kind, f"{summary['regret']:.2g}", f"regret to the certified optimum (target ≤ {summary['target']:g})"),
        ("", f"{random['regret']:.2g}", "regret of random search with as many evaluations"),
        ("", f"{found['metrics']['perplexity']:.2f}", "perplexity of the architecture found"),
        ("good" if found["feasible"] else "bad", "within" if found["feasible"] else "over", "the budget"),
    )
    return "".join(
        f'<div class="card {kind}"><strong>{escape(value)}</strong><span>{escape(label)}</span></div>'
        for kind, value, label in cards
    )


def _table(config: dict[str, Any], summary: dict[str, Any]) -> str:
    entries = summary["architectures"]
    shown = [name for name in _NAMES if name in entries]
    head = "".join(f"<th>{escape(_NAMES[name])}</th>" for name in shown)
    rows = [_row("Regret", [(f"{entries[name]['regret']:.6f}", "") for name in shown], "")]
    rows.append(_row("Reward", [(f"{entries[name]['reward']:.6f}", "") for name in shown], ""))
    for key, metric in METRICS.items():
        if key in entries["optimum"]["metrics"]:
            budget = summary["budgets"].get(key)
            cells = []
            for name in shown:
                value = entries[name]["metrics"][key]
                kind = "" if budget is None else "good" if value <= budget else "bad"
                cells.append((format_metric(key, value), kind))
            rows.append(_row(metric.label, cells, "" if budget is None else f"≤ {format_metric(key, budget)}"))
    evaluations = [(f"{entries[name]['evaluations']:,}" if entries[name]["evaluations"] else "–", "") for name in shown]
    rows.append(_row("Evaluations", evaluations, f"≤ {config['budget']:,}"))
    return f"<table><thead><tr><th></th>{head}<th>budget</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(label: str, cells: list[tuple[str, str]], budget: str) -> str:
    inner = "".join(f'<td class="{kind}">{escape(text)}</td>' for text, kind in cells)
    return f"<tr><th>{escape(label)}</th>{inner}<td>{escape(budget)}</td></tr>"


def _names(summary: dict[str, Any]) -> str:
    entries = summary["architectures"]
    return "".join(
        f"<dt>{escape(title)}</dt><dd><code>{escape(entries[name]['architecture'])}</code></dd>"
        for name, title in _NAMES.items()
        if name in entries
    )


def _figure(path: Path, title: str, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f"<figure><h2>{escape(title)}</h2>"
        f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
