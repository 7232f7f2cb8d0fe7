"""Arguments of the wrong kind are named, natural guesses get the right call for an answer, nothing shared changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from hwgpt_gym import Architecture, Benchmark, Objective, get_search_space, pareto_front, solve
from hwgpt_gym.agents import SearchProblem, make_agent
from hwgpt_gym.agents.ppo.agent import tuned_hyperparameters
from hwgpt_gym.benchmark import CACHED
from hwgpt_gym.checks import LONGEST_ECHO, check_between, check_choice, check_flag, check_integer, check_list, echo
from hwgpt_gym.compat import HWGPT
from hwgpt_gym.surrogates import load_surrogates
from hwgpt_gym.surrogates.worlds import load_worlds

BENCH = Benchmark("s", "a6000")
SPACE = BENCH.space
BATCH = SPACE.sample(np.random.default_rng(0), 2)
ONE = SPACE.decode(BATCH)[0]
NAME = ONE.to_string()
VECTOR = gym.make_vec("HWGPT-v0", num_envs=2)

WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    # Natural guesses.
    (lambda: BENCH.evaluate(ONE), TypeError, "bench.query(architecture)"),  # type: ignore[arg-type]
    (lambda: BENCH.evaluate([ONE]), TypeError, "space.encode([architecture])"),  # type: ignore[list-item]
    (lambda: BENCH.evaluate(NAME), TypeError, "bench.query(architecture)"),
    (lambda: SPACE.sample(5), TypeError, "rng must be a numpy.random.Generator, as in space.sample("),  # type: ignore[arg-type]
    (lambda: SPACE.sample(5, 5), TypeError, "space.sample(np.random.default_rng(0), n)"),  # type: ignore[arg-type]
    (lambda: BENCH.measure(BATCH, 0), TypeError, "bench.measure(encoded, np.random.default_rng(0))"),  # type: ignore[arg-type]
    (lambda: SPACE.encode([NAME]), TypeError, "Architecture.from_string reads a name"),  # type: ignore[list-item]
    (lambda: SPACE.encode(ONE), TypeError, "space.encode([architecture])"),  # type: ignore[arg-type]
    (lambda: Benchmark("a6000"), ValueError, "did you mean device='a6000'?"),
    (lambda: solve("a6000", {}), TypeError, "Benchmark('s', 'a6000')"),  # type: ignore[arg-type]
    (lambda: solve(BENCH, "p50"), TypeError, "{'latency_ms': 'p50'}"),  # type: ignore[arg-type]
    (lambda: pareto_front(BENCH, "perplexity"), TypeError, "metrics must be a list"),
    (lambda: SearchProblem("a6000"), TypeError, "benchmark must be a Benchmark"),  # type: ignore[arg-type]
    (lambda: make_agent("ppo").run(BENCH), TypeError, "SearchProblem(benchmark, objective)"),  # type: ignore[arg-type]
    (lambda: Architecture.from_config(NAME), TypeError, "Architecture.from_string reads a name"),  # type: ignore[arg-type]
    # What was found.
    (lambda: Architecture.from_config(5), TypeError, "config must be a dictionary"),  # type: ignore[arg-type]
    (lambda: BENCH.quantile("params", "0.5"), ValueError, "level must be a number"),  # type: ignore[arg-type]
    (lambda: BENCH.query(None), TypeError, "architecture must be an Architecture, the name of one"),  # type: ignore[arg-type]
    (lambda: Benchmark("s", 1), ValueError, "device must be a name, a path"),  # type: ignore[arg-type]
    (lambda: BENCH.evaluate_on(BATCH, [0.9, 0.9]), TypeError, "device must hold positions"),  # type: ignore[arg-type]
    (lambda: BENCH.evaluate_on(BATCH, ["h100", "h100"]), TypeError, "device must hold positions"),  # type: ignore[arg-type]
    (lambda: Objective({"params": 10**400}), ValueError, "an integer of 1,329 bits"),
    (lambda: Objective({"latency_ms": "p\u0663\u0660"}), ValueError, "a quantile from 'p0' to 'p100'"),
    (lambda: SearchProblem(BENCH, budget=10**400), ValueError, "budget must be an integer from 1 to"),
    (lambda: SearchProblem(BENCH, budget=True), ValueError, "budget must be an integer"),
    (lambda: SPACE.from_index([True]), TypeError, "numbers must be integers, got True"),
    (lambda: make_agent("ppo", masked=True), ValueError, "has no setting 'masked'"),
    (lambda: VECTOR.reset(options=[1]), TypeError, "options must be a dictionary"),  # type: ignore[arg-type]
    (lambda: gym.make_vec("HWGPT-v0", num_envs=True), ValueError, "num_envs must be an integer"),
    (lambda: gym.make_vec("HWGPT-v0", 2, autoreset_mode="next_step"), ValueError, "write autoreset_mode='NextStep'"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_what_is_wrong_is_named(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        call()


def test_integers_of_numpy_are_integers() -> None:
    assert check_integer("n", np.int64(2), 1) == 2
    assert type(check_integer("n", np.uint8(2), 1)) is int
    assert gym.make_vec("HWGPT-v0", num_envs=np.int64(2)).num_envs == 2
    assert len(SPACE.sample(np.random.default_rng(0), np.int32(3))) == 3  # type: ignore[arg-type]
    envs = gym.make_vec("HWGPT-v0", num_envs=2)
    envs.reset(seed=0)
    assert envs.step(np.array([1, 1], dtype=np.uint64))[1].shape == (2,)
    for wrong in (True, np.bool_(True), 2.0, "2", None, float("nan")):
        with pytest.raises(ValueError, match="n must be an integer"):
            check_integer("n", wrong, 1)
    with pytest.raises(ValueError, match="n must be an integer from 1 to 3, got 4"):
        check_integer("n", 4, 1, 3)


def test_checks_of_other_kinds() -> None:
    assert check_between("x", np.float32(0.5), 0.0, 1.0) == 0.5
    for wrong in (True, "0.5", None, float("nan"), 10**400, 1j):
        with pytest.raises(ValueError, match="x must be a number"):
            check_between("x", wrong, 0.0, 1.0)
    with pytest.raises(TypeError, match="x must be True or False, got 1"):
        check_flag("x", 1)
    assert check_list("x", (number for number in (1, 2)), "numbers") == [1, 2]
    for text in ("ab", 3, np.array(3)):
        with pytest.raises(TypeError, match="x must be a list of names"):
            check_list("x", text, "names")
    for unlisted in (1, ["a"], np.array(["a", "b"])):
        with pytest.raises(ValueError, match="x must be one of"):
            check_choice("x", unlisted, ["a", "b"])


@pytest.mark.parametrize("value", ["x" * 10**6, 10**400, list(range(10**6)), np.zeros((1000, 1000)), {"x" * 10**6: 1}])
def test_messages_cut_what_they_echo(value: Any) -> None:
    assert len(echo(value)) <= LONGEST_ECHO + 1
    with pytest.raises(ValueError, match="scale") as error:
        get_search_space(value)
    assert len(str(error.value)) < 300


def test_shared_arrays_cannot_be_changed() -> None:
    before = BENCH.evaluate(BATCH)["latency_ms"]
    surrogates = load_surrogates("s")
    models = [BENCH.count_model("latency_ms"), BENCH.count_model("params"), BENCH.chain_model("perplexity")]
    models += [*surrogates.noise.values(), *surrogates.costs.values()]  # type: ignore[list-item]
    fields = [(name, value) for model in models for name, value in vars(model).items() if not name.startswith("_")]
    arrays = [value for _, value in fields if isinstance(value, np.ndarray)]
    arrays += [*load_worlds("l").tensors.values(), SPACE.lengths]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] *= 2
    assert len(arrays) > 20
    np.testing.assert_array_equal(Benchmark("s", "a6000").evaluate(BATCH)["latency_ms"], before)
    tuned_hyperparameters()["ppo"]["s"]["n_steps"] = -1  # type: ignore[index]
    assert tuned_hyperparameters()["ppo"]["s"]["n_steps"] > 0


def test_parents_are_not_changed() -> None:
    parents = BATCH.copy()
    SPACE.mutate(parents, np.random.default_rng(0), 5)
    SPACE.neighbours(parents[:1])
    SPACE.swaps(parents[:1])
    SPACE.repair(parents)
    np.testing.assert_array_equal(parents, BATCH)


def test_compat_hands_out_copies() -> None:
    api = HWGPT("s", use_supernet_surrogate=False, seed=0)
    drawn = api.sample_arch()
    before = api.query(metric="perplexity")
    drawn["sample_mlp_ratio"][0] = 2 if drawn["sample_mlp_ratio"][0] != 2 else 4
    assert api.query(metric="perplexity") == before
    api.set_arch(drawn)
    chosen = api.query(metric="perplexity")
    assert chosen != before
    drawn["sample_mlp_ratio"][0] = "nothing"
    assert api.config is not None
    api.config["sample_n_head"].clear()
    assert api.query(metric="perplexity") == chosen
    for wrong in ({"sample_mlp_ratio": 3}, {"sample_mlp_ratio": None}, {"sample_n_layer": 11.0}):
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            api.set_arch(ONE.to_config() | wrong)
    with pytest.raises(TypeError, match="config must be a dictionary"):
        api.set_arch(None)  # type: ignore[arg-type]
    assert api.query(metric="perplexity") == chosen


def test_caches_are_bounded() -> None:
    bench = Benchmark("s", "a6000")
    for level in np.linspace(0.0, 1.0, CACHED + 20):
        bench.quantile("params", float(level))
    rng = np.random.default_rng(0)
    for _ in range(2 * CACHED):
        bench.evaluate(BATCH[:1], rng.permutation(bench.metrics).tolist()[: rng.integers(1, 8)])
    assert 0 < len(bench._quantiles) <= CACHED
    assert 0 < len(bench._stacks) <= CACHED


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**32, 2**64, 10**40, np.int64(3)])
def test_every_seed_of_numpy_is_one(seed: int) -> None:
    for agent in ("random_search", "local_search", "regularized_evolution", "nsga2", "tpe"):
        results = [make_agent(agent).run(SearchProblem(BENCH, budget=12, seed=seed)) for _ in range(2)]
        np.testing.assert_array_equal(results[0].encoded, results[1].encoded)
    env = gym.make("HWGPT-v0", noise=True)
    assert env.reset(seed=seed)[0].any()
