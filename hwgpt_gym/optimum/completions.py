"""The best completions of many partial architectures that stand at the same decision.

What :mod:`hwgpt_gym.optimum.action_values` does for each decision in turn; ``docs/action_values.md`` has the formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.objective import BoundObjective, Objective
from hwgpt_gym.penalties import get_penalty, outcome
from hwgpt_gym.search_space import FIRST_LAYER, NUM_CHOICES, Encoded, FloatArray, Group, IntArray
from hwgpt_gym.surrogates.cautious_cost import Cost
from hwgpt_gym.surrogates.chain_tables import MLP_CHAIN, cost_matrix, count_states
from hwgpt_gym.surrogates.suffix_tables import state_index

_CHUNK: Final = 1 << 15
"""Numbers worked on at once: intermediate results then stay in the processor's caches."""

Rows: TypeAlias = npt.NDArray[np.intp]
"""Positions of rows, ``intp (m,)``."""


class Problem(NamedTuple):
    """An objective and the costs that it limits: what rewards are, apart from a benchmark.

    Attributes:
        objective: The objective.
        costs: The model of each limited cost, of one device.
        limits: Their limits.
        jump: The jump of the penalty.
        log_perplexity_range: The least and greatest log-perplexity of the search space, which scale quality.
    """

    objective: Objective
    costs: tuple[Cost, ...]
    limits: tuple[float, ...]
    jump: float
    log_perplexity_range: tuple[float, float]

    @classmethod
    def of(cls, bound: BoundObjective, jump: float | None = None) -> Problem:
        """Return the problem of an objective that is bound to a benchmark.

        Args:
            bound: The objective.
            jump: The jump of the penalty; by default the least.

        Raises:
            ValueError: If a limited cost depends on the device and the benchmark is not of one.
        """
        costs = tuple(bound.cost(metric) for metric in bound.limits)
        limits = tuple(float(limit) for limit in bound.limits.values())
        return cls(bound.objective, costs, limits, bound.jump if jump is None else jump, bound.log_perplexity_range)

    def rewards(self, quality: FloatArray, group: Group, states: IntArray) -> FloatArray:
        """Return what a group earns by state of both chains, ``float64 (S, S)`` as ``quality``."""
        ratios = [cost_matrix(cost, group, states) / limit for cost, limit in zip(self.costs, self.limits, strict=True)]
        penalty = get_penalty(self.objective.penalty)
        return outcome(quality, ratios, penalty, self.objective.weight, self.jump).reward


class Decision(NamedTuple):
    """One decision in many partial architectures.

    The chain to decide is *own*; the *other* one is completed as well as it can be. ``S`` and ``T`` are the numbers of
    states that their remaining layers have.

    Attributes:
        chain: The chain to decide.
        after: What the own chain's remaining layers add at least, by action, ``float64 (6, 3, 3, 3, S)``.
        least: What those of the other chain add at least, ``float64 (6, 3, 3, T)``.
        own: The own chain's layers that are decided.
        other: The other chain's.
        group: ``2 * embed_dim + bias``, ``intp (n,)``.
        slot: Where the rewards of the row's problem and group are, ``intp (n,)``.
        unit: What a unit of log-perplexity takes from quality, ``float64 (n,)``.
    """

    chain: int
    after: FloatArray
    least: FloatArray
    own: ChainPrefix
    other: ChainPrefix
    group: Rows
    slot: Rows
    unit: FloatArray

    def of(self, rows: Rows) -> Decision:
        """Return some rows."""
        own, other = (
            prefix._replace(counts=prefix.counts[rows], choices=prefix.choices[rows])
            for prefix in (self.own, self.other)
        )
        return self._replace(own=own, other=other, group=self.group[rows], slot=self.slot[rows], unit=self.unit[rows])

    def taken_by_own(self, rows: Rows | slice) -> FloatArray:
        """Return what the own chain's remaining layers take from quality, ``float64 (m, 3, S)``."""
        taken: FloatArray = self.after[self.group[rows], *self.own.choices[rows].T] * self.unit[rows, None, None]
        return taken

    def taken_by_other(self, rows: Rows | slice) -> FloatArray:
        """Return what the other chain's remaining layers take from quality at least, ``float64 (m, T)``."""
        taken: FloatArray = self.least[self.group[rows], *self.other.choices[rows].T] * self.unit[rows, None]
        return taken


def decision_values(rewards: CountRewards, decision: Decision, lost: FloatArray) -> FloatArray:
    """Return the greatest rewards after each choice of one decision, ``float64 (n, 3)``.

    Args:
        rewards: The rewards of the depth.
        decision: The decision.
        lost: What the layers that are decided take from quality, ``float64 (n,)``.
    """
    sloped = rewards.sloped[decision.slot]
    if not sloped.any():
        return _shifted_values(rewards, decision) - lost[:, None]
    # Each row takes its own way, whatever it stands beside: to the last bit its values are always the same.
    values = np.empty((len(lost), NUM_CHOICES))
    for rows in (np.flatnonzero(~sloped), np.flatnonzero(sloped)):
        part = decision.of(rows)
        if len(rows) and sloped[rows[0]]:
            values[rows] = _sloped_values(rewards, part, lost[rows])
        elif len(rows):
            values[rows] = _shifted_values(rewards, part) - lost[rows, None]
    return values


def _shifted_values(rewards: CountRewards, decision: Decision) -> FloatArray:
    """Return the values where costs only shift quality, before the layers that are decided take from it."""
    own, other, states = decision.own, decision.other, decision.after.shape[-1]
    # The best of the other chain is the same for all actions, and for all rows that agree in this:
    first, inverse = _distinct(np.column_stack([decision.slot, own.counts, other.counts, other.choices]))
    best = np.empty((len(first), states))
    for part in _parts(len(first), states * decision.least.shape[-1]):
        rows = first[part]
        matrix = rewards.reward.take(rewards.index(decision, rows))
        matrix -= np.expand_dims(decision.taken_by_other(rows), 1 + decision.chain)
        matrix.max(axis=2 - decision.chain, out=best[part])
    values = np.empty((len(inverse), NUM_CHOICES))
    for part in _parts(len(inverse), NUM_CHOICES * states):
        (best[inverse[part], None] - decision.taken_by_own(part)).max(axis=2, out=values[part])
    return values


def _sloped_values(rewards: CountRewards, decision: Decision, lost: FloatArray) -> FloatArray:
    """Return the values where costs scale quality: what is lost weighs differently at different counts."""
    chain, states = decision.chain, decision.after.shape[-1]
    values = np.empty((len(lost), NUM_CHOICES))
    for part in _parts(len(lost), states * decision.least.shape[-1]):
        index = rewards.index(decision, part)
        reward, slope = rewards.reward.take(index), rewards.slope.take(index)
        reward -= slope * np.expand_dims(decision.taken_by_other(part) + lost[part, None], 1 + chain)
        step = decision.taken_by_own(part)
        for action in range(NUM_CHOICES):
            reached = np.flatnonzero(np.isfinite(decision.after[0, 0, 0, action]))
            taken = np.expand_dims(step[:, action, reached], 2 - chain)
            value = reward.take(reached, axis=1 + chain) - slope.take(reached, axis=1 + chain) * taken
            values[part, action] = value.max(axis=(1, 2))
    return values


class CountRewards:
    """What the groups of one depth earn at each combination of counts; a slot is one problem's width and bias.

    Args:
        slots: The number of slots.
        n_layer: The number of layers.

    Attributes:
        filled: Which slots are known, ``bool (slots,)``.
        reward: Before the chains take anything from quality, ``float64 (slots, S, S)`` by state of the MLP chain and
            of the head chain.
        sloped: Which slots have a slope that is not 1 everywhere, ``bool (slots,)``.
        slope: By how much the reward rises with quality, as ``reward``; of sloped slots only, empty if none is.
    """

    def __init__(self, slots: int, n_layer: int) -> None:
        self._n_layer = n_layer
        self._states = len(count_states(n_layer))
        self.filled = np.zeros(slots, dtype=np.bool_)
        self.sloped = np.zeros(slots, dtype=np.bool_)
        self.reward = np.empty((slots, self._states, self._states))
        self.slope: FloatArray = np.empty(0)

    def set(self, slot: int, reward: FloatArray, slope: FloatArray | None) -> None:
        """Set a slot; a slope of ``None`` is 1."""
        self.reward[slot] = reward
        if slope is not None:
            if not len(self.slope):
                self.slope = np.empty_like(self.reward)
            self.slope[slot] = slope
            self.sloped[slot] = True
        self.filled[slot] = True

    def index(self, decision: Decision, rows: Rows | slice) -> npt.NDArray[np.intp]:
        """Return where the rewards of all completions are.

        Returns:
            Into the flat :attr:`reward`, ``intp (m, M, H)`` by state of the MLP layers that remain and of the heads.
        """
        own, other = (
            state_index(self._n_layer, prefix.counts[rows, None] + count_states(self._n_layer - prefix.layers))
            for prefix in (decision.own, decision.other)
        )
        mlp, head = (own, other) if decision.chain == MLP_CHAIN else (other, own)
        index: npt.NDArray[np.intp] = (decision.slot[rows, None] * self._states + mlp) * self._states
        return index[:, :, None] + head[:, None, :]


class ChainPrefix(NamedTuple):
    """The layers of a chain that are decided in many partial architectures.

    Attributes:
        layers: How many.
        counts: How many have the second and the third choice, ``int64 (n, 2)``.
        choices: The choices of the last two, ``intp (n, 2)``; 0 before the first.
    """

    layers: int
    counts: IntArray
    choices: npt.NDArray[np.intp]


def chain_prefix(encoded: Encoded, chain: int, layers: int) -> ChainPrefix:
    """Read off what is decided of a chain's first layers."""
    decided = encoded[:, FIRST_LAYER + chain : FIRST_LAYER + chain + 2 * layers : 2]
    counts = np.stack([np.count_nonzero(decided == choice, axis=1) for choice in (1, 2)], axis=1)
    choices = np.zeros((len(encoded), 2), dtype=np.intp)
    choices[:, max(2 - layers, 0) :] = decided[:, -2:]
    return ChainPrefix(layers, counts, choices)


def _distinct(keys: IntArray) -> tuple[Rows, Rows]:
    """Return the first of all rows of non-negative integers that are equal, and the place of every row among these."""
    spans = keys.max(axis=0) + 1
    flat = np.ravel_multi_index(tuple(keys.T), tuple(spans))
    _, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    return first, inverse


def _parts(rows: int, size: int) -> Iterator[slice]:
    """Yield slices of rows of some size, such that each slice is worked on in the processor's caches."""
    step = max(_CHUNK // size, 1)
    return (slice(start, start + step) for start in range(0, rows, step))
