"""What a page gives to take away: fronts as tables, architectures as text and as ONNX models, pictures, a link."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from dash import html
from flask import Flask, Response, request, send_file

from hwgpt_gym.checks import check_extra
from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.explorer.state import State, decode_architecture, encode_architecture, write_query
from hwgpt_gym.search_space import Architecture

if TYPE_CHECKING:
    import pyarrow

SNIPPET: Final = """\
import torch

from hwgpt_gym.transformer import build

model = build("{name}")
logits, _ = model(torch.zeros((1, 1024), dtype=torch.int64))
"""
"""The program that builds an architecture in torch."""


def front_table(explorer: Explorer, state: State, devices: Sequence[str] = ()) -> pyarrow.Table:
    """Return the fronts of devices: a row for each architecture, with its metrics and the interval of its perplexity.

    Args:
        explorer: The explorer.
        state: What the page shows.
        devices: The devices; those of the page by default.
    """
    import pyarrow

    parts = []
    for name in devices or state.devices:
        front = explorer.front(state.scale, name, state.cost)
        size = len(front.front)
        columns = {
            "scale": [state.scale] * size,
            "device": [name] * size,
            "architecture": [str(item) for item in front.front.architectures],
            "perplexity": front.metrics["perplexity"],
            "perplexity_low_90": front.low,
            "perplexity_high_90": front.high,
            **{key: values for key, values in front.metrics.items() if key != "perplexity"},
        }
        parts.append(pyarrow.table({key: np.asarray(values) for key, values in columns.items()}))
    return pyarrow.concat_tables(parts, promote_options="default")


def write_front(table: pyarrow.Table, path: str | os.PathLike[str]) -> None:
    """Write a front as CSV or as Parquet, by the suffix."""
    import pyarrow.csv
    import pyarrow.parquet

    write = pyarrow.parquet.write_table if Path(path).suffix == ".parquet" else pyarrow.csv.write_csv
    write(table, path)


def snippets(architecture: Architecture) -> str:
    """Return an architecture as its name, upstream's dictionary and a program for torch."""
    config = json.dumps(architecture.to_config())
    return f"{architecture}\n\n{config}\n\n{SNIPPET.format(name=architecture)}"


def links(explorer: Explorer, state: State, architecture: Architecture | None) -> list[Any]:
    """Return the links and buttons of a page that shows a state."""
    query = write_query(state)
    title = " · ".join([f"scale {state.scale}", *(explorer.devices[name].label for name in state.devices)])
    found: list[Any] = [
        *(
            html.Button(f"Picture as {kind.upper()}", id=f"save-{kind}", **{"data-format": kind, "data-title": title})
            for kind in ("svg", "png")
        ),
        html.A("The front as CSV", href=f"front.csv{query}", download="front.csv"),
        html.A("The front as Parquet", href=f"front.parquet{query}", download="front.parquet"),
    ]
    if architecture is not None:
        found.append(_onnx_link(architecture))
    return [*found, html.A("Link to this view", href=query, id="link")]


def add_downloads(server: Flask, explorer: Explorer) -> None:
    """Let a server answer for the files that pages link to."""

    @server.route("/front.<kind>")
    def front(kind: str) -> Any:
        if kind not in ("csv", "parquet"):
            return _refuse("there are front.csv and front.parquet")
        state, wrong = explorer.read(request.query_string.decode())
        if wrong:
            return _refuse(" ".join(wrong))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"front.{kind}"
            write_front(front_table(explorer, state), path)
            content = path.read_bytes()
        mime = "text/csv" if kind == "csv" else "application/vnd.apache.parquet"
        return Response(content, mimetype=mime, headers={"Content-Disposition": f"attachment; filename=front.{kind}"})

    @server.route("/architecture.onnx")
    def onnx() -> Any:
        try:
            architecture = decode_architecture(request.args.get("architecture", ""))
            return _send_onnx(architecture)
        except (ValueError, ModuleNotFoundError) as error:
            return _refuse(str(error))


def export_onnx(architecture: Architecture, path: str | os.PathLike[str]) -> None:
    """Write an architecture with random weights as an ONNX model, for one sequence of 128 tokens.

    A model of more than 2 GB has its weights in further files of the same folder.

    Raises:
        ModuleNotFoundError: If the extra ``onnx`` is not installed.
    """
    check_extra("onnx", "onnx")
    from hwgpt_gym.onboarding.onnx_backend import export
    from hwgpt_gym.onboarding.records import Conditions

    export(str(architecture), path, Conditions(threads=1, backend="onnx", mlp="gpt2", target="cpu"))


def _onnx_link(architecture: Architecture) -> Any:
    try:
        check_extra("onnx", "onnx")
    except ModuleNotFoundError as error:
        return html.Span(f"The architecture as ONNX: {error}")
    query = f"architecture.onnx?architecture={encode_architecture(architecture)}"
    return html.A("The architecture as ONNX", href=query, download=True)


def _send_onnx(architecture: Architecture) -> Any:
    # The file outlives its name: it is sent while nobody can open it, and is gone when it was.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "architecture.onnx"
        export_onnx(architecture, path)
        files = sorted(Path(folder).iterdir())
        if len(files) > 1:
            path = path.with_suffix(".zip")
            with zipfile.ZipFile(path, "w") as archive:
                for item in files:
                    archive.write(item, item.name)
                    item.unlink()  # There may be several gigabytes of them.
        file = path.open("rb")
    return send_file(file, mimetype="application/octet-stream", as_attachment=True, download_name=path.name)


def _refuse(reason: str) -> Response:
    return Response(f"{reason}\n", status=400, mimetype="text/plain")
