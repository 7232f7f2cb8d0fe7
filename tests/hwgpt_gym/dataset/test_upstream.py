"""Building a dataset from raw files: the sample reproduces the dataset, and a made-up checkout is complete."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from hwgpt_gym import DEVICES, Architecture, get_search_space
from hwgpt_gym.dataset.measurements import Dataset
from hwgpt_gym.dataset.plain_pickle import UnsafePickleError
from hwgpt_gym.dataset.upstream import UPSTREAM_NAMES, build_dataset

RESULTS = Path("data_collection") / "raw_results_hw"
BLOCKS = ((0, 3), (3, 6))


@pytest.fixture(scope="module")
def raw_sample(dataset_path: Path) -> Path:
    path = Path(os.environ.get("HWGPT_RAW_SAMPLE", dataset_path.parent / "hwgptbench_raw_sample"))
    if not (path / RESULTS).is_dir():
        pytest.skip(f"needs a sample of HW-GPT-Bench's raw files: set HWGPT_RAW_SAMPLE (looked in {path})")
    return path


@pytest.fixture(scope="module")
def built(raw_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("built")
    build_dataset(raw_sample, output, allow_partial=True)
    return output


@pytest.mark.parametrize("scale", ["s", "l"])
def test_sample_reproduces_the_dataset(built: Path, dataset_path: Path, scale: str) -> None:
    tables = {path: pq.read_table(path / scale / "architectures.parquet") for path in (built, dataset_path)}
    assert tables[built].schema.equals(tables[dataset_path].schema)
    names = tables[built]["arch"].to_pylist()
    assert len(names) == 160
    position = {name: i for i, name in enumerate(tables[dataset_path]["arch"].to_pylist())}
    rows = [position[name] for name in names]
    expected = tables[dataset_path].take(rows)
    # The sample leaves entries out, so positions in its files are not the positions in the sequence.
    assert sorted(rows) == rows
    for column in expected.column_names:
        if column == "perplexity_upstream_mlp":
            assert np.isnan(tables[built][column].to_numpy()).all()
        elif column != "order":
            assert_same_bits(tables[built][column], expected[column])
    devices = sorted(file.stem for file in (built / scale).glob("*.parquet") if file.stem != "architectures")
    assert devices == ["a6000", *(["cpu_amd_7513"] if scale == "s" else []), "cpu_xeon_gold"]
    for device in devices:
        found, full = (pq.read_table(path / scale / f"{device}.parquet") for path in (built, dataset_path))
        assert found.schema.equals(full.schema)
        assert found["order"].equals(tables[built]["order"])
        for column in found.column_names[1:]:
            assert_same_bits(found[column], full.take(rows)[column])


def assert_same_bits(found: Any, expected: Any) -> None:
    assert found.type == expected.type
    arrays = [column.combine_chunks() for column in (found, expected)]
    if hasattr(found.type, "value_type"):
        assert [len(row) for row in arrays[0]] == [len(row) for row in arrays[1]]
        arrays = [array.flatten() for array in arrays]
    values = [array.to_numpy(zero_copy_only=False) for array in arrays]
    np.testing.assert_array_equal(values[0], values[1])  # NaN equals NaN


def test_sample_is_a_legal_dataset(built: Path) -> None:
    dataset = Dataset(built)
    dataset.validate()
    assert dataset.scales == ("s", "l")


def test_sample_is_incomplete(raw_sample: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"lacks 59 of the raw files .*latency_a100/efficiency_observations_"):
        build_dataset(raw_sample, tmp_path)
    assert not list(tmp_path.iterdir())
    report = build_dataset(raw_sample, tmp_path, scales=["s"], allow_partial=True)
    assert len(report.written) == 4
    assert f"{RESULTS}/latency_cpu_mlgpu/efficiency_observations_*" in report.missing


# A made-up checkout, complete at scale m, with everything that has to be corrected.


def write_pickle(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(content, protocol=2))


def raw_config(architecture: Architecture, extra: int = 0) -> dict[str, Any]:
    config = architecture.to_config()
    for key in ("sample_mlp_ratio", "sample_n_head"):
        config[key] += [999] * extra
    return config


def write_checkout(root: Path) -> list[Architecture]:
    rng = np.random.default_rng(0)
    space = get_search_space("m")
    architectures = space.decode(space.sample(rng, 6))
    configs = [raw_config(architecture, extra=i % 3) for i, architecture in enumerate(architectures)]
    stray = raw_config(get_search_space("s").decode(get_search_space("s").sample(rng, 1))[0])
    for name, device in DEVICES.items():
        folder = root / RESULTS / f"latency_{UPSTREAM_NAMES[name]}_m"
        for start, end in BLOCKS:
            entries = [latency_entry(configs[i], device.kind, i) for i in range(start, end)]
            energies = [{"arch": configs[i], "energy_gpu": [np.float64(i + 1)] * 3} for i in range(start, end)]
            if name == "a6000":
                entries.insert(1, latency_entry(stray, device.kind, 100))
            write_pickle(folder / f"efficiency_observations_{start}_{end}.pkl", entries)
            if device.kind == "gpu":
                write_pickle(folder / f"efficiency_energy_observations_tracker_{start}_{end}.pkl", energies)
    leftovers = [latency_entry(configs[0], "gpu", 50)]
    write_pickle(root / RESULTS / "latency_a6000_m" / "efficiency_observations_0_6.pkl", leftovers)
    write_pickle(root / RESULTS / "latency_a6000_m" / "efficiency_energy_observations_0_3.pkl", ["another format"])
    write_pickle(root / RESULTS / "latency_cpu_p100_m" / "efficiency_observations_0_3.pkl", ["no such device"])
    for memory_folder, value in (("mem_rtx2080_m", 1.5), ("mem_a100_m", 2.5)):
        memory = [{"arch": configs[i], "mean_mem": i + value} for i in (3, 4, 5, 0, 1, 2)]
        write_pickle(root / RESULTS / memory_folder / "efficiency_observations_0_6.pkl", memory)
    measured = [{"arch": configs[4], "perplexity": 21.5, "accuracy": 0.4}]
    write_pickle(root / "arch_ppl_bench_m" / "ppl_observations_tracker_0_3.pkl", [])
    write_pickle(root / "arch_ppl_bench_m" / "ppl_observations_tracker_3_6.pkl", measured)
    return architectures


def latency_entry(config: dict[str, Any], kind: str, i: int) -> dict[str, Any]:
    other = "cpu" if kind == "gpu" else "gpu"
    return {
        "arch": config,
        f"times_profiler_{kind}": [0.5 + i, 250.0 + i],
        f"unit_{kind}": ["s", "ms"],
        f"times_profiler_{other}": [],
        f"unit_{other}": [],
        "mean_energy_cpu": np.float64(i + 0.25) if kind == "cpu" else None,
        "std_energy_cpu": np.float64(i / 8) if kind == "cpu" else None,
        "unit_energy": "KWh",
        "params": 10**6 + i,
        "flops": 10**9 + i,
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    write_checkout(tmp_path / "checkout")
    return tmp_path / "checkout"


def test_complete_checkout(tmp_path: Path) -> None:
    architectures = write_checkout(tmp_path / "checkout")
    calls: list[tuple[str, int, int]] = []
    report = build_dataset(tmp_path / "checkout", tmp_path / "out", ["m"], lambda *call: calls.append(call))
    assert report.missing == []
    assert len(report.written) == len(calls) == 14
    assert calls[0] == ("m/architectures.parquet", 1, 14)
    assert calls[-1] == ("m/cpu_amd_7452.parquet", 14, 14)
    measurements = Dataset(tmp_path / "out")["m"]
    assert measurements.devices == tuple(DEVICES)
    assert (tmp_path / "out" / "m" / "P100.parquet").is_file()
    assert measurements.names == [str(architecture) for architecture in architectures]
    np.testing.assert_array_equal(measurements.order, np.arange(6))
    np.testing.assert_array_equal(measurements.profiled_params, 10**6 + np.arange(6))
    np.testing.assert_array_equal(measurements.profiled_flops, 10**9 + np.arange(6))
    np.testing.assert_array_equal(measurements.float16_memory_mb, np.arange(6) + 1.5)
    np.testing.assert_array_equal(measurements.bfloat16_memory_mb, np.arange(6) + 2.5)
    np.testing.assert_array_equal(measurements.perplexity, [np.nan] * 4 + [21.5, np.nan])
    for name, device in DEVICES.items():
        measured = measurements.device(name)
        expected = np.stack([1000 * (0.5 + np.arange(6)), 250.0 + np.arange(6)], axis=1)
        np.testing.assert_array_equal(measured.latency_ms, expected)
        if device.kind == "gpu":
            np.testing.assert_array_equal(measured.energy_wh, np.repeat(np.arange(1.0, 7)[:, None], 3, axis=1))
        else:
            np.testing.assert_array_equal(measured.energy_wh_mean, np.arange(6) + 0.25)
            np.testing.assert_array_equal(measured.energy_wh_std, np.arange(6) / 8)


def test_interrupted_build_goes_on(checkout: Path, tmp_path: Path) -> None:
    def interrupt(name: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_dataset(checkout, tmp_path / "out", ["m"], interrupt)
    assert len(list((tmp_path / "out" / "m").iterdir())) == 5
    report = build_dataset(checkout, tmp_path / "out", ["m"])
    assert (len(report.kept), len(report.written)) == (5, 9)
    build_dataset(checkout, tmp_path / "whole", ["m"])
    assert Dataset(tmp_path / "out").fingerprint == Dataset(tmp_path / "whole").fingerprint
    for file in (tmp_path / "whole" / "m").iterdir():
        assert file.read_bytes() == (tmp_path / "out" / "m" / file.name).read_bytes()


def test_failed_write_leaves_nothing(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(table: Any, where: Path, **options: Any) -> None:
        Path(where).write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        build_dataset(checkout, tmp_path / "out", ["m"])
    assert not list((tmp_path / "out" / "m").iterdir())


def test_device_that_lacks_architectures(checkout: Path, tmp_path: Path) -> None:
    (checkout / RESULTS / "latency_v100_m" / "efficiency_observations_3_6.pkl").unlink()
    with pytest.raises(ValueError, match=r"lacks m: latency of v100 \(3 architectures too few, 0 too many"):
        build_dataset(checkout, tmp_path / "out", ["m"])
    report = build_dataset(checkout, tmp_path / "out", ["m"], allow_partial=True)
    assert [message.split(" (")[0] for message in report.missing] == ["m: latency of v100"]
    assert "v100" not in Dataset(tmp_path / "out")["m"].devices
    Dataset(tmp_path / "out").validate()


def test_missing_memory(checkout: Path, tmp_path: Path) -> None:
    (checkout / RESULTS / "mem_a100_m" / "efficiency_observations_0_6.pkl").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of the raw files of HW-GPT-Bench: \S*mem_a100_m"):
        build_dataset(checkout, tmp_path / "out", ["m"])
    build_dataset(checkout, tmp_path / "out", ["m"], allow_partial=True)
    measurements = Dataset(tmp_path / "out")["m"]
    assert np.isnan(measurements.bfloat16_memory_mb).all()
    assert np.isfinite(measurements.float16_memory_mb).all()


def test_malicious_raw_file(checkout: Path, tmp_path: Path) -> None:
    attack = b"\x80\x02]q\x00}q\x01X\x04\x00\x00\x00archcposix\nsystem\nX\x0e\x00\x00\x00touch executed\x85Rsa."
    (checkout / RESULTS / "latency_a40_m" / "efficiency_observations_0_3.pkl").write_bytes(attack)
    with pytest.raises(UnsafePickleError, match=r"latency_a40_m.*_0_3\.pkl: refused posix\.system"):
        build_dataset(checkout, tmp_path / "out", ["m"])
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "must hold a list of dictionaries, got dict"),
        ([{"a": 1}], r"no dictionary with an architecture: KeyError\('arch'\)"),
        ([1], "no dictionary with an architecture"),
    ],
)
def test_damaged_raw_file(checkout: Path, tmp_path: Path, content: Any, message: str) -> None:
    write_pickle(checkout / RESULTS / "latency_a40_m" / "efficiency_observations_0_3.pkl", content)
    with pytest.raises(ValueError, match=rf"_0_3\.pkl: .*{message}"):
        build_dataset(checkout, tmp_path / "out", ["m"])


def test_unknown_unit(checkout: Path, tmp_path: Path) -> None:
    file = checkout / RESULTS / "latency_a40_m" / "efficiency_observations_0_3.pkl"
    entries = pickle.loads(file.read_bytes())
    entries[0]["unit_gpu"] = ["s", "minutes"]
    write_pickle(file, entries)
    with pytest.raises(ValueError, match=r"_0_3\.pkl: every time must have a unit of \['s', 'ms', 'us'\], got"):
        build_dataset(checkout, tmp_path / "out", ["m"])


def test_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="lacks 72 of the raw files"):
        build_dataset(tmp_path, tmp_path / "out", allow_partial=True)
    with pytest.raises(ValueError, match="scale must be one of"):
        build_dataset(tmp_path, tmp_path / "out", ["xl"])
