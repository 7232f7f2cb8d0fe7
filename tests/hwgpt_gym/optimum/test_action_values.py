"""The exact values of actions: against brute force, the solver, and what following them earns."""

from __future__ import annotations

import gc
import weakref
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgpt_gym import Benchmark, SearchSpace
from hwgpt_gym.metrics import COST_METRICS
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import ActionValues, Problem, action_values, best_completion, episode_regret, solve
from hwgpt_gym.optimum.action_values import make_action_values
from hwgpt_gym.penalties import PENALTIES, Penalty
from hwgpt_gym.search_space import BIAS, FIRST_LAYER, N_LAYER, NOT_SET, Encoded, FloatArray
from small_spaces import TINY, all_metrics, everything, random_benchmark

CLOSE = {"rtol": 1e-14, "atol": 1e-12}  # Random costs and weights make rewards far greater than 1.
SEEDS = st.integers(0, 2**32 - 1)
constraint_sets = st.dictionaries(
    st.sampled_from(COST_METRICS), st.sampled_from(["p0", "p2.5", "p10", "p30", "p50", "p90", "p100"]), max_size=3
)
TWO_LIMITS = {"latency_ms": "p30", "energy_j": "p20"}


@lru_cache(maxsize=4)
def shipped(scale: str, device: str) -> Benchmark:
    return Benchmark(scale, device)


def partial(space: SearchSpace, rng: np.random.Generator, n: int) -> Encoded:
    """Random architectures, each cut off before a random decision."""
    encoded = space.sample(rng, n)
    cut = rng.integers(0, (encoded != NOT_SET).sum(axis=1))
    encoded[np.arange(space.num_decisions) >= cut[:, None]] = NOT_SET
    return encoded


def assert_values_are_those_of_brute_force(bench: Benchmark, objective: Objective) -> None:
    """Compare the values in every state of a small space with the best of all architectures that follow."""
    if PENALTIES[objective.penalty].constrained and Objective(objective.constraints, "hinge").bind(bench).unmeetable:
        with pytest.raises(ValueError, match="no architecture"):
            action_values(bench, objective, np.full((1, bench.space.num_decisions), NOT_SET))
        return
    encoded = everything(bench.space)
    reward = objective.bind(bench).evaluate(all_metrics(bench)).reward
    prefix = np.full_like(encoded, NOT_SET)
    state: npt.NDArray[np.intp] = np.zeros(len(encoded), dtype=np.intp)
    for column, choices in enumerate(bench.space.num_choices):
        rows = np.flatnonzero(encoded[:, column] != NOT_SET)
        expected = np.full((state.max() + 1, 3), -np.inf)
        np.maximum.at(expected, (state[rows], encoded[rows, column]), reward[rows])
        # Architectures that are complete already are states without actions.
        _, first = np.unique(state, return_index=True)
        np.testing.assert_allclose(action_values(bench, objective, prefix[first]), expected, **CLOSE)
        prefix[:, column] = encoded[:, column]
        _, state = np.unique(state * (choices + 1) + encoded[:, column], return_inverse=True)


@pytest.mark.parametrize("penalty", PENALTIES)
@settings(deadline=None, derandomize=True, max_examples=12)
@given(seed=SEEDS, constraints=constraint_sets, weight=st.sampled_from([None, 0.01, 5.0]))
def test_values_are_those_of_brute_force(penalty: Any, seed: int, constraints: dict[str, str], weight: Any) -> None:
    bench = random_benchmark(TINY[1], seed)
    assert_values_are_those_of_brute_force(bench, Objective(constraints, penalty, weight))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_values_are_those_of_brute_force_in_deeper_spaces(penalty: Any) -> None:
    bench = random_benchmark(TINY[0], seed=7)
    assert_values_are_those_of_brute_force(bench, Objective(TWO_LIMITS, penalty))


@pytest.mark.parametrize("penalty", PENALTIES)
@settings(deadline=None, derandomize=True, max_examples=12)
@given(seed=SEEDS, metrics=st.lists(st.sampled_from(COST_METRICS), min_size=1, max_size=2, unique=True))
def test_who_sits_on_a_limit_is_on_the_same_side_of_it(penalty: Any, seed: int, metrics: list[str]) -> None:
    bench = random_benchmark(TINY[1], seed)
    row = np.random.default_rng(seed).integers(0, bench.space.size)
    limits = {metric: float(all_metrics(bench)[metric][row]) for metric in metrics}
    assert_values_are_those_of_brute_force(bench, Objective(limits, penalty))


@pytest.mark.parametrize("confidence", [None, 0.95])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("scale", "device"), [("s", "a6000"), ("s", "cpu_xeon_gold"), ("m", "h100"), ("l", "v100")])
def test_the_root_is_worth_the_optimum_and_the_best_choices_lead_to_it(
    scale: str, device: str, penalty: Any, confidence: float | None
) -> None:
    bench = shipped(scale, device)
    objective = Objective({"latency_ms": "p30", "params": "p60"}, penalty, confidence=confidence)
    optimum = solve(bench, objective)
    root = np.full((1, bench.space.num_decisions), NOT_SET)
    assert action_values(bench, objective, root).max() == pytest.approx(optimum.reward, rel=0.0, abs=1e-12)
    found = best_completion(bench, objective, root)
    bound = optimum.objective
    earned = bound.evaluate(bench.evaluate(found), margins=bound.margins(found)).reward[0]
    assert earned == pytest.approx(optimum.reward, rel=0.0, abs=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("scale", "number"), [("s", 500), ("m", 100), ("l", 25)])
def test_the_best_choices_are_optimal_from_any_partial_architecture(scale: str, number: int, penalty: Any) -> None:
    bench = shipped(scale, "a6000")
    objective = Objective(TWO_LIMITS, penalty)
    bound = objective.bind(bench)
    rng = np.random.default_rng(number)
    states = partial(bench.space, rng, number)
    best = action_values(bench, objective, states).max(axis=1)
    completed = bench.space.validate(best_completion(bench, objective, states))
    decided = states != NOT_SET
    np.testing.assert_array_equal(completed[decided], states[decided])
    np.testing.assert_allclose(bound.evaluate(bench.evaluate(completed)).reward, best, **CLOSE)
    # And no random completion is better.
    for _ in range(20):
        others = rng.integers(0, bench.space.num_choices, states.shape)
        others[decided] = states[decided]
        lengths = FIRST_LAYER + 2 * np.asarray(bench.space.depths)[others[:, N_LAYER]]
        others[np.arange(bench.space.num_decisions) >= lengths[:, None]] = NOT_SET
        assert np.all(bound.evaluate(bench.evaluate(others)).reward <= best + 1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("scale", "number"), [("s", 300), ("m", 30), ("l", 5)])
def test_what_decisions_lose_adds_up_to_the_regret(scale: str, number: int, penalty: Any) -> None:
    bench = shipped(scale, "a6000")
    objective = Objective(TWO_LIMITS, penalty)
    optimum = solve(bench, objective)
    encoded = np.concatenate([bench.space.sample(np.random.default_rng(0), number), optimum.encoded])
    lost = episode_regret(bench, objective, encoded)
    assert lost.shape == encoded.shape
    assert lost.min() == 0.0
    assert not lost[encoded == NOT_SET].any()
    regret = optimum.reward - optimum.objective.evaluate(bench.evaluate(encoded)).reward
    assert regret[:-1].min() > 1e-6
    np.testing.assert_allclose(lost.sum(axis=1), regret, **CLOSE)


def test_actions_that_are_no_choice_have_no_value() -> None:
    bench = shipped("s", "a6000")
    objective = Objective({"latency_ms": "p30"})
    architectures = bench.space.sample(np.random.default_rng(0), 50)
    assert np.all(action_values(bench, objective, architectures) == -np.inf)
    np.testing.assert_array_equal(best_completion(bench, objective, architectures), architectures)
    architectures[:, BIAS:] = NOT_SET
    values = action_values(bench, objective, architectures)
    assert np.all(values[:, 2] == -np.inf)
    assert np.isfinite(values[:, :2]).all()


def test_a_row_does_not_depend_on_its_batch() -> None:
    bench = shipped("s", "a6000")
    objective = Objective(TWO_LIMITS)
    states = partial(bench.space, np.random.default_rng(1), 400)
    together = action_values(bench, objective, states)
    alone = np.concatenate([action_values(bench, objective, row[None]) for row in states])
    np.testing.assert_array_equal(together, alone)
    assert action_values(bench, objective, states[:0]).shape == (0, 3)
    assert best_completion(bench, objective, states[:0]).shape == (0, bench.space.num_decisions)
    assert episode_regret(bench, objective, states[:0]).shape == (0, bench.space.num_decisions)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_several_problems_at_once(penalty: Any) -> None:
    devices = ["a6000", "h100", "cpu_xeon_gold"]
    objectives = [Objective({"latency_ms": limit}, penalty) for limit in ("p10", "p50", "p90")]
    benches = [shipped("s", device) for device in devices]
    problems = [Problem.of(objective.bind(bench)) for bench, objective in zip(benches, objectives, strict=True)]
    values = ActionValues(benches[0].chain_model("perplexity"), problems)
    rng = np.random.default_rng(2)
    states, problem = partial(benches[0].space, rng, 300), rng.integers(0, 3, 300)
    architectures = benches[0].space.sample(rng, 30)
    together, lost = values(states, problem), values.regret(architectures, problem[:30])
    completed = values.complete(states, problem)
    for i, (bench, objective) in enumerate(zip(benches, objectives, strict=True)):
        own = problem == i
        np.testing.assert_allclose(together[own], action_values(bench, objective, states[own]), **CLOSE)
        np.testing.assert_allclose(lost[own[:30]], episode_regret(bench, objective, architectures[own[:30]]), **CLOSE)
        np.testing.assert_array_equal(completed[own], best_completion(bench, objective, states[own]))
    for wrong in (problem[:-1], problem - 1, problem + 1):
        with pytest.raises(ValueError, match="problem must hold 300 positions from 0 to 2"):
            values(states, wrong)


def test_errors_name_the_row() -> None:
    bench = shipped("s", "a6000")
    objective = Objective({"latency_ms": "p30"})
    legal = bench.space.sample(np.random.default_rng(3), 4)

    def refused(row: int, column: int, choice: int, message: str, cut: int = 99) -> None:
        states = legal.copy()
        states[row, cut:] = NOT_SET
        states[row, column] = choice
        with pytest.raises(ValueError, match=message):
            action_values(bench, objective, states)

    refused(2, 5, 3, r"encoded\[2, 5\] \(mlp_ratio_1\) is 3, legal choices are 0 to")
    refused(1, 2, 2, r"encoded\[1, 2\] \(bias\) is 2, legal choices are 0 to")
    refused(1, 0, -2, r"encoded\[1, 0\] \(embed_dim\) is -2, legal choices are 0 to")
    refused(3, 6, 1, r"encoded\[3, 6\] \(n_head_1\) is 1, must be -1 \(an earlier decision", cut=5)
    refused(3, 1, 1, r"encoded\[3, 1\] \(n_layer\) is 1, must be -1 \(an earlier decision", cut=0)
    legal[0, 1], legal[0, 23:] = 0, 1
    with pytest.raises(ValueError, match=r"encoded\[0, 23\] \(mlp_ratio_10\) is 1, must be -1 \(the layer lies beyond"):
        action_values(bench, objective, legal)
    with pytest.raises(ValueError, match=r"shape \(n, 27\) at scale 's', got \(27,\)"):
        action_values(bench, objective, legal[0])
    with pytest.raises(TypeError, match="integers"):
        action_values(bench, objective, legal.astype(float))
    with pytest.raises(ValueError, match=r"encoded\[0, 0\] \(embed_dim\) is -1, legal choices are 0 to 2"):
        episode_regret(bench, objective, np.full((1, 27), -1))
    with pytest.raises(ValueError, match="of one device"):
        action_values(Benchmark("s", "all"), objective, legal)


def test_tables_are_kept_for_few_objectives_and_no_longer_than_the_benchmark() -> None:
    bench = Benchmark("s", "a6000")
    objectives = [Objective({"latency_ms": f"p{level}"}) for level in range(10, 90, 10)]
    kept = [weakref.ref(make_action_values(bench, objective)) for objective in objectives]
    gc.collect()
    assert [values() is not None for values in kept] == [False] * 4 + [True] * 4
    assert make_action_values(bench, Objective({"latency_ms": "p80"})) is kept[-1]()
    of_bench = weakref.ref(bench)
    del bench
    gc.collect()
    assert of_bench() is None
    assert kept[-1]() is None


def test_penalties_that_bend_quality_are_refused() -> None:
    bench = shipped("s", "a6000")

    def halve_square(quality: FloatArray, ratios: Any, weight: float, jump: Any) -> FloatArray:
        return 0.5 * quality**2

    penalties = {**PENALTIES, "bent": Penalty("bent", 1.0, "quality ** 2 / 2", "none", halve_square)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("hwgpt_gym.penalties.PENALTIES", penalties)
        with pytest.raises(ValueError, match="affine in quality"):
            action_values(bench, Objective({"latency_ms": "p30"}, "bent"), np.full((1, 27), NOT_SET))
