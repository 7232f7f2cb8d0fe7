"""The optimum in the loop: what keeps limits earns most, and every episode says how far it is from the best."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from hwgpt_gym import Benchmark, Objective, pareto_front, solve
from hwgpt_gym.penalties import JUMP_MARGIN, PENALTIES
from hwgpt_gym.search_space import Encoded


def build(env: gym.Env[Any, Any], encoded: Encoded, **options: Any) -> tuple[float, dict[str, Any]]:
    """Build an architecture, and return the return and the last information."""
    env.reset(**options)
    total, terminated, info = 0.0, False, {}
    for choice in encoded.ravel():
        if not terminated:
            _, reward, terminated, _, info = env.step(choice)
            total += float(reward)
    assert terminated
    return total, info


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("shaping", [False, True])
def test_building_the_optimum_earns_its_reward_with_regret_0(penalty: str, noise: bool, shaping: bool) -> None:
    constraint = {"latency_ms": "p30", "params": "p60"}
    env = gym.make("HWGPT-v0", device="h100", constraint=constraint, penalty=penalty, noise=noise, shaping=shaping)
    optimum = env.unwrapped.optimum()
    expected = solve(Benchmark("s", "h100"), Objective(constraint, penalty))
    assert optimum.architecture == expected.architecture
    reward, info = build(env, optimum.encoded, seed=0)
    assert isinstance(info["regret"], float)
    assert info["regret"] == pytest.approx(0.0, abs=1e-15)
    if not noise:
        assert reward == pytest.approx(optimum.reward, abs=1e-12)
    other = env.unwrapped.bench.space.sample(np.random.default_rng(0), 1)
    _, info = build(env, other)
    bound = Objective(constraint, penalty).bind(Benchmark("s", "h100"))
    earned = bound.evaluate(bound.bench.evaluate(other, bound.metrics)).reward[0]
    assert info["regret"] == pytest.approx(optimum.reward - earned, abs=1e-12)
    assert info["regret"] > 0.0


def test_the_default_optimum_keeps_its_limit() -> None:
    env = gym.make("HWGPT-v0", device="a6000")
    optimum = env.unwrapped.optimum()
    assert optimum.keeps_limits
    assert optimum.reward < solve(Benchmark("s", "a6000"), Objective({"latency_ms": "p50"}, "hinge")).reward
    assert env.unwrapped.optimum() is optimum


def test_regret_is_reported_where_it_is_asked_for() -> None:
    ranged = {"latency_ms": ("p20", "p80")}
    for options, reported in (
        ({}, True),
        ({"regret": False}, False),
        ({"constraint": ranged}, False),
        ({"constraint": ranged, "regret": True}, True),
        ({"device": "all", "regret": True}, True),
    ):
        env = gym.make("HWGPT-v0", **options)
        _, info = build(env, np.ones((1, env.unwrapped.bench.space.num_decisions), dtype=np.int8), seed=0)
        assert ("regret" in info) == reported, options
    with pytest.raises(ValueError, match="regret must be True, False or None, got 1"):
        gym.make("HWGPT-v0", regret=1)


@pytest.mark.parametrize(
    "options",
    [
        {"constraint": {"latency_ms": ("p10", "p90")}},
        {"constraint": {"latency_ms": ("p10", "p90")}, "penalty": "hard"},
        {"constraint": {"latency_ms": ("p10", "p90")}, "penalty": "hinge"},
        {"constraint": {"latency_ms": ("p30", "p90"), "params": ("p40", 1e8)}},
    ],
    ids=str,
)
def test_regrets_of_contexts_are_those_to_their_optima(options: dict[str, Any]) -> None:
    lanes = 6
    envs = gym.make_vec("HWGPT-v0", num_envs=lanes, device=["a100", "cpu_amd_7502"], regret=True, **options)
    _, infos = envs.reset(seed=0)
    constraints = [{key: infos["constraint"][key][lane] for key in options["constraint"]} for lane in range(lanes)]
    devices = list(infos["device"])
    optima = envs.unwrapped.optimum()
    assert [optimum.reward for optimum in envs.unwrapped.optimum([4, 1])] == [optima[4].reward, optima[1].reward]
    rng = np.random.default_rng(0)
    regret, reward = np.full(lanes, np.nan), np.full(lanes, np.nan)
    for _ in range(27):
        _, rewards, terminations, _, infos = envs.step(rng.integers(0, 3, lanes))
        ended = np.flatnonzero(terminations & np.isnan(regret))
        if len(ended):
            regret[ended], reward[ended] = infos["regret"][ended], rewards[ended]
    for lane, (device, constraint) in enumerate(zip(devices, constraints, strict=True)):
        expected = solve(Benchmark("s", device), Objective(constraint, options.get("penalty", "exact"))).reward
        assert optima[lane].reward == expected
        assert regret[lane] == pytest.approx(expected - reward[lane], abs=1e-12)
    with pytest.raises(ValueError, match="lanes must be an integer from 0 to 5"):
        envs.unwrapped.optimum([6])


def test_the_jump_of_several_ranged_limits_is_enough() -> None:
    constraint = {"latency_ms": ("p30", "p90"), "energy_j": ("p40", "p80")}
    envs = gym.make_vec("HWGPT-v0", num_envs=64, device="v100", constraint=constraint)
    _, infos = envs.reset(seed=0)
    limits = infos["constraint"]
    rng = np.random.default_rng(0)
    terminations = np.zeros(64, dtype=bool)
    while not terminations.any():
        _, _, terminations, _, infos = envs.step(rng.integers(0, 3, 64))
    for lane in np.flatnonzero(terminations & ~infos["feasible"])[:5]:
        bound = Objective({key: limits[key][lane] for key in constraint}).bind(Benchmark("s", "v100"))
        excess = sum(2.0 * max(0.0, infos[key][lane] / limit - 1.0) for key, limit in bound.limits.items())
        jump = infos["penalty"][lane] - excess
        assert bound.jump - 1e-12 <= jump < bound.jump + 0.2
        assert bound.jump >= JUMP_MARGIN


@pytest.mark.parametrize("penalty", ["exact", "hard"])
def test_limits_that_nothing_keeps_are_refused_at_once(penalty: str) -> None:
    least = Benchmark("s", "p100").extremes("latency_ms")[0]
    message = rf"penalty '{penalty}' needs limits that can be kept .* on p100 meets latency_ms <= .* is {least!r}$"
    for options in (
        {"device": "p100", "constraint": {"latency_ms": 20.0}},
        {"device": "all", "constraint": {"latency_ms": 20.0}},
        {"device": ["a100", "p100"], "constraint": {"latency_ms": (20.0, "p90")}},
    ):
        for call in (gym.make, gym.make_vec):
            with pytest.raises(ValueError, match=message):
                call("HWGPT-v0", penalty=penalty, **options)
    env = gym.make("HWGPT-v0", device=["a100", "p100"], constraint={"latency_ms": ("p30", "p90")}, penalty=penalty)
    env.reset(seed=0)
    for given in ({"device": "p100"}, {}):
        with pytest.raises(ValueError, match=message):
            env.reset(options={"constraint": {"latency_ms": 20.0}, **given})
    _, info = env.reset(options={"device": "a100", "constraint": {"latency_ms": 20.0}})
    assert info["constraint"] == {"latency_ms": 20.0}


def test_other_penalties_warn_of_limits_that_nothing_keeps() -> None:
    with pytest.warns(UserWarning, match="no architecture of scale 's' on p100 meets latency_ms <= 20.0: the least"):
        env = gym.make("HWGPT-v0", device="p100", constraint={"latency_ms": 20.0}, penalty="hinge")
    optimum = env.unwrapped.optimum()
    assert not optimum.keeps_limits
    assert optimum.constrained is None


@pytest.mark.parametrize("scale", ["s", pytest.param("l", marks=pytest.mark.slow)])
def test_a_last_bit_decides_alike_everywhere(scale: str) -> None:
    bench = Benchmark(scale, "a6000")
    front = pareto_front(bench)
    for row in np.linspace(1, len(front) - 1, 5).astype(int):
        perplexity, latency = front.values[row].tolist()
        for limit, feasible in ((latency, True), (float(np.nextafter(latency, 0.0)), False)):
            constraint = {"latency_ms": limit}
            several = Benchmark(scale, ["h100", "a6000"])
            bound = Objective(constraint).bind(bench)
            encoded = front.encoded[row : row + 1]
            on = several.evaluate_on(encoded, np.array([1]), bound.metrics)
            results = [bound.evaluate(metrics).feasible[0] for metrics in (bench.evaluate(encoded), on)]
            optimum = solve(bench, constraint)
            _, info = build(gym.make("HWGPT-v0", scale=scale, constraint=constraint), encoded)
            assert [*results, info["feasible"], optimum.metrics["perplexity"] == perplexity] == [feasible] * 4
            assert (info["regret"] == 0.0) == feasible
            assert optimum.keeps_limits
