"""What a page gives to take away, asked of its server without a browser."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from hwgpt_gym import Architecture, Benchmark
from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.explorer.state import encode_architecture
from hwgpt_gym.optimum import pareto_front

pytest.importorskip("dash", reason="the page needs the extra explore")

from hwgpt_gym.explorer.app import make_app
from hwgpt_gym.explorer.downloads import links, snippets

SMALLEST = Architecture("s", 192, 10, (2,) * 10, (4,) * 10, False)


@pytest.fixture(scope="module")
def client(explorer: Explorer) -> Any:
    return make_app(explorer).server.test_client()


def test_fronts_are_those_of_the_solver(client: Any) -> None:
    front = pareto_front(Benchmark("m", "h100"), ("perplexity", "energy_j"))
    query = "scale=m&device=h100&cost=energy_j"
    for table in (
        pyarrow.csv.read_csv(io.BytesIO(client.get(f"/front.csv?{query}").data)),
        pyarrow.parquet.read_table(io.BytesIO(client.get(f"/front.parquet?{query}").data)),
    ):
        np.testing.assert_allclose(np.stack([table["perplexity"], table["energy_j"]], axis=1), front.values, rtol=1e-12)
        assert table["architecture"].to_pylist() == [str(item) for item in front.architectures]


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/front.csv?device=a600", b"a6000"),
        ("/front.txt", b"front.csv"),
        ("/architecture.onnx", b"architecture"),
        ("/architecture.onnx?architecture=s9", b"legal"),
    ],
)
def test_what_is_wrong_is_said(client: Any, path: str, word: bytes) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert word in answer.data
    assert b"Traceback" not in answer.data


def test_the_text_of_an_architecture_is_what_it_is() -> None:
    name, config, program = snippets(SMALLEST).split("\n\n", 2)
    assert Architecture.from_string(name) == SMALLEST
    assert Architecture.from_config(json.loads(config)) == SMALLEST
    namespace: dict[str, Any] = {}
    exec(program, namespace)
    assert namespace["model"].architecture == SMALLEST
    assert namespace["logits"].shape == (1, 1024, 50254)


def test_the_onnx_model_is_the_architecture(client: Any) -> None:
    onnx = pytest.importorskip("onnx")
    answer = client.get(f"/architecture.onnx?architecture={encode_architecture(SMALLEST)}")
    assert answer.status_code == 200
    model = onnx.load_from_string(answer.data)
    assert [item.name for item in model.graph.input] == ["tokens"]
    weights = sum(int(np.prod(item.dims)) for item in model.graph.initializer)
    assert abs(weights / int(Benchmark("s").query(SMALLEST)["params"]) - 1.0) < 0.01


def test_weights_beside_a_great_onnx_model_come_with_it(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(architecture: Architecture, path: Path) -> None:
        path.write_text(str(architecture))
        path.with_name("weights").write_bytes(b"1234")

    monkeypatch.setattr("hwgpt_gym.explorer.downloads.export_onnx", export)
    answer = client.get(f"/architecture.onnx?architecture={encode_architecture(SMALLEST)}")
    assert "filename=architecture.zip" in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"architecture.onnx": str(SMALLEST).encode(), "weights": b"1234"}


def test_the_page_says_what_onnx_needs(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwgpt_gym.checks.find_spec", lambda name: None)
    said = [link.children for link in links(explorer, explorer.default, SMALLEST)]
    assert "The architecture as ONNX: onnx is not installed: pip install 'hwgpt-gym[onnx]'" in said
    monkeypatch.setattr("hwgpt_gym.checks.find_spec", lambda name: object())
    assert "The architecture as ONNX" in [link.children for link in links(explorer, explorer.default, SMALLEST)]
