"""The study behind PPO's settings: optuna tunes them for a scale and records what it saw.

It has two stages. The first one searches: optuna's TPE proposes settings, which train on a few devices with a small
budget. The settings that were chosen by hand before there was a study (:data:`BASELINE`) are the first trial. The
second one confirms: the best of the first and the baseline train again with the full budget and with seeds that the
first stage has not seen, so that a lucky trial is not what gets chosen.

Settings are scored by the mean over runs of the decimal logarithms of two regrets at the end of the budget, best so far
and greedy, added up; regrets below 1e-5 count as 1e-5. The record is written after every trial, and a study that was
interrupted continues from it. From a shell::

    python -m hwgpt_gym.agents.ppo.study --scale s --output docs/studies/ppo_s.json
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

from hwgpt_gym.agents.optuna_search import make_study
from hwgpt_gym.agents.ppo.agent import PPO, tuned_hyperparameters
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.workers import single_threaded_pool
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_integer
from hwgpt_gym.devices import get_device
from hwgpt_gym.files import write_text
from hwgpt_gym.objective import Objective
from hwgpt_gym.search_space import get_search_space

if TYPE_CHECKING:
    import optuna

SCHEMA: Final = "hwgpt-gym study 1"

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
        if BASELINE["hidden_size"] not in self.hidden_sizes:
            raise ValueError(f"hidden_sizes must contain {BASELINE['hidden_size']}, got {self.hidden_sizes!r}")
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
        ValueError: If ``workers`` is not legal, or the output is the record of another study.
    """
    workers = check_integer("workers", workers if workers is not None else os.cpu_count() or 1, 1)
    path = Path(output)
    record = _read(path, study)
    known = {stage: {trial["number"]: trial for trial in record[stage]} for stage in ("trials", "finals")}
    record |= {"trials": [], "finals": []}
    with single_threaded_pool(workers) as pool:

        def add(stage: str, number: int, settings: Mapping[str, Any], budget: int, seeds: range) -> float:
            """Add a trial to the record: as it was, or run anew."""
            trial = known[stage].get(number)
            if trial is None or trial["settings"] != settings:
                runs = _run_all(pool, study, settings, budget, seeds)
                trial = {"number": number, "settings": dict(settings), "value": _value(runs), "runs": runs}
            record[stage].append(trial)
            write_text(path, json.dumps(record, indent=1) + "\n")
            if report is not None:
                report(sum(len(item["runs"]) for item in (*record["trials"], *record["finals"])))
            return float(trial["value"])

        _search(study, lambda number, settings: add("trials", number, settings, study.budget, range(study.seeds)))
        for number in _finalists(study, record["trials"]):
            seeds = range(study.seeds, study.seeds + study.final_seeds)
            add("finals", number, record["trials"][number]["settings"], study.final_budget, seeds)
    record["best"] = min(record["finals"], key=_merit)["number"]
    write_text(path, json.dumps(record, indent=1) + "\n")
    return record


def best_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a finished study recommends, of those that it tunes.

    Args:
        record: As :func:`run_study` returns it.

    Raises:
        ValueError: If the study is not finished.
    """
    if "best" not in record:
        raise ValueError(f"record must be that of a finished study, with 'best', got {list(record)}")
    settings: dict[str, Any] = record["trials"][record["best"]]["settings"]
    return settings


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

    sampler = optuna.samplers.TPESampler(seed=study.seed, n_startup_trials=study.startup)
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


def _read(path: Path, study: Study) -> dict[str, Any]:
    """Return the record to go on from; a new one if there is none."""
    described = study.describe()
    if not path.is_file():
        return {"schema": SCHEMA, "study": described, "trials": [], "finals": []}
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {key: record[key] for key in ("schema", "study", "trials", "finals")}
        differing = [name for name, value in described.items() if record["study"].get(name) != value]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no record of a study ({error!r}): choose another output or delete it") from None
    if known["schema"] != SCHEMA:
        raise ValueError(f"{path} has the schema {known['schema']!r}, this version reads {SCHEMA!r}")
    if differing:
        name = differing[0]
        raise ValueError(
            f"{path} is the record of another study, with {name} {record['study'].get(name)!r} instead of "
            f"{described[name]!r}: choose another output or delete it"
        )
    return known


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a study and print it."""
    import argparse

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    parser = argparse.ArgumentParser(
        prog="python -m hwgpt_gym.agents.ppo.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = asdict(Study())
    for name, default in defaults.items():
        if isinstance(default, str | int):
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"{default}")
    parser.add_argument("--device", action="append", dest="devices", help="may be repeated; a6000 and cpu_amd_7513")
    parser.add_argument("--hidden-size", action="append", type=int, dest="hidden_sizes", help="repeated; 32 and 64")
    parser.add_argument("--transfer", help="the record of a finished study, whose best settings are tried second")
    parser.add_argument("--workers", type=int, default=None, help="processes; one a processor")
    parser.add_argument("--output", default="ppo_study.json", help="the record: ppo_study.json")
    options = vars(parser.parse_args(arguments))
    output, workers = options.pop("output"), options.pop("workers")
    console = Console()
    try:
        transfer = options.pop("transfer")
        options["transferred"] = best_settings(json.loads(Path(transfer).read_text("utf-8"))) if transfer else None
        for name in ("devices", "hidden_sizes"):
            options[name] = tuple(options[name] or defaults[name])
        study = Study(**options)
        with Progress(console=console) as progress:
            bar = progress.add_task("Training", total=study.runs)
            record = run_study(study, output, workers=workers, report=lambda done: progress.update(bar, completed=done))
            progress.update(bar, completed=study.runs)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for stage in ("trials", "finals"):
        table = Table("number", "value", "settings", title=stage)
        for trial in sorted(record[stage], key=lambda item: float(item["value"])):
            table.add_row(str(trial["number"]), f"{trial['value']:.3f}", json.dumps(trial["settings"]))
        console.print(table)
    console.print(f"best: {json.dumps(best_hyperparameters(record))}", soft_wrap=True)


if __name__ == "__main__":
    main()
