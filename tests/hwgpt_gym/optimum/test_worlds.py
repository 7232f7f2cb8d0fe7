"""How sure an optimum is: regrets and groups of worlds are those of solving each of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgpt_gym import Benchmark, Objective
from hwgpt_gym.optimum import chain_extremes, solve
from hwgpt_gym.optimum.worlds import NEAR
from hwgpt_gym.surrogates import load_surrogates
from hwgpt_gym.surrogates.worlds import load_worlds

OBJECTIVE = Objective({"latency_ms": "p30"})


@pytest.mark.parametrize(("penalty", "weight"), [("exact", None), ("hinge", None), ("power", 1.0), ("hard", None)])
def test_regrets_are_those_of_solving_each_world(penalty: str, weight: float | None) -> None:
    bench, worlds = Benchmark("s", "a6000"), load_worlds("s")
    # With the default weight, the best under "power" is the best of all, whose quality is cut off at 1 in half of all
    # worlds.
    objective = Objective({"latency_ms": "p30"}, penalty, weight)
    optimum = solve(bench, objective, worlds=4)
    assert [item.factor for item in optimum.certainties] == [1.0, worlds.model_form_factor]
    for item in optimum.certainties:
        groups = []
        for world in range(4):
            # The nominal scale of quality, as every other regret has it.
            surrogates = replace(
                bench.surrogates,
                perplexity=worlds.model("perplexity", world, item.factor),
                ranges=bench.surrogates.ranges,
            )
            paired = Benchmark("s", "a6000", surrogates)
            best = solve(paired, objective)
            metrics = paired.evaluate(optimum.encoded, best.objective.metrics)
            regret = best.reward - best.objective.evaluate(metrics).reward[0]
            assert item.regrets[world] == pytest.approx(regret, abs=1e-11)
            groups.append(tuple(best.encoded[0, :3].tolist()))
        assert sum(item.groups.values()) == 4
        assert set(item.groups) == set(groups)
        assert item.agrees == (set(groups) == {tuple(optimum.encoded[0, :3].tolist())})
        assert item.near == np.mean(item.regrets <= NEAR)
        assert item.expected_regret == pytest.approx(item.regrets.mean())


def test_without_a_limit_a_world_may_be_better_than_the_best_of_the_nominal_models() -> None:
    optimum = solve(Benchmark("s", None), Objective(), worlds=8)
    assert (optimum.certainties[1].regrets >= 0.0).all()
    assert optimum.certainties[1].regrets.max() > 0.0


def test_intervals_hold_world_and_noise() -> None:
    bench, worlds = Benchmark("s", "a6000"), load_worlds("s")
    optimum = solve(bench, OBJECTIVE, worlds=64)
    plain, wide = optimum.certainties
    deviations = worlds.deviations("perplexity", optimum.encoded)[0]
    expected = np.hypot(deviations.std(), worlds.noise[optimum.encoded[0, 0]])
    low, high = np.log(plain.perplexity[90])
    assert (high - low) / 2.0 / 1.6448536 == pytest.approx(expected, rel=1e-6)
    assert np.sqrt(np.exp(low + high)) == pytest.approx(float(optimum.metrics["perplexity"]), rel=1e-9)
    for narrow, broad in ((plain.perplexity, wide.perplexity), (plain.reward, wide.reward)):
        assert np.diff(narrow[50]) < np.diff(narrow[90]) <= np.diff(broad[90])


def test_the_reward_of_an_interval_is_scaled_by_the_extremes_of_its_world() -> None:
    bench, worlds = Benchmark("s", "a6000"), load_worlds("s")
    optimum = solve(bench, OBJECTIVE, worlds=2)
    rewards = []
    for world in range(2):
        other = Benchmark("s", "a6000", world=world)
        bound = OBJECTIVE.bind(other)
        rewards.append(bound.evaluate(other.evaluate(optimum.encoded, bound.metrics)).reward[0])
        assert other.surrogates.ranges["perplexity"] == chain_extremes(worlds.model("perplexity", world))[:2]
    assert np.mean(optimum.certainties[0].reward[50]) == pytest.approx(np.mean(rewards), abs=1e-9)


def test_worlds_that_do_not_fit_are_refused() -> None:
    bench = Benchmark("s", "a6000")
    for worlds in (3, 66, -2, True, 2.0):
        with pytest.raises(ValueError, match="worlds must be"):
            solve(bench, OBJECTIVE, worlds=worlds)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the benchmark of world 3"):
        solve(Benchmark("s", "a6000", world=3), OBJECTIVE, worlds=2)
    other = replace(load_surrogates("s"), perplexity=load_worlds("s").model("perplexity", 0))
    with pytest.raises(ValueError, match="these surrogates have others"):
        solve(Benchmark("s", "a6000", other), OBJECTIVE, worlds=2)
