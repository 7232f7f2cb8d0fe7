"""The study behind PPO's settings: optuna tunes them for a scale and records what it saw.

It has two stages. The first one searches: optuna's TPE proposes settings, which train on a few devices with a small
budget. The settings that were chosen by hand before there was a study (:data:`BASELINE`) are the first trial. The
second one confirms: the best of the first and the baseline train again with the full budget and with seeds that the
first stage has not seen, so that a lucky trial is not what gets chosen.

Settings are scored by the mean over runs of the decimal logarithms of two regrets at the end of the budget, best so far
and greedy, added up; regrets below 1e-5 count as 1e-5. The record is written after every trial, and a study that was
interrupted continues from it: ``hwgpt-gym study``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from hwgpt_gym.agents.agent import WIDEST
from hwgpt_gym.agents.optuna_search import make_study
from hwgpt_gym.agents.ppo.agent import PPO, tuned_hyperparameters
from hwgpt_gym.agents.ppo.study_record import best_settings, read_record
from hwgpt_gym.agents.problem import SearchProblem, small_seed
from hwgpt_gym.agents.workers import single_threaded_pool
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_integer, check_list, echo
from hwgpt_gym.files import seal, write_text
from hwgpt_gym.objective import Objective
from hwgpt_gym.onboarding.devices import get_device
from hwgpt_gym.search_space import get_search_space

if TYPE_CHECKING:
    import optuna

FLOOR: Final = 1e-5
"""Regrets below it count as it."""

BASELINE: Final[Mapping[str, Any]] = {
    "num_envs": 512,
    "n_epochs": 3,
    "learning_rate": 0.003,
    "entropy_start": 0.25,
    "hidden_size": 64,
}
"""The settings that were chosen by hand, in single runs at scale s."""

CONSTRAINT: Final = {"latency_ms": "p50"}

Report: TypeAlias = Callable[[int], None]
"""Called with the number of runs that are done, after every trial."""


@dataclass(frozen=True)
class Study:
    """What a study does.

    Attributes:
        scale: The search space.
        devices: The devices that every setting trains on.
        trials: How many settings the first stage tries, at least 1.
        startup: How many of them are random, the first ones, before the sampler has a model.
        budget: Evaluations of a run of the first stage.
        seeds: Runs on every device in the first stage, seeded from 0 on.
        finalists: How many of the best settings the second stage tries beside the baseline, at least 1.
        final_budget: Evaluations of a run of the second stage.
        final_seeds: Runs on every device in the second stage, seeded from where the first stage ended.
        seed: Seeds the sampler.
        hidden_sizes: The widths of networks to choose from.
        transferred: Settings that the second trial tries, such as those that won at another scale.

    Raises:
        ValueError: If a setting is not legal.
    """

    scale: str = "s"
    devices: tuple[str, ...] = ("a6000", "cpu_amd_7513")
    trials: int = 20
    startup: int = 8
    budget: int = 20_000
    seeds: int = 2
    finalists: int = 2
    final_budget: int = 50_000
    final_seeds: int = 2
    seed: int = 0
    hidden_sizes: tuple[int, ...] = (32, 64)
    transferred: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        get_search_space(self.scale)
        if not self.devices:
            raise ValueError("devices must name at least one device, got none")
        for name in self.devices:
            get_device(name)
        for name in ("trials", "startup", "budget", "seeds", "finalists", "final_budget", "final_seeds"):
            check_integer(name, getattr(self, name), 1)
        check_integer("seed", self.seed, 0)
        for size in check_list("hidden_sizes", self.hidden_sizes, "widths"):
            check_integer("hidden_sizes", size, 1, WIDEST)
        if BASELINE["hidden_size"] not in self.hidden_sizes:
            raise ValueError(f"hidden_sizes must contain {BASELINE['hidden_size']}, got {echo(self.hidden_sizes)}")
        if self.transferred is not None and set(self.transferred) != set(BASELINE):
            raise ValueError(f"transferred must have the settings {list(BASELINE)}, got {list(self.transferred)}")

    @property
    def runs(self) -> int:
        """How many runs the study consists of, at most."""
        return len(self.devices) * (self.trials * self.seeds + (self.finalists + 1) * self.final_seeds)

    def describe(self) -> dict[str, Any]:
        """Return what a record says of the study; a record of another one cannot be continued."""
        described = {"agent": PPO.name, "constraint": CONSTRAINT, "baseline": BASELINE, **asdict(self)}
        # As a file holds them.
        as_read: dict[str, Any] = json.loads(json.dumps(described))
        return as_read


def run_study(
    study: Study, output: str | os.PathLike[str], *, workers: int | None = None, report: Report | None = None
) -> dict[str, Any]:
    """Run a study, or what is missing of it.

    Args:
        study: The study.
        output: Its record, a JSON file; it is written after every trial and continued if it exists.
        workers: Processes at a time; as many as there are processors by default.
        report: Called with the number of runs that are done, after every trial.

    Returns:
        The record: the ``study``, its ``trials`` and ``finals`` (each with its number, settings, value and runs) and
        ``best``, the number of the final of the least value, the fastest of those that hardly differ.

    Raises:
        ValueError: If ``workers`` is not legal, the output is the record of another study, or another process writes
            it.
    """
    from filelock import FileLock, Timeout

    workers = check_integer("workers", workers if workers is not None else os.cpu_count() or 1, 1)
    path = Path(output)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=0):
            return _go_on(study, path, workers, report)
    except Timeout:
        raise ValueError(f"{path} is being written by another study: wait for it or choose another output") from None


def _go_on(study: Study, path: Path, workers: int, report: Report | None) -> dict[str, Any]:
    """Run what is missing of a study, as the only process that does."""
    record = read_record(path, study.describe())
    known = {stage: {trial["number"]: trial for trial in record[stage]} for stage in ("trials", "finals")}
    record |= {"trials": [], "finals": []}

    def write() -> None:
        """Write the record, with what is known but not come to yet: this may be interrupted too."""
        whole = {**record, **{stage: [*record[stage], *later.values()] for stage, later in known.items()}}
        write_text(path, json.dumps(seal(whole), indent=1) + "\n")

    with single_threaded_pool(workers) as pool:

        def add(stage: str, number: int, settings: Mapping[str, Any], budget: int, seeds: range) -> float:
            """Add a trial to the record: as it was, or run anew."""
            trial = known[stage].pop(number, None)
            if trial is None or trial["settings"] != settings:
                runs = _run_all(pool, study, settings, budget, seeds)
                trial = {"number": number, "settings": dict(settings), "value": _value(runs), "runs": runs}
                record[stage].append(trial)
                write()
            else:
                record[stage].append(trial)
            if report is not None:
                report(sum(len(item["runs"]) for item in (*record["trials"], *record["finals"])))
            return float(trial["value"])

        _search(study, lambda number, settings: add("trials", number, settings, study.budget, range(study.seeds)))
        for number in _finalists(study, record["trials"]):
            seeds = range(study.seeds, study.seeds + study.final_seeds)
            add("finals", number, record["trials"][number]["settings"], study.final_budget, seeds)
    record["best"] = min(record["finals"], key=_merit)["number"]
    known = {}
    write()
    return record


def best_hyperparameters(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a finished study recommends, all of them, as ``hyperparameters.json`` has them.

    Args:
        record: As :func:`run_study` returns it.
    """
    scale = record["study"]["scale"]
    return {**tuned_hyperparameters()[PPO.name][scale], **_complete(scale, best_settings(record))}


def _search(study: Study, evaluate: Callable[[int, Mapping[str, Any]], float]) -> None:
    """Let optuna propose settings; the same values for the same settings lead to the same proposals."""
    import optuna

    sampler = optuna.samplers.TPESampler(seed=small_seed(study.seed), n_startup_trials=study.startup)
    proposals = make_study(sampler, 1)
    proposals.enqueue_trial(dict(BASELINE))
    if study.transferred is not None:
        proposals.enqueue_trial(dict(study.transferred))
    for number in range(study.trials):
        trial = proposals.ask()
        proposals.tell(trial, evaluate(number, _suggest(trial, study.hidden_sizes)))


def _suggest(trial: optuna.trial.Trial, hidden_sizes: Sequence[int]) -> dict[str, Any]:
    """Let a trial choose settings; those that are not here stay as they are."""
    return {
        "num_envs": trial.suggest_categorical("num_envs", [128, 256, 512]),
        "n_epochs": trial.suggest_int("n_epochs", 1, 5),
        # Two digits are enough to write down, and to read.
        "learning_rate": float(f"{trial.suggest_float('learning_rate', 5e-4, 1e-2, log=True):.2g}"),
        "entropy_start": float(f"{trial.suggest_float('entropy_start', 0.02, 0.6, log=True):.2g}"),
        "hidden_size": trial.suggest_categorical("hidden_size", list(hidden_sizes)),
    }


def _finalists(study: Study, trials: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the numbers of the best trials, best first, and that of the baseline if it is not among them."""
    ranked = sorted(trials, key=lambda trial: float(trial["value"]))
    numbers = [int(trial["number"]) for trial in ranked[: study.finalists]]
    return numbers if 0 in numbers else [*numbers, 0]


def _complete(scale: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Add the settings that follow from others: a rollout is one episode long, a minibatch a quarter of all of it."""
    n_steps = get_search_space(scale).num_decisions
    return {**settings, "n_steps": n_steps, "batch_size": settings["num_envs"] * n_steps // 4}


def _run_all(
    pool: Executor, study: Study, settings: Mapping[str, Any], budget: int, seeds: range
) -> list[dict[str, Any]]:
    """Train once for every device and seed."""
    cells = list(product(study.devices, seeds))
    futures = [pool.submit(_run, study.scale, dict(settings), device, budget, seed) for device, seed in cells]
    return [future.result() for future in futures]


def _run(scale: str, settings: dict[str, Any], device: str, budget: int, seed: int) -> dict[str, Any]:
    """Train once, and return the two regrets."""
    from hwgpt_gym.optimum import solve

    benchmark, objective = Benchmark(scale, device), Objective(CONSTRAINT)
    result = PPO(**_complete(scale, settings)).run(SearchProblem(benchmark, objective, budget, seed))
    optimum = solve(benchmark, objective)
    return {
        "device": device,
        "seed": seed,
        "regret": float(result.regret(optimum)[-1]),
        "greedy_regret": float(result.greedy_regret(optimum)[-1]),
        "cpu_time": round(result.cpu_time, 1),
    }


def _value(runs: Sequence[Mapping[str, Any]]) -> float:
    regrets = np.array([[run["regret"], run["greedy_regret"]] for run in runs])
    return float(np.log10(np.maximum(regrets, FLOOR)).sum(axis=1).mean())


def _merit(final: Mapping[str, Any]) -> tuple[float, float]:
    """Return what finals are compared by: the value, and where that is the same, the processor time."""
    return round(float(final["value"]), 1), sum(float(run["cpu_time"]) for run in final["runs"])
