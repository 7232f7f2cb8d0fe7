"""The dataset reader: what it reads, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hwgpt_gym import DEVICES, get_search_space
from hwgpt_gym.dataset.measurements import Dataset, default_dataset_path, load_dataset

ROWS = 12
Change = Callable[[pa.Table], pa.Table]


def write_small_dataset(folder: Path, scale: str = "s", seed: int = 0) -> Path:
    """Write made-up measurements of a few architectures on a GPU and a CPU."""
    rng = np.random.default_rng(seed)
    architectures = get_search_space(scale).decode(get_search_space(scale).sample(rng, ROWS))
    order = np.sort(rng.choice(10_000, ROWS, replace=False)).astype(np.int16)
    perplexity = rng.uniform(20, 40, ROWS).astype(np.float32)
    perplexity[3] = np.nan
    columns = {
        "order": order,
        "arch": [str(architecture) for architecture in architectures],
        "embed_dim": pa.array([architecture.embed_dim for architecture in architectures], pa.int16()),
        "n_layer": pa.array([architecture.n_layer for architecture in architectures], pa.int8()),
        "mlp_ratio": pa.array([architecture.mlp_ratio for architecture in architectures], pa.list_(pa.int8())),
        "n_head": pa.array([architecture.n_head for architecture in architectures], pa.list_(pa.int8())),
        "bias": [architecture.bias for architecture in architectures],
        "perplexity": perplexity,
        "accuracy": perplexity / 100,
        "perplexity_upstream_mlp": rng.uniform(20, 40, ROWS).astype(np.float32),
        "profiled_params": rng.integers(10**6, 10**9, ROWS),
        "profiled_flops": rng.integers(10**9, 10**12, ROWS),
        "float16_memory_mb": rng.uniform(300, 900, ROWS).astype(np.float32),
        "bfloat16_memory_mb": rng.uniform(300, 900, ROWS).astype(np.float32),
    }
    (folder / scale).mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / scale / "architectures.parquet")
    latency, energy = (
        pa.FixedSizeListArray.from_arrays(rng.uniform(1, 2, ROWS * repeats).astype(np.float32), repeats)
        for repeats in (10, 50)
    )
    gpu = pa.table({"order": order, "latency_ms": latency, "energy_wh": energy})
    pq.write_table(gpu, folder / scale / "P100.parquet")
    moments = {"energy_wh_mean": perplexity[[0] * ROWS], "energy_wh_std": np.zeros(ROWS, dtype=np.float32)}
    cpu = pa.table({"order": order, "latency_ms": latency, **moments})
    pq.write_table(cpu, folder / scale / "cpu_xeon_gold.parquet")
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_small_dataset(tmp_path / "dataset")


def rewrite(file: Path, change: Change) -> None:
    pq.write_table(change(pq.read_table(file)), file)


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def with_value(name: str, row: int, value: Any) -> Change:
    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[row] = value
        return table.set_column(table.column_names.index(name), name, pa.array(values, table.schema.field(name).type))

    return change


def test_reads_what_was_written(small: Path) -> None:
    measurements = Dataset(small)["s"]
    table = pq.read_table(small / "s" / "architectures.parquet")
    assert len(measurements) == ROWS
    assert measurements.names == table["arch"].to_pylist()
    assert [str(a) for a in measurements.space.decode(measurements.encoded)] == measurements.names
    for name in ("order", "profiled_params", "profiled_flops"):
        values = getattr(measurements, name)
        assert values.dtype == np.int64
        np.testing.assert_array_equal(values, table[name].to_numpy())
    for name in (
        "perplexity",
        "accuracy",
        "perplexity_upstream_mlp",
        "float16_memory_mb",
        "bfloat16_memory_mb",
    ):
        values = getattr(measurements, name)
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, table[name].to_numpy().astype(np.float64))
    assert np.flatnonzero(np.isnan(measurements.perplexity)).tolist() == [3]


def test_device_is_found_whatever_the_case(small: Path) -> None:
    measurements = Dataset(small)["s"]
    assert measurements.devices == ("p100", "cpu_xeon_gold")
    assert measurements.device("P100") is measurements.device("p100")
    assert measurements.device("p100").device is DEVICES["p100"]


def test_energy_in_joules(small: Path) -> None:
    gpu = Dataset(small)["s"].device("p100")
    assert gpu.latency_ms.shape == (ROWS, 10)
    assert gpu.energy_wh is not None
    assert gpu.energy_wh.shape == (ROWS, 50)
    np.testing.assert_allclose(gpu.energy_j, 3600 * gpu.energy_wh, rtol=1e-15)
    np.testing.assert_allclose(gpu.energy_j_std, 3600 * gpu.energy_wh.std(axis=1), rtol=1e-12)
    cpu = Dataset(small)["s"].device("cpu_xeon_gold")
    assert cpu.energy_wh is None
    assert cpu.energy_wh_mean is not None
    np.testing.assert_allclose(cpu.energy_j[:, 0], 3600 * cpu.energy_wh_mean, rtol=1e-15)
    assert cpu.energy_j.shape == (ROWS, 1)
    np.testing.assert_array_equal(cpu.energy_j_std, np.zeros(ROWS))


def test_rows_are_joined_on_order(small: Path) -> None:
    expected = Dataset(small)["s"].device("p100").latency_ms
    rewrite(small / "s" / "P100.parquet", lambda table: table.take(list(range(ROWS))[::-1]))
    np.testing.assert_array_equal(Dataset(small)["s"].device("p100").latency_ms, expected)


def test_fingerprint_depends_on_content_only(small: Path, tmp_path: Path) -> None:
    fingerprint = Dataset(small).fingerprint
    assert len(fingerprint) == 64
    for file in small.glob("*/*.parquet"):
        pq.write_table(pq.read_table(file), file, compression="zstd", row_group_size=5)
    assert Dataset(small).fingerprint == fingerprint
    other = write_small_dataset(tmp_path / "other", seed=1)
    assert Dataset(other).fingerprint != fingerprint
    rewrite(small / "s" / "cpu_xeon_gold.parquet", with_value("energy_wh_std", 2, 0.5))
    assert Dataset(small).fingerprint != fingerprint


def test_upstream_prediction_may_be_absent(small: Path) -> None:
    rewrite(small / "s" / "architectures.parquet", lambda table: table.drop_columns(["perplexity_upstream_mlp"]))
    assert np.isnan(Dataset(small)["s"].perplexity_upstream_mlp).all()
    Dataset(small).validate()


def test_memory_may_be_absent_throughout(small: Path) -> None:
    nothing = np.full(ROWS, np.nan, dtype=np.float32)
    rewrite(small / "s" / "architectures.parquet", lambda table: with_column(table, "float16_memory_mb", nothing))
    assert np.isnan(Dataset(small)["s"].float16_memory_mb).all()


@pytest.mark.parametrize("column", ["order", "arch", "mlp_ratio", "bias", "perplexity", "bfloat16_memory_mb"])
def test_missing_column_of_architectures(small: Path, column: str) -> None:
    rewrite(small / "s" / "architectures.parquet", lambda table: table.drop_columns([column]))
    with pytest.raises(ValueError, match=rf"architectures\.parquet: missing columns \['{column}'\]; required are"):
        Dataset(small).validate()


@pytest.mark.parametrize(
    ("file", "column"),
    [
        ("P100", "energy_wh"),
        ("P100", "order"),
        ("cpu_xeon_gold", "energy_wh_mean"),
        ("cpu_xeon_gold", "latency_ms"),
    ],
)
def test_missing_column_of_device(small: Path, file: str, column: str) -> None:
    rewrite(small / "s" / f"{file}.parquet", lambda table: table.drop_columns([column]))
    with pytest.raises(ValueError, match=rf"{file}\.parquet: missing columns \['{column}'\]"):
        Dataset(small).validate()


def test_wrong_type(small: Path) -> None:
    texts = ["1"] * ROWS
    rewrite(small / "s" / "architectures.parquet", lambda table: with_column(table, "profiled_params", texts))
    with pytest.raises(ValueError, match="column 'profiled_params' must be of type integer, got string"):
        Dataset(small).validate()


def test_flat_latency_is_the_wrong_type(small: Path) -> None:
    flat = np.ones(ROWS, dtype=np.float32)
    rewrite(small / "s" / "P100.parquet", lambda table: with_column(table, "latency_ms", flat))
    with pytest.raises(ValueError, match="column 'latency_ms' must be of type list of floating, got float"):
        Dataset(small)["s"].device("p100")


@pytest.mark.parametrize(
    ("file", "column", "value", "message"),
    [
        ("P100", "latency_ms", [1.0] * 9 + [float("nan")], "finite and positive, not NaN, got nan in row 4"),
        (
            "P100",
            "energy_wh",
            [0.0] * 50,
            r"finite and positive, not NaN, got 0\.0 in row 4 \(50 such values\)",
        ),
        ("cpu_xeon_gold", "energy_wh_std", -1.0, r"finite and not negative, not NaN, got -1\.0 in row 4"),
        ("architectures", "perplexity", float("inf"), "finite and positive or NaN, got inf in row 4"),
        (
            "architectures",
            "float16_memory_mb",
            float("nan"),
            "finite and positive, not NaN, got nan in row 4",
        ),
        ("architectures", "profiled_flops", -1, "must not be negative"),
        ("architectures", "perplexity", None, "must not have nulls"),
        ("architectures", "embed_dim", 200, r"must hold one of \[192, 384, 768\], got 200"),
        ("architectures", "n_head", [4, 8], "must have n_layer entries in every row"),
        (
            "architectures",
            "arch",
            "gpt-s",
            "must agree with the other columns, row 4 is 'gpt-s', expected 'gpt-s-1",
        ),
        ("architectures", "order", 0, "must be strictly ascending"),
        ("P100", "order", 0, r"no architecture joins, order \[0\] \(1 in all\)"),
    ],
)
def test_illegal_value(small: Path, file: str, column: str, value: Any, message: str) -> None:
    rewrite(small / "s" / f"{file}.parquet", with_value(column, 4, value))
    with pytest.raises(ValueError, match=rf"{file}\.parquet: column '{column}' .*{message}"):
        Dataset(small).validate()


def test_rows_that_do_not_join(small: Path) -> None:
    file = small / "s" / "P100.parquet"
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    with pytest.raises(ValueError, match=r"P100\.parquet: .*lacks rows of the architectures with order"):
        Dataset(small)["s"].device("p100")
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), file)
    with pytest.raises(ValueError, match=r"P100\.parquet: .*has several rows with order"):
        Dataset(small)["s"].device("p100")


@pytest.mark.parametrize("file", ["architectures", "P100", "cpu_xeon_gold"])
@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99])
def test_truncated_file(small: Path, file: str, fraction: float) -> None:
    path = small / "s" / f"{file}.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ValueError, match=rf"{file}\.parquet: not a readable parquet file"):
        Dataset(small).validate()


def test_no_rows(small: Path) -> None:
    rewrite(small / "s" / "architectures.parquet", lambda table: table.slice(0, 0))
    with pytest.raises(ValueError, match=r"architectures\.parquet: no rows"):
        Dataset(small).validate()


def test_unknown_names(small: Path, tmp_path: Path) -> None:
    dataset = Dataset(small)
    assert list(dataset) == ["s"]
    assert len(dataset) == 1
    assert "m" not in dataset
    with pytest.raises(ValueError, match=r"lacks scale 'm', it has \['s'\]"):
        dataset["m"]
    with pytest.raises(ValueError, match="scale must be one of"):
        dataset["xl"]
    with pytest.raises(ValueError, match=r"lacks device 'a100', it has \['p100', 'cpu_xeon_gold'\]"):
        dataset["s"].device("a100")
    with pytest.raises(ValueError, match="unknown device 'p10'"):
        dataset["s"].device("p10")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Dataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no scale"):
        Dataset(tmp_path / "empty")


def test_default_path(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HWGPT_DATASET", raising=False)
    assert default_dataset_path() is None
    with pytest.raises(ValueError, match="let the environment variable HWGPT_DATASET name it"):
        load_dataset()
    monkeypatch.setenv("HWGPT_DATASET", str(small))
    assert default_dataset_path() == small
    assert load_dataset().fingerprint == load_dataset(small).fingerprint


def test_import_is_light() -> None:
    heavy = ("pyarrow", "pandas", "torch")
    code = f"import sys, hwgpt_gym.dataset.measurements; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_measurements(dataset_path: Path) -> None:
    dataset = Dataset(dataset_path)
    dataset.validate()
    assert dataset.scales == ("s", "m", "l")
    for measurements in dataset.values():
        assert measurements.devices == tuple(DEVICES)
        assert len(measurements) == 9000
        assert [str(a) for a in measurements.space.decode(measurements.encoded[::100])] == measurements.names[::100]
    assert {scale: int(np.isfinite(dataset[scale].perplexity).sum()) for scale in dataset} == {
        "s": 9000,
        "m": 4693,
        "l": 300,
    }
    # The dataset's documentation: on an A100 at scale s, an energy of about 0.00047 Wh per forward pass.
    energy = dataset["s"].device("a100").energy_wh
    assert energy is not None
    assert 1e-4 < np.median(energy) < 1e-3
