"""What limits on costs do: whether any architecture keeps them, and the least jump at them.

With the *jump* ``c`` on top of a penalty that is zero within the limits, whatever exceeds a limit earns at most
``R - c``, where ``R`` is the greatest penalised quality without the jump. What keeps all limits earns up to ``q``, the
quality of the constrained optimum. So ``c = max(0, R - q)`` is the least jump under which nothing that exceeds a limit
earns more than the constrained optimum, and a margin on top makes it the only optimum (``docs/optimum.md``).
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from hwgpt_gym.penalties import Outcome
from hwgpt_gym.search_space import GROUPS, FloatArray
from hwgpt_gym.surrogates.cautious_cost import Cost
from hwgpt_gym.surrogates.chain_tables import ChainTables, cost_matrix, count_states
from hwgpt_gym.surrogates.frontier import frontier

GRID_POINTS: Final = (65, 17, 9)
"""Limits on each axis of a grid of one, two and three limits that vary; of more, 5."""

Earn: TypeAlias = Callable[[FloatArray, Sequence[FloatArray]], Outcome]
"""From values of the chain model and the ratios of costs to limits to what is earned without a jump."""


def unmeetable(costs: Mapping[str, Cost], limits: Mapping[str, float]) -> str | None:
    """Say what can be met instead, if no architecture keeps all limits; otherwise return ``None``.

    Args:
        costs: The limited costs by metric, of one device.
        limits: Their limits.
    """
    for metric, limit in limits.items():
        least = float(costs[metric].extremes()[0])
        if least > limit:
            return f"meets {metric} <= {limit!r}: the least value that can be met is {least!r}"
    if len(limits) < 2:
        return None
    # Mostly an architecture of equal layers keeps them already: there are few, so they are looked at first.
    if _least_factor(costs, limits, equal_layers=True) <= 1.0:
        return None
    factor = _least_factor(costs, limits)
    if factor <= 1.0:
        return None
    return (
        f"meets all of {dict(limits)} at once, though each alone can be met: the least factor on all limits that can "
        f"be met is {factor!r}"
    )


def _least_factor(costs: Mapping[str, Cost], limits: Mapping[str, float], *, equal_layers: bool = False) -> float:
    """Return the least factor on all limits at which an architecture (of equal layers) keeps them."""
    factor = np.inf
    space = next(iter(costs.values())).space
    for group in GROUPS:
        states = count_states(space.depths[group.depth])
        if equal_layers:
            states = states[np.isin(states, (0, space.depths[group.depth])).all(axis=1)]
        ratios = [cost_matrix(costs[metric], group, states) / limit for metric, limit in limits.items()]
        factor = min(factor, float(np.max(ratios, axis=0).min()))
    return factor


def least_jump(tables: ChainTables, costs: Sequence[Cost], limits: Sequence[float], earn: Earn) -> float:
    """Return the least jump at limits that can be kept.

    Args:
        tables: The tables of the chain model of log-perplexity.
        costs: The limited costs, each of one device.
        limits: Their limits.
        earn: What is earned without the jump.

    Returns:
        At least 0; infinite if no architecture keeps the limits.
    """
    penalised = constrained = -np.inf
    for group in GROUPS:
        states = tables.states(group.depth)
        ratios = [cost_matrix(cost, group, states) / limit for cost, limit in zip(costs, limits, strict=True)]
        outcome = earn(tables.values(group), ratios)
        penalised = max(penalised, float(outcome.reward.max()))
        constrained = max(constrained, float(outcome.quality.max(where=outcome.feasible, initial=-np.inf)))
    return max(0.0, penalised - constrained)


class JumpTable:
    """Jumps at limits that vary, of one device: found once, then looked up for whole batches.

    With one limited cost a jump is the least one, from the exact front: between the costs of two neighbours on it the
    constrained optimum stands still, and what exceeds the limit is the upper envelope of curves ``a - b / limit``. With
    several it is one that suffices for a whole cell of a grid of limits: both ``R`` and ``q`` rise with every limit, so
    no limits of a cell need more than ``R`` at its upper corner less ``q`` at its lower one.

    Args:
        tables: The tables of the chain model of log-perplexity.
        costs: The limited costs, each of one device, at least one.
        low: The least limits, which can be kept, ``float64 (costs,)``.
        high: The greatest limits, ``float64 (costs,)``.
        earn: What is earned without the jump: quality less ``weight`` times the sum of the relative excesses.
        weight: The weight in ``earn``.
    """

    def __init__(
        self,
        tables: ChainTables,
        costs: Sequence[Cost],
        low: FloatArray,
        high: FloatArray,
        earn: Earn,
        weight: float,
    ) -> None:
        self._tables, self._costs, self._earn = tables, costs, earn
        self._single = len(costs) == 1
        losses = frontier(tables, costs).losses
        if self._single:
            ascending = np.lexsort(losses.T)
            quality = earn(losses[ascending, 0], []).quality
            self._starts, self._levels, self._slopes = _pieces(losses[ascending, 1], quality, weight)
        else:
            self._axes, self._jumps = _grid(losses, low, high, earn)

    def __call__(self, limits: FloatArray) -> FloatArray:
        """Return the jump at every row of limits that can be kept, ``float64 (m, costs)``: ``float64 (m,)``."""
        if self._single:
            piece = np.searchsorted(self._starts, limits[:, 0], side="right")
            jumps: FloatArray = self._levels[piece] - self._slopes[piece] / limits[:, 0]
            return np.maximum(jumps, 0.0)
        # A limit at the upper end belongs to the last cell; what lies beyond either end belongs to none.
        cells = tuple(
            np.searchsorted(axis, column, side="right") - (column == axis[-1])
            for axis, column in zip(self._axes, limits.T, strict=True)
        )
        found: FloatArray = self._jumps[cells]
        for row in np.flatnonzero(np.isinf(found)):
            found[row] = least_jump(self._tables, self._costs, limits[row].tolist(), self._earn)
        return found


def _pieces(cost: FloatArray, quality: FloatArray, weight: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the jump as a function of the one limit, piece by piece, for the points of the front.

    Args:
        cost: Ascending, ``float64 (k,)``.
        quality: ``float64 (k,)``.
        weight: The weight of the relative excess.

    Returns:
        Where pieces start, ``float64 (p,)``, and for what lies below the first, then for each, ``a`` and ``b`` of the
        jump ``a - b / limit``, ``float64 (p + 1,)``.
    """
    improves = np.concatenate([[True], quality[1:] > np.maximum.accumulate(quality)[:-1]])
    cost, quality = cost[improves], quality[improves]
    # The upper envelope of the lines quality + weight - weight * cost * x over x = 1 / limit, of all costlier points.
    lines: list[int] = []
    crossings: list[float] = []
    pieces: list[tuple[float, float, float]] = []
    for i in reversed(range(len(cost))):
        if lines:
            # From the limit's lower end, x high, to its upper end: the newer lines are the flatter ones.
            first, last = bisect_right(crossings, 1.0 / cost[i]), bisect_right(crossings, 1.0 / cost[i + 1])
            starts = [cost[i], *(1.0 / crossings[k] for k in reversed(range(last, first)))]
            found = zip(starts, reversed(lines[last : first + 1]), strict=True)
            part = [(start, quality[j] + weight - quality[i], weight * cost[j]) for start, j in found]
        else:
            part = [(cost[i], 0.0, 0.0)]
        pieces.extend(reversed(part))
        while lines:
            crossing = (quality[lines[-1]] - quality[i]) / (weight * (cost[lines[-1]] - cost[i]))
            if not crossings or crossing > crossings[-1]:
                crossings.append(crossing)
                break
            crossings.pop()
            lines.pop()
        lines.append(i)
    starts, levels, slopes = np.array(pieces[::-1]).T
    return starts, np.concatenate([[np.inf], levels]), np.concatenate([[0.0], slopes])


def _grid(losses: FloatArray, low: FloatArray, high: FloatArray, earn: Earn) -> tuple[list[FloatArray], FloatArray]:
    """Return jumps that suffice on the cells of a grid of limits.

    Args:
        losses: The points of the front, log-perplexity and costs, ``float64 (n, 1 + costs)``.
        low: The least limits, ``float64 (costs,)``.
        high: The greatest limits, ``float64 (costs,)``.
        earn: What is earned without the jump.

    Returns:
        The limits of each axis, ascending; and the jumps by cell, with a cell beyond either end of each axis.
    """
    varying = int(np.count_nonzero(low < high))
    points = [*GRID_POINTS, 5][min(max(varying, 1), 4) - 1]
    # A limit that does not vary makes a cell of two equal ends.
    axes = [np.linspace(a, b, points if a < b else 2) for a, b in zip(low, high, strict=True)]
    shape = tuple(map(len, axes))
    penalised, constrained = np.empty(shape), np.empty(shape)
    for node in itertools.product(*map(range, shape)):
        ratios = [losses[:, 1 + i] / axes[i][k] for i, k in enumerate(node)]
        outcome = earn(losses[:, 0], ratios)
        penalised[node] = outcome.reward.max()
        constrained[node] = outcome.quality.max(where=outcome.feasible, initial=-np.inf)
    upper, lower = (slice(1, None),) * len(shape), (slice(None, -1),) * len(shape)
    jumps = np.maximum(penalised[upper] - constrained[lower], 0.0)
    return axes, np.pad(jumps, 1, constant_values=np.inf)
