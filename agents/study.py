"""A study for ``agents/hyperparameters.json``: optuna tunes PPO's settings for a scale, and writes what it saw.

From a shell::

    python -m hwgpt_gym.agents.study --scale s --trials 12 --output docs/studies/ppo_s.json

What is minimised is the mean over devices of the decimal logarithms of two regrets, best so far and greedy, at the end
of the budget; regrets below 1e-5 count as 1e-5. The settings in use are the first trial, so the record shows what the
study improved on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hwgpt_gym.agents.optuna_search import make_study
from hwgpt_gym.agents.ppo import PPO, tuned_hyperparameters
from hwgpt_gym.agents.problem import SearchProblem, check_integer
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.files import write_text
from hwgpt_gym.objective import Objective
from hwgpt_gym.version import __version__

if TYPE_CHECKING:
    import optuna

FLOOR: Final = 1e-5


def run_study(
    scale: str,
    output: str | os.PathLike[str],
    *,
    trials: int = 12,
    budget: int = 20_000,
    devices: Sequence[str] = ("a6000", "cpu_amd_7513"),
    seed: int = 0,
) -> dict[str, Any]:
    """Tune PPO's settings and write the record, after every trial.

    Args:
        scale: The search space.
        output: The JSON file to write.
        trials: How many settings to try, at least 1.
        budget: Evaluations of every run.
        devices: The devices to run on.
        seed: Seeds the study's sampler and the runs.

    Returns:
        The record.

    Raises:
        ValueError: If an argument is not legal.
    """
    import optuna

    check_integer("trials", trials, 1)
    study = make_study(optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(5, trials)), 1)
    in_use = tuned_hyperparameters()["ppo"][scale]
    study.enqueue_trial(
        {name: in_use[name] for name in ("num_envs", "n_epochs", "learning_rate", "hidden_size")}
        | {"entropy_start": in_use["entropy_start"]}
    )
    record: dict[str, Any] = {
        "version": __version__,
        "scale": scale,
        "budget": budget,
        "devices": list(devices),
        "constraint": {"latency_ms": "p50"},
        "seed": seed,
        "trials": [],
    }
    for number in range(trials):
        trial = study.ask()
        agent = _suggest(trial, scale)
        runs = [_run(agent, scale, device, budget, seed) for device in devices]
        regrets = np.array([[run["regret"], run["greedy_regret"]] for run in runs])
        value = float(np.log10(np.maximum(regrets, FLOOR)).sum(axis=1).mean())
        study.tell(trial, value)
        record["trials"].append({"number": number, "settings": trial.params, "value": value, "runs": runs})
        record["best"] = min(record["trials"], key=lambda item: float(item["value"]))["number"]
        _write(Path(output), record)
    return record


def _suggest(trial: optuna.trial.Trial, scale: str) -> PPO:
    """Let a trial choose settings; the others stay as they are."""
    in_use = tuned_hyperparameters()["ppo"][scale]
    num_envs = trial.suggest_categorical("num_envs", [128, 256, 512])
    return PPO(
        num_envs=num_envs,
        # A quarter of the decisions between two updates.
        batch_size=num_envs * in_use["n_steps"] // 4,
        n_epochs=trial.suggest_int("n_epochs", 1, 4),
        learning_rate=trial.suggest_float("learning_rate", 5e-4, 5e-3, log=True),
        entropy_start=trial.suggest_float("entropy_start", 0.05, 0.6, log=True),
        hidden_size=trial.suggest_categorical("hidden_size", [32, 64, 128]),
    )


def _run(agent: PPO, scale: str, device: str, budget: int, seed: int) -> dict[str, Any]:
    from hwgpt_gym.optimum import solve

    benchmark, objective = Benchmark(scale, device), Objective({"latency_ms": "p50"})
    result = agent.run(SearchProblem(benchmark, objective, budget, seed))
    optimum = solve(benchmark, objective)
    return {
        "device": device,
        "regret": float(result.regret(optimum)[-1]),
        "greedy_regret": float(result.greedy_regret(optimum)[-1]),
        "cpu_time": round(result.cpu_time, 1),
    }


def _write(path: Path, record: dict[str, Any]) -> None:
    write_text(path, json.dumps(record, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a study and print it."""
    import argparse

    from rich.console import Console

    parser = argparse.ArgumentParser(prog="python -m hwgpt_gym.agents.study", description=__doc__)
    parser.add_argument("--scale", default="s")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--budget", type=int, default=20_000)
    parser.add_argument("--device", action="append", dest="devices", help="may be repeated")
    parser.add_argument("--output", default="ppo_study.json")
    options = vars(parser.parse_args(arguments))
    options["devices"] = options["devices"] or ["a6000", "cpu_amd_7513"]
    record = run_study(options.pop("scale"), options.pop("output"), **options)
    for trial in record["trials"]:
        Console().print(trial["number"], round(trial["value"], 3), trial["settings"])


if __name__ == "__main__":
    main()
