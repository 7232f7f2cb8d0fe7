"""Tables of architectures, against the benchmark and the readers of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hwgpt_gym import Architecture, Benchmark
from hwgpt_gym.interop import dataframe as module
from hwgpt_gym.interop import decision_values, to_dataframe, write_parquet
from hwgpt_gym.interop.dataframe import names_of
from hwgpt_gym.optimum import pareto_front


@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_rows_are_architectures_by_device(scale: str) -> None:
    bench = Benchmark(scale, ["h100", "a6000"])
    encoded = bench.space.sample(np.random.default_rng(0), 20)
    frame = to_dataframe(bench, encoded)
    assert len(frame) == 40
    architectures = bench.space.decode(encoded)
    assert frame["architecture"].astype(str).tolist() == [str(item) for item in architectures for _ in range(2)]
    assert frame["device"].astype(str).tolist() == ["h100", "a6000"] * 20
    values = bench.evaluate(encoded)
    assert list(frame.columns) == ["architecture", "device", *bench.space.decision_names, *values]
    np.testing.assert_array_equal(frame["latency_ms"], values["latency_ms"].ravel())
    np.testing.assert_array_equal(frame["perplexity"], np.repeat(values["perplexity"], 2))
    for architecture, (_, row) in zip(architectures, frame[::2].iterrows(), strict=True):
        assert row["embed_dim"] == architecture.embed_dim
        assert bool(row["bias"]) is architecture.bias
        layers = range(bench.space.max_layers)
        heads = tuple(row[f"n_head_{i}"] for i in layers if not pd.isna(row[f"n_head_{i}"]))
        assert heads == architecture.n_head


@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_names_are_those_of_the_architectures(scale: str) -> None:
    space = Benchmark(scale, None).space
    encoded = space.sample(np.random.default_rng(0), 200)
    assert names_of(space, encoded).tolist() == [item.to_string() for item in space.decode(encoded)]


def test_a_front_is_a_table_too() -> None:
    bench = Benchmark("s", "a6000")
    front = pareto_front(bench, ("perplexity", "latency_ms", "params"))
    frame = to_dataframe(bench, front)
    np.testing.assert_array_equal(frame[list(front.metrics)], front.values)
    assert [Architecture.from_string(name) for name in frame["architecture"]] == front.architectures
    assert list(to_dataframe(bench, front, ["energy_j"]).columns[-2:]) == [bench.space.decision_names[-1], "energy_j"]


def test_without_a_device_there_is_no_column_of_it() -> None:
    bench = Benchmark("s", None)
    frame = to_dataframe(bench, bench.space.sample(np.random.default_rng(0), 3))
    assert "device" not in frame
    assert len(frame) == 3
    assert "latency_ms" not in frame


def test_a_file_holds_the_frame_whatever_its_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Benchmark("s", "all")
    encoded = bench.space.sample(np.random.default_rng(0), 101)
    frame = to_dataframe(bench, encoded)
    monkeypatch.setattr(module, "ROWS", 13 * 40)
    assert write_parquet(tmp_path / "t.parquet", bench, encoded) == 101 * 13
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 3
    read = pd.read_parquet(tmp_path / "t.parquet")
    assert list(read.columns) == list(frame.columns)
    for name in frame.columns:
        if name in ("architecture", "device"):
            assert read[name].astype(str).tolist() == frame[name].astype(str).tolist()
        else:
            np.testing.assert_array_equal(
                read[name].to_numpy(float, na_value=np.nan), frame[name].to_numpy(float, na_value=np.nan)
            )
    assert set(decision_values(bench.space)) <= set(read.columns)


def test_nothing_makes_an_empty_file_and_wrong_input_none(tmp_path: Path) -> None:
    bench = Benchmark("s", "a6000")
    nothing = bench.space.sample(np.random.default_rng(0), 0)
    assert write_parquet(tmp_path / "empty.parquet", bench, nothing) == 0
    assert len(pd.read_parquet(tmp_path / "empty.parquet")) == 0
    with pytest.raises(ValueError, match="unknown metric 'latency'"):
        write_parquet(tmp_path / "wrong.parquet", bench, nothing, ["latency"])
    with pytest.raises(ValueError, match="shape"):
        write_parquet(tmp_path / "wrong.parquet", bench, np.zeros((1, 3), dtype=np.int8))
    assert [path.name for path in tmp_path.iterdir()] == ["empty.parquet"]
