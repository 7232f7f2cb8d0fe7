"""Checking a result independently of who wrote it."""

from __future__ import annotations

import os
from typing import Final

import numpy as np

from hwgpt_gym.agents.problem import noise_generator
from hwgpt_gym.agents.result import SearchResult
from hwgpt_gym.agents.task_name import task_name
from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_path
from hwgpt_gym.onboarding.devices import content_of, find_device
from hwgpt_gym.search_space import FloatArray

_TOLERANCE: Final = 1e-9


def validate_result(path: str | os.PathLike[str], benchmark: Benchmark | None = None) -> SearchResult:
    """Check a result file independently of who wrote it.

    Every architecture is evaluated again, all rewards are computed anew and so is the certified optimum; the claimed
    best, regret and greedy regret have to follow from them.

    Args:
        path: The file.
        benchmark: What to evaluate with; by default that of the file's scale and device, which has to be shipped,
            registered, or loaded before.

    Returns:
        The result, if all of it is right.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If anything is not; the message names the first thing that is wrong, what is claimed and what is
            true.
    """
    from hwgpt_gym.optimum import solve

    check_path("path", path)
    if benchmark is not None:
        check_benchmark(benchmark, "benchmark")
    result = SearchResult.load(path)
    if benchmark is None:
        device = None if result.device is None else find_device(result.device, result.device_content)
        benchmark = Benchmark(result.scale, device)
    elif benchmark.device is not None and content_of(benchmark.device) != result.device_content:
        raise ValueError(f"{path} is of another device of the name {result.device!r} than the benchmark")
    bound = result.objective.bind(benchmark)
    task = task_name(benchmark, result.objective, result.measured)
    # Files of version 0.1 name none.
    if result.task and result.task != task:
        raise ValueError(f"{path} is of the task {result.task}, not of {task}: they do not compare")
    keys = list(dict.fromkeys((*bound.metrics, *result.metrics)))
    if result.measured:
        metrics = benchmark.measure(result.encoded, noise_generator(result.seed), keys)
    else:
        metrics = benchmark.evaluate(result.encoded, keys)
    for key, claimed in result.metrics.items():
        _compare(path, key, claimed, metrics[key])
    _compare(path, "reward", result.reward, bound.evaluate(metrics, margins=bound.margins(result.encoded)).reward)
    greedy_metrics = benchmark.evaluate(result.greedy_encoded, bound.metrics)
    greedy = bound.evaluate(greedy_metrics, margins=bound.margins(result.greedy_encoded)).reward
    _compare(path, "greedy reward", result.greedy_reward, greedy)
    claims = result.claims
    true: dict[str, float | str] = {}
    if len(result):
        true |= {"best_reward": result.best_reward, "best_architecture": str(result.best)}
    if {"optimum_reward", "regret", "greedy_regret"} & set(claims):
        optimum = solve(benchmark, result.objective)
        true["optimum_reward"] = optimum.reward
        if len(result):
            true["regret"] = float(result.regret(optimum)[-1])
        if len(result.greedy_reward):
            true["greedy_regret"] = float(result.greedy_regret(optimum)[-1])
    for key, claim in claims.items():
        if key not in true:
            raise ValueError(f"{path}: claims {key!r}, for which the file has no evidence")
        value = true[key]
        if isinstance(value, str) or isinstance(claim, str):
            if claim != value:
                raise ValueError(f"{path}: {key.replace('_', ' ')} is {value}, claimed is {claim}")
        else:
            _compare(path, key, np.array([claim], dtype=np.float64), np.array([value]))
    return result


def _compare(path: object, name: str, claimed: FloatArray, true: FloatArray) -> None:
    wrong = np.flatnonzero(~np.isclose(claimed, true, rtol=_TOLERANCE, atol=_TOLERANCE))
    if len(wrong):
        row = wrong[0]
        raise ValueError(
            f"{path}: {name} of entry {row} is {true[row]:.12g}, claimed is {claimed[row]:.12g} "
            f"({len(wrong)} of {len(true)} entries are wrong)"
        )
