"""The study of PPO's settings: a record that can be continued, and settings in use that follow from the records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from hwgpt_gym.agents.ppo import study as module
from hwgpt_gym.agents.ppo.agent import tuned_hyperparameters
from hwgpt_gym.agents.ppo.study import BASELINE, Study, best_hyperparameters, run_study
from hwgpt_gym.agents.ppo.study_record import best_settings
from hwgpt_gym.cli import app as cli
from hwgpt_gym.files import seal

STUDY = Study(devices=("v100",), trials=3, budget=60, seeds=1, finalists=1, final_budget=80, final_seeds=2)
RECORDS = Path(__file__).resolve().parents[3] / "docs" / "studies"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("study") / "record.json"
    run_study(STUDY, output, workers=1)
    return output


def test_the_record(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert [trial["number"] for trial in record["trials"]] == [0, 1, 2]
    assert record["trials"][0]["settings"] == BASELINE
    assert all([run["seed"] for run in trial["runs"]] == [0] for trial in record["trials"])
    finals = [final["number"] for final in record["finals"]]
    best = min(record["trials"], key=lambda trial: trial["value"])["number"]
    assert finals[0] == best
    assert 0 in finals
    assert len(finals) <= 2
    assert all([run["seed"] for run in final["runs"]] == [1, 2] for final in record["finals"])
    values = {final["number"]: round(final["value"], 1) for final in record["finals"]}
    assert values[record["best"]] == min(values.values())
    regrets = [run["regret"] for trial in record["trials"] for run in trial["runs"]]
    assert min(regrets) > 0.0


def test_what_is_recorded_is_not_run_again(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = path.read_text(encoding="utf-8")
    record = json.loads(whole)
    output = tmp_path / "record.json"
    output.write_text(json.dumps(seal(record | {"trials": record["trials"][:2], "finals": []})), encoding="utf-8")
    done: list[tuple[int, int]] = []
    original = module._run_all

    def counted(pool: Any, study: Any, settings: Any, budget: int, seeds: range) -> Any:
        done.append((budget, len(seeds)))
        return original(pool, study, settings, budget, seeds)

    monkeypatch.setattr(module, "_run_all", counted)
    continued = run_study(STUDY, output, workers=1)
    assert done == [(60, 1), *[(80, 2)] * len(record["finals"])]

    def without_times(stages: dict[str, Any]) -> Any:
        trials = [*stages["trials"], *stages["finals"]]
        return [[{**run, "cpu_time": None} for run in trial["runs"]] for trial in trials], stages["best"]

    assert without_times(continued) == without_times(record)


@pytest.mark.parametrize("lost", [0, 2])
def test_going_on_never_empties_a_record(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Whatever has to run again: what is on record stays on record at every moment."""
    record = json.loads(path.read_text(encoding="utf-8"))
    kept = [trial for trial in record["trials"] if trial["number"] != lost]
    output = tmp_path / "record.json"
    output.write_text(json.dumps(seal(record | {"trials": kept, "finals": []})), encoding="utf-8")
    written: list[set[int]] = []
    original = module.write_text

    def counted(target: Any, text: str) -> None:
        written.append({trial["number"] for trial in json.loads(text)["trials"]})
        original(target, text)

    monkeypatch.setattr(module, "write_text", counted)
    run_study(STUDY, output, workers=1)
    assert written
    assert all(numbers >= {trial["number"] for trial in kept} for numbers in written)
    assert written[-1] == {0, 1, 2}


def test_two_studies_do_not_write_one_record(path: Path) -> None:
    before = path.read_bytes()
    with FileLock(path.with_name(f".{path.name}.lock")), pytest.raises(ValueError, match="another study: wait for it"):
        run_study(STUDY, path, workers=1)
    assert path.read_bytes() == before


def test_another_record_is_not_overwritten(path: Path, tmp_path: Path) -> None:
    before = path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="budget 60 instead of 61"):
        run_study(replace(STUDY, budget=61), path, workers=1)
    assert path.read_text(encoding="utf-8") == before
    other = tmp_path / "other.json"
    record = json.loads(before)
    del record["sha256"]
    trial = record["trials"][0]
    trials: list[Any] = [5, [5], [{**trial, "value": "1"}], [{**trial, "number": None}], [{**trial, "settings": []}]]
    for content in ([], *({**record, "trials": wrong} for wrong in trials), {**record, "finals": {}}):
        other.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ValueError, match="no record of a study"):
            run_study(STUDY, other, workers=1)
        assert json.loads(other.read_text(encoding="utf-8")) == content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials must be an integer of at least 1, got 0"),
        ({"devices": ()}, "at least one device"),
        ({"hidden_sizes": (64, -3)}, "hidden_sizes must be an integer from 1 to 8192, got -3"),
        ({"hidden_sizes": (32,)}, r"hidden_sizes must contain 64, got \(32,\)"),
        ({"devices": ("a6001",)}, "a6000"),
        ({"transferred": {"num_envs": 8}}, "transferred must have the settings"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STUDY, **changes)


def test_settings_of_another_study_are_tried_second(tmp_path: Path) -> None:
    settings = {**BASELINE, "num_envs": 128, "hidden_size": 32}
    small = replace(STUDY, trials=2, budget=20, final_budget=20, final_seeds=1, transferred=settings)
    record = run_study(small, tmp_path / "record.json", workers=1)
    assert [trial["settings"] for trial in record["trials"]] == [BASELINE, settings]


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["study", "--trials", "0", "--output", str(tmp_path / "record.json")]) == cli.WRONG_INPUT
    assert "trials must be an integer of at least 1" in capsys.readouterr().err
    unfinished = tmp_path / "unfinished.json"
    unfinished.write_text('{"trials": []}', encoding="utf-8")
    for transfer, message in ((unfinished, "finished study"), (tmp_path / "missing.json", "No such file")):
        arguments = ["study", "--transfer", str(transfer), "--output", str(tmp_path / "record.json")]
        assert cli.run(arguments) == cli.WRONG_INPUT
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_the_settings_in_use_are_those_that_the_study_recommends(scale: str) -> None:
    record = json.loads((RECORDS / f"ppo_{scale}.json").read_text(encoding="utf-8"))
    assert record["study"]["scale"] == scale
    assert best_settings(record) == {name: tuned_hyperparameters()["ppo"][scale][name] for name in BASELINE}
    for agent in ("ppo", "maskable_ppo"):
        assert best_hyperparameters(record) == tuned_hyperparameters()[agent][scale]
