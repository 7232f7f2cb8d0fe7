"""The search problem, with a counted budget, and the callback that watches it.

An agent sees a problem only through :meth:`SearchProblem.evaluate` and :meth:`SearchProblem.evaluate_losses`. Both
count every architecture, repeated ones too, and refuse to go beyond the budget. Budgets never count seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.result import GREATEST_BUDGET
from hwgpt_gym.agents.task_name import task_name
from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_integer, check_list, check_type, echo
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.objective import BoundObjective, Limit, Objective, as_objective
from hwgpt_gym.onboarding.devices import content_of
from hwgpt_gym.search_space import Encoded, FloatArray, SearchSpace

if TYPE_CHECKING:
    from hwgpt_gym.agents.result import SearchResult

DEFAULT_TRADE_OFF: Final = ("perplexity", "latency_ms")
"""The metrics that multi-objective agents trade off where nothing else is asked for."""


class BudgetExceededError(RuntimeError):
    """More evaluations were asked for than the budget has left. None of them was made."""


def small_seed(seed: int) -> int:
    """Return a seed for libraries that take none from 2**32 on: a smaller one is itself, a greater one is hashed."""
    check_integer("seed", seed, 0)
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])


def noise_generator(seed: int) -> np.random.Generator:
    """Return what the measurements of a search are drawn from, one after another: not what its agent draws from."""
    return np.random.default_rng([check_integer("seed", seed, 0), 1])


class SearchProblem:
    """What to search for, and how many architectures may be evaluated on the way.

    Args:
        benchmark: The benchmark, of one device if a metric that is needed depends on the device.
        objective: What a single-objective agent maximises, or just the constraints; none by default.
        budget: How many architectures may be evaluated, from 1 to :data:`~hwgpt_gym.agents.result.GREATEST_BUDGET`.
        seed: What an agent seeds its random numbers with, at least 0.
        trade_off: The metrics that a multi-objective agent trades off, at least two.
        measured: Whether every evaluation is a measurement: latency and energy vary as in the benchmark's profiling,
            by the seed. Greedy architectures are scored by predictions nevertheless.

    Attributes:
        evaluations: How many architectures were evaluated.
        best_reward: The greatest reward so far, minus infinity before the first evaluation.

    Raises:
        ValueError: If an argument is not legal.

    Example:
        >>> import numpy as np
        >>> from hwgpt_gym import Benchmark
        >>> from hwgpt_gym.objective import Objective
        >>> problem = SearchProblem(Benchmark("s", "a6000"), Objective({"latency_ms": "p50"}), budget=100)
        >>> rewards = problem.evaluate(problem.space.sample(np.random.default_rng(0), 60))
        >>> problem.remaining
        40
    """

    def __init__(
        self,
        benchmark: Benchmark,
        objective: Objective | Mapping[str, Limit] | None = None,
        budget: int = 1_000,
        seed: int = 0,
        trade_off: Sequence[str] = DEFAULT_TRADE_OFF,
        measured: bool = False,
    ) -> None:
        self.benchmark = check_benchmark(benchmark, "benchmark")
        self.objective = Objective() if objective is None else as_objective(objective)
        self.budget = check_integer("budget", budget, 1, GREATEST_BUDGET)
        self.seed = check_integer("seed", seed, 0)
        self.trade_off = _check_trade_off(benchmark, trade_off)
        self.measured = check_type("measured", measured, bool, "True or False")
        benchmark.check_one_device(list(self.objective.constraints))
        self.bound: BoundObjective = self.objective.bind(benchmark)
        self.evaluations = 0
        self.best_reward = -np.inf
        self.progress: Callback | None = None
        self._metrics = tuple(dict.fromkeys((*self.bound.metrics, *self.trade_off)))
        self._signs = np.array([1.0 if METRICS[key].lower_is_better else -1.0 for key in self.trade_off])
        self._encoded: list[Encoded] = []
        self._values: dict[str, list[FloatArray]] = {key: [] for key in self._metrics}
        self._rewards: list[FloatArray] = []
        self._greedy: list[tuple[int, Encoded, float]] = []
        self._noise = noise_generator(self.seed)

    @property
    def task(self) -> str:
        """The name of the task; results of one task compare."""
        return task_name(self.benchmark, self.objective, self.measured)

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.benchmark.space

    @property
    def remaining(self) -> int:
        """How many architectures may still be evaluated."""
        return self.budget - self.evaluations

    def evaluate(self, encoded: npt.ArrayLike) -> FloatArray:
        """Evaluate architectures and return their rewards.

        Args:
            encoded: The architectures, integers ``(n, D)``.

        Returns:
            ``float64 (n,)``.

        Raises:
            ValueError: If an architecture is not valid.
            BudgetExceededError: If ``n`` is more than :attr:`remaining`; nothing is evaluated then.
        """
        return self._evaluate(encoded)[1]

    def evaluate_losses(self, encoded: npt.ArrayLike) -> FloatArray:
        """Evaluate architectures and return the metrics of :attr:`trade_off`, signed so that less is better.

        Args:
            encoded: The architectures, integers ``(n, D)``.

        Returns:
            ``float64 (n, metrics)``.

        Raises:
            ValueError: If an architecture is not valid.
            BudgetExceededError: If ``n`` is more than :attr:`remaining`; nothing is evaluated then.
        """
        values = self._evaluate(encoded)[0]
        losses: FloatArray = np.stack([values[key] for key in self.trade_off], axis=1) * self._signs
        return losses

    def record_greedy(self, encoded: npt.ArrayLike) -> None:
        """Record the architecture that a policy builds when it acts greedily, at this point of the search.

        It is for scoring: it costs no evaluation, and the agent is not told what it earns.

        Args:
            encoded: The architecture, integers ``(1, D)``.

        Raises:
            ValueError: If it is not one valid architecture.
        """
        row = self.space.validate(encoded)
        if len(row) != 1:
            raise ValueError(f"encoded must hold one architecture, got {len(row)}")
        reward = self.bound.evaluate(
            self.benchmark.evaluate(row, self.bound.metrics), margins=self.bound.margins(row)
        ).reward
        self._greedy.append((self.evaluations, row, float(reward[0])))

    def result(self, agent: str, settings: dict[str, Any], wall_time: float, cpu_time: float) -> SearchResult:
        """Return everything that was evaluated so far."""
        from hwgpt_gym.agents.result import SearchResult

        empty = np.zeros((0, self.space.num_decisions), dtype=np.int8)
        return SearchResult(
            agent=agent,
            settings=settings,
            scale=self.benchmark.scale,
            device=self.benchmark.device.name if self.benchmark.device else None,
            device_content=content_of(self.benchmark.device) if self.benchmark.device else "",
            objective=self.objective,
            budget=self.budget,
            seed=self.seed,
            trade_off=self.trade_off,
            encoded=np.concatenate([empty, *self._encoded]),
            metrics={key: np.concatenate([np.zeros(0), *parts]) for key, parts in self._values.items()},
            reward=np.concatenate([np.zeros(0), *self._rewards]),
            greedy_evaluations=np.array([at for at, _, _ in self._greedy], dtype=np.int64),
            greedy_encoded=np.concatenate([empty, *(row for _, row, _ in self._greedy)]),
            greedy_reward=np.array([reward for _, _, reward in self._greedy], dtype=np.float64),
            wall_time=wall_time,
            cpu_time=cpu_time,
            task=self.task,
            measured=self.measured,
        )

    def _evaluate(self, encoded: npt.ArrayLike) -> tuple[dict[str, FloatArray], FloatArray]:
        rows = self.space.validate(encoded)
        # Not `remaining`, which a problem may set to nothing at any time: that ends a search, and refuses nothing.
        left = self.budget - self.evaluations
        if len(rows) > left:
            raise BudgetExceededError(
                f"{len(rows)} evaluations were asked for, {left} of the budget of {self.budget} are left"
            )
        if self.measured:
            values = self.benchmark.measure(rows, self._noise, self._metrics)
        else:
            values = self.benchmark.evaluate(rows, self._metrics)
        rewards = self.bound.evaluate(values, margins=self.bound.margins(rows)).reward
        if len(rows):
            self._encoded.append(rows.copy())
            self._rewards.append(rewards)
            for key, parts in self._values.items():
                parts.append(values[key])
            self.evaluations += len(rows)
            self.best_reward = max(self.best_reward, float(rewards.max()))
            if self.progress is not None:
                self.progress(self)
        return values, rewards.copy()


Callback: TypeAlias = Callable[[SearchProblem], None]
"""Called with the problem after every batch of evaluations: to show progress, or to raise and thereby stop."""


def _check_trade_off(benchmark: Benchmark, trade_off: Sequence[str]) -> tuple[str, ...]:
    metrics = tuple(check_list("trade_off", trade_off, "at least two metrics"))
    benchmark.check_one_device(metrics)
    if len(set(metrics)) != len(metrics) or len(metrics) < 2:
        raise ValueError(f"trade_off must list at least two different metrics, got {echo(trade_off)}")
    return metrics


def check_problem(problem: object) -> SearchProblem:
    """Return an argument that has to be a search problem.

    Raises:
        TypeError: If it is none.
    """
    return check_type("problem", problem, SearchProblem, "a SearchProblem, such as SearchProblem(benchmark, objective)")
