"""The bridge to Syne Tune, against Syne Tune itself."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from hwgpt_gym import DEVICES, SEARCH_SPACES, Benchmark
from hwgpt_gym.agents import SearchProblem, make_agent
from hwgpt_gym.interop import from_configurations
from hwgpt_gym.optimum import pareto_front
from hwgpt_gym.pareto import box, crowded_ranks, hypervolume_ratio

pytest.importorskip("syne_tune", reason="needs hwgpt-gym[syne-tune]")
pytest.importorskip("huggingface_hub", reason="needs hwgpt-gym[syne-tune]")

from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
from syne_tune.blackbox_repository import UserBlackboxBackend
from syne_tune.config_space import config_space_from_json_dict, config_space_to_json_dict
from syne_tune.optimizer.baselines import REA
from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler
from syne_tune.optimizer.schedulers.multiobjective.multi_objective_regularized_evolution import (
    MultiObjectiveRegularizedEvolution,
)
from syne_tune.optimizer.schedulers.searchers.random_searcher import MultiObjectiveRandomSearcher
from syne_tune.optimizer.schedulers.single_fidelity_scheduler import SingleFidelityScheduler
from syne_tune.stopping_criterion import StoppingCriterion
from syne_tune.tuner import Tuner

from hwgpt_gym.interop import ArchitectureBlackbox, CrowdedRanks, blackboxes
from hwgpt_gym.interop.syne_tune import ELAPSED_TIME

METRICS = ("perplexity", "latency_ms")
BENCHMARK = Benchmark("s", "a6000")


def draw(blackbox: ArchitectureBlackbox) -> dict[str, Any]:
    return {name: domain.sample() for name, domain in blackbox.configuration_space.items()}


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_every_device_is_a_blackbox_that_agrees_with_the_benchmark(scale: str) -> None:
    np.random.seed(0)  # noqa: NPY002  # Syne Tune draws from numpy's global generator.
    every = blackboxes(scale)
    assert list(every) == list(DEVICES)
    for device, blackbox in every.items():
        benchmark = Benchmark(scale, device)
        configuration = draw(blackbox)
        encoded = from_configurations(benchmark.space, [configuration])
        expected = {key: values[0] for key, values in benchmark.evaluate(encoded).items()}
        found = blackbox(configuration, fidelity=1)
        assert found == {**expected, ELAPSED_TIME: 1.0}
        np.testing.assert_array_equal(blackbox(configuration), [list(found.values())])
        assert list(found) == blackbox.objectives_names


def test_the_configuration_space_survives_json() -> None:
    space = ArchitectureBlackbox(BENCHMARK).configuration_space
    again = config_space_from_json_dict(config_space_to_json_dict(space))
    assert again == space


def test_syne_tunes_tuner_runs_on_the_simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("SYNETUNE_FOLDER", str(tmp_path))
    logging.getLogger("syne_tune").setLevel(logging.WARNING)
    blackbox = ArchitectureBlackbox(BENCHMARK, METRICS)
    tuner = Tuner(
        trial_backend=UserBlackboxBackend(blackbox=blackbox, elapsed_time_attr=ELAPSED_TIME),
        scheduler=REA(blackbox.configuration_space, metric="perplexity", random_seed=0, population_size=10),
        stop_criterion=StoppingCriterion(max_num_trials_completed=60),
        n_workers=1,
        sleep_time=0,
        callbacks=[SimulatorCallback()],
    )
    tuner.run()
    results = tuner.tuning_status.get_dataframe()
    assert len(results) >= 60
    assert results["perplexity"].iloc[-20:].mean() < results["perplexity"].iloc[:10].mean()


def syne_tunes(searcher: Any, seed: int, budget: int) -> np.ndarray[Any, Any]:
    """Return what Syne Tune's searcher evaluates, ``float64 (budget, 2)``."""
    blackbox = ArchitectureBlackbox(BENCHMARK, METRICS)
    np.random.seed(seed)  # noqa: NPY002  # Syne Tune draws from numpy's global generator, too.
    scheduler = AskTellScheduler(
        SingleFidelityScheduler(blackbox.configuration_space, metrics=list(METRICS), searcher=searcher(blackbox, seed))
    )
    points = []
    for _ in range(budget):
        trial = scheduler.ask()
        result = blackbox(trial.config, fidelity=1)
        scheduler.tell(trial, result)
        points.append([result[key] for key in METRICS])
    return np.array(points)


def random_searcher(blackbox: ArchitectureBlackbox, seed: int) -> Any:
    return MultiObjectiveRandomSearcher(blackbox.configuration_space, random_seed=seed)


def evolution(blackbox: ArchitectureBlackbox, seed: int) -> Any:
    return MultiObjectiveRegularizedEvolution(
        blackbox.configuration_space,
        random_seed=seed,
        population_size=50,
        multiobjective_priority=CrowdedRanks(),
    )


@pytest.mark.parametrize(
    ("searcher", "agent", "settings"),
    [
        (random_searcher, "random_search", {}),
        (evolution, "mo_regularized_evolution", {"population_size": 50, "ranked_among": "population"}),
    ],
    ids=["random search", "MO-REA"],
)
def test_syne_tunes_baselines_reach_our_hypervolume(searcher: Any, agent: str, settings: dict[str, Any]) -> None:
    budget, seeds = 300, 6
    front, whole = pareto_front(BENCHMARK, METRICS).values, box(BENCHMARK, METRICS)
    theirs, ours = np.zeros(seeds), np.zeros(seeds)
    for seed in range(seeds):
        theirs[seed] = hypervolume_ratio(syne_tunes(searcher, seed, budget), front, whole)
        result = make_agent(agent, **settings).run(SearchProblem(BENCHMARK, None, budget, seed, METRICS))
        ours[seed] = hypervolume_ratio(np.stack([result.metrics[key] for key in METRICS], axis=1), front, whole)
    error = np.sqrt((theirs.var(ddof=1) + ours.var(ddof=1)) / seeds)
    assert abs(theirs.mean() - ours.mean()) < 3.0 * error
    # An error that admits anything would say nothing.
    assert error < 0.015


def test_crowded_ranks_answer_as_a_priority() -> None:
    points = np.random.default_rng(0).random((30, 2))
    np.testing.assert_array_equal(CrowdedRanks()(points), crowded_ranks(points))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="depends on the device"):
        ArchitectureBlackbox(Benchmark("s", "all"))
    with pytest.raises(ValueError, match="unknown metric 'latency'"):
        blackboxes("s", ["latency"])
    with pytest.raises(ValueError, match=r"\['embed_dim'\] must be one of \[192, 384, 768\], got 'nothing'"):
        ArchitectureBlackbox(BENCHMARK)({"n_layer": 10}, fidelity=1)
