"""The objective: formulas, named terms that add up, and errors that say what is legal."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from hwgpt_gym import Benchmark
from hwgpt_gym.objective import BoundObjective, Objective
from hwgpt_gym.penalties import PENALTIES


@pytest.fixture(scope="module")
def bench() -> Benchmark:
    return Benchmark(scale="s", device="a6000")


@pytest.fixture(scope="module")
def metrics(bench: Benchmark) -> dict[str, np.ndarray]:
    return bench.evaluate(bench.space.sample(np.random.default_rng(0), 2000))


def test_quality_is_scaled_log_perplexity(bench: Benchmark) -> None:
    bound = Objective().bind(bench)
    least, greatest = bench.extremes("perplexity")
    middle = np.sqrt(least * greatest)
    np.testing.assert_allclose(bound.quality(np.array([least, middle, greatest])), [1.0, 0.5, 0.0], atol=1e-14)


def test_quality_stays_within_0_and_1(bench: Benchmark) -> None:
    bound = Objective().bind(bench)
    edges = np.array(bench.extremes("perplexity"))
    around = np.concatenate([np.nextafter(edges, 0.0), edges, np.nextafter(edges, np.inf)])
    assert np.all((bound.quality(around) >= 0.0) & (bound.quality(around) <= 1.0))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_terms_add_up_on_a_benchmark(bench: Benchmark, metrics: dict[str, np.ndarray], penalty: str) -> None:
    bound = Objective({"latency_ms": "p30", "params": 8e7}, penalty).bind(bench)
    result = bound.evaluate(metrics)
    np.testing.assert_array_equal(result.reward, result.quality - result.penalty)
    meets = (metrics["latency_ms"] <= bound.limits["latency_ms"]) & (metrics["params"] <= 8e7)
    np.testing.assert_array_equal(result.feasible, meets)
    assert 0 < meets.sum() < len(meets)


@pytest.mark.parametrize("level", ["p0", "p2.5", "p50", "p100"])
def test_quantiles_are_those_of_the_benchmark(bench: Benchmark, level: str) -> None:
    bound = Objective({"energy_j": level}).bind(bench)
    assert bound.limits == {"energy_j": bench.quantile("energy_j", float(level[1:]) / 100.0)}
    assert bound.metrics == ("perplexity", "energy_j")


def test_limits_of_rows_replace_the_bound_ones(bench: Benchmark, metrics: dict[str, np.ndarray]) -> None:
    bound = Objective({"latency_ms": 20.0, "params": 8e7}, "hinge").bind(bench)
    limits = np.random.default_rng(1).uniform(10.0, 30.0, len(metrics["latency_ms"]))
    result = bound.evaluate(metrics, limits={"latency_ms": limits})
    for row in (0, 17, 1999):
        single = Objective({"latency_ms": limits[row], "params": 8e7}, "hinge").bind(bench)
        alone = single.evaluate({key: values[row : row + 1] for key, values in metrics.items()})
        assert [part[0] for part in alone] == [part[row] for part in result]


def test_several_devices_need_limits_of_rows(metrics: dict[str, np.ndarray]) -> None:
    several = Benchmark(scale="s", device=["a100", "p100"])
    bound = Objective({"latency_ms": "p50"}, "hinge").bind(several)
    assert bound.limits["latency_ms"].shape == (2,)
    two = {key: values[:2] for key, values in metrics.items()}
    with pytest.raises(ValueError, match="limit for every device"):
        bound.evaluate(two)
    result = bound.evaluate(two, limits={"latency_ms": bound.limits["latency_ms"][[0, 0]]})
    assert result.reward.shape == (2,)


def test_descriptions_and_pickles_give_the_same_objective() -> None:
    objective = Objective({"latency_ms": 20, "params": "p50"}, "power", 0.1)
    assert Objective.from_dict(json.loads(json.dumps(objective.to_dict()))) == objective
    assert pickle.loads(pickle.dumps(objective)) == objective
    assert hash(objective) == hash(Objective({"params": "p50", "latency_ms": 20.0}, "power", 0.1))
    assert eval(repr(objective)) == objective
    with pytest.raises(TypeError):
        objective.constraints["latency_ms"] = 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"constraints": {"latency": 20.0}}, "did you mean 'latency_ms'"),
        ({"constraints": {"perplexity": 20.0}}, "is a quality, not a cost"),
        ({"constraints": {"latency_ms": -1.0}}, "positive finite number of ms or a quantile .* got -1.0"),
        ({"constraints": {"latency_ms": 0.0}}, "got 0.0"),
        ({"constraints": {"latency_ms": float("nan")}}, "got nan"),
        ({"constraints": {"latency_ms": float("inf")}}, "got inf"),
        ({"constraints": {"latency_ms": True}}, "got True"),
        ({"constraints": {"latency_ms": None}}, "got None"),
        ({"constraints": {"latency_ms": "p101"}}, "got 'p101'"),
        ({"constraints": {"latency_ms": "30%"}}, "got '30%'"),
        ({"constraints": {"latency_ms": "p-1"}}, "got 'p-1'"),
        ({"constraints": ["latency_ms"]}, "constraints must map"),
        ({"penalty": "hing"}, "did you mean 'hinge'"),
        ({"weight": 0.0}, "weight must be a number from 1e-06 to 10000.0, got 0.0"),
        ({"weight": float("nan")}, "weight must be"),
        ({"weight": "2"}, "weight must be"),
    ],
)
def test_illegal_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective(**arguments)  # type: ignore[arg-type]


def test_illegal_use(bench: Benchmark, metrics: dict[str, np.ndarray]) -> None:
    objective = Objective({"latency_ms": 20.0})
    with pytest.raises(ValueError, match="depends on the device"):
        objective.bind(Benchmark(scale="s", device=None))
    bound = objective.bind(bench)
    with pytest.raises(ValueError, match="lacks 'latency_ms'"):
        bound.evaluate({"perplexity": metrics["perplexity"]})
    with pytest.raises(ValueError, match="shape"):
        bound.evaluate({"perplexity": metrics["perplexity"], "latency_ms": np.ones((2000, 13))})
    with pytest.raises(ValueError, match="not constrained"):
        bound.evaluate(metrics, limits={"params": 1.0})
    with pytest.raises(ValueError, match="must be positive"):
        bound.evaluate(metrics, limits={"latency_ms": np.array([1.0, 0.0])})
    with pytest.raises(ValueError, match="unknown keys"):
        Objective.from_dict({"constraint": {}})


def test_constant_perplexity_has_quality_0() -> None:
    bound = BoundObjective(Objective(), Benchmark("s", None), {}, (3.0, 3.0))
    np.testing.assert_array_equal(bound.quality(np.exp(np.array([3.0]))), [0.0])


def test_other_limits_need_their_jump(bench: Benchmark, metrics: dict[str, np.ndarray]) -> None:
    bound = Objective({"latency_ms": "p30"}).bind(bench)
    limits = np.linspace(bound.limits["latency_ms"], bench.quantile("latency_ms", 0.7), len(metrics["latency_ms"]))
    with pytest.raises(ValueError, match="needs the jump at other limits"):
        bound.evaluate(metrics, {"latency_ms": limits})
    jump = bound.jump_table({"latency_ms": limits[-1]})(limits[:, None])
    result = bound.evaluate(metrics, {"latency_ms": limits}, jump)
    for row in (0, 17, 1999):
        alone = Objective({"latency_ms": limits[row]}).bind(bench)
        expected = alone.evaluate({key: values[row : row + 1] for key, values in metrics.items()})
        assert result.reward[row] == pytest.approx(expected.reward[0], abs=1e-12)
        assert result.feasible[row] == expected.feasible[0]


def test_on_several_devices_the_jump_differs() -> None:
    several = Objective({"latency_ms": "p50"}).bind(Benchmark("s", ["a100", "p100"]))
    with pytest.raises(ValueError, match=r"bench.on\(device\)"):
        _ = several.jump
    assert Objective({"params": "p50"}).bind(Benchmark("s", ["a100", "p100"])).jump >= 0.005


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("limit", [1e200, 1e-310, 1e-5, 1e9])
def test_limits_beyond_what_makes_sense_are_refused(bench: Benchmark, penalty: str, limit: float) -> None:
    with pytest.raises(ValueError, match=r"limit of 'latency_ms' must be from .* to .* \(0.001 of the least to 1000"):
        Objective({"latency_ms": limit}, penalty).bind(bench)
    with pytest.raises(ValueError, match="limit of 'latency_ms' must be from"):
        Objective({"latency_ms": limit}, penalty).bind(Benchmark("s", "all"))


@pytest.mark.parametrize("weight", [1e-7, 1e5, 1e300, -1.0])
def test_weights_beyond_what_makes_sense_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=r"weight must be a number from 1e-06 to 10000.0, got"):
        Objective({"latency_ms": 20.0}, "hinge", weight)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("weight", [1e-6, 0.07, 2.0, 1e4])
@pytest.mark.parametrize("end", [0, 1])
def test_every_reward_is_finite_in_single_precision_or_refused(
    bench: Benchmark, metrics: dict[str, np.ndarray], penalty: str, weight: float, end: int
) -> None:
    bounds = {metric: bench.extremes(metric)[end] * (1.001e-3, 0.999e3)[end] for metric in ("latency_ms", "params")}
    objective = Objective(bounds, penalty, weight)
    unmeetable = PENALTIES[penalty].constrained and end == 0
    if unmeetable or (penalty == "power" and weight > 2.0 and end == 1):
        message = "can be met is" if unmeetable else "weight must be less than .* a reward would be"
        with pytest.raises(ValueError, match=message):
            objective.bind(bench)
    else:
        reward = objective.bind(bench).evaluate(metrics).reward
        assert np.isfinite(reward.astype(np.float32)).all()


def test_what_cannot_be_met_is_said(bench: Benchmark) -> None:
    least = float(bench.extremes("latency_ms")[0])
    bound = Objective({"latency_ms": 0.9 * least}, "hinge").bind(bench)
    assert bound.unmeetable == (
        f"no architecture of scale 's' on a6000 meets latency_ms <= {0.9 * least!r}: "
        f"the least value that can be met is {least!r}"
    )
    assert Objective({"latency_ms": least}, "exact").bind(bench).unmeetable is None
    with pytest.raises(ValueError, match=r"'exact' needs limits that can be kept .* on rtx2080 meets latency_ms"):
        Objective({"latency_ms": 1.5 * least}, "exact").bind(Benchmark("s", ["a6000", "rtx2080"]))
