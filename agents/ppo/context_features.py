"""What a contextual policy reads from an observation. This module loads torch.

The observation describes a device by shares ``x`` of its typical cost, and the limit by its ratio ``r`` to the
device's median cost (:meth:`hwgpt_gym.envs.contexts.ContextGenerator.columns`). What an architecture may contain
depends on neither alone but on ``x / r``: the share of the *limit* that a part takes. A network would have to learn
that division from a handful of devices. Here it is done for it, and so is the sum over the parts that are decided
already.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from hwgpt_gym.envs.construction import NUM_ACTIONS, ObservationLayout
from hwgpt_gym.envs.contexts import DEVICE_FEATURES
from hwgpt_gym.search_space import HEAD_COLUMNS, MLP_COLUMNS, FloatArray

LEAST_DEVIATION: Final = 0.04
"""The standard deviation below which a context column is not scaled up further."""

_WIDTHS: Final = 3
_PARTS: Final = DEVICE_FEATURES // _WIDTHS
_EXTRA: Final = DEVICE_FEATURES + _PARTS + 1


class Shares(NamedTuple):
    """What parts of an architecture take of the limit.

    Attributes:
        all: By embedding width: the base, all layers with each MLP ratio, all layers with each head count,
            ``float32 (n, 21)``.
        own: The same of the width that is chosen, zeros before it is, ``float32 (n, 7)``.
        used: By all that is chosen so far, ``float32 (n, 1)``.
    """

    all: Tensor
    own: Tensor
    used: Tensor


class ContextFeatures(BaseFeaturesExtractor):
    """Adds shares of the limit to observations, and standardises their context.

    Args:
        observation_space: The observation space.
        layout: The columns of the observations, with one limit and one device's features as the context.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, observation_space: gymnasium.Space[np.ndarray], layout: ObservationLayout) -> None:
        super().__init__(observation_space, layout.num_columns + _EXTRA)
        self.layout = layout
        self.layers = layout.space.depths[len(layout.space.depths) // 2]
        standardised = layout.num_context_columns + DEVICE_FEATURES
        self.register_buffer("center", torch.zeros(standardised))
        self.register_buffer("scale", torch.ones(standardised))

    def fit(self, contexts: FloatArray) -> None:
        """Set centre and scale from a sample of contexts, ``float64 (n, 22)``."""
        shares = self.shares_of_limit(torch.as_tensor(contexts)).numpy()
        # Few devices are seen, so what hardly differs between them must not become loud: it would be memorised.
        columns = np.concatenate([contexts, shares], axis=1)
        deviation = np.maximum(columns.std(axis=0), LEAST_DEVIATION)
        self.center.copy_(torch.as_tensor(columns.mean(axis=0)))
        self.scale.copy_(torch.as_tensor(1.0 / deviation))

    def forward(self, observations: Tensor) -> Tensor:
        """Return the observations with standardised context and shares of the limit, ``float32 (n, width + 29)``."""
        contexts = observations[:, self.layout.context]
        shares = self.shares(observations)
        scaled = (torch.cat([contexts, shares.all], dim=1) - self.center) * self.scale
        # Devices and limits may lie outside of what was seen.
        own = observations[:, : self.layout.context.start]
        return torch.cat([own, scaled.clamp(-4.0, 4.0), shares.own, shares.used], dim=1)

    def shares(self, observations: Tensor) -> Shares:
        """Return what parts of architectures take of their limits; observations are ``float32 (n, width)``."""
        everything = self.shares_of_limit(observations[:, self.layout.context])
        one_hot = observations[:, self.layout.choices].view(len(observations), -1, NUM_ACTIONS)
        by_width = everything.view(-1, _WIDTHS, _PARTS)
        own = (one_hot[:, 0, :, None] * by_width).sum(dim=1)
        counts = torch.cat([one_hot[:, MLP_COLUMNS].sum(dim=1), one_hot[:, HEAD_COLUMNS].sum(dim=1)], dim=1)
        used = own[:, :1] + (counts * own[:, 1:]).sum(dim=1, keepdim=True) / self.layers
        return Shares(everything, own, used)

    def shares_of_limit(self, contexts: Tensor) -> Tensor:
        """Turn the columns of contexts, ``(n, 22)``, into the features' shares of the limit, ``(n, 21)``."""
        relative = contexts[:, self.layout.part("limits")]
        ratio = relative / (1.0 - relative)
        signed = 2.0 * contexts[:, self.layout.part("devices")] - 1.0
        return signed / (1.0 - signed.abs()) / ratio
