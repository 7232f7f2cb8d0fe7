"""The figures of a page, as the plain documents that Plotly draws.

Traces come in two groups: what stands still while limits move (intervals, random architectures, fronts), and then the
marks. A page that moves a limit exchanges the marks alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from hwgpt_gym.console import format_metric
from hwgpt_gym.explorer.decisions import Decisions, choices_of, name_of
from hwgpt_gym.explorer.model import Explorer, Judged
from hwgpt_gym.explorer.state import State, encode_architecture
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.search_space import FIRST_LAYER, NOT_SET, Architecture, Encoded, FloatArray

Figure = dict[str, Any]
Trace = dict[str, Any]
Point = tuple[str, Architecture, Mapping[str, float]]
"""What a mark is called, its architecture, and the metrics of it."""

COLOURS: Final = ("#3f83b7", "#c8641b", "#27906a", "#a2609f")
"""One for each device side by side: told apart by the colour-blind too, and with a contrast of 3 on either ground."""

DASHES: Final = ("solid", "dash", "dot", "dashdot")
"""Told apart without any colour."""

MARK: Final = "#c8641b"
GREY: Final = "#7b8794"
_CHOICES: Final = ("#8cb9d9", "#3f83b7", "#1f5f93")
_PATTERNS: Final = (
    {"shape": ""},
    {"shape": "/", "fillmode": "overlay", "fgcolor": "#d6e6f2", "size": 5},
    {"shape": "x", "fillmode": "overlay", "fgcolor": "#a9c9e2", "size": 5},
)
_FILLS: Final = ("63,131,183", "200,100,27", "39,144,106", "162,96,159")


def front_figure(explorer: Explorer, state: State, judged: Mapping[str, Judged]) -> Figure:
    """Return the fronts of a page with its marks.

    Args:
        explorer: The explorer.
        state: What the page shows.
        judged: The optimum of each device, where there is one.
    """
    cost = METRICS[state.cost]
    layout = {
        **base_layout(),
        "xaxis": {**_axis(cost.label), "type": state.axis, "tickformat": "~g" if cost.unit else "~s"},
        "yaxis": _axis("Perplexity (less is better)"),
        "hovermode": "closest",
        "clickmode": "event",
        "uirevision": f"{state.scale} {state.devices} {state.cost} {state.axis}",
    }
    return {"data": [*still_traces(explorer, state), *mark_traces(explorer, state, judged)], "layout": layout}


def still_traces(explorer: Explorer, state: State) -> list[Trace]:
    """Return intervals, random architectures and fronts of a page's devices: four traces a device."""
    return [
        trace
        for position, name in enumerate(state.devices)
        for trace in device_traces(explorer, state.scale, name, state.cost, position, len(state.devices) > 1)
    ]


def device_traces(
    explorer: Explorer, scale: str, device: str, cost: str, position: int, several: bool = False
) -> list[Trace]:
    """Return the interval (two traces), the random architectures and the front of a device.

    Args:
        explorer: The explorer.
        scale: The search space.
        device: The device.
        cost: The cost along the axis.
        position: Which of the devices it is.
        several: Whether there are others.
    """
    front = explorer.front(scale, device, cost)
    colour, label = COLOURS[position], explorer.devices[device].label
    shared: dict[str, Any] = {"type": "scatter", "legendgroup": device}
    x = front.front.values[:, 1].tolist()
    edge = {"x": x, "mode": "lines", "line": {"width": 0, "shape": "hv"}, "hoverinfo": "skip"}
    cloud, drawn = explorer.cloud(scale, device), explorer.cloud_architectures(scale)
    own = f", {label}" if several else ""
    name = label if several else "exact front"
    # What looks alike on every device stands in the legend once.
    shared["showlegend"] = position == 0
    return [
        {**shared, **edge, "y": _rounded(front.low), "showlegend": False, "name": ""},
        {**shared, **edge, "y": _rounded(front.high), "fill": "tonexty", "fillcolor": f"rgba({_FILLS[position]},0.17)",
         "name": "90 % interval of a measurement"},
        {**shared, "x": cloud[cost].tolist(), "y": cloud["perplexity"].tolist(), "mode": "markers",
         "marker": {"color": colour if several else GREY, "size": 3.5, "opacity": 0.45},
         "name": f"{len(drawn):,} random architectures",
         "text": hover_texts(cloud), "customdata": codes(scale, drawn), "hovertemplate": _hover(f"random{own}")},
        {**shared, "x": x, "y": front.front.values[:, 0].tolist(), "mode": "lines",
         "line": {"color": colour, "width": 2.2, "shape": "hv", "dash": DASHES[position]},
         "name": f"{name}, {len(x):,} architectures", "showlegend": True,
         "text": hover_texts(front.metrics), "customdata": codes(scale, front.front.encoded),
         "hovertemplate": _hover(f"exact front{own}")},
    ]  # fmt: skip


def mark_traces(explorer: Explorer, state: State, judged: Mapping[str, Judged]) -> list[Trace]:
    """Return limits, optima, what is looked at and what is compared: as many traces whatever the limits are."""
    traces: list[Trace] = []
    for position, name in enumerate(state.devices):
        best = judged.get(name)
        colour = COLOURS[position] if len(state.devices) > 1 else MARK
        limit = best.limits.get(state.cost) if best is not None else None
        front = explorer.front(state.scale, name, state.cost)
        heights = [float(front.low.min()), float(explorer.cloud(state.scale, name)["perplexity"].max())]
        traces.append(
            {"type": "scatter", "mode": "lines", "x": [limit] * 2, "y": heights, "showlegend": False,
             "line": {"color": colour, "width": 1.4, "dash": "dash"},
             "hovertemplate": "limit %{x}<extra></extra>", "name": "limit"}
        )  # fmt: skip
        star = {"symbol": "star", "size": 17, "color": colour, "line": {"width": 1.2, "color": "#1f2933"}}
        points: list[Point] = [] if best is None else [("", best.architecture, best.metrics)]
        traces.append(_mark("certified optimum", state, points, star))
        traces[-1]["showlegend"] &= position == 0
    looked_at: list[Point] = []
    others: list[Point] = []
    for name in state.devices:
        if state.architecture is not None:
            looked_at.append(("", state.architecture, explorer.metrics(name, state.architecture)))
        others += [(label, item, explorer.metrics(name, item)) for label, item in state.compared_here]
    open_circle = {"symbol": "circle-open", "size": 15, "color": GREY, "line": {"width": 3}}
    diamonds = {"symbol": "diamond", "size": 9, "color": "#a2609f", "line": {"width": 1, "color": "#1f2933"}}
    looks, compares = ("looked at", looked_at, open_circle), ("compared", others, diamonds)
    return [*traces, *(_mark(name, state, points, marker) for name, points, marker in (looks, compares))]


def decision_figure(decisions: Decisions) -> Figure:
    """Return the bars of what each choice of each decision loses, those of the first three on a scale of their own."""
    columns = np.array(decisions.columns)
    first = columns < FIRST_LAYER
    traces: list[Trace] = []
    places = np.arange(len(columns), dtype=float)
    for choice in range(decisions.losses.shape[1]):
        for group, axis in ((first, ""), (~first, "2")):
            rows = np.flatnonzero(group & ~np.isnan(decisions.losses[:, choice]))
            texts = [f"{name_of(columns[i])}: {choices_of(decisions.space, int(columns[i]))[choice]}" for i in rows]
            traces.append(
                {"type": "bar", "x": (places[rows] + 0.28 * (choice - 1)).tolist(), "width": 0.26,
                 "y": decisions.losses[rows, choice].tolist(), "xaxis": f"x{axis}", "yaxis": f"y{axis}",
                 "marker": {"color": _CHOICES[choice], "pattern": _PATTERNS[choice]},
                 "customdata": [[int(columns[i]), choice] for i in rows], "text": texts, "textposition": "none",
                 "hovertemplate": "%{text}<br>loses %{y:.3g} reward<extra></extra>",
                 "name": ("least", "middle", "greatest")[choice]}
            )  # fmt: skip
    for group, axis in ((first, ""), (~first, "2")):
        rows = np.flatnonzero(group)
        chosen = decisions.chosen[rows].astype(float)
        traces.append(
            {"type": "scatter", "mode": "markers", "x": (places[rows] + 0.28 * (chosen - 1)).tolist(),
             "y": decisions.lost[rows].tolist(), "xaxis": f"x{axis}", "yaxis": f"y{axis}",
             "marker": {"symbol": "triangle-down", "size": 8, "color": MARK}, "cliponaxis": False,
             "hovertemplate": "taken: loses %{y:.3g} reward<extra></extra>", "name": "taken"}
        )  # fmt: skip
    layout = {
        **base_layout(),
        # The page has a legend of its own, which stays in sight where the figure is wider than the screen.
        "showlegend": False,
        "margin": {"l": 58, "r": 12, "t": 8, "b": 70},
        "bargap": 0,
        "barmode": "overlay",
        "xaxis": {**_ticks(places, columns, first), "domain": [0, 0.13]},
        "xaxis2": {**_ticks(places, columns, ~first), "domain": [0.2, 1]},
        "yaxis": {**_axis("reward lost"), "rangemode": "tozero"},
        "yaxis2": {**_axis(""), "rangemode": "tozero", "anchor": "x2"},
    }
    layout["xaxis2"]["anchor"] = "y2"
    return {"data": traces, "layout": layout}


def base_layout() -> dict[str, Any]:
    """Return what all figures have in common; the page's style sheet gives them the colours of the page's ground."""
    return {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1f2933"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 58, "r": 12, "t": 8, "b": 48},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "dragmode": False,
        "hoverlabel": {"align": "left"},
    }


def hover_texts(metrics: Mapping[str, FloatArray]) -> list[str]:
    """Return every metric of architectures in lines of a hover."""
    keys = list(metrics)
    columns = [metrics[key].tolist() for key in keys]
    return [
        "<br>".join(f"{METRICS[key].label} {format_metric(key, value)}" for key, value in zip(keys, row, strict=True))
        for row in zip(*columns, strict=True)
    ]


def codes(scale: str, encoded: Encoded) -> list[str]:
    """Return architectures as an address writes them (:func:`~hwgpt_gym.explorer.state.encode_architecture`)."""
    return [scale + "".join(map(str, [choice for choice in row if choice != NOT_SET])) for row in encoded.tolist()]


def _mark(name: str, state: State, points: Sequence[Point], marker: dict[str, Any]) -> Trace:
    metrics = {key: np.array([item[2][key] for item in points]) for key in (points[0][2] if points else ())}
    texts = zip([label for label, *_ in points], hover_texts(metrics), strict=True)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        # Without a point there is none to draw, and the trace keeps its place.
        "x": [item[state.cost] for *_, item in points] or [None],
        "y": [item["perplexity"] for *_, item in points] or [None],
        "marker": marker,
        "text": [f"{label}<br>{text}" if label else text for label, text in texts],
        "customdata": [encode_architecture(architecture) for _, architecture, _ in points],
        "hovertemplate": _hover(name),
        "showlegend": bool(points),
    }


def _hover(name: str) -> str:
    return f"<b>{name}</b><br>%{{text}}<extra></extra>"


def _axis(title: str) -> dict[str, Any]:
    return {"title": {"text": title}, "automargin": True, "zeroline": False, "gridcolor": "rgba(123,135,148,0.25)"}


def _ticks(places: FloatArray, columns: Any, group: Any) -> dict[str, Any]:
    rows = np.flatnonzero(group)
    return {
        "tickvals": places[rows].tolist(),
        "ticktext": [name_of(int(columns[i])) for i in rows],
        "tickangle": -90,
        "tickfont": {"size": 11},
        "range": [float(places[rows[0]]) - 0.6, float(places[rows[-1]]) + 0.6],
        "zeroline": False,
    }


def _rounded(values: FloatArray) -> list[float]:
    """Return values with as many digits as a picture can show."""
    rounded: list[float] = np.round(values, 4).tolist()
    return rounded
