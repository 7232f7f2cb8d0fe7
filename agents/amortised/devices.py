"""Problems on devices that do not exist (:mod:`hwgpt_gym.synthetic_devices`): what a policy for every device learns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np

from hwgpt_gym.metrics import COST_METRICS
from hwgpt_gym.search_space import FloatArray
from hwgpt_gym.surrogates.cost_tables import SLOTS, TABLE, CostTables, count_matrix
from hwgpt_gym.synthetic_devices import DeviceMixer

UNSEEN: Final = ("a6000", "rtx3080", "cpu_amd_7452")
"""The devices that no training and no mix ever sees."""

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
        self._mixer = DeviceMixer(scale, exclude, COST_METRICS)
        self.parents, self.space = self._mixer.parents, self._mixer.space
        rest = (1.0 - sum(SHARES.values())) / (len(COST_METRICS) - len(SHARES))
        self._shares = np.array([SHARES.get(key, rest) for key in COST_METRICS])

    @cached_property
    def _counts(self) -> FloatArray:
        return count_matrix(self.space, self.space.sample(np.random.default_rng(0), SAMPLES))

    def draw(self, rng: np.random.Generator, n: int) -> CostTables:
        """Draw problems whose limits can be kept.

        Half of the limits are even in cost between the :data:`LEVELS`, half even in quantile.
        """
        parents, weights = self._mixer.draw_shares(rng, n)
        present = np.column_stack([np.ones(n, dtype=np.bool_), rng.random(n) < SECOND])
        # Gumbel keys draw two different costs at once.
        keys = np.log(self._shares) + rng.gumbel(size=(n, len(self._shares)))
        which = np.argsort(-keys, axis=1)[:, :SLOTS]
        tables = np.zeros((n, SLOTS, TABLE))
        for slot in range(SLOTS):
            tables[:, slot] = self._mixer.mix(rng, which[:, slot], parents, weights)
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
