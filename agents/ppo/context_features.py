"""What a contextual policy reads from an observation. This module loads torch.

The observation describes a device by shares ``x`` of its typical cost, and the budget by its ratio ``r`` to the
device's median cost (:meth:`hwgpt_gym.envs.task.Task.context_columns`). What an architecture may contain depends on
neither alone but on ``x / r``: the share of the *budget* that a part takes. A network would have to learn that division
from a handful of devices. Here it is done for it, and so is the sum over the parts that are decided already.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from hwgpt_gym.envs.construction import NUM_ACTIONS
from hwgpt_gym.envs.task import DEVICE_FEATURES
from hwgpt_gym.search_space import HEAD_COLUMNS, MLP_COLUMNS, FloatArray, SearchSpace

CONTEXT_COLUMNS: Final = 1 + DEVICE_FEATURES
"""The columns of a context: one budget, and how that cost of the device depends on the architecture."""

LEAST_DEVIATION: Final = 0.04
"""The standard deviation below which a context column is not scaled up further."""

_WIDTHS: Final = 3
_PARTS: Final = DEVICE_FEATURES // _WIDTHS
_EXTRA: Final = DEVICE_FEATURES + _PARTS + 1


class Shares(NamedTuple):
    """What parts of an architecture take of the budget.

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
    """Adds shares of the budget to observations, and standardises their context.

    Args:
        observation_space: The observation space; its last columns are the context.
        space: The search space.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, observation_space: gymnasium.Space[np.ndarray], space: SearchSpace) -> None:
        width = int(np.prod(observation_space.shape or ()))
        super().__init__(observation_space, width + _EXTRA)
        self.space = space
        self.layers = space.depths[len(space.depths) // 2]
        self.register_buffer("center", torch.zeros(CONTEXT_COLUMNS + DEVICE_FEATURES))
        self.register_buffer("scale", torch.ones(CONTEXT_COLUMNS + DEVICE_FEATURES))

    def fit(self, contexts: FloatArray) -> None:
        """Set centre and scale from a sample of contexts, ``float64 (n, 22)``."""
        shares = shares_of_budget(torch.as_tensor(contexts)).numpy()
        # Few devices are seen, so what hardly differs between them must not become loud: it would be memorised.
        columns = np.concatenate([contexts, shares], axis=1)
        deviation = np.maximum(columns.std(axis=0), LEAST_DEVIATION)
        self.center.copy_(torch.as_tensor(columns.mean(axis=0)))
        self.scale.copy_(torch.as_tensor(1.0 / deviation))

    def forward(self, observations: Tensor) -> Tensor:
        """Return the observations with standardised context and shares of the budget, ``float32 (n, width + 29)``."""
        choices, contexts = observations[:, :-CONTEXT_COLUMNS], observations[:, -CONTEXT_COLUMNS:]
        shares = self.shares(choices, contexts)
        scaled = (torch.cat([contexts, shares.all], dim=1) - self.center) * self.scale
        # Devices and budgets may lie outside of what was seen.
        return torch.cat([choices, scaled.clamp(-4.0, 4.0), shares.own, shares.used], dim=1)

    def shares(self, choices: Tensor, contexts: Tensor) -> Shares:
        """Return what parts of architectures take of their budgets.

        Args:
            choices: Observations without the context, ``float32 (n, 4 D)``: one-hot choices, then the position.
            contexts: Their contexts, ``float32 (n, 22)``.
        """
        everything = shares_of_budget(contexts)
        one_hot = choices[:, : NUM_ACTIONS * self.space.num_decisions].view(len(choices), -1, NUM_ACTIONS)
        by_width = everything.view(-1, _WIDTHS, _PARTS)
        own = (one_hot[:, 0, :, None] * by_width).sum(dim=1)
        counts = torch.cat([one_hot[:, MLP_COLUMNS].sum(dim=1), one_hot[:, HEAD_COLUMNS].sum(dim=1)], dim=1)
        used = own[:, :1] + (counts * own[:, 1:]).sum(dim=1, keepdim=True) / self.layers
        return Shares(everything, own, used)


def shares_of_budget(contexts: Tensor) -> Tensor:
    """Turn the columns of contexts, ``(n, 22)``, into the features' shares of the budget, ``(n, 21)``."""
    ratio = contexts[:, :1] / (1.0 - contexts[:, :1])
    signed = 2.0 * contexts[:, 1:] - 1.0
    return signed / (1.0 - signed.abs()) / ratio
