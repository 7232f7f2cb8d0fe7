"""The protocol: budgets are counted and enforced, arguments are checked."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hwgpt_gym import Benchmark
from hwgpt_gym.agents import BudgetExceededError, SearchProblem, make_agent
from hwgpt_gym.objective import Objective

BENCHMARK = Benchmark("s", "a6000")
OBJECTIVE = Objective({"latency_ms": "p50"})


def test_evaluate_returns_the_rewards_of_the_objective() -> None:
    problem = SearchProblem(BENCHMARK, OBJECTIVE, budget=10)
    encoded = problem.space.sample(np.random.default_rng(0), 10)
    metrics = BENCHMARK.evaluate(encoded)
    np.testing.assert_array_equal(problem.evaluate(encoded), OBJECTIVE.bind(BENCHMARK).evaluate(metrics).reward)
    result = problem.result("none", {}, 0.0, 0.0)
    np.testing.assert_array_equal(result.encoded, encoded)
    np.testing.assert_array_equal(result.metrics["latency_ms"], metrics["latency_ms"])


def test_losses_are_signed_so_that_less_is_better() -> None:
    problem = SearchProblem(BENCHMARK, budget=5, trade_off=("accuracy", "energy_j"))
    encoded = problem.space.sample(np.random.default_rng(0), 5)
    metrics = BENCHMARK.evaluate(encoded)
    losses = problem.evaluate_losses(encoded)
    np.testing.assert_array_equal(losses, np.stack([-metrics["accuracy"], metrics["energy_j"]], axis=1))


def test_the_budget_is_enforced_and_a_refusal_changes_nothing() -> None:
    problem = SearchProblem(BENCHMARK, OBJECTIVE, budget=10)
    encoded = problem.space.sample(np.random.default_rng(0), 11)
    problem.evaluate(encoded[:4])
    with pytest.raises(BudgetExceededError, match=r"7 evaluations were asked for, 6 of the budget of 10"):
        problem.evaluate(encoded[:7])
    assert problem.evaluations == 4
    problem.evaluate_losses(encoded[:6])
    assert problem.remaining == 0
    assert len(problem.result("none", {}, 0.0, 0.0)) == 10


def test_the_same_architecture_counts_every_time() -> None:
    problem = SearchProblem(BENCHMARK, OBJECTIVE, budget=3)
    encoded = problem.space.sample(np.random.default_rng(0), 1)
    for _ in range(3):
        problem.evaluate(encoded)
    assert problem.remaining == 0


def test_an_invalid_architecture_is_not_counted() -> None:
    problem = SearchProblem(BENCHMARK, OBJECTIVE, budget=3)
    with pytest.raises(ValueError, match="legal choices"):
        problem.evaluate(np.full((1, problem.space.num_decisions), 7))
    assert problem.evaluations == 0


def test_greedy_architectures_cost_nothing_and_tell_nothing() -> None:
    problem = SearchProblem(BENCHMARK, OBJECTIVE, budget=3)
    encoded = problem.space.sample(np.random.default_rng(0), 2)
    assert problem.record_greedy(encoded[:1]) is None
    assert problem.evaluations == 0
    assert problem.best_reward == -np.inf
    assert len(problem.result("none", {}, 0.0, 0.0).greedy_reward) == 1
    with pytest.raises(ValueError, match="one architecture"):
        problem.record_greedy(encoded)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, "budget must be an integer from 1 to 1000000000, got 0"),
        ({"budget": 1.5}, "budget"),
        ({"seed": -1}, "seed"),
        ({"trade_off": ("perplexity",)}, "at least two"),
        ({"trade_off": ("perplexity", "perplexity")}, "at least two"),
        ({"trade_off": ("perplexity", "latency")}, "latency_ms"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchProblem(BENCHMARK, OBJECTIVE, **arguments)  # type: ignore[arg-type]


def test_several_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="one device"):
        SearchProblem(Benchmark("s", "all"))


def test_a_problem_without_a_device() -> None:
    problem = SearchProblem(
        Benchmark("s", None), Objective({"params": "p50"}), budget=50, trade_off=("perplexity", "params")
    )
    assert len(make_agent("regularized_evolution").run(problem)) == 50


def test_a_used_problem_is_refused() -> None:
    problem = SearchProblem(BENCHMARK, OBJECTIVE, budget=10)
    make_agent("random_search").run(problem)
    with pytest.raises(ValueError, match="must be fresh"):
        make_agent("random_search").run(problem)


def test_the_registry_is_light() -> None:
    code = (
        "import sys, hwgpt_gym.agents; "
        "print([m for m in ('torch', 'stable_baselines3', 'optuna', 'pymoo', 'pandas', 'matplotlib') "
        "if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
