"""The exact value of every decision: the best reward that is still within reach after each choice.

For a partial architecture the best completion follows from the same facts as the optimum itself: costs depend on counts
alone, and :mod:`hwgpt_gym.surrogates.suffix_tables` knows what the remaining layers of a chain add at least to
log-perplexity, for every combination of their counts. The choices of one decision share all the work but its last step;
``docs/optimum.md`` has the recurrence and how it is batched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.objective import BoundObjective, Objective, outcome_of
from hwgpt_gym.optimum.completions import (
    NUM_ACTIONS,
    CountRewards,
    Decision,
    Rows,
    chain_prefix,
    decision_values,
)
from hwgpt_gym.optimum.front import single_cost
from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    FIRST_LAYER,
    N_LAYER,
    NOT_SET,
    Encoded,
    FloatArray,
    IntArray,
    SearchSpace,
)
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.chain_tables import GROUPS, Group, chain_tables, cost_matrix
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.suffix_tables import suffix_tables

_CACHED: Final = 4
"""Objectives of a benchmark whose tables are kept."""


class Problem(NamedTuple):
    """An objective and the costs that it limits.

    Attributes:
        bound: The objective, bound to a benchmark.
        costs: The model of each limited cost, of one device, in the order of the objective's limits.
    """

    bound: BoundObjective
    costs: tuple[CountModel, ...]

    @classmethod
    def of(cls, bench: Benchmark, bound: BoundObjective) -> Problem:
        """Return the problem of an objective that is bound to a benchmark.

        Raises:
            ValueError: If a limited cost depends on the device and the benchmark is not of one.
        """
        return cls(bound, tuple(single_cost(bench, metric) for metric in bound.thresholds))


class ActionValues:
    """The exact values of actions in one problem, or in several of the same search space.

    Tables are made when a row first needs them. They take up to 1 MB for each problem at scale s, 14 MB at m and 70 MB
    at l, and twice as much where the penalty scales quality.

    Args:
        model: The chain model of log-perplexity.
        problems: The problems.
    """

    def __init__(self, model: ChainModel, problems: Sequence[Problem]) -> None:
        self.space: SearchSpace = model.space
        self._problems = tuple(problems)
        self._tables = chain_tables(model)
        self._suffixes = suffix_tables(model)
        spans = [greatest - least for least, greatest in (problem.bound.log_perplexity_range for problem in problems)]
        self._quality_of_unit = 1.0 / np.array([span or 1.0 for span in spans])
        self._rewards = [CountRewards(6 * len(problems), n_layer) for n_layer in self.space.depths]
        self._group_values = np.full((len(problems), 3, 3, 2), np.nan)

    def __call__(self, encoded: npt.ArrayLike, problem: Rows | None = None) -> FloatArray:
        """Return the values of the next decision's choices.

        Args:
            encoded: Partial architectures, integers ``(n, D)``: see :func:`check_prefixes`.
            problem: The position of each row's problem, ``intp (n,)``; the first by default.

        Returns:
            ``float64 (n, 3)``: the reward of the best completion after each action, ``-inf`` for an action that is no
            choice; all of a complete architecture are.

        Raises:
            ValueError: As :func:`check_prefixes`.
        """
        encoded, position = check_prefixes(self.space, encoded)
        problem = np.zeros(len(encoded), dtype=np.intp) if problem is None else problem
        values = np.full((len(encoded), NUM_ACTIONS), -np.inf)
        for rows, place in _equal_rows(np.minimum(position, FIRST_LAYER)):
            if place == FIRST_LAYER:
                values[rows] = self._of_layers(encoded[rows], position[rows], problem[rows])
            else:
                best = self._of_groups(problem[rows])
                for column in range(place):
                    best = best[np.arange(len(rows)), encoded[rows, column]]
                values[rows, : best.shape[1]] = best.max(axis=tuple(range(2, best.ndim)))
        return values

    def complete(self, encoded: npt.ArrayLike, problem: Rows | None = None) -> Encoded:
        """Return the best completions, ``int8 (n, D)``; of equal ones that of the first choices.

        Args:
            encoded: Partial architectures, as for a call.
            problem: As for a call.

        Raises:
            ValueError: As :func:`check_prefixes`.
        """
        encoded, position = check_prefixes(self.space, encoded)
        encoded = encoded.copy()
        problem = np.zeros(len(encoded), dtype=np.intp) if problem is None else problem
        rows = np.arange(len(encoded))
        while True:
            values = self(encoded[rows], problem[rows])
            undecided = np.isfinite(values[:, 0])
            rows, values = rows[undecided], values[undecided]
            if not len(rows):
                return encoded
            encoded[rows, position[rows]] = values.argmax(axis=1)
            position[rows] += 1

    def regret(self, encoded: npt.ArrayLike, problem: Rows | None = None) -> FloatArray:
        """Return what every decision of complete architectures lost, ``float64 (n, D)``.

        Args:
            encoded: Architectures, integers ``(n, D)``.
            problem: As for a call.

        Returns:
            By how much the value of the choice is below that of the best one; 0 where no decision exists. A row adds
            up to the optimum's reward less the architecture's.

        Raises:
            ValueError: As :meth:`SearchSpace.validate`.
        """
        encoded = self.space.validate(encoded)
        problem = np.zeros(len(encoded), dtype=np.intp) if problem is None else problem
        lost = np.zeros(encoded.shape)
        prefix = np.full_like(encoded, NOT_SET)
        for column in range(self.space.num_decisions):
            rows = np.flatnonzero(encoded[:, column] != NOT_SET)
            values = self(prefix[rows], problem[rows])
            lost[rows, column] = values.max(axis=1) - values[np.arange(len(rows)), encoded[rows, column]]
            prefix[:, column] = encoded[:, column]
        return lost

    def _of_groups(self, problem: Rows) -> FloatArray:
        """Return the greatest reward of every width, depth and bias, ``float64 (n, 3, 3, 2)``."""
        missing = np.unique(problem[np.isnan(self._group_values[problem, 0, 0, 0])])
        encoded = np.full((len(missing) * len(GROUPS), self.space.num_decisions), NOT_SET, dtype=np.int8)
        encoded[:, :FIRST_LAYER] = np.tile(GROUPS, (len(missing), 1))
        position = np.full(len(encoded), FIRST_LAYER)
        values = self._of_layers(encoded, position, np.repeat(missing, len(GROUPS)))
        self._group_values[missing] = values.max(axis=1).reshape(-1, 3, 3, 2)
        return self._group_values[problem]

    def _of_layers(self, encoded: Encoded, position: IntArray, problem: Rows) -> FloatArray:
        """Return the values of decisions about layers, ``float64 (n, 3)``."""
        values = np.full((len(encoded), NUM_ACTIONS), -np.inf)
        lost = self._suffixes.decided(encoded) * self._quality_of_unit[problem]
        places = self.space.num_decisions + 1
        for rows, place in _equal_rows(encoded[:, N_LAYER].astype(np.int64) * places + position):
            depth, column = divmod(place, places)
            layer, chain = divmod(column - FIRST_LAYER, 2)
            if layer < self.space.depths[depth]:
                decision = self._decision(depth, layer, chain, encoded[rows], problem[rows])
                values[rows] = decision_values(self._rewards[depth], decision, lost[rows])
        return values

    def _decision(self, depth: int, layer: int, chain: int, encoded: Encoded, problem: Rows) -> Decision:
        """Read off partial architectures what the best completions depend on, and see that their rewards are there."""
        group = 2 * encoded[:, EMBED_DIM].astype(np.intp) + encoded[:, BIAS]
        slot = 6 * problem + group
        for missing in np.unique(slot[~self._rewards[depth].filled[slot]]):
            self._fill(depth, int(missing))
        return Decision(
            chain,
            # When a layer's heads are decided, its MLP is.
            self._suffixes.after(chain, depth, layer),
            self._suffixes.least(1 - chain, depth, layer + chain),
            chain_prefix(encoded, chain, layer),
            chain_prefix(encoded, 1 - chain, layer + chain),
            group,
            slot,
            self._quality_of_unit[problem],
        )

    def _fill(self, depth: int, slot: int) -> None:
        """Work out what one problem's group earns at each combination of counts, before the chains' terms."""
        (bound, costs), group = self._problems[slot // 6], Group(slot % 6 // 2, depth, slot % 2)
        states = self._tables.states(depth)
        greatest = bound.log_perplexity_range[1]
        quality = (greatest - self._tables.count_terms(group)) * self._quality_of_unit[slot // 6]
        limits = bound.thresholds.values()
        ratios = [cost_matrix(cost, group, states) / limit for cost, limit in zip(costs, limits, strict=True)]

        def reward(quality: FloatArray) -> FloatArray:
            return outcome_of(quality, ratios, bound.objective.penalty, bound.objective.weight).reward

        # Every penalty is affine in quality at given costs; most only shift it.
        least = reward(np.zeros_like(quality))
        slope = reward(np.ones_like(quality)) - least
        shifted = np.isclose(slope, 1.0, rtol=0.0, atol=1e-9 * (1.0 + np.abs(least).max())).all()
        self._rewards[depth].set(slot, reward(quality), None if shifted else slope)


def _equal_rows(values: IntArray) -> Iterator[tuple[Rows, int]]:
    """Yield each distinct value with the rows that have it."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        yield rows, int(values[rows[0]])


def check_prefixes(space: SearchSpace, encoded: npt.ArrayLike) -> tuple[Encoded, IntArray]:
    """Check that a batch encodes partial architectures, decided from the first decision on.

    Args:
        space: The search space.
        encoded: Choice indices, integers ``(n, D)``, -1 where undecided or beyond the depth.

    Returns:
        The batch as ``int8 (n, D)``, and the number of decisions taken, ``int64 (n,)``.

    Raises:
        ValueError: If the shape or the type is wrong, a choice does not exist, a decision is taken before an earlier
            one, or a layer beyond the depth is set; the message names the row.
    """
    array = np.asarray(encoded)
    if array.ndim != 2 or array.shape[1] != space.num_decisions or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"encoded must hold integers of shape (n, {space.num_decisions}) at scale {space.scale!r}, got "
            f"{array.dtype} {array.shape}"
        )
    wrong = (array < NOT_SET) | (array >= np.asarray(space.num_choices))
    legal = "a choice, or -1 where none is taken"
    if not wrong.any():
        taken = array != NOT_SET
        # Before the depth is chosen it is -1, which reads the last entry.
        lengths = np.array([*(FIRST_LAYER + 2 * depth for depth in space.depths), space.num_decisions])
        beyond = np.arange(space.num_decisions) >= lengths[array[:, N_LAYER], None]
        wrong = taken & (np.maximum.accumulate(~taken, axis=1) | beyond)
        legal = "-1: an earlier decision is not taken, or the layer lies beyond the depth"
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"encoded[{row}, {column}] ({space.decision_names[column]}) is {array[row, column]}, must be {legal}"
        )
    return np.ascontiguousarray(array, dtype=np.int8), np.count_nonzero(taken, axis=1)


_CACHE: WeakKeyDictionary[Benchmark, OrderedDict[Objective, ActionValues]] = WeakKeyDictionary()


def make_action_values(bench: Benchmark, objective: Objective) -> ActionValues:
    """Return the values of an objective; those used last are kept for as long as the benchmark lives.

    Raises:
        ValueError: If the objective does not fit the benchmark (see :meth:`Objective.bind`), or a limited cost depends
            on the device and the benchmark is not of one.
    """
    cached = _CACHE.setdefault(bench, OrderedDict())
    if objective not in cached:
        bound = objective.bind(bench)
        cached[objective] = ActionValues(bench.chain_model("perplexity"), [Problem.of(bench, bound)])
    cached.move_to_end(objective)
    while len(cached) > _CACHED:
        cached.popitem(last=False)
    return cached[objective]


def action_values(bench: Benchmark, objective: Objective, encoded: npt.ArrayLike) -> FloatArray:
    """Return the exact optimal value of every action in many states.

    Args:
        bench: The benchmark, of one device if a constraint depends on the device.
        objective: The objective.
        encoded: Partial architectures, integers ``(n, D)``, -1 where undecided: the next decision of each is the first
            that is not taken, in the encoding's order.

    Returns:
        ``float64 (n, 3)``: the reward of the best completion after each action, ``-inf`` for an action that is no
        choice; all of a complete architecture are. It is that of :meth:`BoundObjective.evaluate` up to rounding.

    Raises:
        ValueError: As :func:`make_action_values`, or if a row is no partial architecture.

    Example:
        >>> bench, objective = Benchmark("s", "a6000"), Objective({"latency_ms": "p30"})
        >>> undecided = np.full((1, bench.space.num_decisions), -1)
        >>> bool(np.isclose(action_values(bench, objective, undecided).max(), solve(bench, objective).reward))
        True
    """
    return make_action_values(bench, objective)(encoded)


def best_completion(bench: Benchmark, objective: Objective, encoded: npt.ArrayLike) -> Encoded:
    """Return the architecture of the greatest reward that begins as each partial architecture does, ``int8 (n, D)``.

    Args:
        bench: As for :func:`action_values`.
        objective: The objective.
        encoded: As for :func:`action_values`.

    Raises:
        ValueError: As :func:`action_values`.
    """
    return make_action_values(bench, objective).complete(encoded)


def episode_regret(bench: Benchmark, objective: Objective, encoded: npt.ArrayLike) -> FloatArray:
    """Return what every decision of complete architectures lost.

    Args:
        bench: As for :func:`action_values`.
        objective: The objective.
        encoded: Architectures, integers ``(n, D)``.

    Returns:
        ``float64 (n, D)``, at least 0: by how much the value of the choice is below that of the best one; 0 where no
        decision exists. A row adds up to the regret, the optimum's reward less the architecture's, up to rounding.

    Raises:
        ValueError: As :func:`make_action_values`, or if a row is no architecture.
    """
    return make_action_values(bench, objective).regret(encoded)
