"""Devices that do not exist: mixes of real ones with noise, for policies that are to know devices never seen.

A device is a convex mix of three random ones (Dirichlet 0.5), the same three for all its costs, times log-normal noise
that differs by part, width, choice and entry. Parameters, FLOPs and memories are nearly the same on every device: they
get a third of the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.amortised.tables import BASE, HEAD, MLP, SLOTS, TABLE, CostTables, cost_table, count_matrix
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.metrics import COST_METRICS, DEVICE_METRICS
from hwgpt_gym.search_space import FloatArray

UNSEEN: Final = ("a6000", "rtx3080", "cpu_amd_7452")
"""The devices that no training and no mix ever sees."""

PARENTS: Final = 3
MIX: Final = 0.5
"""How many devices are mixed, and the parameter of the Dirichlet distribution of their shares."""

FIXED_NOISE: Final = 1.0 / 3.0
"""The noise of costs that do not depend on the device, relative to that of the others."""

SHARES: Final = {"latency_ms": 0.5, "energy_j": 0.2}
"""How often a cost is the limited one; the others share the rest."""

SECOND: Final = 0.25
"""How often a second cost is limited."""

LEVELS: Final = (0.02, 0.98)
"""Between which quantiles limits lie."""

SAMPLES: Final = 2_048
"""Architectures whose costs stand for those of the search space."""


class SyntheticDevices:
    """Draws problems: devices that do not exist, one or two of their costs, limits.

    Args:
        scale: The search space.
        exclude: Shipped devices that are parents of none.
    """

    def __init__(self, scale: str, exclude: Sequence[str] = UNSEEN) -> None:
        self.parents = tuple(name for name in DEVICES if name not in exclude)
        benches = [Benchmark(scale, name) for name in self.parents]
        self.space = benches[0].space
        # (cost, parent, 54), each relative to its median.
        self._tables = np.array(
            [[cost_table(b.count_model(key)) / b.quantile(key, 0.5) for b in benches] for key in COST_METRICS]
        )
        rest = (1.0 - sum(SHARES.values())) / (len(COST_METRICS) - len(SHARES))
        self._shares = np.array([SHARES.get(key, rest) for key in COST_METRICS])
        self._noise = np.array([1.0 if key in DEVICE_METRICS else FIXED_NOISE for key in COST_METRICS])

    @cached_property
    def _counts(self) -> FloatArray:
        return count_matrix(self.space, self.space.sample(np.random.default_rng(0), SAMPLES))

    def draw(self, rng: np.random.Generator, n: int) -> CostTables:
        """Draw problems whose limits can be kept.

        Half of the limits are even in cost between the :data:`LEVELS`, half even in quantile.
        """
        parents = rng.random((n, len(self.parents))).argsort(axis=1)[:, :PARENTS]
        weights = rng.dirichlet(np.full(PARENTS, MIX), n)
        present = np.column_stack([np.ones(n, dtype=np.bool_), rng.random(n) < SECOND])
        # Gumbel keys draw two different costs at once.
        keys = np.log(self._shares) + rng.gumbel(size=(n, len(self._shares)))
        which = np.argsort(-keys, axis=1)[:, :SLOTS]
        tables = np.zeros((n, SLOTS, TABLE))
        for slot in range(SLOTS):
            cost = which[:, slot]
            mixed = (weights[:, :, None] * self._tables[cost[:, None], parents]).sum(axis=1)
            tables[:, slot] = _with_noise(rng, mixed, self._noise[cost][:, None, None, None])
            values = np.sort(tables[:, slot] @ self._counts.T, axis=1)
            low, high = (values[:, int(level * SAMPLES)] for level in LEVELS)
            even = rng.random(n)
            by_level = values[np.arange(n), ((LEVELS[0] + (LEVELS[1] - LEVELS[0]) * even) * SAMPLES).astype(np.intp)]
            limit = np.where(rng.random(n) < 0.5, low + (high - low) * even, by_level)
            tables[:, slot] /= limit[:, None]
        tables *= present[:, :, None]
        # Limits that each can be kept, but not both at once, become those that one of the samples just keeps.
        ratio = np.maximum(tables[:, 0] @ self._counts.T, tables[:, 1] @ self._counts.T).min(axis=1)
        tables /= np.maximum(ratio, 1.0)[:, None, None]
        return CostTables(tables, present)


def _with_noise(rng: np.random.Generator, tables: FloatArray, scale: npt.NDArray[np.float64]) -> FloatArray:
    """Return tables ``float64 (n, 54)`` with log-normal noise; ``scale`` is ``(n, 1, 1, 1)``."""
    n = len(tables)
    base = tables[:, BASE].reshape(n, 3, 3, 2)
    middle = base[:, :, 1:2].mean(axis=3, keepdims=True)

    def noise(deviation: float, *shape: int) -> FloatArray:
        factor: FloatArray = np.exp(scale * deviation * rng.standard_normal((n, *shape)))
        return factor

    parts = [middle * noise(0.10, 3, 1, 1) + (base - middle) * noise(0.30, 1, 1, 1)]
    for part, deviations in ((MLP, (0.20, 0.15, 0.10, 0.05)), (HEAD, (0.20, 0.10, 0.15, 0.05))):
        layer = tables[:, part].reshape(n, 3, 2, 3)
        for deviation, shape in zip(deviations, ((1, 1, 1), (3, 1, 1), (1, 1, 3), (3, 2, 3)), strict=True):
            layer = layer * noise(deviation, *shape)
        parts.append(layer)
    return np.concatenate([part.reshape(n, -1) for part in parts], axis=1)
