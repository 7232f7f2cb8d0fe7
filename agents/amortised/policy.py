"""The policy for every device, limit and cost, and its episodes: greedy, sampled, or a beam. It loads torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hwgpt_gym.agents.amortised.features import WIDTH, BoolArray, Features, Float32Array
from hwgpt_gym.search_space import FIRST_LAYER, GROUP_WEIGHTS, N_LAYER, NOT_SET, NUM_CHOICES, Encoded, FloatArray
from hwgpt_gym.surrogates.cost_tables import CostTables

HIDDEN: Final = 256
"""The width of both hidden layers."""

CLOSED: Final = -1e9
"""The logarithm of the probability of a choice that is not open."""

LED: Final = 4
"""One in how many architectures of a beam is the most probable one of its group."""

Mask: TypeAlias = Callable[[Encoded, int, npt.NDArray[np.intp]], BoolArray]
"""From partial architectures, the column of their next decision and their problems to the choices that are open."""


def make_network(hidden: int = HIDDEN) -> nn.Sequential:
    """Return a network whose first policy is uniform; weights are drawn from torch's global generator."""
    last = nn.Linear(hidden, NUM_CHOICES)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(WIDTH, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), last)


class AmortisedPolicy:
    """A policy that builds architectures for problems that it is told.

    Args:
        features: What it sees.
        network: From features to logits.
    """

    def __init__(self, features: Features, network: nn.Sequential) -> None:
        self.features, self.network = features, network
        self.space = features.space

    def log_probabilities(
        self, encoded: Encoded, place: int, costs: CostTables, context: Float32Array
    ) -> tuple[FloatArray, Float32Array, BoolArray]:
        """Return the logarithms of the choices' probabilities, the features, and which choices are open.

        Args:
            encoded: Partial architectures that all stand at one decision, ``int8 (n, D)``.
            place: Its column.
            costs: The problem of every row.
            context: :meth:`Features.context` of every row's problem.

        Returns:
            ``float64 (n, 3)``, ``float32 (n, WIDTH)``, ``bool (n, 3)``.
        """
        seen, open_choices = self.features(encoded, place, costs, context)
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(seen)).numpy().astype(np.float64)
        return log_softmax(np.where(open_choices, logits, CLOSED)), seen, open_choices

    def build(
        self, costs: CostTables, rng: np.random.Generator | None = None, mask: Mask | None = None, greedy: int = 0
    ) -> Encoded:
        """Build one architecture a problem.

        Args:
            costs: The problems.
            rng: Samples instead of taking the most probable choices.
            mask: Which choices are open, of which there always is one.
            greedy: How many of the first problems are not sampled for.

        Returns:
            ``int8 (n, D)``.
        """
        context = self.features.context(costs)
        encoded = np.full((len(context), self.space.num_decisions), NOT_SET, dtype=np.int8)
        lanes = np.arange(len(context))
        for place in range(self.space.num_decisions):
            log_probability, _, _ = self.log_probabilities(encoded[lanes], place, costs.of(lanes), context[lanes])
            if mask is not None:
                log_probability = np.where(mask(encoded[lanes], place, lanes), log_probability, -np.inf)
            if rng is not None:
                noise = rng.gumbel(size=log_probability.shape)
                log_probability = log_probability + np.where(lanes[:, None] < greedy, 0.0, noise)
            encoded[lanes, place] = log_probability.argmax(axis=1)
            lanes = self.unfinished(encoded, lanes, place + 1)
            if not len(lanes):
                break
        return encoded

    def unfinished(self, encoded: Encoded, lanes: npt.NDArray[np.intp], place: int) -> npt.NDArray[np.intp]:
        """Return which of some lanes have a decision at a place."""
        if place <= FIRST_LAYER:
            return lanes
        going: npt.NDArray[np.intp] = lanes[self.space.lengths[encoded[lanes, N_LAYER]] > place]
        return going

    def beam(self, costs: CostTables, width: int, mask: Mask | None = None) -> Encoded:
        """Return the most probable architectures of one problem that a beam finds.

        A part of the beam is the most probable one of each of the most probable groups: widths, depths and biases.

        Args:
            costs: One problem.
            width: How many to keep at every decision; 1 is the greedy episode.
            mask: Which choices are open, beside those that the features know of.

        Returns:
            Up to ``width`` distinct architectures, ``int8 (k, D)``: the greedy episode, then the most probable of other
            groups, then the most probable; none if no choice is open.
        """
        context = self.features.context(costs)
        beams = np.full((1, self.space.num_decisions), NOT_SET, dtype=np.int8)
        # The first row is the greedy episode, which stays whatever else is more probable as a whole.
        total = np.zeros(1)
        for place in range(self.space.num_decisions):
            going = self.unfinished(beams, np.arange(len(beams)), place)
            if not len(going):
                break
            rows = np.zeros(len(going), dtype=np.intp)
            log_probability, _, open_choices = self.log_probabilities(
                beams[going], place, costs.of(rows), context[rows]
            )
            if mask is not None:
                open_choices = open_choices & mask(beams[going], place, rows)
            parents, choices = np.nonzero(open_choices)
            extended = beams[going[parents]]
            extended[:, place] = choices
            gained = log_probability[parents, choices]
            done = np.setdiff1d(np.arange(len(beams)), going)
            beams = np.concatenate([beams[done], extended])
            origin = np.concatenate([done, going[parents]])
            order = np.concatenate([total[done], total[going[parents]] + gained])
            total = order.copy()
            of_greedy = np.flatnonzero(origin == 0)
            if len(of_greedy):
                order[of_greedy[total[of_greedy].argmax()]] = np.inf
            kept = np.argsort(-order, kind="stable")
            # A group that is a little less probable now may prove the best: it would be lost to the variants of others.
            groups = beams[kept, :FIRST_LAYER] @ np.array(GROUP_WEIGHTS, dtype=np.int8)
            leaders = np.sort(np.unique(groups, return_index=True)[1])[: width // LED]
            kept = np.concatenate([kept[leaders], np.delete(kept, leaders)])[:width]
            beams, total = beams[kept], total[kept]
        return beams


def log_softmax(logits: FloatArray) -> FloatArray:
    """Return the logarithms of probabilities, ``float64 (n, 3)``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
