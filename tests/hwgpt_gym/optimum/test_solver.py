"""The exact optimum and front: against brute force, a MILP solver, random search and local search."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgpt_gym import DEVICES, SEARCH_SPACES, Benchmark, SearchSpace
from hwgpt_gym.dataset.measurements import load_dataset
from hwgpt_gym.metrics import COST_METRICS
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import chain_extremes, extremes, nearest_to_limit, pareto_front, runner_up, solve, worst
from hwgpt_gym.pareto import losses_sign
from hwgpt_gym.penalties import JUMP_MARGIN, PENALTIES
from hwgpt_gym.search_space import FIRST_LAYER, GROUPS, N_LAYER, NOT_SET, Encoded, FloatArray
from hwgpt_gym.surrogates.chain_tables import ChainTables, cost_matrix
from small_spaces import TINY, all_metrics, everything, random_benchmark, random_chain, random_cost

SLOW_AND_FAST = [
    pytest.param(TINY[0], id="2 to 4 layers", marks=pytest.mark.slow),
    pytest.param(TINY[1], id="1 to 3 layers"),
]
SEEDS = st.integers(0, 2**32 - 1)

constraint_sets = st.dictionaries(
    st.sampled_from(COST_METRICS), st.sampled_from(["p0", "p2.5", "p10", "p30", "p50", "p90", "p100"]), max_size=3
)


@pytest.mark.parametrize("space", SLOW_AND_FAST)
@pytest.mark.parametrize("penalty", PENALTIES)
@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=SEEDS, constraints=constraint_sets, weight=st.sampled_from([None, 0.01, 0.3, 5.0]))
def test_optimum_is_that_of_brute_force(
    space: SearchSpace, penalty: Any, seed: int, constraints: dict[str, str], weight: Any
) -> None:
    bench = random_benchmark(space, seed)
    objective = Objective(constraints, penalty, weight)
    plain = Objective(constraints, "hinge").bind(bench)
    if PENALTIES[penalty].constrained and plain.unmeetable:
        assert not plain.evaluate(all_metrics(bench)).feasible.any()
        for call in (solve, worst):
            with pytest.raises(ValueError, match=r"no architecture .* meets .* can be met is"):
                call(bench, objective)
        return
    outcome = objective.bind(bench).evaluate(all_metrics(bench))
    optimum = solve(bench, objective)
    assert optimum.reward == outcome.reward.max()
    assert optimum.metrics["perplexity"] == bench.evaluate(optimum.encoded)["perplexity"][0]
    if PENALTIES[penalty].constrained:
        assert optimum.keeps_limits
        assert optimum.reward == outcome.quality[outcome.feasible].max()
    if optimum.constrained is None:
        assert not outcome.feasible.any()
    else:
        assert optimum.constrained.reward == outcome.quality[outcome.feasible].max()
    # All infeasible architectures earn the same, up to the rounding of a difference.
    assert worst(bench, objective).reward == pytest.approx(outcome.reward.min(), rel=1e-15, abs=1e-15)


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=SEEDS, penalty=st.sampled_from(list(PENALTIES)), constraints=constraint_sets)
def test_runner_up_is_the_best_of_other_counts(seed: int, penalty: Any, constraints: dict[str, str]) -> None:
    bench = random_benchmark(TINY[1], seed)
    objective = Objective(dict.fromkeys(constraints, "p30"), penalty)
    if PENALTIES[penalty].constrained and Objective(objective.constraints, "hinge").bind(bench).unmeetable:
        return
    outcome = objective.bind(bench).evaluate(all_metrics(bench))
    optimum = solve(bench, objective)
    encoded = everything(bench.space)
    kinds = [np.hstack([rows[:, :FIRST_LAYER], *bench.space.counts(rows)]) for rows in (encoded, optimum.encoded)]
    others = np.any(kinds[0] != kinds[1], axis=1)
    assert runner_up(bench, optimum).reward == outcome.reward[others].max()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=SEEDS, penalty=st.sampled_from(list(PENALTIES)), constraints=constraint_sets)
def test_ties_are_broken_as_documented(seed: int, penalty: Any, constraints: dict[str, str]) -> None:
    bench = random_benchmark(TINY[1], seed, grid=1.0 / 16.0)
    objective = Objective(constraints, penalty)
    metrics = all_metrics(bench)
    if PENALTIES[penalty].constrained and Objective(objective.constraints, "hinge").bind(bench).unmeetable:
        return
    outcome = objective.bind(bench).evaluate(metrics)
    optimum = solve(bench, objective)
    tied = np.flatnonzero(outcome.reward == outcome.reward.max())
    assert optimum.reward == outcome.reward.max()
    assert optimum.metrics["perplexity"] == metrics["perplexity"][tied].min()
    tied = tied[metrics["perplexity"][tied] == metrics["perplexity"][tied].min()]
    assert tuple(optimum.encoded[0, :FIRST_LAYER]) == tuple(everything(bench.space)[tied[0], :FIRST_LAYER])
    again = random_benchmark(TINY[1], seed, grid=1.0 / 16.0)
    np.testing.assert_array_equal(solve(again, objective).encoded, optimum.encoded)


def brute_force_front(losses: FloatArray) -> FloatArray:
    """The distinct points that none dominates: the first one in order is, and whatever it dominates is not."""
    points = np.unique(losses, axis=0)
    kept: list[FloatArray] = []
    while len(points):
        kept.append(points[0])
        points = points[np.any(points < points[0], axis=1)]
    return np.array(kept)


@pytest.mark.parametrize("space", SLOW_AND_FAST)
@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    seed=SEEDS,
    quality=st.sampled_from(["perplexity", "accuracy"]),
    costs=st.lists(st.sampled_from(COST_METRICS), min_size=1, max_size=2, unique=True),
)
def test_front_is_that_of_brute_force(space: SearchSpace, seed: int, quality: str, costs: list[str]) -> None:
    bench = random_benchmark(space, seed)
    metrics = (*costs, quality)
    front = pareto_front(bench, metrics)
    losses = np.stack([all_metrics(bench)[metric] for metric in metrics], axis=1) * losses_sign(metrics)
    expected = brute_force_front(losses)
    np.testing.assert_array_equal(front.losses[np.lexsort(front.losses.T[::-1])], expected)
    assert np.all(np.diff(front.values[:, 0]) >= 0.0)
    evaluated = bench.evaluate(front.encoded, metrics)
    np.testing.assert_array_equal(front.values, np.stack([evaluated[metric] for metric in metrics], axis=1))


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=SEEDS)
def test_extremes_are_those_of_brute_force(seed: int) -> None:
    bench = random_benchmark(TINY[0], seed)
    for metric, values in all_metrics(bench).items():
        found = extremes(bench, metric)
        assert (found.least, found.greatest) == (values.min(), values.max())
        assert bench.extremes(metric) == (values.min(), values.max())
        ends = bench.evaluate(np.concatenate([found.least_encoded, found.greatest_encoded]), [metric])[metric]
        assert tuple(ends) == (values.min(), values.max())
    least, greatest, *_ = chain_extremes(bench.chain_model("perplexity"))
    log_perplexity = bench.chain_model("perplexity").predict(everything(bench.space))
    assert (least, greatest) == (log_perplexity.min(), log_perplexity.max())


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=SEEDS, limit=st.floats(1.0, 40.0))
def test_nearest_to_limit_is_that_of_brute_force(seed: int, limit: float) -> None:
    bench = random_benchmark(TINY[0], seed)
    latency = all_metrics(bench)["latency_ms"]
    found = bench.evaluate(nearest_to_limit(bench, "latency_ms", limit), ["latency_ms"])["latency_ms"][0]
    assert abs(found - limit) == np.abs(latency - limit).min()


@pytest.mark.parametrize("greatest", [False, True])
@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_tables_are_what_the_models_predict(scale: str, greatest: bool) -> None:
    space = SEARCH_SPACES[scale]
    rng = np.random.default_rng(0)
    model, cost = random_chain(space, rng), random_cost(space, rng)
    tables = ChainTables(model, greatest=greatest)
    for group in GROUPS:
        values = tables.values(group)
        states = rng.integers(0, values.size, 20)
        encoded = space.validate(tables.decode(group, states))
        np.testing.assert_allclose(model.predict(encoded), values.ravel()[states], rtol=0.0, atol=1e-12)
        counted = np.concatenate(space.counts(encoded), axis=1)[:, [1, 2, 4, 5]]
        pairs = np.divmod(states, len(values))
        expected = np.concatenate([tables.states(group.depth)[state] for state in pairs], axis=1)
        np.testing.assert_array_equal(counted, expected)
        # To the last bit, so that an architecture on a threshold is on one side of it everywhere.
        matrix = cost_matrix(cost, group, tables.states(group.depth))
        np.testing.assert_array_equal(cost.predict(encoded), matrix.ravel()[states])


# The shipped surrogates.


@lru_cache(maxsize=2)
def shipped(scale: str, device: str) -> Benchmark:
    return Benchmark(scale, device)


def chunks(bench: Benchmark, number: int) -> list[Encoded]:
    rng = np.random.default_rng(number)
    return [bench.space.sample(rng, 100_000) for _ in range(number // 100_000)]


OBJECTIVES = [
    Objective({"latency_ms": "p30"}),
    Objective({"latency_ms": "p30", "energy_j": "p20"}, "hard"),
    Objective({"energy_j": "p50", "params": "p40"}, "absolute"),
    Objective({"latency_ms": "p10"}, "power"),
]


@pytest.mark.parametrize(
    ("scale", "device", "number"),
    [
        ("s", "a6000", 1_000_000),
        ("s", "cpu_xeon_gold", 200_000),
        ("m", "h100", 200_000),
        pytest.param("l", "v100", 200_000, marks=pytest.mark.slow),
    ],
)
def test_random_architectures_never_beat_the_optimum(scale: str, device: str, number: int) -> None:
    bench = shipped(scale, device)
    solved = [(solve(bench, objective), worst(bench, objective)) for objective in OBJECTIVES]
    front = pareto_front(bench, ("perplexity", "latency_ms"))
    for encoded in chunks(bench, number):
        metrics = bench.evaluate(encoded, ["perplexity", "latency_ms", "energy_j", "params"])
        for best, least in solved:
            reward = best.objective.evaluate(metrics).reward
            assert best.reward > reward.max()
            assert least.reward <= reward.min() + 1e-15
        assert_on_or_behind(front.values, metrics)


def assert_on_or_behind(front: FloatArray, metrics: dict[str, FloatArray]) -> None:
    """Assert that no architecture is cheaper than the front at its perplexity."""
    cheaper = np.searchsorted(front[:, 1], metrics["latency_ms"], side="right") - 1
    assert np.all(cheaper >= 0)
    assert np.all(front[cheaper, 0] <= metrics["perplexity"])


@pytest.mark.parametrize("device", ["a6000", "p100", "cpu_amd_7502"])
@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_no_change_of_one_or_two_decisions_improves_the_optimum(scale: str, device: str) -> None:
    bench = shipped(scale, device)
    for objective in OBJECTIVES:
        optimum = solve(bench, objective)
        neighbours = neighbourhood(bench.space, optimum.encoded[0])
        rewards = optimum.objective.evaluate(bench.evaluate(neighbours, optimum.objective.metrics)).reward
        assert rewards.max() <= optimum.reward


def neighbourhood(space: SearchSpace, row: Encoded) -> Encoded:
    """All architectures that differ in one or two decisions, other depths with every choice of the last layer."""
    n_layer = space.depths[row[N_LAYER]]
    columns = [0, 2, *range(FIRST_LAYER, FIRST_LAYER + 2 * n_layer)]
    changes = [(column, choice) for column in columns for choice in range(space.num_choices[column])]
    pairs = np.array(list(itertools.combinations(changes, 2)))
    same_depth = np.repeat(row[None], len(pairs), axis=0)
    for i in range(2):
        same_depth[np.arange(len(pairs)), pairs[:, i, 0]] = pairs[:, i, 1]
    other_depths = []
    for d, depth in enumerate(space.depths):
        for layer in itertools.product(range(3), repeat=2):
            other = row.copy()
            other[N_LAYER] = d
            other[FIRST_LAYER + 2 * min(depth, n_layer) :] = NOT_SET
            for i in range(min(depth, n_layer) - (depth <= n_layer), depth):
                other[FIRST_LAYER + 2 * i : FIRST_LAYER + 2 * i + 2] = layer
            other_depths.append(other)
    return space.validate(np.concatenate([same_depth, np.array(other_depths)]))


@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_front_dominates_or_equals_every_measured_architecture(scale: str, dataset_path: Path) -> None:
    bench = shipped(scale, "a6000")
    encoded = load_dataset(dataset_path)[scale].encoded
    front = pareto_front(bench, ("perplexity", "latency_ms"))
    assert_on_or_behind(front.values, bench.evaluate(encoded, ["perplexity", "latency_ms"]))


@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_stored_extremes_are_exact(scale: str) -> None:
    bench = shipped(scale, "a6000")
    for metric in bench.metrics:
        least, greatest = bench.extremes(metric)
        # Stored ones may come from another machine's rounding.
        assert extremes(bench, metric)[:2] == pytest.approx((least, greatest), rel=1e-14)


def number_at_the_end(error: pytest.ExceptionInfo[ValueError]) -> float:
    return float(str(error.value).rsplit(" ", 1)[1])


def test_unsatisfiable_constraints_say_what_can_be_met() -> None:
    bench = shipped("s", "a6000")
    with pytest.raises(ValueError, match=r"latency_ms <= 1\.0: the least value that can be met is") as error:
        solve(bench, Objective({"latency_ms": 1.0, "params": "p50"}, "hard"))
    assert number_at_the_end(error) == pytest.approx(bench.extremes("latency_ms")[0], rel=1e-14)
    assert solve(bench, Objective({"latency_ms": number_at_the_end(error)}, "hard")).outcome.feasible.all()
    assert solve(bench, Objective({"latency_ms": 1.0}, "hinge")).outcome.penalty > 0.0


def test_constraints_that_exclude_each_other_say_the_least_common_factor() -> None:
    # The cheapest width in latency is the dearest in energy.
    bench = random_benchmark(TINY[1], seed=0)
    costs = dict(bench.surrogates.costs)
    for metric, order in (("latency_ms", [1.0, 50.0, 99.0]), ("energy_j", [99.0, 50.0, 1.0])):
        base = costs[metric].base + np.array(order)[:, None, None]
        costs[metric] = replace(costs[metric], base=base)
    bench = Benchmark(device="a6000", surrogates=replace(bench.surrogates, costs=costs))
    budgets = {metric: bench.extremes(metric)[0] * 1.01 for metric in ("latency_ms", "energy_j")}
    metrics = all_metrics(bench)
    factor = np.maximum(*(metrics[metric] / budget for metric, budget in budgets.items())).min()
    with pytest.raises(ValueError, match="the least factor on all limits that can be met is") as error:
        solve(bench, Objective(budgets, "hard"))
    assert number_at_the_end(error) == factor


def test_illegal_arguments() -> None:
    several = Benchmark("s", "all")
    with pytest.raises(ValueError, match="of one device"):
        solve(several, Objective({"latency_ms": 20.0}, "hinge"))
    with pytest.raises(ValueError, match="of one device"):
        extremes(several, "latency_ms")
    with pytest.raises(ValueError, match="of one device"):
        pareto_front(several)
    optimum = solve(several, Objective({"params": "p50"}))
    assert np.shape(optimum.metrics["latency_ms"]) == (13,)
    bench = shipped("s", "a6000")
    for metrics in (("perplexity",), ("latency_ms", "energy_j"), ("perplexity", "accuracy", "params")):
        with pytest.raises(ValueError, match="at least one cost"):
            pareto_front(bench, metrics)
    with pytest.raises(ValueError, match="did you mean 'latency_ms'"):
        pareto_front(bench, ("perplexity", "latency"))
    with pytest.raises(ValueError, match="unknown metric 'perplexity'"):
        nearest_to_limit(bench, "perplexity", 20.0)
    with pytest.raises(ValueError, match="limit must be a finite number"):
        nearest_to_limit(bench, "params", float("nan"))


# A linear instance: mixed-integer linear programming finds the same optimum.


def linear_benchmark(seed: int) -> Benchmark:
    """Scale s with random costs and a chain model without pairs and curvature."""
    bench = random_benchmark(SEARCH_SPACES["s"], seed)
    chain = bench.surrogates.perplexity
    linear = {
        name: np.zeros_like(getattr(chain, name))
        for name in ("mlp_pair", "head_pair", "mlp_skip", "head_skip", "mlp_count", "head_count", "cross")
    }
    return Benchmark(device="a6000", surrogates=replace(bench.surrogates, perplexity=replace(chain, **linear)))


def milp_reward(bench: Benchmark, threshold: float, weight: float) -> float:
    """Maximise ``quality - weight * max(0, latency / threshold - 1)`` with HiGHS.

    The variables are one a group, one a group, layer, chain and choice (all binary), and the excess.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import lil_array

    chain, cost = bench.chain_model("perplexity"), bench.count_model("latency_ms")
    log_perplexity = [chain.intercept[group] for group in GROUPS]
    latency = [cost.base[group] for group in GROUPS]
    decisions = []  # (group, first of its three variables)
    for index, (e, d, b) in enumerate(GROUPS):
        for layer in range(bench.space.depths[d]):
            for table, layer_cost in ((chain.mlp, cost.mlp), (chain.head, cost.head)):
                decisions.append((index, len(latency)))
                log_perplexity.extend(table[e, d, b, layer])
                latency.extend(layer_cost[e, b])
    variables = len(latency) + 1
    rows = lil_array((len(decisions) + 2, variables))
    for row, (index, first) in enumerate(decisions):  # Exactly one choice, if the group is taken.
        rows[row, first : first + 3] = 1.0
        rows[row, index] = -1.0
    rows[-2, : len(GROUPS)] = 1.0
    rows[-1, :-1] = np.array(latency) / threshold
    rows[-1, variables - 1] = -1.0
    lower = np.concatenate([np.zeros(len(decisions)), [1.0, -np.inf]])
    upper = np.concatenate([np.zeros(len(decisions)), [1.0, 1.0]])
    least, greatest = np.log(bench.extremes("perplexity"))
    result = milp(
        np.array([*(np.array(log_perplexity) / (greatest - least)), weight]),
        integrality=np.array([1] * (variables - 1) + [0]),
        bounds=Bounds(0.0, np.array([1.0] * (variables - 1) + [np.inf])),
        constraints=LinearConstraint(rows.tocsr(), lower, upper),
        options={"mip_rel_gap": 0.0},
    )
    assert result.success, result.message
    return float(greatest / (greatest - least) - result.fun)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weight", [0.5, 1e3])
def test_milp_solver_finds_the_same_optimum(seed: int, weight: float) -> None:
    bench = linear_benchmark(seed)
    optimum = solve(bench, Objective({"latency_ms": "p20"}, "hinge", weight))
    threshold = optimum.objective.limits["latency_ms"]
    assert optimum.reward == pytest.approx(milp_reward(bench, threshold, weight), abs=1e-6)


LEVELS = tuple(f"p{level}" for level in range(10, 100, 10))


@pytest.mark.parametrize(
    ("scale", "device"),
    [
        *(("s", device) for device in DEVICES),
        ("m", "a6000"),
        ("m", "cpu_amd_7452"),
        pytest.param("l", "a6000", marks=pytest.mark.slow),
        pytest.param("l", "p100", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("metric", ["latency_ms", "energy_j"])
def test_the_optimum_keeps_its_limit_and_is_the_best_that_does(scale: str, device: str, metric: str) -> None:
    bench = Benchmark(scale, device)
    front = pareto_front(bench, (metric, "perplexity"))
    for level in LEVELS if scale == "s" else LEVELS[::4]:
        optimum = solve(bench, {metric: level})
        limit = optimum.objective.limits[metric]
        assert optimum.keeps_limits
        assert optimum.metrics[metric] <= limit
        assert optimum.title == "certified constrained optimum"
        assert optimum.constrained is optimum
        # The front is another way to the best architecture that keeps the limit.
        assert optimum.metrics["perplexity"] == front.values[front.values[:, 0] <= limit, 1].min()
        assert optimum.reward == solve(bench, Objective({metric: level}, "hard")).reward
        penalised = solve(bench, Objective({metric: level}, "hinge"))
        assert penalised.title == "optimum of the penalised reward"
        assert penalised.constrained is not None
        assert penalised.constrained.architecture == optimum.architecture
        # By the definition of the jump.
        least = penalised.reward - optimum.reward
        assert optimum.objective.jump == pytest.approx(least + JUMP_MARGIN, abs=1e-12)


def test_without_limits_there_is_nothing_to_keep() -> None:
    optimum = solve(Benchmark("s", None), {})
    assert optimum.title == "certified optimum"
    assert optimum.keeps_limits
    assert optimum.constrained is optimum
    assert optimum.metrics["perplexity"] == Benchmark("s", None).extremes("perplexity")[0]
    assert optimum.objective.jump == 0.0


def test_limits_that_nothing_keeps_leave_no_constrained_optimum() -> None:
    optimum = solve(Benchmark("s", "a6000"), Objective({"latency_ms": 5.0}, "hinge"))
    assert not optimum.keeps_limits
    assert optimum.constrained is None
    assert str(optimum.objective.unmeetable).startswith("no architecture of scale 's' on a6000 meets latency_ms <= 5.0")
