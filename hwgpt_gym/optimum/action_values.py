"""The exact value of every decision: the best reward that is still within reach after each choice.

For a partial architecture the best completion follows from the same facts as the optimum itself: costs depend on counts
alone, and :mod:`hwgpt_gym.surrogates.suffix_tables` knows what the remaining layers of a chain add at least to
log-perplexity, for every combination of their counts. The choices of one decision share all the work but its last step;
``docs/action_values.md`` has the recurrence and how it is batched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_array, check_list, check_type, echo
from hwgpt_gym.objective import Limit, Objective, as_objective
from hwgpt_gym.optimum.completions import (
    CountRewards,
    Decision,
    Problem,
    Rows,
    chain_prefix,
    decision_values,
)
from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    FIRST_LAYER,
    GROUPS,
    N_LAYER,
    NOT_SET,
    NUM_CHOICES,
    Encoded,
    FloatArray,
    Group,
    IntArray,
    SearchSpace,
    check_space,
)
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.chain_tables import chain_tables, count_states
from hwgpt_gym.surrogates.suffix_tables import suffix_tables

_CACHED: Final = 4
"""Objectives of a benchmark whose tables are kept."""


class ActionValues:
    """The exact values of actions in one problem, or in several of the same search space.

    Tables are made when a row first needs them. They take up to 1 MB for each problem at scale s, 13 MB at m and 64 MB
    at l, and twice as much where the penalty scales quality.

    Args:
        model: The chain model of log-perplexity.
        problems: The problems.
    """

    def __init__(self, model: ChainModel, problems: Sequence[Problem]) -> None:
        check_type("model", model, ChainModel, "a ChainModel, such as bench.chain_model('perplexity')")
        self.space: SearchSpace = model.space
        self._problems = tuple(check_list("problems", problems, "Problem"))
        for problem in self._problems:
            check_type("problems", problem, Problem, "a list of Problem, as Problem.of(bound) returns it")
        self._tables = chain_tables(model)
        self._suffixes = suffix_tables(model)
        spans = [greatest - least for least, greatest in (problem.log_perplexity_range for problem in self._problems)]
        self._quality_of_unit = 1.0 / np.array([span or 1.0 for span in spans])
        self._rewards = [CountRewards(6 * len(problems), n_layer) for n_layer in self.space.depths]
        self._group_values = np.full((len(problems), 3, 3, 2), np.nan)

    @staticmethod
    def bytes_per_problem(space: SearchSpace) -> int:
        """Return how much memory a problem's tables take, unless its penalty scales quality: then twice as much."""
        return 8 * sum(6 * len(count_states(n_layer)) ** 2 for n_layer in check_space(space).depths)

    def __call__(self, encoded: npt.ArrayLike, problem: Rows | None = None) -> FloatArray:
        """Return the values of the next decision's choices.

        Args:
            encoded: Partial architectures, integers ``(n, D)``: see :meth:`SearchSpace.validate_partial`.
            problem: The position of each row's problem, ``intp (n,)``; the first by default.

        Returns:
            ``float64 (n, 3)``: the reward of the best completion after each action, ``-inf`` for an action that is no
            choice; all of a complete architecture are.

        Raises:
            ValueError: As :meth:`SearchSpace.validate_partial`, or if a problem does not exist, or its penalty is not
                affine in quality at given costs.
        """
        encoded, position = self.space.validate_partial(encoded)
        problem = self._check_problem(problem, len(encoded))
        values = np.full((len(encoded), NUM_CHOICES), -np.inf)
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
            ValueError: As :meth:`SearchSpace.validate_partial`.
        """
        encoded, position = self.space.validate_partial(encoded)
        encoded = encoded.copy()
        problem = self._check_problem(problem, len(encoded))
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
        problem = self._check_problem(problem, len(encoded))
        lost = np.zeros(encoded.shape)
        prefix = np.full_like(encoded, NOT_SET)
        for column in range(self.space.num_decisions):
            rows = np.flatnonzero(encoded[:, column] != NOT_SET)
            values = self(prefix[rows], problem[rows])
            lost[rows, column] = values.max(axis=1) - values[np.arange(len(rows)), encoded[rows, column]]
            prefix[:, column] = encoded[:, column]
        return lost

    def _check_problem(self, problem: Rows | None, rows: int) -> Rows:
        if problem is None:
            return np.zeros(rows, dtype=np.intp)
        problem, last = (
            check_array("problem", problem, "iu", "positions of problems").astype(np.intp),
            len(self._problems) - 1,
        )
        if problem.shape != (rows,) or np.any((problem < 0) | (problem > last)):
            raise ValueError(f"problem must hold {rows} positions from 0 to {last}, got {echo(problem)}")
        return problem

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
        values = np.full((len(encoded), NUM_CHOICES), -np.inf)
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
        problem, group = self._problems[slot // 6], Group(slot % 6 // 2, depth, slot % 2)
        states = self._tables.states(depth)
        greatest = problem.log_perplexity_range[1]
        quality = (greatest - self._tables.count_terms(group)) * self._quality_of_unit[slot // 6]
        least, middle, most = (
            problem.rewards(np.full_like(quality, constant), group, states) for constant in (0.0, 0.5, 1.0)
        )
        # At given costs every penalty is affine in quality. Most only shift it.
        slope, rounding = most - least, 1e-9 * (1.0 + np.abs(least).max())
        if np.abs(middle - 0.5 * (least + most)).max() > rounding:
            raise ValueError(f"action values need a penalty that is affine in quality, got {echo(problem.objective)}")
        shifts = np.abs(slope - 1.0).max() <= rounding
        self._rewards[depth].set(slot, least + (quality if shifts else slope * quality), None if shifts else slope)


def _equal_rows(values: IntArray) -> Iterator[tuple[Rows, int]]:
    """Yield each distinct value with the rows that have it."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        yield rows, int(values[rows[0]])


_CACHE: WeakKeyDictionary[Benchmark, OrderedDict[Objective, ActionValues]] = WeakKeyDictionary()


def make_action_values(bench: Benchmark, objective: Objective | Mapping[str, Limit]) -> ActionValues:
    """Return the values of an objective; those used last are kept for as long as the benchmark lives.

    Raises:
        ValueError: If the objective does not fit the benchmark (see :meth:`Objective.bind`), or a limited cost depends
            on the device and the benchmark is not of one.
    """
    cached = _CACHE.setdefault(check_benchmark(bench), OrderedDict())
    objective = as_objective(objective)
    if objective not in cached:
        cached[objective] = ActionValues(bench.chain_model("perplexity"), [Problem.of(objective.bind(bench))])
    cached.move_to_end(objective)
    while len(cached) > _CACHED:
        cached.popitem(last=False)
    return cached[objective]


def action_values(bench: Benchmark, objective: Objective | Mapping[str, Limit], encoded: npt.ArrayLike) -> FloatArray:
    """Return the exact optimal value of every action in many states.

    Args:
        bench: The benchmark, of one device if a constraint depends on the device.
        objective: The objective, or just the constraints.
        encoded: Partial architectures, integers ``(n, D)``, -1 where undecided: the next decision of each is the first
            that is not taken, in the encoding's order.

    Returns:
        ``float64 (n, 3)``: the reward of the best completion after each action, ``-inf`` for an action that is no
        choice; all of a complete architecture are. It is that of :meth:`BoundObjective.evaluate` up to rounding.

    Raises:
        ValueError: As :func:`make_action_values`, or if a row is no partial architecture.

    Example:
        >>> from hwgpt_gym.optimum import solve
        >>> bench, objective = Benchmark("s", "a6000"), Objective({"latency_ms": "p30"})
        >>> undecided = np.full((1, bench.space.num_decisions), -1)
        >>> bool(np.isclose(action_values(bench, objective, undecided).max(), solve(bench, objective).reward))
        True
    """
    return make_action_values(bench, objective)(encoded)


def best_completion(bench: Benchmark, objective: Objective | Mapping[str, Limit], encoded: npt.ArrayLike) -> Encoded:
    """Return the architecture of the greatest reward that begins as each partial architecture does, ``int8 (n, D)``.

    Args:
        bench: As for :func:`action_values`.
        objective: The objective.
        encoded: As for :func:`action_values`.

    Raises:
        ValueError: As :func:`action_values`.
    """
    return make_action_values(bench, objective).complete(encoded)


def episode_regret(bench: Benchmark, objective: Objective | Mapping[str, Limit], encoded: npt.ArrayLike) -> FloatArray:
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
