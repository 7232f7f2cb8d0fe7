"""The demonstration on this machine: its profile where it is quiet, the A6000 where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwgpt_gym.agents.runs import run
from hwgpt_gym.agents.runs.records import RunConfig
from hwgpt_gym.cli import app as cli
from hwgpt_gym.onboarding import torch_backend

SMALL = ["demo", "--here", "--minutes", "0.5", "--budget", "300", "--target", "1", "--output", "run"]


@pytest.fixture
def machine(backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(torch_backend, "TorchBackend", lambda *_, **__: backend)
    monkeypatch.chdir(tmp_path)
    return backend


def test_a_quiet_machine_is_the_device(machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(SMALL) == 0
    folder = next(Path("runs").glob("this-machine-*"))
    assert sorted(path.name for path in folder.iterdir()) == ["log.jsonl", "plan.json", "this-machine.safetensors"]
    assert json.loads(Path("run/config.json").read_text())["device"] == str(
        (folder / "this-machine.safetensors").resolve()
    )
    assert "this machine (a fake)" in Path("run/report.html").read_text(encoding="utf-8")
    assert "of 3 architectures that were not fitted" in capsys.readouterr().err
    # What was trained can be scored: there, and on another device where the profile is gone.
    assert cli.run(["evaluate", "run", "--episodes", "10"]) == 0
    (folder / "this-machine.safetensors").unlink()
    assert cli.run(["evaluate", "run", "--device", "h100", "--episodes", "10"]) == 0


@pytest.mark.parametrize(
    ("noise", "minutes", "remark"), [(0.5, "0.5", "too noisy to be profiled now"), (0.01, "0.001", "were too short")]
)
def test_where_it_cannot_be_profiled_the_device_is_the_a6000(
    machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    noise: float,
    minutes: str,
    remark: str,
) -> None:
    asked = []

    def stop(config: RunConfig, *_: object) -> None:
        asked.append(config)
        raise ValueError("stopped")

    monkeypatch.setattr(run, "perform_into_folder", stop)
    machine.noise = noise
    arguments = [minutes if argument == "0.5" else argument for argument in SMALL]
    assert cli.run(arguments) == cli.WRONG_INPUT
    assert remark in capsys.readouterr().err
    assert [config.device for config in asked] == ["a6000"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--here", "--device", "h100"], "--device is taken only without --here"),
        (["--minutes", "1"], "--minutes is taken only with --here"),
        (["--here", "--minutes", "0"], "--minutes must be"),
        (["--here", "--budget", "0"], "budget must be an integer"),
        (["--here", "--constraint", "latency"], "METRIC=LIMIT"),
        (["--here", "--output", "."], "must be a new or an empty folder"),
    ],
)
def test_wrong_input_measures_nothing(
    machine, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    Path("file").touch()
    assert cli.run(["demo", *arguments]) == cli.WRONG_INPUT
    assert expected in capsys.readouterr().err
    assert not machine.prepared
    assert not Path("runs").exists()
