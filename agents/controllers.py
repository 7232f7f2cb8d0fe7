"""Policies over whole architectures for REINFORCE. This module loads torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hwgpt_gym.search_space import N_LAYER, NOT_SET, Encoded, SearchSpace

_CHOICES = 3


class Drawn(NamedTuple):
    """Architectures drawn from a policy.

    Attributes:
        encoded: ``int8 (n, D)``.
        log_probability: Of each whole architecture, ``float32 (n,)``.
        entropy: Of the decisions on the way, summed, ``float32 (n,)``.
    """

    encoded: Encoded
    log_probability: Tensor
    entropy: Tensor


class Controller(nn.Module):
    """A policy that builds architectures decision by decision. Choices that do not exist have probability zero."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        legal = np.arange(_CHOICES) < np.asarray(space.num_choices)[:, None]
        self.illegal = torch.as_tensor(~legal)
        self.lengths = torch.as_tensor(space.lengths.tolist())

    def sample(self, n: int) -> Drawn:
        """Draw ``n`` architectures."""
        return self._build(n, greedy=False)

    def greedy(self) -> Encoded:
        """Return the architecture that takes the most probable choice at every decision, ``int8 (1, D)``."""
        with torch.no_grad():
            return self._build(1, greedy=True).encoded

    @abstractmethod
    def _logits(self, n: int) -> Iterator[Tensor]:
        """Yield every decision's logits, ``(n, 3)``; :attr:`previous` then holds the choices of the one before."""

    def _build(self, n: int, *, greedy: bool) -> Drawn:
        encoded = torch.full((n, self.space.num_decisions), NOT_SET)
        log_probability, entropy = torch.zeros(n), torch.zeros(n)
        self.previous = torch.full((n,), _CHOICES)
        ends = torch.full((n,), self.space.num_decisions)
        for column, logits in enumerate(self._logits(n)):
            log_softmax = torch.log_softmax(logits.masked_fill(self.illegal[column], -1e9), dim=1)
            probability = log_softmax.exp()
            choice = probability.argmax(dim=1) if greedy else torch.multinomial(probability, 1)[:, 0]
            exists = column < ends
            encoded[:, column] = torch.where(exists, choice, NOT_SET)
            log_probability = log_probability + log_softmax.gather(1, choice[:, None])[:, 0] * exists
            entropy = entropy - (probability * log_softmax).sum(dim=1) * exists
            if column == N_LAYER:
                ends = self.lengths[choice]
            self.previous = choice
        return Drawn(encoded.numpy().astype(np.int8), log_probability, entropy)


class FactorizedController(Controller):
    """One softmax a decision, independent of the others; uniform at first."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        self.logits = nn.Parameter(torch.zeros(space.num_decisions, _CHOICES))

    def _logits(self, n: int) -> Iterator[Tensor]:
        for row in self.logits:
            yield row.expand(n, -1)


class LSTMController(Controller):
    """An LSTM over the decisions; its input is the choice before, each decision reads it out through its own layer."""

    def __init__(self, space: SearchSpace, hidden_size: int) -> None:
        super().__init__(space)
        self.embedding = nn.Embedding(space.num_decisions * (_CHOICES + 1), hidden_size)
        self.cell = nn.LSTMCell(hidden_size, hidden_size)
        self.read_out = nn.Parameter(0.01 * torch.randn(space.num_decisions, hidden_size, _CHOICES))
        self.read_out_bias = nn.Parameter(torch.zeros(space.num_decisions, _CHOICES))

    def _logits(self, n: int) -> Iterator[Tensor]:
        state = (torch.zeros(n, self.cell.hidden_size), torch.zeros(n, self.cell.hidden_size))
        for column in range(self.space.num_decisions):
            state = self.cell(self.embedding(self.previous + column * (_CHOICES + 1)), state)
            yield state[0] @ self.read_out[column] + self.read_out_bias[column]
