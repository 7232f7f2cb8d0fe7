"""The bridge to pymoo, against pymoo itself."""

from __future__ import annotations

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize

from hwgpt_gym import Benchmark
from hwgpt_gym.interop import ArchitectureProblem, operators
from hwgpt_gym.optimum import pareto_front
from hwgpt_gym.pareto import box, hypervolume_ratio

BENCHMARK = Benchmark("s", "a6000")


def test_objectives_are_the_metrics_as_losses() -> None:
    problem = ArchitectureProblem(BENCHMARK, ["accuracy", "latency_ms"], {"energy_j": "p50", "params": 5e7})
    genomes = np.random.default_rng(0).integers(0, BENCHMARK.space.num_choices, (50, BENCHMARK.space.num_decisions))
    out = problem.evaluate(genomes, return_as_dictionary=True)
    values = BENCHMARK.evaluate(BENCHMARK.space.canonical(genomes))
    np.testing.assert_array_equal(out["F"], np.stack([-values["accuracy"], values["latency_ms"]], axis=1))
    limit = BENCHMARK.quantile("energy_j", 0.5)
    np.testing.assert_array_equal(out["G"], np.stack([values["energy_j"] / limit, values["params"] / 5e7], axis=1) - 1)
    assert problem.limits == {"energy_j": limit, "params": 5e7}


def test_nsga2_comes_near_the_exact_front_and_beats_chance() -> None:
    metrics = ("perplexity", "latency_ms")
    problem = ArchitectureProblem(BENCHMARK, metrics)
    found = minimize(problem, NSGA2(pop_size=50, **operators(BENCHMARK.space)), ("n_gen", 20), seed=0)
    front, whole = pareto_front(BENCHMARK, metrics), box(BENCHMARK, metrics)
    evaluated = BENCHMARK.evaluate(BENCHMARK.space.canonical(found.X.astype(np.int8)), metrics)
    values = np.stack([evaluated[key] for key in metrics], axis=1)
    np.testing.assert_array_equal(values, found.F)
    chance = BENCHMARK.evaluate(BENCHMARK.space.sample(np.random.default_rng(0), 1_000), metrics)
    by_chance = hypervolume_ratio(np.stack([chance[key] for key in metrics], axis=1), front.values, whole)
    assert by_chance < hypervolume_ratio(values, front.values, whole) <= 1.0


def test_constraints_are_kept() -> None:
    problem = ArchitectureProblem(BENCHMARK, ["perplexity", "latency_ms"], {"energy_j": "p20"})
    found = minimize(problem, NSGA2(pop_size=40, **operators(BENCHMARK.space)), ("n_gen", 15), seed=0)
    energy = BENCHMARK.evaluate(BENCHMARK.space.canonical(found.X.astype(np.int8)), ["energy_j"])["energy_j"]
    assert len(found.X)
    assert (energy <= BENCHMARK.quantile("energy_j", 0.2)).all()


def test_mutations_are_as_many_as_asked_for() -> None:
    space = BENCHMARK.space
    genomes = np.zeros((20_000, space.num_decisions), dtype=int)
    mutation = operators(space, mutations=2.0)["mutation"]
    mutated = mutation._do(None, genomes, random_state=np.random.default_rng(0))
    # Of the choices that are drawn anew, one in three or two is drawn as it was.
    expected = 2.0 / space.num_decisions * np.sum(1 - 1 / np.array(space.num_choices))
    assert (mutated != genomes).sum(axis=1).mean() == pytest.approx(expected, rel=0.03)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="depends on the device"):
        ArchitectureProblem(Benchmark("s", "all"))
    with pytest.raises(ValueError, match="unknown metric 'latency'"):
        ArchitectureProblem(BENCHMARK, ["latency"])
