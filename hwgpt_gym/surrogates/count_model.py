"""Costs that are linear in counts: latency, energy, memory, parameters and FLOPs.

For a given embedding width and bias, a cost is linear in the number of layers that have each MLP ratio and each head
count, with a base that depends on the depth. Positions do not matter. Parameters and FLOPs have this form exactly;
latency, energy and memory very nearly (see ``docs/surrogates.md``), which is what makes the exact optimum
computable (``docs/optimum.md``).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_array, check_type
from hwgpt_gym.encoding import read_only
from hwgpt_gym.search_space import GROUP_SHAPE, GROUPS, NUM_CHOICES, FloatArray, Group, IntArray, SearchSpace
from hwgpt_gym.surrogates.features import Features, extract


@dataclass(frozen=True, eq=False)
class CountModel:
    """A cost that is linear in counts, of one device or of several.

    With ``e``, ``d`` and ``b`` the choice indices of embedding width, depth and bias::

        cost = base[e, d, b] + sum_k mlp[e, b, k] * mlp_count_k + sum_k head[e, b, k] * head_count_k

    Attributes:
        space: The search space.
        base: ``float64 (3, 3, 2)``, in the metric's unit, as are the others.
        mlp: The cost of a layer's MLP, ``float64 (3, 2, 3)``.
        head: The cost of a layer's attention, ``float64 (3, 2, 3)``.

    All three may have a leading axis of devices, ``(devices, …)``; predictions then have a trailing one. They are
    read-only views.

    Raises:
        ValueError: If a shape is wrong or a number is not finite.
    """

    space: SearchSpace
    base: FloatArray
    mlp: FloatArray
    head: FloatArray

    @staticmethod
    def shapes() -> dict[str, tuple[int, ...]]:
        """Return the shape of every array by name, without the axis of devices."""
        widths, _, biases = GROUP_SHAPE
        return {"base": GROUP_SHAPE, "mlp": (widths, biases, NUM_CHOICES), "head": (widths, biases, NUM_CHOICES)}

    def __post_init__(self) -> None:
        check_type("space", self.space, SearchSpace, "a SearchSpace")
        arrays = {name: check_array(name, getattr(self, name), "iuf", "numbers") for name in self.shapes()}
        devices = arrays["base"].shape[:-3]
        for name, shape in self.shapes().items():
            array = arrays[name]
            if array.shape != (*devices, *shape) or len(devices) > 1:
                raise ValueError(f"{name} must have shape {shape} or (devices, *{shape}), got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite")
            object.__setattr__(self, name, read_only(array))

    def __getitem__(self, device: int | list[int]) -> CountModel:
        """Return the model of one device (without a device axis), or of several (with one), by index."""
        return CountModel(self.space, self.base[device], self.mlp[device], self.head[device])

    def predict(self, encoded: np.ndarray) -> FloatArray:
        """Predict the cost of a valid batch ``int8 (n, D)``: ``float64 (n,)``, or ``(n, devices)``."""
        return self.predict_features(extract(self.space, encoded))

    def predict_features(self, features: Features, device: npt.NDArray[np.intp] | None = None) -> FloatArray:
        """Predict the cost from features that are already extracted.

        Args:
            features: The features of ``n`` architectures.
            device: The index of every row's own device, ``intp (n,)``; all devices if not given.

        Returns:
            ``float64 (n,)`` if the model is of one device or ``device`` is given, else ``(n, devices)``.
        """
        table, row = self._table, features.group
        if device is not None:
            row = row * table.shape[-1] + device
            table = table.reshape(5, -1)
        column = (slice(None),) + (None,) * (table.ndim - 2)
        result: FloatArray = table[0].take(row, axis=0)
        # Term by term, so that a row's result does not depend on the batch it stands in.
        for coefficient, count in zip(table[1:], features.counts, strict=True):
            result += coefficient.take(row, axis=0) * count[column]
        return result

    @cached_property
    def _table(self) -> FloatArray:
        """Constant and coefficients of the four counts by group, ``(5, 18)`` or ``(5, 18, devices)``.

        The count of the first choice is the depth less the other two counts, so it goes into the constant.
        """
        depths = np.asarray(self.space.depths, dtype=np.float64)
        first = (self.mlp[..., 0] + self.head[..., 0])[..., :, None, :] * depths[:, None]
        shape = self.base.shape
        over_depths = [
            np.broadcast_to((part[..., k] - part[..., 0])[..., :, None, :], shape)
            for part in (self.mlp, self.head)
            for k in (1, 2)
        ]
        table = np.stack([self.base + first, *over_depths])
        flat = table.reshape(*table.shape[:-3], len(GROUPS))
        return np.ascontiguousarray(flat if flat.ndim == 2 else np.swapaxes(flat, 1, 2))

    def matrix(self, group: Group, states: IntArray) -> FloatArray:
        """Return a group's costs by state of the MLP chain and state of the head chain, for one device.

        The sum has the order of :meth:`predict_features`: the costs are equal to its to the last bit, so whoever sits
        on a limit is on the same side of it here and there.

        Args:
            group: The group.
            states: The counts of every state, ``int64 (S, 2)``.

        Returns:
            ``float64 (S, S)``.
        """
        constant, mlp, head = self.count_tables(group)
        second, third = states.T
        costs: FloatArray = ((constant + mlp[0] * second) + mlp[1] * third)[:, None] + head[0] * second
        costs += head[1] * third
        return costs

    def terms(self) -> FloatArray:
        """Return constant and coefficients by group, for one device, ``float64 (18, 5)``.

        The terms are 1 and the counts of the second and third MLP ratio and of the second and third head count.
        """
        return np.ascontiguousarray(self._table.T)

    def extremes(self) -> tuple[FloatArray, FloatArray]:
        """Return the least and the greatest cost over the whole space, exactly; scalars or ``(devices,)``.

        Both are what :meth:`predict` gives for an architecture of equal layers, to the last bit.
        """
        low, high = self._extremes
        return low.copy(), high.copy()

    @cached_property
    def _extremes(self) -> tuple[FloatArray, FloatArray]:
        table = self._table
        column = (slice(None),) + (None,) * (table.ndim - 2)
        n_layer = np.array([self.space.depths[group.depth] for group in GROUPS], dtype=np.float64)
        costs = []
        for mlp, head in itertools.product(range(NUM_CHOICES), repeat=2):
            cost = table[0].copy()
            for coefficient, all_layers in zip(table[1:], (mlp == 1, mlp == 2, head == 1, head == 2), strict=True):
                cost += coefficient * (n_layer * all_layers)[column]
            costs.append(cost)
        return np.min(costs, axis=(0, 1)), np.max(costs, axis=(0, 1))

    def count_tables(self, group: Group) -> tuple[float, FloatArray, FloatArray]:
        """Return one group's cost as a constant and the coefficients of its counts, for one device.

        Args:
            group: The group.

        Returns:
            The constant, and the coefficients of the counts of the second and third choice for the MLP and for
            the heads, each ``float64 (2,)``: ``cost = constant + mlp @ (c1, c2) + head @ (h1, h2)``.
        """
        constant, *coefficients = self._table[:, GROUPS.index(group)]
        return float(constant), np.array(coefficients[:2]), np.array(coefficients[2:])
