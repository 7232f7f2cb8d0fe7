"""Every format of file: a flipped byte is noticed, and hostile contents are refused before they cost anything."""

from __future__ import annotations

import json
import resource
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flipping import flip
from safetensors import safe_open
from safetensors.torch import save_file

from hwgpt_gym import Benchmark, Objective, get_search_space, solve
from hwgpt_gym.agents import SearchProblem, make_agent
from hwgpt_gym.agents.amortised.policy import AmortisedPolicy
from hwgpt_gym.agents.amortised.training import AmortisedTraining
from hwgpt_gym.agents.amortised.weights import read_policy as read_amortised
from hwgpt_gym.agents.amortised.weights import save_policy as save_amortised
from hwgpt_gym.agents.checkpoint import load_checkpoint, save_checkpoint
from hwgpt_gym.agents.leaderboard.execute import Session, note_session, read_sessions
from hwgpt_gym.agents.leaderboard.rows import _read_cache, _write_cache
from hwgpt_gym.agents.ppo.policy import Policy
from hwgpt_gym.agents.ppo.study_record import SCHEMA, read_record
from hwgpt_gym.agents.result import SearchResult
from hwgpt_gym.agents.runs.records import RunConfig, RunSummary, Scored
from hwgpt_gym.agents.runs.records import read_record as read_run_record
from hwgpt_gym.agents.tensor_files import digest_of
from hwgpt_gym.dataset.plain_pickle import UnsafePickleError, load_plain_pickle
from hwgpt_gym.files import seal, write_text
from hwgpt_gym.surrogates import ChainModel, CountModel, NoiseModel, load_surrogates
from hwgpt_gym.surrogates.store import Surrogates, read_surrogates
from hwgpt_gym.surrogates.worlds import Worlds, read_worlds, worlds_path

Case = tuple[Path, Callable[[Path], Any]]


def arrays_of(model: ChainModel | CountModel | NoiseModel) -> list[bytes]:
    return [value.tobytes() for value in vars(model).values() if isinstance(value, np.ndarray)]


def content_of(surrogates: Surrogates) -> Any:
    models = [surrogates.perplexity, surrogates.accuracy, *surrogates.costs.values(), *surrogates.noise.values()]
    return [*map(arrays_of, models), surrogates.devices, surrogates.ranges, surrogates.metadata]


def weights(folder: Path) -> Case:
    path = folder / "s.safetensors"
    path.write_bytes((worlds_path("s").parent / "s.safetensors").read_bytes())
    return path, lambda path: content_of(read_surrogates(path))


def worlds(folder: Path) -> Case:
    path = folder / "worlds_l.safetensors"
    path.write_bytes(worlds_path("l").read_bytes())

    def content(worlds: Worlds) -> Any:
        return {name: part.tobytes() for name, part in worlds.tensors.items()}, worlds.metadata

    return path, lambda path: content(read_worlds(path, load_surrogates("l")))


def policy(folder: Path) -> Case:
    path = folder / "policy.safetensors"
    objective = Objective({"latency_ms": "p50"}).to_dict()
    Policy.untrained(get_search_space("s"), False, 16).save(path, device="a6000", objective=objective, budget=64)

    def content(policy: Policy) -> Any:
        numbers = {name: value.numpy().tobytes() for name, value in policy.network.state_dict().items()}
        return numbers, policy.notes, policy.space.scale, policy.masked, policy.hidden_size

    return path, lambda path: content(Policy.load(path))


def amortised(folder: Path) -> Case:
    path = folder / "policy.safetensors"
    save_amortised(AmortisedTraining(iterations=1, problems=4, hidden=8).train(), path, {"seed": 0})

    def content(policy: AmortisedPolicy) -> Any:
        numbers = {name: value.numpy().tobytes() for name, value in policy.network.state_dict().items()}
        return numbers, policy.space.scale, policy.features.centre.tobytes(), policy.features.deviation.tobytes()

    return path, lambda path: content(read_amortised(path))


def checkpoint(folder: Path) -> Case:
    path = folder / "checkpoint.safetensors"
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    training = {"seed": 3, "exclude": ("h100",)}
    save_checkpoint(path, network, optimizer, training, {"iteration": 7, "state": 2**100})

    def content(path: Path) -> Any:
        fresh = torch.nn.Linear(3, 2)
        moments = torch.optim.Adam(fresh.parameters())
        progress = load_checkpoint(path, fresh, moments, training)
        states = moments.state_dict()["state"].items()
        numbers = {(index, key): value.tolist() for index, own in states for key, value in own.items()}
        return progress, numbers, [value.tolist() for value in fresh.state_dict().values()]

    return path, content


def rows(folder: Path) -> Case:
    path = folder / "rows.parquet"
    known = [{"file": f"{number}.parquet", "regret": number / 7.0, "kept": number > 3} for number in range(40)]
    _write_cache(path, known)

    def content(path: Path) -> Any:
        # What is damaged is nothing, and is made again.
        if found := _read_cache(path):
            return found
        raise ValueError(f"{path} is damaged")

    return path, content


def result(folder: Path) -> Case:
    path = folder / "result.parquet"
    bench, objective = Benchmark("s", "a6000"), Objective({"latency_ms": "p50"})
    make_agent("random_search").run(SearchProblem(bench, objective, 60)).save(path, solve(bench, objective))

    def content(result: SearchResult) -> Any:
        arrays = {name: getattr(result, name).tobytes() for name in ("encoded", "reward", "greedy_encoded")}
        metrics = {name: values.tobytes() for name, values in result.metrics.items()}
        rest = {name: value for name, value in vars(result).items() if not isinstance(value, np.ndarray | dict)}
        return arrays, metrics, rest, result.settings, result.claims

    return path, lambda path: content(SearchResult.load(path))


def sessions(folder: Path) -> Case:
    for number in range(3):
        note_session(folder, Session("quick", number, 1.5 * number, 2))
    return folder / "sessions.json", lambda path: read_sessions(path.parent)


def study(folder: Path) -> Case:
    path = folder / "study.json"
    trial = {"number": 0, "settings": {"learning_rate": 0.003}, "value": -3.25, "runs": [{"regret": 0.0125}]}
    record = {"schema": SCHEMA, "study": {"scale": "s", "seed": 3}, "trials": [trial], "finals": []}
    write_text(path, json.dumps(seal(record), indent=1))
    return path, lambda path: read_record(path, {"scale": "s", "seed": 3})


def config(folder: Path) -> Case:
    path = folder / "config.json"
    problem = SearchProblem(Benchmark("s", "a6000"), Objective({"latency_ms": "p50"}), 60)
    write_text(path, RunConfig.of("search", "local_search", problem, 0.01).to_json())
    return path, lambda path: read_run_record(RunConfig, path)


def summary(folder: Path) -> Case:
    path = folder / "summary.json"
    optimum = solve(Benchmark("s", "a6000"), Objective({"latency_ms": "p50"}))
    metrics = {name: float(value) for name, value in optimum.metrics.items()}
    best = Scored(
        architecture=str(optimum.architecture),
        reward=optimum.reward,
        quality=optimum.reward,
        penalty=0.0,
        feasible=True,
        regret=0.0,
        evaluations=0,
        metrics=metrics,
    )
    whole = RunSummary(
        target=0.01,
        interrupted=False,
        evaluations=60,
        seconds=1.5,
        processor_seconds=1.25,
        limits={"latency_ms": 20.0},
        found=replace(best, evaluations=60),
        greedy=None,
        random=best,
        optimum=best,
        optimum_title=optimum.title,
        constrained=None,
    )
    write_text(path, whole.to_json())
    return path, lambda path: read_run_record(RunSummary, path)


FIRST = "mlp_extractor.policy_net.0.weight"

FORMATS = (weights, worlds, policy, amortised, checkpoint, rows, result, sessions, study, config, summary)


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_a_flipped_byte_is_noticed_or_changes_nothing(make: Callable[[Path], Case], tmp_path: Path) -> None:
    path, read = make(tmp_path)
    noticed = flip(path, read)
    print(f"{make.__name__}: {noticed} noticed")
    assert noticed > 100


def test_a_policy_takes_no_more_memory_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    fresh = Policy.untrained(get_search_space("s"), False, 16)
    tensors = {name: value.clone() for name, value in fresh.network.state_dict().items()}
    about = {"schema": "hwgpt-gym policy 1", "scale": "s", "masked": False, "context_columns": 0, "notes": {}}
    contents: list[Any] = [*({**about, "hidden_size": size} for size in (-3, 0, 17, 100_000, 10**30, None, 1.5, "16"))]
    contents += [[], None, 3, "x", {}, about, {**about, "hidden_size": 16, "more": 1}, {**about, "notes": []}]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in contents:
        save_file(tensors, path, metadata={"hwgpt_gym": json.dumps(content)})
        with pytest.raises(ValueError, match=r"policy\.safetensors"):
            Policy.load(path)
    for text in ("", "[" * 100_000, "{", "NaN"):
        save_file(tensors, path, metadata={"hwgpt_gym": text})
        with pytest.raises(ValueError, match=r"policy\.safetensors"):
            Policy.load(path)
    save_file(
        {**tensors, FIRST: torch.full_like(tensors[FIRST], torch.nan)},
        path,
        metadata={"hwgpt_gym": json.dumps({**about, "hidden_size": 16})},
    )
    with pytest.raises(ValueError, match="not all of its weights are finite"):
        Policy.load(path)
    # Its first layer is as wide as it says, at no cost: the second is not.
    wide = {**tensors, FIRST: tensors[FIRST][:, :0].repeat(6_250, 1)}
    save_file(wide, path, metadata={"hwgpt_gym": json.dumps({**about, "hidden_size": 100_000})})
    with pytest.raises(ValueError, match="does not fit its description"):
        Policy.load(path)
    with pytest.raises(ValueError, match="is no file"):
        Policy.load(tmp_path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000, f"{grown} kB more"


def test_an_amortised_policy_takes_no_more_memory_than_its_file(tmp_path: Path) -> None:
    path, _ = amortised(tmp_path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(file.metadata()["hwgpt_gym_amortised_policy"])
    contents: list[Any] = [*({**about, "hidden": size} for size in (-3, 0, 9, 10**9, 10**30, None, 1.5, "8"))]
    contents += [{key: about[key] for key in about if key != left_out} for left_out in about]
    contents += [{**about, "scale": "q"}, {**about, "more": 1}, {**about, "notes": []}, {}, [], None, 3, "x"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for text in (*map(json.dumps, contents), "", "[" * 100_000, "{", "NaN"):
        save_file(tensors, path, metadata={"hwgpt_gym_amortised_policy": text})
        with pytest.raises(ValueError, match=r"policy\.safetensors"):
            read_amortised(path)
    for changed in (torch.full((8, 8), torch.nan), torch.zeros((8, 8), dtype=torch.bfloat16), torch.zeros((8, 7))):
        damaged = {**tensors, "2.weight": changed}
        text = json.dumps({**about, "sha256": digest_of({**about, "sha256": None}, damaged)})
        save_file(damaged, path, metadata={"hwgpt_gym_amortised_policy": text})
        if changed.dtype is torch.bfloat16:
            assert not read_amortised(path).network[2].weight.any()
            continue
        with pytest.raises(ValueError, match="finite" if changed.isnan().any() else "does not fit its description"):
            read_amortised(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    path, read = checkpoint(tmp_path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(file.metadata()["hwgpt_gym_training"])
    contents = [{}, [], None, {**about, "training": []}, {**about, "progress": 3}, {**about, "training": {}}]
    for text in (*map(json.dumps, contents), "", "[" * 100_000):
        save_file(tensors, path, metadata={"hwgpt_gym_training": text})
        with pytest.raises(ValueError, match=r"checkpoint\.safetensors"):
            read(path)
    part = {key: about[key] for key in ("training", "progress")}
    for other in ({}, {**tensors, "network.weight": torch.zeros(5, 5)}, {**tensors, "optimizer.0": torch.zeros(1)}):
        save_file(other, path, metadata={"hwgpt_gym_training": json.dumps(part)})
        with pytest.raises(ValueError, match=r"checkpoint\.safetensors is the checkpoint of another network"):
            read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04Nr" + struct.pack("<I", 2**29) + b".",
        b"Np999999999\n.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**34) + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**34) + b".",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**34) + b".",
        b"\x80\x04\x8b" + struct.pack("<i", 2**30) + b".",
    ],
    ids=["memo", "old memo", "bytearray", "bytes", "text", "integer"],
)
def test_a_pickle_of_a_few_bytes_takes_a_few_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.pkl"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ValueError, UnsafePickleError), match=r"small\.pkl"):
        load_plain_pickle(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
