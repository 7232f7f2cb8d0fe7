"""What is optimal in the contexts of episodes: jumps, optima and regrets, found when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.envs.construction import NUM_ACTIONS, Lanes
from hwgpt_gym.envs.contexts import Contexts
from hwgpt_gym.envs.settings import Settings
from hwgpt_gym.objective import BoundObjective
from hwgpt_gym.penalties import get_penalty
from hwgpt_gym.search_space import Encoded, FloatArray

if TYPE_CHECKING:
    from hwgpt_gym.optimum import ActionValues, Optimum

CACHED_OPTIMA: Final = 1_024
"""Optima that are kept, of as many contexts."""

CACHED_ACTION_VALUES: Final = 2
"""Sets of contexts whose tables of action values are kept."""

TABLES: Final = 2**27
"""Bytes that the tables of one such set may take."""


class Problems:
    """The search problems that contexts are: a device and its limits each.

    Args:
        settings: The settings.
        bench: The benchmark, of all devices of the settings.
    """

    def __init__(self, settings: Settings, bench: Benchmark) -> None:
        self._settings = settings
        self._bench = bench
        penalty = get_penalty(settings.penalty)
        self._needs_jump = penalty.needs_jump and bool(settings.constraint)
        # One limit, and the optimum is the best architecture that keeps it: then it stands on the exact front.
        self._on_front = penalty.constrained and len(settings.constraint) == 1
        self._lowest: Callable[[int], BoundObjective] = cache(self._bind_lowest)
        self._jump_table: Callable[[int], Callable[[FloatArray], FloatArray]] = cache(self._make_jump_table)
        self._front: Callable[[int], tuple[FloatArray, FloatArray]] = cache(self._solve_front)
        self._action_values: Callable[[tuple[tuple[float, ...], ...]], ActionValues] = lru_cache(CACHED_ACTION_VALUES)(
            self._make_action_values
        )
        self._solve: Callable[[int, tuple[float, ...]], Optimum] = lru_cache(CACHED_OPTIMA)(self._solve_one)

    def jumps(self, contexts: Contexts) -> FloatArray | float:
        """Return the jump of the penalty in each context, ``float64 (m,)``, or one for all; 0 if there is none."""
        if not self._needs_jump:
            return 0.0
        if not self._settings.has_context:
            return self._lowest(0).jump
        return self._by_device(contexts, lambda device, limits: self._jump_table(device)(limits))

    def optimum(self, contexts: Contexts, row: int) -> Optimum:
        """Solve one context."""
        return self._solve(int(contexts.device[row]), tuple(contexts.limits[row].tolist()))

    def optimal_rewards(self, contexts: Contexts) -> FloatArray:
        """Return what the optimum of each context earns, ``float64 (m,)``.

        With one limit under ``exact`` or ``hard`` this is a look-up on the exact front; otherwise every context that
        was not seen before is solved.
        """
        if not self._settings.has_context:
            return np.full(len(contexts.device), self.optimum(contexts, 0).reward)
        if self._on_front:
            return self._by_device(contexts, self._best_on_front)
        problems, of_row = np.unique(np.column_stack([contexts.device, contexts.limits]), axis=0, return_inverse=True)
        rewards = [self._solve(int(problem[0]), tuple(problem[1:].tolist())).reward for problem in problems]
        return np.array(rewards)[of_row.reshape(-1)]

    def action_values(self, encoded: Encoded, contexts: Contexts) -> FloatArray:
        """Return the greatest reward within reach after every action, without noise, ``float64 (m, 3)``.

        Args:
            encoded: Architectures under construction, ``int8 (m, D)``, -1 where undecided.
            contexts: Their contexts.
        """
        values = np.empty((len(encoded), NUM_ACTIONS))
        for rows, solved, problem in self._solve_actions(contexts):
            values[rows] = solved(encoded[rows], problem)
        return values

    def decision_regrets(self, encoded: Encoded, contexts: Contexts) -> FloatArray:
        """Return what every decision of complete architectures lost, without noise, ``float64 (m, D)``."""
        lost = np.empty(encoded.shape)
        for rows, solved, problem in self._solve_actions(contexts):
            lost[rows] = solved.regret(encoded[rows], problem)
        return lost

    def _solve_actions(self, contexts: Contexts) -> Iterator[tuple[Lanes, ActionValues, npt.NDArray[np.intp]]]:
        """Yield rows of contexts, the values of actions in these, and the position of each row's problem there."""
        from hwgpt_gym.optimum import ActionValues

        # Few at a time, so that memory does not grow with the number of contexts.
        at_once = max(TABLES // ActionValues.bytes_per_problem(self._bench.space), 1)
        jumps = np.broadcast_to(self.jumps(contexts), len(contexts.device))
        distinct, problem = np.unique(np.column_stack([*contexts, jumps]), axis=0, return_inverse=True)
        for start in range(0, len(distinct), at_once):
            rows = np.flatnonzero((start <= problem) & (problem < start + at_once))
            yield (
                rows,
                self._action_values(tuple(map(tuple, distinct[start : start + at_once].tolist()))),
                problem[rows] - start,
            )

    def _make_action_values(self, contexts: tuple[tuple[float, ...], ...]) -> ActionValues:
        """Return the values of actions in some contexts, each a device, its limits and the jump."""
        from hwgpt_gym.optimum import ActionValues, Problem

        problems = []
        for device, *limits, jump in contexts:
            bound = self._lowest(int(device))
            problems.append(Problem.of(replace(bound, limits=dict(zip(bound.limits, limits, strict=True))), jump))
        return ActionValues(self._bench.chain_model("perplexity"), problems)

    def _by_device(self, contexts: Contexts, found: Callable[[int, FloatArray], FloatArray]) -> FloatArray:
        """Call a function for the contexts of each device, and put together what it gives."""
        result = np.empty(len(contexts.device))
        for device in np.unique(contexts.device).tolist():
            rows = contexts.device == device
            result[rows] = found(device, contexts.limits[rows])
        return result

    def _best_on_front(self, device: int, limits: FloatArray) -> FloatArray:
        costs, quality = self._front(device)
        best: FloatArray = quality[np.searchsorted(costs, limits[:, 0], side="right") - 1]
        return best

    def _bench_of(self, device: int) -> Benchmark:
        return self._bench.on(self._bench.devices[device])

    def _bind_lowest(self, device: int) -> BoundObjective:
        return self._settings.lowest.bind(self._bench_of(device))

    def _make_jump_table(self, device: int) -> Callable[[FloatArray], FloatArray]:
        return self._lowest(device).jump_table(self._settings.highest.bind(self._bench_of(device)).limits)

    def _solve_front(self, device: int) -> tuple[FloatArray, npt.NDArray[np.float64]]:
        """Return the costs of the exact front of the one limited cost, ascending, and their qualities."""
        from hwgpt_gym.optimum import pareto_front

        metrics = (self._settings.constrained[0], "perplexity")
        front = pareto_front(self._bench_of(device), metrics, self._settings.confidence)
        return front.values[:, 0], self._lowest(device).quality(front.values[:, 1])

    def _solve_one(self, device: int, limits: tuple[float, ...]) -> Optimum:
        from hwgpt_gym.optimum import solve

        constraints = dict(zip(self._settings.constrained, limits, strict=True))
        return solve(self._bench_of(device), replace(self._settings.lowest, constraints=constraints))
