"""What a contextual policy reads from an observation. This module loads torch.

Observations show limited costs as squashed shares of their limits (:mod:`hwgpt_gym.envs.limit_shares`). Here they are
expanded again and put into the units in which decisions are made: what is left of the limit relative to what the rest
may cost, and to what the choices at hand do.
"""

from __future__ import annotations

from typing import Final

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from hwgpt_gym.envs.construction import ObservationLayout
from hwgpt_gym.envs.limit_shares import SHARES, expand
from hwgpt_gym.surrogates.cost_tables import SLOTS, TABLE

LEAST_DEVIATION: Final = 0.04
"""The standard deviation below which an entry of a table is not scaled up further."""

SCALINGS: Final = 12
"""Columns of shares, for each slot."""


class ContextFeatures(BaseFeaturesExtractor):
    """Expands the context of observations: standardised tables, and shares in the units of decisions.

    Args:
        observation_space: The observation space.
        layout: The columns of the observations, with two slots for limited costs as the context.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, observation_space: gymnasium.Space[np.ndarray], layout: ObservationLayout) -> None:
        super().__init__(observation_space, layout.context.start + SLOTS * (1 + TABLE + SCALINGS))
        self.layout = layout
        self.register_buffer("center", torch.zeros(SLOTS, TABLE))
        self.register_buffer("scale", torch.ones(SLOTS, TABLE))

    def fit(self, tables: Tensor) -> None:
        """Set centre and scale from the part ``costs`` of a sample of contexts, ``float32 (n, slots * 55)``."""
        entries = expand(tables.reshape(-1, SLOTS, 1 + TABLE)[:, :, 1:].double())
        # Few devices are seen, so what hardly differs between them must not become loud: it would be memorised.
        self.center.copy_(entries.mean(dim=0))
        self.scale.copy_(1.0 / entries.std(dim=0, correction=0).clamp_min(LEAST_DEVIATION))

    def forward(self, observations: Tensor) -> Tensor:
        """Return the choices so far and the next decision as they are, and the context expanded, ``float32 (n, …)``."""
        n = len(observations)
        context = observations[:, self.layout.context]
        tables = context[:, self.layout.part("costs")].reshape(n, SLOTS, 1 + TABLE)
        present = tables[:, :, :1]
        # Devices and limits may lie outside of what was seen.
        entries = ((expand(tables[:, :, 1:]) - self.center) * self.scale).clamp(-4.0, 4.0)
        shares = self.shares(context[:, self.layout.part("shares")].reshape(n, SLOTS, SHARES))
        slots = torch.cat([present, entries * present, shares * present], dim=2)
        return torch.cat([observations[:, : self.layout.context.start], slots.reshape(n, -1)], dim=1)

    def shares(self, shown: Tensor) -> Tensor:
        """Turn shown shares, ``(n, slots, 7)``, into units of decisions, ``(n, slots, 12)``."""
        used, slack, span, in_layers, *steps = expand(shown).unbind(dim=2)
        step = torch.stack(steps, dim=2)
        dearest = step.amax(dim=2)
        columns = [
            used.clamp(0.0, 2.0),
            3.0 * slack.clamp(-1.0, 1.0),
            (10.0 * slack).clamp(-2.0, 2.0),
            (slack / span.clamp_min(1e-3)).clamp(-1.5, 2.5),
            in_layers.clamp(-3.0, 3.0),
            (in_layers / dearest.clamp_min(1e-3) / 3.0).clamp(-3.0, 3.0),
            *step.clamp(0.0, 3.0).unbind(dim=2),
            # What each choice leaves, below 0 if it can no longer be afforded.
            *(in_layers[:, :, None] - step).clamp(-1.0, 1.0).unbind(dim=2),
        ]
        return torch.stack(columns, dim=2)
