"""Recorded episodes for offline reinforcement learning, as Minari's datasets (the extra ``minari``).

Each way to build is a function from a vector environment and the place of the next decision to a choice on every lane,
so that all are recorded alike, with information of numbers only.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import AnyDevice, Benchmark
from hwgpt_gym.checks import check_extra, check_integer, echo, suggest
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.objective import Limit, Objective
from hwgpt_gym.search_space import Encoded, FloatArray

if TYPE_CHECKING:
    import minari

Actions: TypeAlias = npt.NDArray[np.int64]
Builder: TypeAlias = Callable[[HWGPTVectorEnv, int], Actions]


def _random(bench: Benchmark, objective: Objective, episodes: int, seed: int) -> Builder:
    rng = np.random.default_rng(seed)
    return lambda envs, place: _legal(envs, rng)


def _evolution(bench: Benchmark, objective: Objective, episodes: int, seed: int) -> Builder:
    from hwgpt_gym.agents import SearchProblem, make_agent

    return _replay(make_agent("regularized_evolution").run(SearchProblem(bench, objective, episodes, seed)).encoded)


def _policy(bench: Benchmark, objective: Objective, episodes: int, seed: int) -> Builder:
    from hwgpt_gym.agents.amortised import load_pretrained
    from hwgpt_gym.agents.amortised.evaluation import tables_of

    every = tables_of(objective.bind(bench)).of(np.zeros(episodes, dtype=np.intp))
    return _replay(load_pretrained(bench.scale).build(every, np.random.default_rng(seed)))


def _optimal(bench: Benchmark, objective: Objective, episodes: int, seed: int) -> Builder:
    rng = np.random.default_rng(seed)
    # The first episode is the optimum; in the others about one decision is random, and the rest the best after it.
    chance = np.full(episodes, 1.0 / bench.space.num_decisions)
    chance[0] = 0.0

    def act(envs: HWGPTVectorEnv, place: int) -> Actions:
        best: Actions = envs.action_values().argmax(axis=1)
        return np.where(rng.random(episodes) < chance, _legal(envs, rng), best)

    return act


BUILDERS: Final[Mapping[str, Callable[[Benchmark, Objective, int, int], Builder]]] = {
    "random": _random,
    "evolution": _evolution,
    "policy": _policy,
    "optimal": _optimal,
}
"""Ways to build: uniformly at random; regularized evolution, in order; the shipped amortised policy, sampled; the
action of the greatest exact value, except for about one random decision an episode (none in the first one)."""


def write_minari(
    dataset_id: str,
    builder: str,
    episodes: int,
    *,
    device: AnyDevice = "a6000",
    scale: str = "s",
    constraint: Mapping[str, Limit] | None = None,
    seed: int = 0,
) -> minari.MinariDataset:
    """Record episodes of ``HWGPT-v0`` as a dataset among Minari's (``MINARI_DATASETS_PATH`` says where these are).

    Args:
        dataset_id: Minari's name for it, such as ``"hwgpt/a6000/random-v0"``.
        builder: One of :data:`BUILDERS`.
        episodes: How many, at least 1.
        device: The device.
        scale: The search space.
        constraint: The limits; the median latency by default.
        seed: The seed.

    Raises:
        ModuleNotFoundError: If Minari is not installed.
        ValueError: If an argument is not legal, or the dataset exists.
    """
    check_extra("minari", "minari")
    check_integer("episodes", episodes, 1, 10**6)
    if builder not in BUILDERS:
        raise ValueError(f"unknown builder {echo(builder)}: {suggest(builder, list(BUILDERS))}")
    import minari
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    from hwgpt_gym.optimum import solve

    parse_dataset_id(dataset_id)
    path = Path(get_dataset_path(dataset_id))
    if path.exists():
        raise ValueError(f"there is a dataset {dataset_id!r} already: choose another name, or delete {path}")
    limits = dict(constraint) if constraint is not None else {"latency_ms": "p50"}
    options: dict[str, Any] = {"device": device, "scale": scale, "constraint": limits, "info_strings": False}
    bench, objective = Benchmark(scale, device), Objective(limits)
    act = BUILDERS[builder](bench, objective, episodes, seed)
    sampled = bench.space.sample(np.random.default_rng(seed), 10_000)
    bound = objective.bind(bench)
    try:
        with warnings.catch_warnings():
            # That neither author nor another environment for evaluation is named.
            warnings.simplefilter("ignore", UserWarning)
            return minari.create_dataset_from_buffers(
                dataset_id,
                _record(act, episodes, seed, options),
                env=gymnasium.make("HWGPT-v0", **options),
                algorithm_name=builder,
                ref_min_score=float(bound.evaluate(bench.evaluate(sampled, bound.metrics)).reward.mean()),
                ref_max_score=solve(bench, objective).reward,
                description=f"{episodes} episodes of hwgpt-gym, built by {builder}; seed {seed}",
                requirements=["hwgpt-gym"],
            )
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _record(act: Builder, episodes: int, seed: int, options: Mapping[str, Any]) -> list[Any]:
    """Return Minari's buffers of episodes, one a lane."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    envs: Any = gymnasium.make_vec("HWGPT-v0", num_envs=episodes, **options)
    observation, info = envs.reset(seed=seed)
    seen, told = [observation], [info]
    taken: list[Actions] = []
    earned: list[FloatArray] = []
    lengths = np.zeros(episodes, dtype=np.int64)
    for place in range(envs.unwrapped.bench.space.num_decisions):
        taken.append(act(envs.unwrapped, place))
        observation, reward, terminated, _, info = envs.step(taken[-1])
        seen.append(observation)
        told.append(info)
        earned.append(reward)
        # Lanes that are complete begin anew with the next step: what they do then is left out.
        lengths[terminated & (lengths == 0)] = place + 1
        if lengths.all():
            break
    names = [name for name in told[0] if not name.startswith("_")]
    observations, actions, rewards = np.stack(seen), np.stack(taken), np.stack(earned)
    infos = {name: np.stack([row[name] for row in told]) for name in names}
    return [
        EpisodeBuffer(
            id=lane,
            seed=seed + lane,
            observations=observations[: length + 1, lane],
            actions=actions[:length, lane],
            rewards=rewards[:length, lane].tolist(),
            terminations=[False] * (length - 1) + [True],
            truncations=[False] * length,
            infos={name: values[: length + 1, lane] for name, values in infos.items()},
        )
        for lane, length in enumerate(lengths.tolist())
    ]


def _legal(envs: HWGPTVectorEnv, rng: np.random.Generator) -> Actions:
    """Return a random choice on every lane."""
    masks = envs.action_masks()
    choices: Actions = np.where(masks, rng.random(masks.shape), -1.0).argmax(axis=1)
    return choices


def _replay(encoded: Encoded) -> Builder:
    return lambda envs, place: np.maximum(encoded[:, place], 0).astype(np.int64)
