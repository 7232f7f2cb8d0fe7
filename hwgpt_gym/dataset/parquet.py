"""Reading and checking the columns of a dataset's parquet files; see :mod:`hwgpt_gym.dataset.measurements`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    HEAD_COLUMNS,
    MLP_COLUMNS,
    N_LAYER,
    NOT_SET,
    Encoded,
    FloatArray,
    IntArray,
    SearchSpace,
)

if TYPE_CHECKING:
    import pyarrow as pa


def read_table(file: Path, required: Mapping[str, str], optional: Mapping[str, str] | None = None) -> pa.Table:
    """Read the columns of a parquet file.

    Args:
        file: The file.
        required: The columns it must have and their kinds: ``"integer"``, ``"floating"``, ``"string"``,
            ``"bool"``, or ``"list of ..."`` one of these.
        optional: Columns it may have.

    Returns:
        The table, without columns that were not asked for.

    Raises:
        ValueError: If the file is no readable parquet file, is empty, or a column is missing, has another
            type or has nulls.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)  # type: ignore[no-untyped-call, unused-ignore]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file}: not a readable parquet file (truncated or damaged?): {error}") from error
    present = {name: kind for name, kind in (optional or {}).items() if name in table.column_names}
    wanted = {**required, **present}
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise ValueError(f"{file}: missing columns {missing}; required are {list(required)}")
    for name, kind in wanted.items():
        found = table.schema.field(name).type
        if not _is_kind(found, kind):
            raise ValueError(f"{file}: column {name!r} must be of type {kind}, got {found}")
        column = table[name].combine_chunks()
        if column.null_count or (kind.startswith("list") and column.flatten().null_count):
            raise ValueError(f"{file}: column {name!r} must not have nulls")
    if not table.num_rows:
        raise ValueError(f"{file}: no rows")
    return table.select(list(wanted))


def integers(table: pa.Table, name: str) -> IntArray:
    """Return an integer column, ``int64 (n,)``."""
    return np.asarray(table[name].to_numpy(), dtype=np.int64)


def floats(table: pa.Table, name: str, file: Path) -> FloatArray:
    """Return a floating-point column, float64 ``(n,)``, or ``(n, repeats)`` if its entries are lists.

    Raises:
        ValueError: If lists differ in length or are empty.
    """
    values, lengths = _flatten(table, name)
    if lengths is None:
        return values.astype(np.float64)
    if lengths.min() != lengths.max() or not lengths[0]:
        raise ValueError(f"{file}: column {name!r} must have equally many observations in every row, at least one")
    return values.astype(np.float64).reshape(len(lengths), -1)


def check_values(values: FloatArray, file: Path, name: str, *, nan_allowed: bool, positive: bool) -> None:
    """Check measurements.

    Args:
        values: The measurements, ``(n,)`` or ``(n, repeats)``.
        file: Where they are from, for the message.
        name: The column, for the message.
        nan_allowed: Whether NaN (not measured) is legal.
        positive: Whether zero is illegal.

    Raises:
        ValueError: If a value is illegal; the message says which and how many.
    """
    legal = (values > 0 if positive else values >= 0) & np.isfinite(values)
    if nan_allowed:
        legal |= np.isnan(values)
    if not legal.all():
        row = int(np.argwhere(~legal)[0][0])
        words = ("positive" if positive else "not negative") + (" or NaN" if nan_allowed else ", not NaN")
        raise ValueError(
            f"{file}: column {name!r} must be finite and {words}, got {values[~legal][0]} in row {row} "
            f"({int((~legal).sum())} such values)"
        )


def join_rows(device_order: IntArray, order: IntArray, file: Path) -> IntArray:
    """Return the row of the device's table for every architecture, ``int64 (n,)``.

    Args:
        device_order: ``order`` of the device's rows, ``(m,)``.
        order: ``order`` of the architectures, ascending, ``(n,)``.
        file: The device's file, for the message.

    Raises:
        ValueError: If the device has rows twice, rows without an architecture, or none for an architecture.
    """
    unique, rows, counts = np.unique(device_order, return_index=True, return_counts=True)
    for values, fault in (
        (unique[counts > 1], "has several rows with order"),
        (np.setdiff1d(unique, order), "has rows that no architecture joins, order"),
        (np.setdiff1d(order, unique), "lacks rows of the architectures with order"),
    ):
        if len(values):
            raise ValueError(
                f"{file}: column 'order' must join one to one with architectures.parquet, "
                f"but {fault} {values[:5].tolist()} ({len(values)} in all)"
            )
    return rows.astype(np.int64)


def encode_architectures(table: pa.Table, space: SearchSpace, file: Path) -> Encoded:
    """Encode the architectures of a table, ``int8 (n, D)``, and check that their names agree.

    Raises:
        ValueError: If a value is not a choice of the space, a list is shorter or longer than the depth, or a
            name differs.
    """
    encoded = np.full((table.num_rows, space.num_decisions), NOT_SET, dtype=np.int8)
    legal: tuple[int, ...]
    for column, name, legal in (
        (EMBED_DIM, "embed_dim", space.embed_dims),
        (N_LAYER, "n_layer", space.depths),
        (BIAS, "bias", space.biases),
    ):
        values, _ = _flatten(table, name)
        encoded[:, column] = _choices(values, legal, file, name)
    n_layer = space.n_layer(encoded)
    exists = np.arange(space.max_layers) < n_layer[:, None]
    for columns, name, legal in (
        (MLP_COLUMNS, "mlp_ratio", space.mlp_ratios),
        (HEAD_COLUMNS, "n_head", space.head_counts),
    ):
        values, lengths = _flatten(table, name)
        if lengths is None or not np.array_equal(lengths, n_layer):
            raise ValueError(f"{file}: column {name!r} must have n_layer entries in every row")
        encoded[:, columns][exists] = _choices(values, legal, file, name)
    _check_names(table, space, file)
    return encoded


def _check_names(table: pa.Table, space: SearchSpace, file: Path) -> None:
    columns = ("arch", "n_layer", "embed_dim", "mlp_ratio", "n_head", "bias")
    for row, (arch, n_layer, embed_dim, mlp_ratio, n_head, bias) in enumerate(
        zip(*(table[name].to_pylist() for name in columns), strict=True)
    ):
        expected = f"gpt-{space.scale}-{n_layer}-{embed_dim}-{'-'.join(map(str, mlp_ratio + n_head))}-{bias}"
        if arch != expected:
            raise ValueError(
                f"{file}: column 'arch' must agree with the other columns, row {row} is {arch!r}, expected {expected!r}"
            )


def _choices(
    values: npt.NDArray[Any], legal: tuple[int, ...] | tuple[bool, ...], file: Path, name: str
) -> npt.NDArray[np.int8]:
    """Return the choice index of every value."""
    matches = values[:, None] == np.asarray(legal)
    if not matches.any(axis=1).all():
        wrong = values[~matches.any(axis=1)][0]
        raise ValueError(f"{file}: column {name!r} must hold one of {list(legal)}, got {wrong}")
    choices: npt.NDArray[np.int8] = matches.argmax(axis=1).astype(np.int8)
    return choices


def _flatten(table: pa.Table, name: str) -> tuple[npt.NDArray[Any], IntArray | None]:
    """Return the values of a column, and the lengths of its lists if it has lists."""
    import pyarrow.compute as pc

    column = table[name].combine_chunks()
    if not hasattr(column.type, "value_type"):
        return column.to_numpy(zero_copy_only=False), None
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy(zero_copy_only=False), lengths.astype(np.int64)


def _is_kind(found: pa.DataType, kind: str) -> bool:
    import pyarrow.types as types

    if kind.startswith("list of "):
        is_list = types.is_list(found) or types.is_large_list(found) or types.is_fixed_size_list(found)
        return is_list and _is_kind(found.value_type, kind.removeprefix("list of "))
    if kind == "string":
        return bool(types.is_string(found) or types.is_large_string(found))
    checks = {"integer": types.is_integer, "floating": types.is_floating, "bool": types.is_boolean}
    return bool(checks[kind](found))
