"""What an observation says of limited costs: their tables, and what partial architectures take of the limits.

Everything is a share of the limit. That of all that is decided so far, and what the cheapest completion leaves, follow
the decisions exactly: each decision adds numbers that depend on the device, the width, depth and bias, and the choice.
These stand in one table, so that a step is a look-up whatever the length of the encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import NUM_CHOICES, FloatArray, SearchSpace
from hwgpt_gym.surrogates.cost_tables import SLOTS, TABLE, split_tables

SHARES: Final = 7
"""Columns of a slot that follow the decisions: used, slack, span, slack in layers, and the steps of the choices."""

_SUMS: Final = 4
"""How many of them add up along an episode; the others are those of the next decision."""

_DEPTH, _BIAS, _MLP, _HEAD, _LAST_HEAD, _KINDS = 1, 4, 13, 19, 25, 31
"""The first of each kind of decision: the width; by width the depth; by width and depth the bias; by width and bias the
MLP, the heads, and the heads of the last layer."""


def limit_parts(num_costs: int) -> tuple[tuple[str, int], ...]:
    """Return names and widths of the columns that describe so many limited costs: two slots, more if needed."""
    slots = max(SLOTS, num_costs)
    return (("costs", slots * (1 + TABLE)), ("shares", slots * SHARES))


def squash(values: Any) -> Any:
    """Bring numbers into (0, 1): ``x`` becomes ``(1 + x / (1 + |x|)) / 2``."""
    return (values / (np.abs(values) + 1.0) + 1.0) * 0.5


def expand(values: Any) -> Any:
    """Undo :func:`squash`, of numpy's arrays or torch's tensors."""
    signed = 2.0 * values - 1.0
    # Where there is no cost, zeros stand: they must not divide by zero.
    return signed / (1.0 - abs(signed) + 1e-12)


class LimitTables:
    """Limited costs of some devices, ready to be shown; immutable, and shared by copies.

    Args:
        space: The search space.
        tables: Of each device and limited cost (:func:`hwgpt_gym.surrogates.cost_tables.cost_table`), in any unit,
            ``float64 (devices, costs, 54)``.

    Attributes:
        num_costs: The number of costs.
        first: The shares before the first decision, ``float64 (devices, costs * 7)``, as are those of ``records`` in
            the unit of the tables.
        records: What each choice of each kind of decision adds to the sums, and the steps of the decision after it,
            ``float64 (devices * 31 * 3, costs * 7)``.
        following: The kind of the decision after each choice, ``intp (31 * 3,)``.
    """

    def __init__(self, space: SearchSpace, tables: FloatArray) -> None:
        devices, self.num_costs = tables.shape[:2]
        # What a layer costs is shown as if all layers of the middle depth did.
        layers = float(space.depths[1])
        base, mlp, head = split_tables(tables)
        parts = (base, layers * mlp, layers * head)
        self._shown = np.concatenate([part.reshape(devices, self.num_costs, -1) for part in parts], axis=2)
        least, most = (_completions(space, base, mlp, head, extreme) for extreme in (np.min, np.max))
        used = np.zeros((devices, self.num_costs, _KINDS, NUM_CHOICES))
        used[:, :, _BIAS:_MLP] = _three(base).reshape(devices, self.num_costs, -1, NUM_CHOICES)
        for first, part in ((_MLP, mlp), (_HEAD, head), (_LAST_HEAD, head)):
            used[:, :, first : first + 6] = part.reshape(devices, self.num_costs, -1, NUM_CHOICES)
        self.following = _following()
        steps = least.added * np.where(np.arange(_KINDS) < _MLP, 1.0, layers)[:, None]
        # Nothing follows the last heads.
        after = steps[:, :, self.following.reshape(_KINDS, NUM_CHOICES)]
        after[:, :, _LAST_HEAD:] = 0.0
        sums = np.stack([used, -least.added, most.added - least.added, -layers * least.added], axis=-1)
        records = np.concatenate([sums, after], axis=-1).transpose(0, 2, 3, 1, 4)
        self.records = records.reshape(devices * _KINDS * NUM_CHOICES, -1)
        start = np.stack([0.0 * least.first, -least.first, most.first - least.first, -layers * least.first], axis=-1)
        self.first = np.concatenate([start, steps[:, :, 0]], axis=-1).reshape(devices, -1)
        # Slacks start from the whole limit.
        self.whole = np.tile([0.0, 1.0, 0.0, layers, 0.0, 0.0, 0.0], self.num_costs)
        for shared in (self._shown, self.records, self.first, self.following, self.whole):
            shared.flags.writeable = False

    def __deepcopy__(self, memo: dict[int, Any]) -> LimitTables:
        return self

    def complete(self, ratios: FloatArray) -> npt.NDArray[np.float32]:
        """Return the shares of complete architectures, ``float32 (m, costs * 7)``.

        Args:
            ratios: Their costs by the limits, ``float64 (m, costs)``.
        """
        used = np.zeros((len(ratios), self.num_costs, SHARES))
        used[:, :, 0], used[:, :, 1], used[:, :, 3] = ratios, -ratios, -self.whole[3] * ratios
        return _shown(used.reshape(len(ratios), -1) + self.whole)

    def columns(self, device: npt.NDArray[np.intp], limits: FloatArray) -> npt.NDArray[np.float32]:
        """Return the columns of the tables, ``float32 (m, slots * 55)``.

        Args:
            device: The device of every row, ``intp (m,)``.
            limits: The limit of every cost, ``float64 (m, costs)``.
        """
        columns = np.zeros((len(device), max(SLOTS, self.num_costs), 1 + TABLE), dtype=np.float32)
        columns[:, : self.num_costs, 0] = 1.0
        columns[:, : self.num_costs, 1:] = squash(self._shown[device] / limits[:, :, None])
        return columns.reshape(len(device), -1)


class LimitShares:
    """What the architectures under construction take of their limits, one a lane.

    Args:
        tables: The limited costs.
        num_lanes: The number of lanes.
    """

    def __init__(self, tables: LimitTables, num_lanes: int) -> None:
        self.tables = tables
        self.width = tables.num_costs * SHARES
        self._values = np.zeros((num_lanes, self.width))
        self._limits = np.ones((num_lanes, self.width))
        self._is_sum = np.tile((np.arange(SHARES) < _SUMS) * 1.0, tables.num_costs)
        self._kind = np.zeros(num_lanes, dtype=np.intp)
        self._row = np.zeros(num_lanes, dtype=np.intp)

    def begin(
        self, lanes: npt.NDArray[np.intp], device: npt.NDArray[np.intp], limits: FloatArray
    ) -> npt.NDArray[np.float32]:
        """Begin new architectures on some lanes; return their columns, ``float32 (m, costs * 7)``.

        Args:
            lanes: The lanes, ``intp (m,)``.
            device: Their devices, ``intp (m,)``.
            limits: Their limits, ``float64 (m, costs)``.
        """
        own = np.repeat(limits, SHARES, axis=1)
        values = self.tables.first[device] / own + self.tables.whole
        self._limits[lanes], self._values[lanes] = own, values
        self._kind[lanes] = 0
        self._row[lanes] = device * (_KINDS * NUM_CHOICES)
        return _shown(values)

    def take(self, lanes: Any, choice: Any, ended: Any) -> npt.NDArray[np.float32]:
        """Take a decision on some lanes; return their columns, ``float32 (m, costs * 7)``, of one ``(costs * 7,)``.

        Args:
            lanes: The lanes, ``intp (m,)`` or a slice; or the number of one.
            choice: Their choices, ``intp (m,)``; or one.
            ended: Whether it was the last decision, ``bool (m,)``; or one.
        """
        move = (self._kind[lanes] + (_LAST_HEAD - _HEAD) * ended) * NUM_CHOICES + choice
        values = self.tables.records.take(self._row[lanes] + move, axis=0)
        values /= self._limits[lanes]
        # Sums go on from what they were.
        values += self._values[lanes] * self._is_sum
        self._values[lanes] = values
        self._kind[lanes] = self.tables.following.take(move)
        return _shown(values)


class _Completions(NamedTuple):
    """Costs of the cheapest, or of the dearest, completions.

    Attributes:
        first: That of nothing decided yet, ``float64 (devices, costs)``.
        added: By how much each choice of each kind of decision raises it, ``float64 (devices, costs, 31, 3)``.
    """

    first: FloatArray
    added: FloatArray


def _completions(
    space: SearchSpace, base: FloatArray, mlp: FloatArray, head: FloatArray, extreme: Callable[..., FloatArray]
) -> _Completions:
    layer = extreme(mlp, axis=-1) + extreme(head, axis=-1)
    groups = base + np.array(space.depths)[:, None] * layer[..., None, :]
    by_depth = extreme(groups, axis=-1)
    by_width = extreme(by_depth, axis=-1)
    first = extreme(by_width, axis=-1)
    added = [by_width - first[..., None], by_depth - by_width[..., None], _three(groups) - by_depth[..., None]]
    added += [part - extreme(part, axis=-1, keepdims=True) for part in (mlp, head, head)]
    lead = first.shape
    return _Completions(
        first, np.concatenate([part.reshape(*lead, -1) for part in added], axis=-1).reshape(*lead, _KINDS, -1)
    )


def _three(parts: FloatArray) -> FloatArray:
    """Repeat what is of the second choice of the bias for the third, which means the same."""
    return parts[..., [0, 1, 1]]


def _following() -> npt.NDArray[np.intp]:
    """Return the kind of the decision after each choice of each kind, ``intp (31 * 3,)``."""
    following = np.zeros((_KINDS, NUM_CHOICES), dtype=np.intp)
    choice = np.arange(NUM_CHOICES)
    following[0] = _DEPTH + choice
    following[_DEPTH:_BIAS] = _BIAS + np.arange(9).reshape(3, 3)
    width = np.arange(9)[:, None] // 3
    following[_BIAS:_MLP] = _MLP + 2 * width + np.minimum(choice, 1)
    following[_MLP:_HEAD] = np.arange(_HEAD, _LAST_HEAD)[:, None]
    following[_HEAD:] = np.tile(np.arange(_MLP, _HEAD), 2)[:, None]
    return following.ravel()


def _shown(values: FloatArray) -> npt.NDArray[np.float32]:
    """Return shares as they stand in an observation."""
    # In single precision, and in place: a step is little else.
    shown = values.astype(np.float32)
    size = np.abs(shown)
    size += np.float32(1.0)
    shown /= size
    shown += np.float32(1.0)
    shown *= np.float32(0.5)
    return shown
