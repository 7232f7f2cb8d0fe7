"""The layout of the page: native controls of HTML, which keyboards and screen readers know, and two figures."""

from __future__ import annotations

from typing import Any, Final

from dash import dcc, html

from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.explorer.state import AXES
from hwgpt_gym.explorer.tables import Table
from hwgpt_gym.metrics import COST_METRICS, METRICS
from hwgpt_gym.search_space import SEARCH_SPACES

GRAPH_CONFIG: Final = {"displaylogo": False, "displayModeBar": False}

INDEX: Final = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>
"""


def make_layout(explorer: Explorer) -> html.Div:
    """Return the page, empty: what it shows is filled in from its address."""
    return html.Div(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Store(id="state"),
            dcc.Store(id="settled"),
            html.Header(
                [
                    html.H1("The design space, explored"),
                    html.P(
                        "Perplexity against what it costs on real hardware: the exact front of the whole search space, "
                        "and the proven optimum within your limits. Costs and perplexity are predictions of surrogates "
                        "that were fitted to measurements."
                    ),
                ]
            ),
            html.Div(id="message", role="alert"),
            html.Div([_front(), _controls(explorer), _rest()], className="columns"),
        ],
        id="page",
        role="main",
    )


def make_table(table: Table) -> html.Div:
    """Return a table, which scrolls sideways where it is too wide."""
    head = html.Thead(html.Tr([html.Th(text, scope="col") for text in table.head]))
    body = [html.Tr([html.Th(row[0], scope="row"), *map(html.Td, row[1:])]) for row in table.rows]
    return html.Div(
        html.Table([html.Caption(table.caption), head, html.Tbody(body)]),
        className="scroll",
        tabIndex=0,
        role="region",
        **{"aria-label": table.caption},
    )


def _controls(explorer: Explorer) -> html.Div:
    devices = [{"label": device.label, "value": name} for name, device in explorer.devices.items()]
    return html.Div(
        [
            _group("Scale", dcc.RadioItems([*SEARCH_SPACES], id="scale"), inline=True),
            html.Details(
                [
                    html.Summary(["Devices: ", html.Span(id="device-names")]),
                    _group("Devices side by side, up to four", dcc.Checklist(devices, id="devices")),
                ]
            ),
            _group("Cost along the axis", dcc.RadioItems(id="cost")),
            _group("Axis", dcc.RadioItems([*AXES], id="axis"), inline=True),
            _group(
                "Limits, up to four",
                dcc.Checklist([{"label": METRICS[key].label, "value": key} for key in COST_METRICS], id="limited"),
            ),
        ],
        className="controls",
    )


def _limit_row(metric: str) -> html.Div:
    label = METRICS[metric].label
    unit = METRICS[metric].unit
    return html.Div(
        [
            html.Label(f"{label}, % of random architectures within", htmlFor=f"level-{metric}"),
            dcc.Input(id=f"level-{metric}", type="range", min=0, max=100, step=0.5, debounce=False),
            html.Label(f"or in {unit}" if unit else "or as a number", htmlFor=f"number-{metric}"),
            dcc.Input(id=f"number-{metric}", type="number", step="any", debounce=True),
            html.Output(id=f"readout-{metric}", htmlFor=f"level-{metric}"),
        ],
        id=f"row-{metric}",
        className="limit",
        hidden=True,
    )


def _front() -> html.Section:
    return _section(
        "The front",
        html.Div(
            dcc.Graph(id="front", config=GRAPH_CONFIG, responsive=True),
            className="front",
            role="img",
            **{"aria-label": "The exact front, random architectures, and the optimum within the limits"},
        ),
        html.Div(list(map(_limit_row, COST_METRICS)), className="limits"),
        html.Div(id="headline", role="status"),
        html.Ul(id="prices"),
        html.Label("Look along the front, from the cheapest to the best", htmlFor="along"),
        dcc.Input(id="along", type="range", min=0, max=1, step=1, value=0, debounce=False),
        html.Div(
            [
                html.Button("Look at the optimum", id="to-optimum"),
                html.Button("Keep this one to compare", id="keep"),
            ],
            className="buttons",
        ),
        kind="first",
    )


def _rest() -> html.Div:
    return html.Div(
        [
            _section(
                "The architecture",
                html.P(html.Code(id="name")),
                html.Div(html.Img(id="picture"), className="scroll picture", tabIndex=0),
                html.Div(id="metrics", className="tables"),
            ),
            _section(
                "What does a decision cost",
                html.P(
                    "For every decision, by how much each choice lowers the best reward that is still within reach. "
                    "Choose a bar, or a decision and a choice below, to change that one decision."
                ),
                html.P(
                    [
                        part
                        for name in ("least", "middle", "greatest", "taken")
                        for part in (html.Span(className=f"swatch {name}"), f" {name} ")
                    ],
                    className="legend",
                ),
                html.Div(
                    html.Div(dcc.Graph(id="bars", config=GRAPH_CONFIG, responsive=True), id="wide", className="bars"),
                    className="scroll",
                    tabIndex=0,
                    role="region",
                    **{"aria-label": "What every choice of every decision costs"},
                ),
                html.Div(
                    [
                        html.Label("Decision", htmlFor="decision"),
                        dcc.Input(id="decision", type="number", min=1, step=1, value=1),
                        html.Span(id="decision-name", role="status"),
                        _group("Choice", dcc.RadioItems(id="choice"), inline=True),
                        html.Button("Change it", id="flip"),
                    ],
                    className="buttons",
                ),
            ),
            _section(
                "Compare",
                html.Label(
                    "Architectures, one a line: a name or upstream's dictionary, perhaps with a name of your own and a "
                    "colon before it",
                    htmlFor="paste",
                ),
                dcc.Textarea(id="paste", rows=3),
                html.Div(
                    [
                        html.Button("Compare these", id="add"),
                        dcc.Upload(
                            html.Button("Load a file (summary.json of a run, a result, text)"),
                            id="files",
                            multiple=True,
                        ),
                        html.Button("Forget all", id="forget"),
                    ],
                    className="buttons",
                ),
                html.Div(id="compared", className="tables"),
                html.Div(id="difference", className="tables"),
            ),
            _section("Take it with you", html.Div(id="exports", className="exports"), _snippets()),
        ],
        className="rest",
    )


def _snippets() -> html.Details:
    return html.Details([html.Summary("The architecture as text"), html.Pre(id="snippets", tabIndex=0)])


def _section(title: str, *content: Any, kind: str = "") -> html.Section:
    return html.Section([html.H2(title), *content], className=kind)


def _group(title: str, *content: Any, inline: bool = False) -> html.Fieldset:
    return html.Fieldset([html.Legend(title), *content], className="inline" if inline else "")
