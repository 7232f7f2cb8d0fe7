"""Minari: what is recorded is what the environment does, and Minari loads it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clients.support import client, optimum

from hwgpt_gym.agents import offline
from hwgpt_gym.agents.offline import BUILDERS, write_minari
from hwgpt_gym.cli.app import run

minari: Any = client("minari", "hwgpt-gym[minari]")

EPISODES = 40


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("minari")
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        assert run(["dataset", "minari", "hwgpt/a6000", "--episodes", str(EPISODES), "--output", str(folder)]) == 0
        yield


def returns(builder: str) -> np.ndarray[Any, Any]:
    return np.array([episode.rewards.sum() for episode in minari.load_dataset(f"hwgpt/a6000/{builder}-v0")])


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_environment_repeats_every_episode(builder: str) -> None:
    dataset = minari.load_dataset(f"hwgpt/a6000/{builder}-v0")
    assert dataset.total_episodes == EPISODES
    env = dataset.recover_environment()
    for episode in dataset.iterate_episodes([0, 7, EPISODES - 1]):
        observation, info = env.reset(seed=0)
        ended = False
        for step, action in enumerate(episode.actions):
            assert not ended
            np.testing.assert_array_equal(observation, episode.observations[step])
            np.testing.assert_equal({name: values[step] for name, values in episode.infos.items()}, dict(info))
            observation, reward, ended, _, info = env.step(int(action))
            assert (reward, ended) == (episode.rewards[step], episode.terminations[step])
        assert ended
        np.testing.assert_equal({name: values[-1] for name, values in episode.infos.items()}, dict(info))


def test_builders_differ_as_they_should() -> None:
    assert returns("optimal")[0] == pytest.approx(optimum(), abs=1e-9)
    assert max(returns(builder).max() for builder in BUILDERS) <= optimum() + 1e-9
    assert returns("policy").mean() > optimum() - 0.02
    assert returns("optimal").mean() > optimum() - 0.1
    assert returns("random").mean() < optimum() - 0.2
    dataset = minari.load_dataset("hwgpt/a6000/optimal-v0")
    assert minari.get_normalized_score(dataset, returns("optimal"))[0] == pytest.approx(1.0)
    assert abs(minari.get_normalized_score(dataset, returns("random")).mean()) < 0.3


def test_other_devices_scales_and_limits(tmp_path: Path) -> None:
    constraint = {"energy_j": "p30"}
    dataset = write_minari("hwgpt/m/random-v0", "random", 3, device="v100", scale="m", constraint=constraint, seed=5)
    kwargs = dataset.env_spec.kwargs
    assert (kwargs["device"], kwargs["scale"], kwargs["constraint"]) == ("v100", "m", constraint)
    again = write_minari("hwgpt/m/random-v1", "random", 3, device="v100", scale="m", constraint=constraint, seed=5)
    for one, other in zip(dataset, again, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)


def test_what_somebody_else_recorded_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ["MINARI_DATASETS_PATH"])
    record = offline._record

    def slow(*arguments: Any) -> Any:
        (folder / "hwgpt" / "both-v0" / "data").mkdir(parents=True)
        return record(*arguments)

    monkeypatch.setattr(offline, "_record", slow)
    with pytest.raises(ValueError, match="there is a dataset 'hwgpt/both-v0' already"):
        write_minari("hwgpt/both-v0", "optimal", 3, seed=2)
    assert [path.name for path in (folder / "hwgpt" / "both-v0").rglob("*")] == ["data"]
    assert not list(folder.glob(".recording-*"))
    shutil.rmtree(folder / "hwgpt" / "both-v0")


def test_wrong_input_is_said_and_leaves_nothing() -> None:
    before = sorted(minari.list_local_datasets())
    with pytest.raises(ValueError, match="there is a dataset 'hwgpt/a6000/random-v0' already"):
        write_minari("hwgpt/a6000/random-v0", "random", 3)
    with pytest.raises(ValueError, match="did you mean 'random'"):
        write_minari("hwgpt/x-v0", "rndom", 3)
    for builder in (["random"], None):
        with pytest.raises(ValueError, match="unknown builder"):
            write_minari("hwgpt/x-v0", builder, 3)  # type: ignore[arg-type]
    for name in ("random", "hwgpt/../x-v0", "/x-v0", 5):
        with pytest.raises(ValueError, match="dataset_id must be a name such as"):
            write_minari(name, "random", 3)  # type: ignore[arg-type]
    assert run(["dataset", "minari", "hwgpt/x", "--builder", "random", "--builder", "rndom"]) == 2
    with pytest.raises(ValueError, match="unknown metric 'latency'"):
        write_minari("hwgpt/x-v0", "random", 3, constraint={"latency": 1.0})
    assert sorted(minari.list_local_datasets()) == before
