"""Tables of architectures: a row for each architecture and device, as a data frame or a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_path
from hwgpt_gym.files import replacing
from hwgpt_gym.interop.configurations import decision_values
from hwgpt_gym.optimum.front import ParetoFront
from hwgpt_gym.search_space import BIAS, EMBED_DIM, N_LAYER, Encoded, SearchSpace, layers_of

if TYPE_CHECKING:
    import pandas
    import pyarrow

ROWS: Final = 65_536
"""About how many rows of a file are made at once: memory then does not grow with the file."""


def to_dataframe(
    benchmark: Benchmark, architectures: npt.ArrayLike | ParetoFront, metrics: Iterable[str] | None = None
) -> pandas.DataFrame:
    """Return a row for each architecture and device.

    Columns are ``architecture`` (its name) and ``device``, both categorical, each decision's value by its name
    (``Int16`` and ``boolean``; missing where a layer lies beyond the depth), and the metrics, ``float64`` in their
    units. Without a device there is no column ``device``.

    Args:
        benchmark: The benchmark, of any number of devices.
        architectures: The architectures, integers ``(n, D)``, or a front.
        metrics: The metrics; by default the front's, or all of the benchmark.

    Returns:
        By architecture, then by device in the benchmark's order: ``n`` times the number of devices rows.

    Raises:
        ValueError: If an architecture is not valid, or a metric unknown or in need of a device.
    """
    import pandas as pd
    import pyarrow as pa

    encoded, keys = _unpack(benchmark, architectures, metrics)
    nullable = {pa.int16(): pd.Int16Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = _table(benchmark, encoded, keys).to_pandas(types_mapper=nullable.get)
    return frame


def write_parquet(
    path: str | os.PathLike[str],
    benchmark: Benchmark,
    architectures: npt.ArrayLike | ParetoFront,
    metrics: Iterable[str] | None = None,
) -> int:
    """Write the rows of :func:`to_dataframe` to a Parquet file, whole or not at all.

    Args:
        path: The file.
        benchmark: As for :func:`to_dataframe`.
        architectures: As for :func:`to_dataframe`.
        metrics: As for :func:`to_dataframe`.

    Returns:
        The number of rows.

    Raises:
        ValueError: As :func:`to_dataframe`; no file is written then.
    """
    import pyarrow.parquet as pq

    check_path("path", path)
    encoded, keys = _unpack(benchmark, architectures, metrics)
    step = max(1, ROWS // max(1, len(benchmark.devices)))
    first = _table(benchmark, encoded[:step], keys)
    rows = 0
    with replacing(path) as temporary, pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
        for start in range(0, max(1, len(encoded)), step):
            part = _table(benchmark, encoded[start : start + step], keys) if start else first
            writer.write_table(part)
            rows += part.num_rows
    return rows


def names_of(space: SearchSpace, encoded: Encoded) -> npt.NDArray[np.object_]:
    """Return the names of valid architectures, as :meth:`Architecture.to_string` writes them, ``object (n,)``.

    It joins columns of texts, which takes a small part of the time that decoding takes.
    """

    def texts(legal: Iterable[object], choices: npt.NDArray[Any]) -> npt.NDArray[np.object_]:
        # What lies beyond the depth is -1 and takes the last text, the empty one.
        column: npt.NDArray[np.object_] = np.array([*(f"-{value}" for value in legal), ""], dtype=object)[choices]
        return column

    layers = layers_of(encoded)
    names: npt.NDArray[np.object_] = f"gpt-{space.scale}" + texts(space.depths, encoded[:, N_LAYER])
    names += texts(space.embed_dims, encoded[:, EMBED_DIM])
    for position, legal in enumerate((space.mlp_ratios, space.head_counts)):
        for layer in range(space.max_layers):
            names += texts(legal, layers[:, layer, position])
    names += texts(space.biases, encoded[:, BIAS])
    return names


def _unpack(
    benchmark: Benchmark, architectures: npt.ArrayLike | ParetoFront, metrics: Iterable[str] | None
) -> tuple[Encoded, tuple[str, ...]]:
    """Return the architectures, ``int8 (n, D)``, and the metrics, both checked."""
    check_benchmark(benchmark, "benchmark")
    if isinstance(architectures, ParetoFront):
        metrics = architectures.metrics if metrics is None else metrics
        architectures = architectures.encoded
    encoded = benchmark.space.validate(architectures)
    return encoded, tuple(benchmark.evaluate(encoded[:0], metrics))


def _table(benchmark: Benchmark, encoded: Encoded, keys: tuple[str, ...]) -> pyarrow.Table:
    """Return the rows of a few architectures, ``int8 (n, D)``."""
    import pyarrow as pa

    space, names = benchmark.space, [device.name for device in benchmark.devices]
    repeats = max(1, len(names))
    architecture = np.repeat(np.arange(len(encoded), dtype=np.int32), repeats)
    device = np.tile(np.arange(len(names), dtype=np.int32), len(encoded))
    written = pa.array(names_of(space, encoded), pa.string())
    columns: dict[str, Any] = {"architecture": pa.DictionaryArray.from_arrays(architecture, written)}
    if names:
        columns["device"] = pa.DictionaryArray.from_arrays(device, names)
    missing = ~space.active(encoded)
    for column, (name, legal) in enumerate(decision_values(space).items()):
        values = np.asarray(legal, dtype=np.bool_ if isinstance(legal[0], bool) else np.int16)[encoded[:, column]]
        columns[name] = pa.array(np.repeat(values, repeats), mask=np.repeat(missing[:, column], repeats))
    for key, predicted in benchmark.evaluate(encoded, keys).items():
        columns[key] = predicted.ravel() if predicted.ndim == 2 else np.repeat(predicted, repeats)
    return pa.table(columns)
