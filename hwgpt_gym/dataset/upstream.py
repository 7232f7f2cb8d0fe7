"""Build a dataset from a checkout of HW-GPT-Bench.

The raw files are pickles of lists of dictionaries, complete in https://github.com/automl/HW-GPT-Bench at commit
c730d4b; ``{suffix}`` is none for scale s, ``_m`` and ``_l``:

========================================================================================  ========================
``data_collection/raw_results_hw/latency_{device}{suffix}/efficiency_observations_*``     latency, energy of CPUs,
                                                                                          parameters, FLOPs
``data_collection/raw_results_hw/latency_{device}{suffix}/…energy_observations_tracker_*``  energy of GPUs
``data_collection/raw_results_hw/mem_rtx2080{suffix}/efficiency_observations_*``          float16 memory
``data_collection/raw_results_hw/mem_a100{suffix}/efficiency_observations_*``             bfloat16 memory
``arch_ppl_bench_{scale}/ppl_observations_tracker_*``                                     perplexity, accuracy
========================================================================================  ========================

They are read through :mod:`hwgpt_gym.dataset.plain_pickle`, which executes nothing. What is corrected on the way:

- Latencies are taken from the observations with their own units (seconds or milliseconds), not from the stored
  means, which mix the two. Energies are watt-hours, whatever ``unit_energy`` says.
- Lists of an architecture that are longer than its depth are cut.
- Architectures of another scale (``latency_a6000_m`` holds some of scale s) are dropped, and so is a file whose
  range contains those of other files beside it: the remains of a job that was split and run again.
- Files need not list the architectures in the same sequence, so they are joined on the architecture. ``order`` is
  the position in the first device's latency files; in an incomplete checkout it is the position in what is there.

``perplexity_upstream_mlp`` is not among the raw files: it is NaN in a dataset built here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.dataset.raw_files import RawEntry, find_blocks, read_blocks
from hwgpt_gym.devices import DEVICES, Device
from hwgpt_gym.files import replacing
from hwgpt_gym.search_space import SEARCH_SPACES, Architecture, get_search_space

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the name of a file of the dataset that is done, the number of files done and their total."""

UPSTREAM_NAMES: Final = {
    **{name: name for name, device in DEVICES.items() if device.kind == "gpu"},
    "p100": "P100",
    "cpu_xeon_silver": "cpu_mlgpu",
    "cpu_xeon_gold": "cpu_meta",
    "cpu_amd_7502": "cpu_alldlc",
    "cpu_amd_7513": "helix_cpu",
    "cpu_amd_7452": "cpu_a6000",
}
"""The devices' names in upstream's raw folders."""

FILE_NAMES: Final = {name: "P100" if name == "p100" else name for name in DEVICES}
"""The devices' names in a dataset."""

_RESULTS: Final = Path("data_collection") / "raw_results_hw"
_MEMORY_FOLDERS: Final = {"float16_memory_mb": "mem_rtx2080", "bfloat16_memory_mb": "mem_a100"}
_MILLISECONDS: Final = {"s": 1e3, "ms": 1.0, "us": 1e-3}


@dataclass
class BuildReport:
    """What :func:`build_dataset` did.

    Attributes:
        written: Files that were written.
        kept: Files that were there already.
        missing: What the checkout lacks, in words.
    """

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def build_dataset(
    checkout: str | os.PathLike[str],
    output: str | os.PathLike[str],
    scales: Iterable[str] = tuple(SEARCH_SPACES),
    progress: Progress | None = None,
    *,
    allow_partial: bool = False,
) -> BuildReport:
    """Build a dataset folder from a checkout of HW-GPT-Bench.

    Files that are in the output folder already are kept, so an interrupted build goes on where it stopped; a file is
    written under a temporary name and renamed when it is complete.

    Args:
        checkout: The folder of the checkout, at commit c730d4b.
        output: The folder of the dataset; made if it does not exist.
        scales: Which scales to build.
        progress: Called after every file.
        allow_partial: Build what is there, and report what is missing, instead of raising. A device that lacks
            some of the architectures is left out; memory that does is NaN throughout.

    Returns:
        What was written, kept and missing.

    Raises:
        FileNotFoundError: If the checkout lacks raw files (all raw files, with ``allow_partial``).
        ValueError: If a raw file is damaged, is not what it should be or lacks architectures.
        UnsafePickleError: If a raw file holds anything but plain data.
    """
    root, target = Path(checkout), Path(output)
    chosen = [get_search_space(scale).scale for scale in scales]
    missing = {scale: _missing_files(root, scale) for scale in chosen}
    lacking = [name for names in missing.values() for name in names]
    present = {scale: _present_devices(root, scale) for scale in chosen}
    if (lacking and not allow_partial) or not any(present.values()):
        raise FileNotFoundError(
            f"checkout {str(root)!r} lacks {len(lacking)} of the raw files of HW-GPT-Bench: {', '.join(lacking)}"
        )
    report = BuildReport(missing=lacking)
    total, done = sum(1 + len(devices) for devices in present.values() if devices), 0
    for scale, devices in present.items():
        builder = _ScaleBuilder(root, target, scale, devices, allow_partial, report)
        for file in builder.files():
            done += 1
            if progress is not None:
                progress(f"{scale}/{file.name}", done, total)
    if report.missing:
        logger.warning("built what is there; %d things are missing, see the report", len(report.missing))
    return report


class _ScaleBuilder:
    """Builds the files of one scale."""

    def __init__(
        self,
        root: Path,
        target: Path,
        scale: str,
        devices: Sequence[Device],
        allow_partial: bool,
        report: BuildReport,
    ) -> None:
        self.root, self.scale, self.devices = root, scale, devices
        self.folder = target / scale
        self.allow_partial, self.report = allow_partial, report
        self.sequence: dict[str, int] = {}

    def files(self) -> Iterable[Path]:
        """Build one file after the other, and yield it when it is done."""
        if not self.devices:
            return
        architectures = self.folder / "architectures.parquet"
        if not self._keep(architectures):
            self._write(self._architectures(), architectures)
        self.sequence = _read_sequence(architectures)
        yield architectures
        for device in self.devices:
            file = self.folder / f"{FILE_NAMES[device.name]}.parquet"
            if not self._keep(file):
                table = self._device(device)
                if table is not None:
                    self._write(table, file)
            yield file

    def _architectures(self) -> pa.Table:
        import pyarrow as pa

        entries = self._reference()
        self.sequence = {name: entry.order for name, entry in entries.items()}
        architectures = [Architecture.from_config(entry.values["arch"], self.scale) for entry in entries.values()]
        flops = [int(entry.values["flops"]) for entry in entries.values()]
        if 0 in flops:  # DeepSpeed sees no FLOPs on some CPUs
            self._lack(f"{self.scale}: profiled_flops (no GPU's latency files)")
        measured = read_blocks(self.root / f"arch_ppl_bench_{self.scale}", "ppl_observations_tracker", self.scale)
        quality = {
            name: [float(measured[entry].values[name]) if entry in measured else np.nan for entry in entries]
            for name in ("perplexity", "accuracy")
        }
        columns = {
            "order": pa.array(list(self.sequence.values()), pa.int16()),
            "arch": pa.array(list(entries), pa.string()),
            "embed_dim": pa.array([a.embed_dim for a in architectures], pa.int16()),
            "n_layer": pa.array([a.n_layer for a in architectures], pa.int8()),
            "mlp_ratio": pa.array([a.mlp_ratio for a in architectures], pa.list_(pa.int8())),
            "n_head": pa.array([a.n_head for a in architectures], pa.list_(pa.int8())),
            "bias": pa.array([a.bias for a in architectures], pa.bool_()),
            **{name: pa.array(np.array(values, dtype=np.float32)) for name, values in quality.items()},
            "perplexity_upstream_mlp": pa.nulls(len(entries), pa.float32()).fill_null(np.nan),
            "profiled_params": pa.array([int(e.values["params"]) for e in entries.values()], pa.int64()),
            "profiled_flops": pa.array(flops, pa.int64()),
            **{name: self._memory(name) for name in _MEMORY_FOLDERS},
        }
        return pa.table(columns)

    def _reference(self) -> dict[str, RawEntry]:
        """Read the latency files that define the sequence: of the first device whose files are complete."""
        first: dict[str, RawEntry] = {}
        for device in self.devices:
            folder = _latency_folder(self.root, device, self.scale)
            entries = read_blocks(folder, "efficiency_observations", self.scale)
            first = first or entries
            if len(entries) == sum(b.end - b.start for b in find_blocks(folder, "efficiency_observations")):
                first = entries
                break
        if len({entry.order for entry in first.values()}) < len(first):
            raise ValueError(f"{folder}: a file has more entries than its range")
        return dict(sorted(first.items(), key=lambda item: item[1].order))

    def _memory(self, name: str) -> pa.Array:
        import pyarrow as pa

        folder = self.root / _RESULTS / f"{_MEMORY_FOLDERS[name]}{_suffix(self.scale)}"
        entries = read_blocks(folder, "efficiency_observations", self.scale)
        values = np.full(len(self.sequence), np.nan, dtype=np.float32)
        if entries and self._covers(entries, f"{self.scale}: {name}", extra_allowed=True):
            values = np.array([entries[arch].values["mean_mem"] for arch in self.sequence], dtype=np.float32)
        return pa.array(values)

    def _device(self, device: Device) -> pa.Table | None:
        """Return a device's table, ``None`` if it does not cover the architectures and need not."""
        import pyarrow as pa

        folder = _latency_folder(self.root, device, self.scale)
        entries = read_blocks(folder, "efficiency_observations", self.scale)
        if not self._covers(entries, f"{self.scale}: latency of {device.name}"):
            return None
        rows = [entries[arch] for arch in self.sequence]
        columns = {
            "order": pa.array(list(self.sequence.values()), pa.int16()),
            "latency_ms": _repeats([_latency_ms(entry, device) for entry in rows], "latency", folder),
        }
        if device.kind == "cpu":
            for moment in ("mean", "std"):
                values = np.array([entry.values[f"{moment}_energy_cpu"] for entry in rows], dtype=np.float32)
                columns[f"energy_wh_{moment}"] = pa.array(values)
            return pa.table(columns)
        energies = read_blocks(folder, "efficiency_energy_observations_tracker", self.scale)
        if not self._covers(energies, f"{self.scale}: energy of {device.name}"):
            return None
        observed = [energies[arch].values["energy_gpu"] for arch in self.sequence]
        columns["energy_wh"] = _repeats(observed, "energy", folder)
        return pa.table(columns)

    def _covers(self, entries: dict[str, RawEntry], what: str, extra_allowed: bool = False) -> bool:
        """Whether measurements are there of every architecture; if not, report or raise."""
        lacking = [name for name in self.sequence if name not in entries]
        extra = [] if extra_allowed else [name for name in entries if name not in self.sequence]
        if lacking or extra:
            example = (lacking or extra)[0]
            self._lack(f"{what} ({len(lacking)} architectures too few, {len(extra)} too many, such as {example})")
            return False
        return True

    def _lack(self, what: str) -> None:
        if not self.allow_partial:
            raise ValueError(f"checkout {str(self.root)!r} lacks {what}; allow_partial=True builds the rest")
        self.report.missing.append(what)

    def _keep(self, file: Path) -> bool:
        if file.is_file():
            self.report.kept.append(file)
        return file.is_file()

    def _write(self, table: pa.Table, file: Path) -> None:
        import pyarrow.parquet as pq

        with replacing(file, parents=True) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        self.report.written.append(file)


def _latency_ms(entry: RawEntry, device: Device) -> list[float]:
    """Return an architecture's latencies in milliseconds."""
    times, units = (entry.values[f"{name}_{device.kind}"] for name in ("times_profiler", "unit"))
    unknown = set(units) - set(_MILLISECONDS)
    if unknown or len(units) != len(times):
        raise ValueError(
            f"{entry.file}: every time must have a unit of {list(_MILLISECONDS)}, got {units!r} for {times!r}"
        )
    return [time * _MILLISECONDS[unit] for time, unit in zip(times, units, strict=True)]


def _repeats(rows: Sequence[Sequence[float]], what: str, folder: Path) -> pa.Array:
    """Return a column of equally many observations a row, float32."""
    import pyarrow as pa

    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"{folder}: {what} must have equally many observations everywhere, got {sorted(lengths)}")
    return pa.FixedSizeListArray.from_arrays(np.array(rows, dtype=np.float32).reshape(-1), lengths.pop())


def _read_sequence(file: Path) -> dict[str, int]:
    """Read names and order of the architectures."""
    import pyarrow.parquet as pq

    table = pq.read_table(file, columns=["arch", "order"])
    return dict(zip(table["arch"].to_pylist(), table["order"].to_pylist(), strict=True))


def _present_devices(root: Path, scale: str) -> list[Device]:
    """Return the devices with raw files, GPUs first."""
    return [d for d in DEVICES.values() if all(find_blocks(*kind) for kind in _device_files(root, d, scale))]


def _missing_files(root: Path, scale: str) -> list[str]:
    kinds = [kind for device in DEVICES.values() for kind in _device_files(root, device, scale)]
    memory = (root / _RESULTS / f"{folder}{_suffix(scale)}" for folder in _MEMORY_FOLDERS.values())
    kinds += [(folder, "efficiency_observations") for folder in memory]
    kinds.append((root / f"arch_ppl_bench_{scale}", "ppl_observations_tracker"))
    return [f"{(folder / prefix).relative_to(root)}_*" for folder, prefix in kinds if not find_blocks(folder, prefix)]


def _device_files(root: Path, device: Device, scale: str) -> list[tuple[Path, str]]:
    folder = _latency_folder(root, device, scale)
    kinds = ["efficiency_observations"]
    if device.kind == "gpu":
        kinds.append("efficiency_energy_observations_tracker")
    return [(folder, kind) for kind in kinds]


def _latency_folder(root: Path, device: Device, scale: str) -> Path:
    return root / _RESULTS / f"latency_{UPSTREAM_NAMES[device.name]}{_suffix(scale)}"


def _suffix(scale: str) -> str:
    return "" if scale == "s" else f"_{scale}"
