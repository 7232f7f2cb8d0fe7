"""The fronts as a page that needs no server: for papers, and for sites that serve files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hwgpt_gym.console import format_metric
from hwgpt_gym.explorer.downloads import front_table, write_front
from hwgpt_gym.explorer.figures import COLOURS, DASHES, GREY, Figure, front_figure
from hwgpt_gym.explorer.model import Explorer, Judged
from hwgpt_gym.explorer.state import State, decode_architecture
from hwgpt_gym.explorer.tables import Table, describe, write_value
from hwgpt_gym.files import replacing, take_folder, write_text
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.style import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS: Final = (10, 30, 50, 70, 90)
"""Quantiles in percent whose optima stand below a front."""

SCRIPT: Final = "plotly.min.js"


def write_page(explorer: Explorer, folder: str | os.PathLike[str]) -> Path:
    """Write a folder with a page of the fronts of an explorer's devices against every cost.

    Beside ``index.html`` it holds each front as CSV, each picture as SVG and PDF, and the script that makes pictures in
    the page answer to the pointer. Without the script the page shows the pictures.

    Args:
        explorer: The explorer; what it shows at first is shown.
        folder: The folder, new or empty.

    Returns:
        The page.

    Raises:
        ValueError: If the folder is not empty, or cannot be made.
    """
    target = take_folder(folder, name="--export")
    state = replace(explorer.default, limits=(), compared=())
    sections, figures = [], {}
    for cost in explorer.costs(state):
        # What does not depend on the device has one front.
        devices = state.devices if METRICS[cost].per_device else state.devices[:1]
        shown = replace(state, cost=cost, devices=devices)
        for suffix in (".svg", ".pdf"):
            save_front(explorer, shown, target / f"front-{cost}{suffix}")
        with replacing(target / f"front-{cost}.csv") as temporary:
            write_front(front_table(explorer, shown), temporary)
        figures[cost] = _slim(front_figure(explorer, shown, {}))
        tables = [optima_table(explorer, shown, name) for name in devices]
        sections.append(_section(cost, tables))
    package = files("hwgpt_gym.explorer")
    with replacing(target / SCRIPT) as temporary:
        temporary.write_bytes((files("plotly") / "package_data" / SCRIPT).read_bytes())
    labels = ", ".join(explorer.devices[name].label for name in state.devices)
    parts = {
        "style": (package / "assets" / "explorer.css").read_text(encoding="utf-8"),
        "title": escape(f"Exact fronts of scale {state.scale}: {labels}"),
        "navigation": " · ".join(f'<a href="#{cost}">{escape(METRICS[cost].label)}</a>' for cost in figures),
        "sections": "\n".join(sections),
        # Within a script, nothing may look like its end.
        "figures": json.dumps(figures, allow_nan=False).replace("<", "\\u003c"),
    }
    page = (package / "static_page.html").read_text(encoding="utf-8")
    for key, text in parts.items():
        page = page.replace(f"<!--{key}-->", text)
    write_text(target / "index.html", page)
    return target / "index.html"


def save_front(explorer: Explorer, state: State, path: Path) -> None:
    """Draw the fronts of a state to a file, in the format of its suffix."""
    figure = new_figure()
    axes: Axes = figure.add_subplot()
    several = len(state.devices) > 1
    for name, colour, dash in zip(state.devices, COLOURS, DASHES, strict=False):
        front, cloud = explorer.front(state.scale, name, state.cost), explorer.cloud(state.scale, name)
        cost, perplexity = front.front.values[:, 1], front.front.values[:, 0]
        once = name == state.devices[0]
        title = explorer.devices[name].label if several else "exact front"
        axes.scatter(cloud[state.cost], cloud["perplexity"], s=4, alpha=0.4, linewidths=0,
                     color=colour if several else GREY, label="random architectures" if once else None)  # fmt: skip
        axes.fill_between(cost, front.low, front.high, step="post", color=colour, alpha=0.18, linewidth=0,
                          label="90 % interval of a measurement" if once else None)  # fmt: skip
        axes.step(cost, perplexity, where="post", color=colour, linewidth=1.5,
                  linestyle={"dot": "dotted", "dash": "dashed"}.get(dash, dash),
                  label=f"{title}, {len(cost):,} architectures")  # fmt: skip
    axes.set(xlabel=METRICS[state.cost].label, ylabel=METRICS["perplexity"].label)
    axes.set_title(
        f"scale {state.scale} · {', '.join(explorer.devices[name].label for name in state.devices)}", loc="left"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def optima_table(explorer: Explorer, state: State, device: str) -> Table:
    """Return the certified optima of a device within a few quantiles of the cost along the axis."""
    rows = []
    for level in LEVELS:
        best: Judged = explorer.optimum(state.with_limit(state.cost, f"p{level}"), device)
        limit, used = (write_value(state.cost, values[state.cost]) for values in (best.limits, best.metrics))
        perplexity = format_metric("perplexity", best.metrics["perplexity"])
        rows.append((f"p{level}", limit, perplexity, used, str(best.architecture)))
    of_device = f" on {explorer.devices[device].label}" if METRICS[state.cost].per_device else ""
    caption = f"Certified optima within a limit{of_device}"
    return Table(caption, ("limit", "in its unit", "Perplexity", "used", "architecture"), tuple(rows))


def _slim(figure: Figure) -> Figure:
    """Return a figure whose points say in fewer words what they are: there are thousands, for every cost."""
    for trace in figure["data"]:
        if "customdata" in trace:
            architectures = [decode_architecture(code) for code in trace.pop("customdata")]
            trace["text"] = [f"{describe(item)}<br>{'-'.join(str(item).split('-')[4:])}" for item in architectures]
            trace["hovertemplate"] = "perplexity %{y:.3f} at %{x:.4g}<br>%{text}<extra></extra>"
    return figure


def _section(cost: str, tables: Sequence[Table]) -> str:
    label = escape(METRICS[cost].label)
    written = "".join(_table(table) for table in tables)
    saved = " ".join(f'<a href="front-{cost}.{kind}" download>{kind.upper()}</a>' for kind in ("csv", "svg", "pdf"))
    return (
        f'<section id="{cost}"><h2>Perplexity against {label}</h2>'
        f'<div class="front" data-figure="{cost}"><img src="front-{cost}.svg" alt="Perplexity against {label}"></div>'
        f'{written}<p class="exports">{saved}</p></section>'
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in table.head)
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(text)}</td>" for text in row[1:])}</tr>'
        for row in table.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.caption)}"><table>'
        f"<caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
