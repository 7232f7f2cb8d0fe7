"""The bridge to Optuna, against Optuna itself."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from hwgpt_gym import SEARCH_SPACES, Architecture, Benchmark
from hwgpt_gym.interop import OptunaObjective, suggest
from hwgpt_gym.objective import Objective

BENCHMARK = Benchmark("s", "a6000")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("scale", SEARCH_SPACES)
@pytest.mark.parametrize("conditional", [True, False])
def test_trials_choose_architectures(scale: str, conditional: bool) -> None:
    space = SEARCH_SPACES[scale]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        encoded = space.validate(suggest(space, trial, conditional=conditional))
        exists = encoded[0] >= 0
        names = [name for name, here in zip(space.decision_names, exists, strict=True) if here or not conditional]
        assert list(trial.params) == names
        chosen = [trial.params[name] for name in space.decision_names if name in trial.params]
        np.testing.assert_array_equal(encoded[0, exists], np.array(chosen)[exists[: len(chosen)]])


def test_a_study_maximises_the_reward() -> None:
    objective = OptunaObjective(BENCHMARK, Objective({"latency_ms": "p50"}))
    study = optuna.create_study(directions=objective.directions, sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=60)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    encoded = BENCHMARK.space.encode(
        Architecture.from_string(trial.user_attrs["architecture"]) for trial in study.trials
    )
    bound = Objective({"latency_ms": "p50"}).bind(BENCHMARK)
    values = BENCHMARK.evaluate(encoded, bound.metrics)
    np.testing.assert_array_equal([trial.value for trial in study.trials], bound.evaluate(values).reward)
    np.testing.assert_array_equal([trial.user_attrs["latency_ms"] for trial in study.trials], values["latency_ms"])
    # Better than chance: the last trials beat the first, random ones.
    rewards = np.array([trial.value for trial in study.trials])
    assert rewards[30:].mean() > rewards[:10].mean()


def test_a_study_trades_metrics_off() -> None:
    objective = OptunaObjective(BENCHMARK, metrics=["accuracy", "energy_j"])
    assert objective.directions == ["maximize", "minimize"]
    study = optuna.create_study(directions=objective.directions, sampler=optuna.samplers.NSGAIISampler(seed=0))
    study.optimize(objective, n_trials=30)
    best = study.best_trials
    assert 1 <= len(best) < 30
    for trial in best:
        assert trial.values == [trial.user_attrs["accuracy"], trial.user_attrs["energy_j"]]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        OptunaObjective(BENCHMARK, Objective(), ["perplexity"])
    with pytest.raises(ValueError, match="depends on the device"):
        OptunaObjective(Benchmark("s", "all"), metrics=["perplexity", "latency_ms"])
    with pytest.raises(ValueError, match="unknown metric 'latency'"):
        OptunaObjective(BENCHMARK, metrics=["latency"])
