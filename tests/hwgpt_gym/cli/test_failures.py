"""Every failure of a command is one line and the right exit code, before the work where that can be."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwgpt_gym.agents import validate_result
from hwgpt_gym.cli import app as cli
from hwgpt_gym.cli.options import parse_constraints

NAME = "gpt-s-10-192-2-2-2-2-2-2-2-2-2-2-4-4-4-4-4-4-4-4-4-4-True"
COMMAND = [sys.executable, "-c", "from hwgpt_gym.cli.app import main; main()"]


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to be in, where nothing that takes time may begin."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("work began")

    for name in (
        "agents.runs.run.perform",
        "agents.ppo.contextual_training.train",
        "agents.leaderboard.execute.run_leaderboard",
        "agents.leaderboard.page.write_report",
        "agents.offline.write_minari",
        "agents.ppo.study.run_study",
        "dataset.measurements.load_dataset",
        "onboarding.fit.fit_table",
        "onboarding.measure.measure",
        "onboarding.plan.make_plan",
        "onboarding.profile.load_profile",
        "onboarding.torch_backend.TorchBackend",
        "envs.pictures.save_architecture",
        "interop.dataframe.write_parquet",
        # Last, so that the modules above were loaded before.
        "optimum.solve",
        "optimum.pareto_front",
    ):
        monkeypatch.setattr(f"hwgpt_gym.{name}", fail)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "file.md").touch()
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = cli.WRONG_INPUT) -> str:
    assert cli.run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["search", "--output", "folder"], "must end in .parquet or .csv"),
        (["search", "--output", "missing/result.parquet"], "in no folder that exists"),
        (["search", "--output", "result.txt"], "must end in .parquet or .csv"),
        (["pareto", "--csv", "front.txt"], "must end in .csv"),
        (["pareto", "--plot", "front.xyz"], "must end in .png"),
        (["pareto", "--plot", "missing/front.png"], "in no folder that exists"),
        (["plot", "front", "front.txt"], "must end in .png"),
        (["table", "--output", "table.csv"], "must end in .parquet"),
        (["render", NAME, "--output", "folder"], "is a folder"),
        (["leaderboard", "--page", "missing/page.md"], "in no folder that exists"),
        (["study", "--output", "record.txt"], "must end in .json"),
        (["surrogates", "report", "--page", "page.md"], "does not exist"),
        (["surrogates", "fit", "--output", "file"], "must be a folder"),
        (["surrogates", "worlds", "--output", "file"], "must be a folder"),
        (["surrogates", "errors", "--output", "missing/errors.json"], "in no folder that exists"),
        (["profile", "plan", "--output", "missing/plan.json"], "in no folder that exists"),
        (["profile", "run", "plan.json", "--output", "missing/log.jsonl"], "in no folder that exists"),
        (["profile", "run", "plan.json", "--output", "folder"], "is a folder"),
        (["profile", "fit", "--measurements", "file", "-o", "missing/a.safetensors"], "in no folder that exists"),
        (["profile", "show", "a.safetensors", "--output", "a.txt"], "must end in .png"),
        (["profile", "evaluate", "--output", "missing/a.csv"], "in no folder that exists"),
        (["profile", "evaluate", "--picture", "a.xyz"], "must end in .png"),
        (["leaderboard", "--page", "file.md"], "file.md: the page must have '<!-- begin leaderboard -->'"),
        (["leaderboard", "--submission", "missing"], "a submission must be a folder of result files, 'missing' is"),
        (["train", "--agent", "amortised", "--output", "."], "must be a new or an empty folder"),
        (["train", "--output", "file"], "cannot be made"),
        (["demo", "--output", "."], "must be a new or an empty folder"),
        (["train", "--agent", "contextual_ppo", "--output", "."], "must be a new or an empty folder"),
    ],
)
def test_destinations_are_checked_before_the_work(
    no_work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert expected in complaint(capsys, *arguments)
    assert sorted(path.name for path in no_work.iterdir()) == ["file", "file.md", "folder"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--budget", "0"], "budget must be an integer from 1 to 1000000000, got 0"),
        (["train", "--agent", "contextual_ppo", "--budget", "0"], "evaluations must be an integer of at least 1"),
        (["demo", "--budget", "0"], "budget must be an integer from 1 to 1000000000, got 0"),
        (["search", "--budget", "0"], "budget must be an integer from 1 to 1000000000, got 0"),
        (["train", "--agent", "contextual_ppo", "--device", "h100"], "--device is taken only by other agents"),
        (["train", "--agent", "contextual_ppo", "-c", "none"], "--constraint is taken only by other agents"),
        (["train", "--agent", "contextual_ppo", "--target", "0.001"], "--target is taken only by other agents"),
        (["leaderboard", "--suite", "smoke", "--seeds", "2"], "--seeds is taken only with --agent"),
        (["leaderboard", "--suite", "smoke", "--device", "h100"], "suite 'smoke' has no search on h100"),
        (["leaderboard", "-a", "exact=1", "-a", "exact=1"], "'exact=1' stands there 2 times"),
        (["leaderboard", "-a", "exact=1", "-d", "a6000", "-d", "A6000"], "latency_ms=p50' stands there 2 times"),
        (["query", NAME, "--seed", "1"], "--seed is taken only with --measure"),
        (["search", "--set", "batch_size=1", "--set", "batch_size=2"], "--set gives 'batch_size' twice"),
        (["space", "--scale", ""], "scale must be one of ['s', 'm', 'l'], got ''"),
        (["train", "--agent", "amortised", "--scale", ""], "scale must be one of ['s', 'm', 'l'], got ''"),
        (["amortised", "curves", "a.png", "-a", "exact=1:1", "-a", "exact=2:1"], "names exact, and one of them twice"),
        (["amortised", "curves", "a.png", "-a", "exact=\u0663:1"], "--agent must be AGENT=BUDGET:SEEDS"),
        (["amortised", "curves", "a.png", "-a", "exact=10000000000:1"], "must be an integer from 1 to 1000000000"),
        (["amortised", "table", "-m", "latency_ms", "-m", "latency_ms"], "--metric names latency_ms twice"),
        (["amortised", "table", "--beam", "1000000000"], "--beam must be an integer from 1 to 10000, got 1000000000"),
        (["amortised", "nearest", "--count", "1000000000"], "--count must be an integer from 1 to 1000000"),
        (["sample", "--number", "1000000000"], "--number must be an integer from 1 to 1000000, got 1000000000"),
        (["profile", "plan", "--architecture", NAME, "-k", "5"], "--number is taken only without --architecture"),
        (["profile", "plan", "--architecture", NAME, "-s", "m"], "--scale is taken only without --architecture"),
        (["profile", "fit", "plan.json", "--measurements", "file"], "give either PLAN and LOG, or --measurements"),
        (["profile", "fit", "--measurements", "file", "--clock", "cpu"], "--clock is taken only with PLAN and LOG"),
        (["profile", "fit", "--measurements", "file", "--add", "--name", "x"], "--name is taken only without --add"),
        (["profile", "fit", "--measurements", "file", "--name", ""], "name must be lower-case letters"),
        (["profile", "run", "plan.json", "-o", "log.jsonl", "--seed", "-1"], "--seed must be an integer of at least 0"),
        (["profile", "run", "plan.json", "-o", "log.jsonl", "--minutes", "nan"], "--minutes must be a number from 0.0"),
        (["space", "--device", "h100"], "--device is taken only with --scale"),
        (["pareto", "--json", "--rows", "3"], "--rows is taken only without --json"),
        *(([*words, "--device", "all"], "--device must be one device here") for words in (
            ["optimum"], ["pareto"], ["search"], ["train"], ["demo"], ["space", "-s", "s"], ["render", NAME],
            ["sample", "--json"], ["plot", "front", "front.png"],
        )),
    ],
)  # fmt: skip
def test_nothing_is_ignored_silently(
    no_work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert expected in complaint(capsys, *arguments)
    assert sorted(path.name for path in no_work.iterdir()) == ["file", "file.md", "folder"]


def test_one_agent_may_have_two_budgets(tmp_path: Path) -> None:
    arguments = ["leaderboard", "-a", "random_search=5", "-a", "random_search=7", "-d", "a6000", "--seeds", "1"]
    assert cli.run([*arguments, "--workers", "1", "--output", str(tmp_path)]) == 0
    assert sorted(len(validate_result(path)) for path in tmp_path.rglob("*-run0.parquet")) == [5, 7]


def test_no_constraint_is_the_same_everywhere() -> None:
    from hwgpt_gym.envs.settings import make_settings

    assert parse_constraints(["none"]) == {}
    assert make_settings(constraint=None) == make_settings(constraint={})
    assert make_settings() == make_settings(constraint={"latency_ms": "p50"})


def test_csv_is_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pandas = pytest.importorskip("pandas")
    for suffix in ("csv", "parquet"):
        path = tmp_path / f"result.{suffix}"
        assert cli.run(["search", "--agent", "random_search", "--budget", "9", "--output", str(path)]) == 0
    table, result = pandas.read_csv(tmp_path / "result.csv"), validate_result(tmp_path / "result.parquet")
    np.testing.assert_allclose(table["reward"], result.reward, rtol=1e-12)
    assert table["architecture"].tolist() == [str(item) for item in result.space.decode(result.encoded)]


@pytest.mark.skipif(os.name != "posix", reason="devices are those of POSIX")
def test_devices_stay_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pareto", "--csv", os.devnull]) == 0
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_terminal_will_do(encoding: str) -> None:
    for arguments in (["optimum"], ["devices"], ["query", NAME], ["optimum", "--constraint", "≤=3"]):
        done = subprocess.run(
            [*COMMAND, *arguments], env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False
        )
        assert done.returncode == (2 if "≤=3" in arguments else 0), done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("arguments", [["sample"], ["optimum", "--json"], ["pareto", "--csv", "/dev/full"]])
def test_a_full_disk_is_no_wrong_input(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        stdout = subprocess.DEVNULL if "/dev/full" in arguments else full
        done = subprocess.run([*COMMAND, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: No space left on device")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["sample", "--number", "20000"], ["pareto", "--rows", "500"], ["devices"]])
def test_a_closed_pipe_ends_quietly(arguments: list[str]) -> None:
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) in (0, 1)


def test_brackets_in_names_mean_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("[/b]", "[bold]"):
        assert word in complaint(capsys, "query", word)
        assert word in complaint(capsys, "search", "--agent", word)
    folder = tmp_path / "["
    folder.mkdir()
    path = folder / "b].parquet"
    assert cli.run(["search", "--agent", "random_search", "--budget", "5", "--output", str(path)]) == 0
    assert cli.run(["validate", str(path)]) == 0
    assert "[/b]" in capsys.readouterr().out.replace("\n", "")


def test_a_missing_extra_is_named_before_the_training(
    no_work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    error = complaint(capsys, "train", "--tensorboard", "events", code=cli.FAILED)
    assert "pip install 'hwgpt-gym[tensorboard]'" in error


def test_too_little_memory_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 192. PiB")

    monkeypatch.setattr("hwgpt_gym.search_space.SearchSpace.sample", fail)
    assert "not enough memory: Unable to allocate 192. PiB" in complaint(capsys, "sample", code=cli.FAILED)


def test_what_a_machine_cannot_do_is_said_before_it_tries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, log = str(tmp_path / "plan.json"), str(tmp_path / "log.jsonl")
    assert cli.run(["profile", "plan", "--architecture", NAME, "--output", plan]) == 0
    capsys.readouterr()
    for option, value, expected in (
        ("--threads", "1000000", "threads: Input should be less than or equal to 1024, got 1000000"),
        ("--batch", "100000000", "batch_size: Input should be less than or equal to 65536, got 100000000"),
        ("--sequence", "5000", "sequence_length: Input should be less than or equal to 1024, got 5000"),
    ):
        assert expected in complaint(capsys, "profile", "run", plan, "--output", log, option, value)
    assert not Path(log).exists()


def test_rows_are_bounded_by_the_front(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pareto", "--rows", str(10**11)]) == 0
    printed = capsys.readouterr().out
    rows = printed.count("gpt-s-")
    assert f": {rows} of {rows}" in printed.replace("\n", " ")


def test_damaged_files_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "result.parquet"
    assert cli.run(["search", "--agent", "random_search", "--budget", "50", "--output", str(path)]) == 0
    content = path.read_bytes()
    capsys.readouterr()
    for damaged in (b"", content[:-20], content[:100] + bytes(200) + content[300:], b"PAR1" + content[::-1]):
        path.write_bytes(damaged)
        assert str(path) in complaint(capsys, "validate", str(path))
    sessions = tmp_path / "sessions.json"
    smoke = ["leaderboard", "-a", "exact=1", "-d", "a6000", "--seeds", "1", "--workers", "1", "--output", str(tmp_path)]
    for text in ("{}", "[1]", "null", '[{"suite": 1}]', "["):
        sessions.write_text(text)
        assert "sessions.json is no record" in complaint(capsys, *smoke)
    sessions.write_text(json.dumps([{"profile": "quick", "searches": 1, "seconds": 1.5, "workers": 1}]))
    assert cli.run(smoke) == 0
