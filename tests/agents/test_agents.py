"""What holds for every agent: the budget is spent exactly, a seed repeats its result, settings are checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwgpt_gym import Benchmark
from hwgpt_gym.agents import AGENTS, SearchProblem, SearchResult, make_agent
from hwgpt_gym.agents.params_proxy import ParamsProxy
from hwgpt_gym.analytic import params
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import pareto_front, solve
from hwgpt_gym.pareto import box, hypervolume_ratio
from hwgpt_gym.search_space import EMBED_DIM

BENCHMARK = Benchmark("s", "a6000")
OBJECTIVE = Objective({"latency_ms": "p50"})
OPTIMUM = solve(BENCHMARK, OBJECTIVE)

# Small enough to be quick, and no multiple of any batch.
BUDGETS = {"tpe": 33, "mo_tpe": 33, "gp": 6, "gp_ehvi": 6, "gp_lsbo": 6, "gp_rsbo": 6, "exact": 1}
BUDGETS["amortised_beam"] = 16
UNSEEDED = ("exact", "amortised_beam")
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"startup_trials": 4} for name in ("tpe", "mo_tpe", "gp", "gp_ehvi", "gp_lsbo", "gp_rsbo")},
    **{name: {"num_envs": 16, "batch_size": 108} for name in ("ppo", "maskable_ppo")},
    "edit_ppo": {"num_envs": 16, "n_steps": 4, "batch_size": 32},
}


def run(name: str, seed: int = 0, budget: int | None = None, scale: str = "s", **settings: Any) -> SearchResult:
    budget = budget or BUDGETS.get(name, 203)
    agent = make_agent(name, **(SETTINGS.get(name, {}) | settings))
    return agent.run(SearchProblem(Benchmark(scale, "a6000"), OBJECTIVE, budget, seed))


@pytest.mark.parametrize("name", AGENTS)
def test_budget_determinism_and_record(name: str) -> None:
    first, again = run(name), run(name)
    assert len(first) == BUDGETS.get(name, 203)
    np.testing.assert_array_equal(first.encoded, again.encoded)
    np.testing.assert_array_equal(first.greedy_encoded, again.greedy_encoded)
    np.testing.assert_array_equal(first.reward, again.reward)
    # The record is what the benchmark says.
    metrics = BENCHMARK.evaluate(first.encoded)
    np.testing.assert_array_equal(first.reward, OBJECTIVE.bind(BENCHMARK).evaluate(metrics).reward)
    assert (first.regret(OPTIMUM) >= 0.0).all()
    assert (len(first.greedy_reward) > 0) == AGENTS[name].has_policy
    assert first.agent == name
    if name not in UNSEEDED:
        assert not np.array_equal(first.encoded, run(name, seed=1).encoded)


@pytest.mark.parametrize(
    "name",
    ["local_search", "regularized_evolution", "stratified_evolution", "params_proxy", "nsga2", "reinforce_lstm"],
)
def test_budget_is_spent_at_scale_m(name: str) -> None:
    assert len(run(name, scale="m", budget=151)) == 151


@pytest.mark.parametrize("name", [name for name in AGENTS if name != "exact"])
def test_a_budget_of_one(name: str) -> None:
    assert len(run(name, budget=1)) == 1


def test_the_amortised_beam_needs_a_handful_of_evaluations_and_a_limit() -> None:
    result = run("amortised_beam", budget=1_000)
    assert len(result) == 16
    assert result.regret(OPTIMUM)[-1] < 0.005
    assert OBJECTIVE.bind(BENCHMARK).evaluate(result.metrics).feasible.all()
    with pytest.raises(ValueError, match="needs one or two limited costs"):
        make_agent("amortised_beam").run(SearchProblem(BENCHMARK, Objective({}), 16))


def test_editing_changes_one_decision_at_a_time() -> None:
    agent = make_agent("edit_ppo", num_envs=1, n_steps=8, batch_size=8, max_steps=10)
    encoded = agent.run(SearchProblem(BENCHMARK, OBJECTIVE, 33)).encoded
    # A start, ten changes, another start. A change of the depth shows or hides the layers between.
    both = (encoded[1:] != -1) & (encoded[:-1] != -1)
    changes = ((encoded[1:] != encoded[:-1]) & both).sum(axis=1)
    begins = np.arange(len(changes)) % 11 == 10
    assert (changes[~begins] == 1).all()
    assert (changes[begins] > 5).all()


def test_the_callback_sees_progress_and_may_stop() -> None:
    seen: list[int] = []

    def watch(problem: SearchProblem) -> None:
        seen.append(problem.evaluations)
        if problem.evaluations >= 60:
            raise KeyboardInterrupt

    problem = SearchProblem(BENCHMARK, OBJECTIVE, 1_000)
    with pytest.raises(KeyboardInterrupt):
        make_agent("regularized_evolution").run(problem, watch)
    assert seen == [50, *range(51, 61)]
    assert len(problem.result("interrupted", {}, 0.0, 0.0)) == 60


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("random_search", {"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ("local_search", {"restart_probability": 1.5}, "restart_probability must be a number from 0.0 to 1.0"),
        ("local_search", {"perturbation": 0}, "perturbation"),
        ("local_search", {"initial_samples": 0}, "initial_samples"),
        ("local_search", {"warm_start": -1}, "warm_start must be an integer from 0 to 10,?000"),
        ("regularized_evolution", {"population_size": 1}, "population_size"),
        ("regularized_evolution", {"warm_start": 51}, "warm_start must be at most population_size = 50"),
        ("finetuned_ppo", {"batch_size": 1}, "batch_size"),
        ("finetuned_ppo", {"learning_rate": 0.0}, "learning_rate"),
        ("finetuned_ppo", {"beam": -1}, "beam"),
        ("regularized_evolution", {"sample_size": 51}, "sample_size must be at most population_size = 50"),
        ("mo_regularized_evolution", {"mutations": 0}, "mutations"),
        ("params_proxy", {"shrinkage": 0.0}, "shrinkage"),
        ("nsga2", {"population_size": 7}, "even"),
        ("nsga2", {"crossover_probability": -0.1}, "crossover_probability"),
        ("tpe", {"startup_trials": 0}, "startup_trials"),
        ("gp", {"startup_trials": True}, "startup_trials"),
        ("reinforce", {"learning_rate": 0.0}, "learning_rate"),
        ("reinforce", {"batch_size": 1}, "batch_size"),
        ("reinforce_lstm", {"hidden_size": 0}, "hidden_size"),
        ("ppo", {"num_envs": 0}, "num_envs"),
        ("ppo", {"warm_start": 10_001}, "warm_start"),
        ("ppo", {"gae_lambda": 1.1}, "gae_lambda"),
        ("ppo", {"num_envs": 2, "n_steps": 5, "batch_size": 11}, "at most num_envs"),
        ("ppo", {"hidden_size": 10**6}, "hidden_size must be an integer from 1 to 8192, got 1000000"),
        # The mean of one advantage is no deviation: sb3-contrib's policy would become not a number.
        ("maskable_ppo", {"num_envs": 3, "n_steps": 27, "batch_size": 40}, "must not leave one of the num_envs"),
        ("edit_ppo", {"num_envs": 3, "n_steps": 3, "batch_size": 4}, "must not leave one of the num_envs"),
        ("edit_ppo", {"num_envs": 2, "n_steps": 2, "batch_size": 5}, "at most num_envs"),
        ("amortised_beam", {"beam": 10**9}, "beam must be an integer from 1 to 10000"),
        ("finetuned_ppo", {"beam": 10**9}, "beam must be an integer from 0 to 10000"),
        ("maskable_ppo", {"clip_range": "wide"}, "clip_range"),
        ("ppo", {"learning_rte": 0.1}, "has no setting 'learning_rte'"),
        ("pppo", {}, "did you mean 'ppo'"),
    ],
)
def test_bad_settings(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_agent(name, **settings)


@pytest.mark.parametrize("name", AGENTS)
def test_every_seed_will_do(name: str) -> None:
    for seed in (2**32, 2**64):
        assert len(run(name, seed, 1)) == 1


def test_optunas_verbosity_stays() -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        run("tpe", budget=5)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


def test_exact_has_no_regret() -> None:
    assert run("exact").regret(OPTIMUM)[-1] == 0.0


def test_search_beats_random_search() -> None:
    regrets = {
        name: np.median([run(name, seed, 1_000).regret(OPTIMUM)[-1] for seed in range(3)])
        for name in ("random_search", "local_search", "regularized_evolution")
    }
    assert regrets["local_search"] < regrets["random_search"]
    assert regrets["regularized_evolution"] < regrets["random_search"]


def test_stratified_evolution_finds_the_width_of_the_optimum_under_low_limits() -> None:
    objective = Objective({"latency_ms": "p20"})
    optimum, regrets = solve(BENCHMARK, objective), {}
    for name in ("regularized_evolution", "stratified_evolution"):
        results = [make_agent(name).run(SearchProblem(BENCHMARK, objective, 1_500, seed)) for seed in range(3)]
        regrets[name] = np.mean([result.regret(optimum)[-1] for result in results])
    widths = results[-1].encoded[:, EMBED_DIM]
    # A population each, in turn.
    np.testing.assert_array_equal(widths, np.arange(1_500) % 3)
    assert regrets["stratified_evolution"] < 0.5 * regrets["regularized_evolution"]


WARM: dict[str, dict[str, Any]] = {
    "local_search": {"swaps": True},
    "regularized_evolution": {},
    "stratified_evolution": {},
}


@pytest.mark.parametrize("name", WARM)
def test_a_warm_start_begins_with_samples_of_the_policy(name: str) -> None:
    warm, cold = run(name, warm_start=8, **WARM[name]), run(name, **WARM[name])
    assert len(warm) == len(cold)
    assert warm.settings["warm_start"] == 8
    assert len(np.unique(warm.encoded[:8], axis=0)) == 8
    bound = OBJECTIVE.bind(BENCHMARK)
    assert bound.evaluate(BENCHMARK.evaluate(warm.encoded[:8], bound.metrics)).feasible.all()
    assert warm.regret(OPTIMUM)[7] < 0.1 * cold.regret(OPTIMUM)[7]
    np.testing.assert_array_equal(warm.encoded, run(name, warm_start=8, **WARM[name]).encoded)
    with pytest.raises(ValueError, match="one or two limited costs"):
        make_agent(name, warm_start=8).run(SearchProblem(BENCHMARK, Objective(), 10))


@pytest.mark.parametrize("name", ["ppo", "maskable_ppo"])
def test_ppo_imitates_what_it_begins_with(name: str) -> None:
    warm, cold = run(name, warm_start=40, budget=120), run(name, budget=120)
    assert warm.regret(OPTIMUM)[39] < 0.1 * cold.regret(OPTIMUM)[39]
    # What it builds itself is like it.
    assert warm.reward[40:].mean() > cold.reward[40:].mean() + 0.1
    np.testing.assert_array_equal(warm.encoded, run(name, warm_start=40, budget=120).encoded)


def test_local_search_swaps_layers_at_no_cost() -> None:
    distinct = {}
    for swaps in (False, True):
        result = run("local_search", swaps=swaps, initial_samples=1, restart_probability=0.0)
        assert result.settings["swaps"] is swaps
        parts = (result.encoded[:, :3], *BENCHMARK.space.counts(result.encoded))
        distinct[swaps] = len(np.unique(np.concatenate(parts, axis=1), axis=0))
    # Without swaps nearly every evaluation has costs of its own.
    assert distinct[True] < 0.7 * distinct[False]


def test_finetuned_ppo_improves_on_the_policy_and_keeps_limits() -> None:
    objective = Objective({"latency_ms": "p30"})
    benchmark = Benchmark("s", "rtx3080")
    optimum = solve(benchmark, objective)
    result = make_agent("finetuned_ppo", beam=1).run(SearchProblem(benchmark, objective, 400))
    bound = objective.bind(benchmark)
    assert bound.evaluate(benchmark.evaluate(result.encoded, bound.metrics)).feasible.all()
    # The first evaluation is the policy's greedy episode.
    assert result.greedy_regret(optimum)[0] == result.regret(optimum)[0] > 2.0 * result.regret(optimum)[-1]
    assert result.greedy_regret(optimum)[-1] < result.greedy_regret(optimum)[0]
    with pytest.raises(ValueError, match="one or two limited costs"):
        make_agent("finetuned_ppo").run(SearchProblem(benchmark, Objective(), 10))


def test_nsga2_beats_random_search_in_hypervolume() -> None:
    trade_off = ("perplexity", "latency_ms")
    bounds, front = box(BENCHMARK, trade_off), pareto_front(BENCHMARK, trade_off)
    ratios = {}
    for name in ("random_search", "nsga2", "mo_regularized_evolution"):
        metrics = run(name, budget=1_000).metrics
        ratios[name] = hypervolume_ratio(np.stack([metrics[key] for key in trade_off], axis=1), front.values, bounds)
    assert ratios["random_search"] < min(ratios["nsga2"], ratios["mo_regularized_evolution"])
    assert max(ratios.values()) <= 1.0


def test_reinforce_learns() -> None:
    result = run("reinforce", budget=10_000, checkpoints=5)
    assert result.greedy_regret(OPTIMUM)[-1] < 0.04
    assert result.reward[-500:].mean() > result.reward[:500].mean() + 0.2


def test_params_proxy_searches_by_size_alone() -> None:
    result = ParamsProxy(pool_size=1_000, round_size=20).run(SearchProblem(BENCHMARK, OBJECTIVE, 200, 0))
    sizes = params(BENCHMARK.space, result.encoded)
    assert (np.diff(sizes[:20]) >= 0).all()
    # The window closes in on a size.
    assert np.ptp(sizes[-20:].astype(float)) < 0.5 * np.ptp(sizes[:20].astype(float))


def test_mo_evolution_ranks_among_the_tournament_or_the_population() -> None:
    tournament, population = (
        run("mo_regularized_evolution", ranked_among=among) for among in ("tournament", "population")
    )
    np.testing.assert_array_equal(tournament.encoded, run("mo_regularized_evolution").encoded)
    # Until the population is full there is nothing to rank.
    np.testing.assert_array_equal(tournament.encoded[:100], population.encoded[:100])
    assert (tournament.encoded != population.encoded).any()
    with pytest.raises(ValueError, match=r"ranked_among must be one of \['tournament', 'population'\], got 'front'"):
        make_agent("mo_regularized_evolution", ranked_among="front")
