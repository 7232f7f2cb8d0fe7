"""Recorded episodes for offline reinforcement learning, as Minari's datasets (the extra ``minari``).

Each way to build is a function from a vector environment and the place of the next decision to a choice on every lane,
so that all are recorded alike, with information of numbers only.
"""

from __future__ import annotations

import errno
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import AnyDevice, Benchmark
from hwgpt_gym.checks import check_extra, check_integer, check_type, echo, suggest
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.objective import Limit, Objective
from hwgpt_gym.search_space import Encoded, FloatArray

if TYPE_CHECKING:
    import minari

MOST_EPISODES: Final = 100_000

_FOLDER: Final = "MINARI_DATASETS_PATH"
_LEGAL_ID: Final = "a name such as 'hwgpt/random-v0'"
_TAKEN: Final = "there is a dataset {!r} already: choose another name, or delete {}"

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
        episodes: How many, from 1 to 100,000, which are in memory at once.
        device: The device.
        scale: The search space.
        constraint: The limits; the median latency by default.
        seed: The seed.

    Raises:
        ModuleNotFoundError: If Minari is not installed.
        ValueError: If an argument is not legal, or the dataset exists.
    """
    path = check_recording(dataset_id, builder, episodes)
    check_integer("seed", seed, 0)
    import minari
    from minari.namespace import create_namespace, list_local_namespaces
    from minari.storage import get_dataset_path

    from hwgpt_gym.optimum import solve

    objective = Objective({"latency_ms": "p50"} if constraint is None else constraint)
    bench = Benchmark(scale, device)
    bound = objective.bind(bench)
    options: dict[str, Any] = {"device": device, "scale": scale, "constraint": dict(objective.constraints)}
    options["info_strings"] = False
    # Recorded aside and then renamed: whole or not at all, and never instead of another process's.
    with tempfile.TemporaryDirectory(prefix=".recording-", dir=get_dataset_path()) as aside:
        act = BUILDERS[builder](bench, objective, episodes, seed)
        sampled = bench.space.sample(np.random.default_rng(seed), 10_000)
        with warnings.catch_warnings(), _minari_folder(aside):
            # That neither author nor another environment for evaluation is named.
            warnings.simplefilter("ignore", UserWarning)
            minari.create_dataset_from_buffers(
                dataset_id,
                _record(act, episodes, seed, options),
                env=gymnasium.make("HWGPT-v0", **options),
                algorithm_name=builder,
                ref_min_score=float(bound.evaluate(bench.evaluate(sampled, bound.metrics)).reward.mean()),
                ref_max_score=solve(bench, objective).reward,
                description=f"{episodes} episodes of hwgpt-gym, built by {builder}; seed {seed}",
                requirements=["hwgpt-gym"],
            )
        namespace = dataset_id.rpartition("/")[0]
        if namespace and namespace not in list_local_namespaces():
            create_namespace(namespace)
        try:
            os.rename(Path(aside) / dataset_id, path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise ValueError(_TAKEN.format(dataset_id, path)) from None
            raise
    return minari.load_dataset(dataset_id)


def check_recording(dataset_id: str, builder: str, episodes: int) -> Path:
    """Check what is to be recorded, and return the folder of the dataset, which does not exist.

    Raises:
        ModuleNotFoundError: If Minari is not installed.
        ValueError: If an argument is not legal, or the dataset exists.
    """
    check_extra("minari", "minari")
    check_integer("episodes", episodes, 1, MOST_EPISODES)
    if not isinstance(builder, str) or builder not in BUILDERS:
        raise ValueError(f"unknown builder {echo(builder)}: {suggest(builder, list(BUILDERS))}")
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    try:
        parse_dataset_id(check_type("dataset_id", dataset_id, str, _LEGAL_ID))
    except (ValueError, TypeError):  # Without a version it is one of Minari's own errors.
        raise ValueError(f"dataset_id must be {_LEGAL_ID}, got {echo(dataset_id)}") from None
    path = Path(get_dataset_path(dataset_id))
    if path.exists():
        raise ValueError(_TAKEN.format(dataset_id, path))
    return path


@contextmanager
def _minari_folder(folder: str) -> Iterator[None]:
    """Let Minari's datasets be in another folder."""
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FOLDER]
        else:
            os.environ[_FOLDER] = before


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
