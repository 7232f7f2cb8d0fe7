"""A dataset of measurements: a folder of columns, read lazily and validated.

The folder has one sub-folder per scale, with ``architectures.parquet`` and a ``{device}.parquet`` per device,
whose rows are joined to the architectures on ``order``, the position in the profiling sequence. Units are the
files': milliseconds, watt-hours, megabytes of 10^6 bytes; ``energy_j`` and ``energy_j_std`` are in joules.
:func:`hwgpt_gym.dataset.upstream.build_dataset` builds such a folder from HW-GPT-Bench's raw files.

Floating-point columns are stored as float32 and handed out as float64, integers as int64.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.dataset.parquet import check_values, encode_architectures, floats, integers, join_rows, read_table
from hwgpt_gym.devices import DEVICES, Device, get_device
from hwgpt_gym.search_space import (
    SEARCH_SPACES,
    Encoded,
    FloatArray,
    IntArray,
    SearchSpace,
    get_search_space,
)

if TYPE_CHECKING:
    import pyarrow as pa

DATASET_VARIABLE: Final = "HWGPT_DATASET"
"""The environment variable that names the dataset folder."""

JOULES_PER_WATT_HOUR: Final = 3600.0

MAY_BE_NAN: Final = ("perplexity", "accuracy", "perplexity_upstream_mlp")
"""Columns with NaN where nothing was measured."""

MAY_BE_ALL_NAN: Final = ("float16_memory_mb", "bfloat16_memory_mb")
"""Columns that are NaN throughout or nowhere: a partial build of the dataset may lack them."""

# The columns of a file and their kinds, in the words of `columns.read_table`.
_ARCHITECTURE_COLUMNS: Final = {
    "order": "integer",
    "arch": "string",
    "embed_dim": "integer",
    "n_layer": "integer",
    "mlp_ratio": "list of integer",
    "n_head": "list of integer",
    "bias": "bool",
    "perplexity": "floating",
    "accuracy": "floating",
    "profiled_params": "integer",
    "profiled_flops": "integer",
    "float16_memory_mb": "floating",
    "bfloat16_memory_mb": "floating",
}
_OPTIONAL_COLUMNS: Final = {"perplexity_upstream_mlp": "floating"}
_GPU_COLUMNS: Final = {"order": "integer", "latency_ms": "list of floating", "energy_wh": "list of floating"}
_CPU_COLUMNS: Final = {
    "order": "integer",
    "latency_ms": "list of floating",
    "energy_wh_mean": "floating",
    "energy_wh_std": "floating",
}


def default_dataset_path() -> Path | None:
    """Return the folder named by the environment variable ``HWGPT_DATASET``, ``None`` if it is not set."""
    value = os.environ.get(DATASET_VARIABLE)
    return Path(value) if value else None


def load_dataset(path: str | os.PathLike[str] | None = None) -> Dataset:
    """Open a dataset; nothing is read before it is asked for.

    Args:
        path: The folder; by default the one that ``HWGPT_DATASET`` names.

    Raises:
        ValueError: If neither a path nor ``HWGPT_DATASET`` is given, or the folder holds no scale.
        FileNotFoundError: If there is no such folder.
    """
    chosen = default_dataset_path() if path is None else Path(path)
    if chosen is None:
        raise ValueError(f"no dataset: name its folder, or let the environment variable {DATASET_VARIABLE} name it")
    return Dataset(chosen)


@dataclass(frozen=True)
class DeviceMeasurements:
    """What was measured on one device, a row per architecture, in the order of the architectures.

    Attributes:
        device: The device.
        latency_ms: Repeated observations, milliseconds, ``(n, repeats)``.
        energy_wh: GPUs: repeated observations of a forward pass, watt-hours, ``(n, repeats)``; else ``None``.
        energy_wh_mean: CPUs: the mean of the observations, watt-hours, ``(n,)``; else ``None``.
        energy_wh_std: CPUs: their standard deviation, watt-hours, ``(n,)``; else ``None``.
    """

    device: Device
    latency_ms: FloatArray
    energy_wh: FloatArray | None
    energy_wh_mean: FloatArray | None
    energy_wh_std: FloatArray | None

    @property
    def energy_j(self) -> FloatArray:
        """Observations of the energy in joules, ``(n, repeats)``; for CPUs their mean, ``(n, 1)``."""
        if self.energy_wh is not None:
            return self.energy_wh * JOULES_PER_WATT_HOUR
        assert self.energy_wh_mean is not None
        return self.energy_wh_mean[:, None] * JOULES_PER_WATT_HOUR

    @property
    def energy_j_std(self) -> FloatArray:
        """The standard deviation of the observations in joules, ``(n,)``."""
        if self.energy_wh_std is not None:
            return self.energy_wh_std * JOULES_PER_WATT_HOUR
        std: FloatArray = self.energy_j.std(axis=1)
        return std


class Dataset(Mapping[str, "ScaleMeasurements"]):
    """A dataset folder: a mapping from scale to :class:`ScaleMeasurements`.

    >>> dataset = Dataset("path/to/dataset")  # doctest: +SKIP
    >>> dataset["s"].device("a6000").latency_ms.shape  # doctest: +SKIP
    (9000, 10)

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no scale.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"dataset folder {str(self.path)!r} does not exist")
        self.scales = tuple(s for s in SEARCH_SPACES if (self.path / s / "architectures.parquet").is_file())
        if not self.scales:
            raise ValueError(
                f"dataset folder {str(self.path)!r} holds no scale: "
                f"expected {'/'.join(SEARCH_SPACES)} with an architectures.parquet each"
            )
        self._measurements = {scale: ScaleMeasurements(self.path / scale, scale) for scale in self.scales}

    def __getitem__(self, scale: str) -> ScaleMeasurements:
        get_search_space(scale)
        if scale not in self._measurements:
            raise ValueError(f"dataset {str(self.path)!r} lacks scale {scale!r}, it has {list(self.scales)}")
        return self._measurements[scale]

    def __contains__(self, scale: object) -> bool:
        return scale in self._measurements

    def __iter__(self) -> Iterator[str]:
        return iter(self.scales)

    def __len__(self) -> int:
        return len(self.scales)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content, hexadecimal; it does not depend on how the files are compressed."""
        digest = hashlib.sha256()
        for scale in self.scales:
            digest.update(f"{scale} {self[scale].fingerprint}\n".encode())
        return digest.hexdigest()

    def validate(self) -> None:
        """Read every file.

        Raises:
            ValueError: If one is not what it should be.
        """
        for measurements in self.values():
            measurements.columns()


class ScaleMeasurements:
    """The measurements of one scale; see :class:`Dataset`.

    Every array has a row per architecture, by ascending ``order``.

    Attributes:
        path: The folder.
        space: The search space.
        devices: The devices that were profiled, in the order of :data:`hwgpt_gym.devices.DEVICES`.
    """

    def __init__(self, path: Path, scale: str) -> None:
        self.path = path
        self.space: SearchSpace = get_search_space(scale)
        self._files = {file.stem.lower(): file for file in path.glob("*.parquet")}
        self.devices = tuple(name for name in DEVICES if name in self._files)
        self._device_cache: dict[str, DeviceMeasurements] = {}

    def __len__(self) -> int:
        return len(self.order)

    def device(self, name: str) -> DeviceMeasurements:
        """Return what was measured on a device, whatever the case of its name.

        Raises:
            ValueError: If the device is unknown or absent, or its file is not what it should be.
        """
        device = get_device(name)
        if device.name not in self._files:
            raise ValueError(f"{str(self.path)!r} lacks device {device.name!r}, it has {list(self.devices)}")
        if device.name not in self._device_cache:
            self._device_cache[device.name] = self._read_device(device)
        return self._device_cache[device.name]

    @cached_property
    def order(self) -> IntArray:
        """Position in the profiling sequence, ascending, ``int64 (n,)``."""
        return integers(self._architectures, "order")

    @cached_property
    def names(self) -> list[str]:
        """Upstream's names of the architectures."""
        names: list[str] = self._architectures["arch"].to_pylist()
        return names

    @cached_property
    def encoded(self) -> Encoded:
        """The architectures, ``int8 (n, D)``."""
        return encode_architectures(self._architectures, self.space, self._files["architectures"])

    @cached_property
    def perplexity(self) -> FloatArray:
        """Measured perplexity, NaN where not measured, ``(n,)``."""
        return self._floats("perplexity")

    @cached_property
    def accuracy(self) -> FloatArray:
        """Measured accuracy, NaN where not measured, ``(n,)``."""
        return self._floats("accuracy")

    @cached_property
    def perplexity_upstream_mlp(self) -> FloatArray:
        """The prediction of upstream's perplexity MLP, ``(n,)``; NaN throughout if the file lacks it."""
        if "perplexity_upstream_mlp" not in self._architectures.column_names:
            return np.full(len(self), np.nan)
        return self._floats("perplexity_upstream_mlp")

    @cached_property
    def profiled_params(self) -> IntArray:
        """Parameters of the profiled model, ``int64 (n,)``."""
        return integers(self._architectures, "profiled_params")

    @cached_property
    def profiled_flops(self) -> IntArray:
        """DeepSpeed's FLOPs of the profiled model at the scale's latency batch size, ``int64 (n,)``."""
        return integers(self._architectures, "profiled_flops")

    @cached_property
    def float16_memory_mb(self) -> FloatArray:
        """Allocated GPU memory after a forward pass in float16, MB, ``(n,)``."""
        return self._floats("float16_memory_mb")

    @cached_property
    def bfloat16_memory_mb(self) -> FloatArray:
        """Allocated GPU memory after a forward pass in bfloat16, MB, ``(n,)``."""
        return self._floats("bfloat16_memory_mb")

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Read every column, those of devices as ``{device}.{column}``.

        Raises:
            ValueError: If a file is not what it should be.
        """
        columns: dict[str, npt.NDArray[Any]] = {"encoded": self.encoded, "order": self.order}
        for name in ("profiled_params", "profiled_flops", *MAY_BE_NAN, *MAY_BE_ALL_NAN):
            columns[name] = getattr(self, name)
        for device in self.devices:
            for field in ("latency_ms", "energy_wh", "energy_wh_mean", "energy_wh_std"):
                values = getattr(self.device(device), field)
                if values is not None:
                    columns[f"{device}.{field}"] = values
        return columns

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content of this scale, hexadecimal."""
        digest = hashlib.sha256()
        for name, column in self.columns().items():
            digest.update(f"{name} {column.dtype.str} {column.shape}\n".encode())
            if column.dtype.kind == "f":
                column = np.where(np.isnan(column), np.nan, column)  # one bit pattern for every NaN
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    @cached_property
    def _architectures(self) -> pa.Table:
        file = self._files["architectures"]
        table = read_table(file, _ARCHITECTURE_COLUMNS, _OPTIONAL_COLUMNS)
        order = integers(table, "order")
        if (np.diff(order) <= 0).any():
            raise ValueError(f"{file}: column 'order' must be strictly ascending")
        for name in ("profiled_params", "profiled_flops"):
            if (integers(table, name) < 0).any():
                raise ValueError(f"{file}: column {name!r} must not be negative")
        return table

    def _floats(self, column: str) -> FloatArray:
        values = floats(self._architectures, column, self._files["architectures"])
        missing = np.isnan(values)
        allowed = column in MAY_BE_NAN or (column in MAY_BE_ALL_NAN and bool(missing.all()))
        check_values(values, self._files["architectures"], column, nan_allowed=allowed, positive=True)
        return values

    def _read_device(self, device: Device) -> DeviceMeasurements:
        file = self._files[device.name]
        table = read_table(file, _GPU_COLUMNS if device.kind == "gpu" else _CPU_COLUMNS)
        rows = join_rows(integers(table, "order"), self.order, file)
        columns: dict[str, FloatArray | None] = {
            "energy_wh": None,
            "energy_wh_mean": None,
            "energy_wh_std": None,
        }
        for name in table.column_names:
            if name != "order":
                values = floats(table, name, file)[rows]
                check_values(values, file, name, nan_allowed=False, positive=name != "energy_wh_std")
                columns[name] = values
        latency = columns.pop("latency_ms")
        assert latency is not None
        return DeviceMeasurements(device, latency, **columns)
