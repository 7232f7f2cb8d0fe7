"""The page as a server: Dash's callbacks around :mod:`hwgpt_gym.explorer.actions` and what follows from a state.

The server keeps no state of a visitor: every request brings that of its page, as the query of its address.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final

from dash import Dash, Input, Output, Patch, State, ctx, html, no_update

from hwgpt_gym.explorer import figures, tables
from hwgpt_gym.explorer.actions import act, looked_at
from hwgpt_gym.explorer.controls import show_controls
from hwgpt_gym.explorer.decisions import choices_of, name_of, value_decisions, view_of
from hwgpt_gym.explorer.downloads import add_downloads, links, snippets
from hwgpt_gym.explorer.model import Explorer, Judged
from hwgpt_gym.explorer.page import INDEX, make_layout, make_table
from hwgpt_gym.explorer.prices import find_prices
from hwgpt_gym.explorer.state import State as PageState
from hwgpt_gym.explorer.state import read_query, write_query
from hwgpt_gym.metrics import COST_METRICS

_ACTIONS: Final = {
    "scale": "scale", "devices": "devices", "cost": "cost", "axis": "axis", "limited": "limited", "along": "along",
    "front": "point", "bars": "flip", "flip": "flip", "to-optimum": "optimum", "keep": "keep", "add": "paste",
    "files": "files", "forget": "forget",
    **{f"{kind}-{key}": f"{kind}:{key}" for kind in ("level", "number") for key in COST_METRICS},
}  # fmt: skip
"""What a control does, by its id."""

_INPUTS: Final = {
    "scale": "value", "devices": "value", "cost": "value", "axis": "value", "limited": "value", "along": "value",
    "front": "clickData", "bars": "clickData", "flip": "n_clicks", "to-optimum": "n_clicks", "keep": "n_clicks",
    "add": "n_clicks", "files": "contents", "forget": "n_clicks",
    **{f"{kind}-{key}": "value" for kind in ("level", "number") for key in COST_METRICS},
}  # fmt: skip

Optima = dict[str, Judged]

STANDS_STILL: Final = 200
"""Milliseconds without a change after which the details of a state are worked out."""


def make_app(explorer: Explorer) -> Dash:
    """Return the page as a Dash application; nothing in it is fetched from elsewhere."""
    app = Dash(
        __name__,
        title="hwgpt-gym explorer",
        update_title="",
        assets_folder=str(files("hwgpt_gym.explorer") / "assets"),
        index_string=INDEX,
        serve_locally=True,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.server.config["MAX_CONTENT_LENGTH"] = 96_000_000
    app.layout = make_layout(explorer)
    _connect_controls(app, explorer)
    _connect_details(app, explorer)
    _connect_decisions(app, explorer)
    _connect_browser(app)
    add_downloads(app.server, explorer)
    return app


def _connect_controls(app: Dash, explorer: Explorer) -> None:
    controls = {
        **{name: Output(name, "value") for name in ("scale", "devices", "axis", "limited", "cost", "along")},
        "options": Output("cost", "options"),
        "names": Output("device-names", "children"),
        "last": Output("along", "max"),
        **{f"level-{key}": Output(f"level-{key}", "value") for key in COST_METRICS},
        **{f"number-{key}": Output(f"number-{key}", "value") for key in COST_METRICS},
        **{f"readout-{key}": Output(f"readout-{key}", "children") for key in COST_METRICS},
        **{f"row-{key}": Output(f"row-{key}", "hidden") for key in COST_METRICS},
    }

    @app.callback(
        output={
            "state": Output("state", "data"),
            "figure": Output("front", "figure"),
            "headline": Output("headline", "children"),
            "message": Output("message", "children"),
            "controls": controls,
        },
        inputs={
            "query": Input("address", "search"),
            "given": {name: Input(name, prop) for name, prop in _INPUTS.items()},
            "shown": State("state", "data"),
            "more": {
                "filenames": State("files", "filename"),
                "text": State("paste", "value"),
                "decision": State("decision", "value"),
                "choice": State("choice", "value"),
            },
        },
    )
    def update(query: str, given: dict[str, Any], shown: str | None, more: dict[str, Any]) -> dict[str, Any]:
        trigger = ctx.triggered_id
        if shown is None or trigger in (None, "address"):
            state, wrong = read_query(query or "", explorer.devices, explorer.default)
            before = None
        else:
            before, wrong = _read(explorer, shown), []
            try:
                state = act(explorer, before, _ACTIONS[trigger], _value(trigger, given, more))
            except (ValueError, TypeError, KeyError) as error:
                state, wrong = before, [_sentence(error)]
        optima, problems = find_optima(explorer, state)
        return {
            "state": write_query(state),
            "figure": _figure(explorer, before, state, optima),
            "headline": _lines(
                tables.headline(state, explorer.devices[name].label, best) for name, best in optima.items()
            ),
            "message": _lines([*wrong, *problems]),
            "controls": {
                # What a visitor is moving at this moment is left alone.
                key: no_update if value is None or key == trigger else value
                for key, value in show_controls(explorer, state).items()
            },
        }


def find_optima(explorer: Explorer, state: PageState) -> tuple[Optima, list[str]]:
    """Return the optimum of each device that is shown, and why there is none, in sentences."""
    optima: Optima = {}
    problems = []
    for name in state.devices:
        try:
            optima[name] = explorer.optimum(state, name)
        except ValueError as error:
            problems.append(_sentence(error))
    return optima, problems


def _connect_details(app: Dash, explorer: Explorer) -> None:
    @app.callback(
        Output("prices", "children"),
        Output("name", "children"),
        Output("metrics", "children"),
        Output("compared", "children"),
        Output("difference", "children"),
        Output("exports", "children"),
        Output("snippets", "children"),
        Input("settled", "data"),
        prevent_initial_call=True,
    )
    def detail(shown: str) -> tuple[Any, ...]:
        state = _read(explorer, shown)
        optima, _ = find_optima(explorer, state)
        first = state.devices[0]
        if first not in optima:
            return [], "", [], [], [], links(explorer, state, None), ""
        architecture = looked_at(explorer, state)
        judged = explorer.judge(state, first, architecture)
        sentences = tables.price_sentences(find_prices(explorer, state, first))
        about = (
            tables.metrics_table(judged, optima[first], explorer.devices[first].label),
            tables.devices_table(explorer, state, architecture),
            tables.parts_table(architecture),
        )
        compared = [make_table(tables.compared_table(explorer, state, optima))] if state.compared else []
        difference = [make_table(tables.difference_table(explorer, state, optima))] if len(optima) > 1 else []
        return (
            [html.Li(sentence) for sentence in sentences],
            f"{'' if state.architecture else 'The optimum: '}{architecture}",
            [make_table(table) for table in about],
            compared,
            difference,
            links(explorer, state, architecture),
            snippets(architecture),
        )


def _connect_decisions(app: Dash, explorer: Explorer) -> None:
    @app.callback(
        Output("bars", "figure"),
        Output("wide", "style"),
        Output("picture", "src"),
        Output("picture", "alt"),
        Output("decision", "max"),
        Input("settled", "data"),
        prevent_initial_call=True,
    )
    def decide(shown: str) -> tuple[Any, ...]:
        from PIL import Image

        from hwgpt_gym.envs.rendering import draw_frame, draw_text

        state = _read(explorer, shown)
        first = state.devices[0]
        try:
            best, architecture = explorer.optimum(state, first), looked_at(explorer, state)
        except ValueError:
            return {"data": [], "layout": figures.base_layout()}, {}, "", "", 1
        decisions = value_decisions(explorer, state, first, architecture)
        judged = explorer.judge(state, first, architecture)
        view = view_of(judged, best, explorer.devices[first].label, decisions)
        buffer = io.BytesIO()
        Image.fromarray(draw_frame(view)).save(buffer, "PNG")
        picture = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
        count = len(decisions.columns)
        return figures.decision_figure(decisions), {"minWidth": f"{26 * count}px"}, picture, draw_text(view), count

    @app.callback(
        Output("choice", "options"),
        Output("choice", "value"),
        Output("decision-name", "children"),
        Input("decision", "value"),
        Input("settled", "data"),
        prevent_initial_call=True,
    )
    def name_decision(number: Any, shown: str) -> tuple[Any, ...]:
        state = _read(explorer, shown)
        with suppress(ValueError, TypeError, IndexError):
            architecture = looked_at(explorer, state)
            row, column = architecture.encode()[0], int(number) - 1
            if column >= 0 and row[column] >= 0:
                options = [{"label": text, "value": i} for i, text in enumerate(choices_of(architecture.space, column))]
                return options, int(row[column]), name_of(column)
        return [], None, "no such decision"


def _connect_browser(app: Dash) -> None:
    """Connect what the browser does by itself: the address follows the state, and details wait until it stands still.

    While a limit is being dragged, only marks are worked out, so that they keep up.
    """
    app.clientside_callback(
        f"""async function(state) {{
            if (!state) {{ return dash_clientside.no_update; }}
            history.replaceState(null, "", location.pathname + state);
            window.explorerState = state;
            await new Promise(resolve => setTimeout(resolve, {STANDS_STILL}));
            return window.explorerState === state ? state : dash_clientside.no_update;
        }}""",
        Output("settled", "data"),
        Input("state", "data"),
        prevent_initial_call=True,
    )
    app.server.after_request(_forbid_elsewhere)


def _forbid_elsewhere(response: Any) -> Any:
    """Tell the browser to fetch nothing from elsewhere, and other pages not to frame this one."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; frame-ancestors 'none'"
    )
    return response


def _read(explorer: Explorer, shown: str) -> PageState:
    return read_query(shown, explorer.devices, explorer.default)[0]


def _value(trigger: str, given: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
    """Return what an action takes, of all that a page sends."""
    if trigger in ("front", "bars"):
        return given[trigger]["points"][0]["customdata"]
    if trigger == "flip":
        return int(more["decision"]) - 1, more["choice"]
    if trigger == "add":
        return more["text"]
    if trigger == "files":
        contents = [base64.b64decode(content.partition(",")[2]) for content in given["files"]]
        return list(zip(more["filenames"], contents, strict=True))
    return given[trigger]


def _figure(explorer: Explorer, before: PageState | None, state: PageState, optima: Optima) -> Any:
    """Return the whole figure, or where nothing but marks may have moved, the marks."""
    if before is None or _still(before) != _still(state):
        return figures.front_figure(explorer, state, optima)
    patch = Patch()
    start = 4 * len(state.devices)
    for position, trace in enumerate(figures.mark_traces(explorer, state, optima), start):
        patch["data"][position] = trace
    return patch


def _still(state: PageState) -> PageState:
    """Return what the traces that stand still depend on."""
    return replace(state, limits=(), architecture=None, compared=())


def _lines(sentences: Any) -> list[html.Div]:
    return [html.Div(sentence) for sentence in sentences]


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
