"""What a page shows once its state stands still: sentences, tables, the picture, the bars of decisions."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from typing import Any

from dash import Dash, Input, Output, html
from PIL import Image

from hwgpt_gym.envs.rendering import draw_frame, draw_text
from hwgpt_gym.explorer import figures, tables
from hwgpt_gym.explorer.actions import looked_at
from hwgpt_gym.explorer.decisions import choices_of, name_of, value_decisions, view_of
from hwgpt_gym.explorer.downloads import links, snippets
from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.explorer.page import make_table
from hwgpt_gym.explorer.prices import find_prices


def connect_details(app: Dash, explorer: Explorer) -> None:
    """Connect the sentences and tables."""

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
        state = explorer.read(shown)[0]
        optima, _ = explorer.optima(state)
        first = state.devices[0]
        if first not in optima:
            return [], "", [], [], [], links(explorer, state, None), ""
        architecture = looked_at(explorer, state)
        judged = explorer.judge(state, first, architecture)
        sentences = [
            f"On {explorer.devices[name].label}, {sentence}" if len(optima) > 1 else sentence
            for name in optima
            for sentence in tables.price_sentences(find_prices(explorer, state, name))
        ]
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


def connect_decisions(app: Dash, explorer: Explorer) -> None:
    """Connect the bars of decisions, the picture of the architecture, and the controls that change a decision."""

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
        state = explorer.read(shown)[0]
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
        state = explorer.read(shown)[0]
        with suppress(ValueError, TypeError, IndexError):
            architecture = looked_at(explorer, state)
            row, column = architecture.encode()[0], int(number) - 1
            if column >= 0 and row[column] >= 0:
                options = [{"label": text, "value": i} for i, text in enumerate(choices_of(architecture.space, column))]
                return options, int(row[column]), name_of(column)
        return [], None, "no such decision"
