"""The page as a server: Dash's callbacks around :mod:`hwgpt_gym.explorer.actions` and what follows from a state.

The server keeps no state of a visitor: every request brings that of its page, as the query of its address.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final

# Whatever writes an answer looks at these two if they are loaded: no thread may find them half loaded by another.
import pandas  # noqa: F401
import PIL.Image  # noqa: F401
from dash import Dash, Input, Output, Patch, State, ctx, html, no_update

from hwgpt_gym.explorer import figures, tables
from hwgpt_gym.explorer.actions import act
from hwgpt_gym.explorer.controls import show_controls
from hwgpt_gym.explorer.details import connect_decisions, connect_details
from hwgpt_gym.explorer.downloads import add_downloads
from hwgpt_gym.explorer.model import Explorer, Judged
from hwgpt_gym.explorer.page import INDEX, make_layout
from hwgpt_gym.explorer.state import State as PageState
from hwgpt_gym.explorer.state import sentence_of, write_query
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
    connect_details(app, explorer)
    connect_decisions(app, explorer)
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
            state, wrong = explorer.read(query or "")
            before = None
        else:
            before, wrong = explorer.read(shown)
            try:
                value = _value(trigger, given, more)
                state = before if value is None else act(explorer, before, _ACTIONS[trigger], value)
            except (ValueError, TypeError, LookupError, OverflowError) as error:
                state, wrong = before, [sentence_of(error)]
        optima, problems = explorer.optima(state)
        return {
            "state": write_query(state),
            "figure": _figure(explorer, before, state, optima),
            "headline": _lines(
                tables.headline(state, explorer.devices[name].label, best) for name, best in optima.items()
            ),
            "message": _lines([*wrong, *problems]),
            "controls": _changed(explorer, before, state, trigger),
        }


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


def _value(trigger: str, given: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
    """Return what an action takes, of all that a page sends."""
    if trigger in ("front", "bars"):
        # Lines of limits and marks of what was taken stand for nothing that could be chosen.
        return given[trigger]["points"][0].get("customdata")
    if trigger == "flip":
        if None in (more["decision"], more["choice"]):
            raise ValueError("there is no such decision to change")
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


def _changed(explorer: Explorer, before: PageState | None, state: PageState, trigger: str | None) -> dict[str, Any]:
    """Return what controls have to show anew; what a visitor is moving at this moment is left alone."""
    shown = show_controls(explorer, state)
    if before is None or before == state:
        # Also where an action was refused: the control shows again what counts.
        return {key: no_update if value is None else value for key, value in shown.items()}
    known = show_controls(explorer, before)
    return {
        key: no_update if value is None or key == trigger or value == known[key] else value
        for key, value in shown.items()
    }


def _lines(sentences: Any) -> list[html.Div]:
    return [html.Div(sentence) for sentence in sentences]
