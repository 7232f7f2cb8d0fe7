"""Commands killed at random moments: nothing finished is lost, nothing half written is left, no process stays behind.

The seed is printed; ``HWGPT_KILL_SEED`` sets it, ``HWGPT_KILL_ROUNDS`` sets how often each command is killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwgpt_gym.agents import validate_result
from hwgpt_gym.agents.leaderboard.execute import read_sessions
from hwgpt_gym.agents.ppo.policy import Policy
from hwgpt_gym.agents.runs.records import RunConfig, RunSummary, read_record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

ROUNDS = int(os.environ.get("HWGPT_KILL_ROUNDS", "4"))
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# What the command says, what Python says before the command has begun, and what the kernel says.
CODES = {
    signal.SIGINT: {130, -signal.SIGINT},
    signal.SIGTERM: {143, -signal.SIGTERM},
    signal.SIGKILL: {-signal.SIGKILL},
}
TOO_LATE = {0, 1}
"""The exit codes of a command that had ended before."""


@pytest.fixture
def rng() -> random.Random:
    seed = int(os.environ.get("HWGPT_KILL_SEED", "0"))
    print(f"HWGPT_KILL_SEED={seed}")
    return random.Random(seed)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command in a session of its own, as a terminal would."""
    code = "from hwgpt_gym.cli.app import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def members(session: int) -> list[int]:
    """Return the processes of a session that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def kill(process: subprocess.Popen[str], number: signal.Signals, delay: float) -> None:
    """Send a signal after a while, and see that all processes end: as the exit code says, and in one line."""
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        if number == signal.SIGINT:  # Ctrl-C reaches all processes of a terminal.
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode in CODES[number] | TOO_LATE, errors
    if process.returncode in (130, 143):
        assert errors.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in errors
    deadline = time.monotonic() + 30
    while (left := members(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, f"{left} live on after {number.name}"


def whole_files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if not path.name.startswith("."))


def test_leaderboard(tmp_path: Path, rng: random.Random) -> None:
    arguments = ["leaderboard", "--agent", "regularized_evolution=3000", "--agent", "reinforce=1500", "--seeds", "4"]
    arguments += ["--device", "a6000", "--device", "v100", "--workers", "2", "--output", "results"]
    before: dict[Path, int] = {}
    for _ in range(ROUNDS):
        kill(start(tmp_path, *arguments), rng.choice(SIGNALS), rng.uniform(1.0, 15.0))
        after = {path: path.stat().st_mtime_ns for path in whole_files(tmp_path, "*-run*.parquet")}
        assert before.items() <= after.items()
        for path in after.keys() - before.keys():
            validate_result(path)
        before = after
        read_sessions(tmp_path / "results")
    process = start(tmp_path, *arguments)
    assert process.wait(300) == 0
    assert len(whole_files(tmp_path, "*-run*.parquet")) == 2 * 4 * 2
    assert (tmp_path / "results" / "leaderboard.md").is_file()


def test_study(tmp_path: Path, rng: random.Random) -> None:
    arguments = ["study", "--trials", "5", "--budget", "100", "--seeds", "1", "--finalists", "1", "--device", "v100"]
    arguments += ["--final-budget", "100", "--final-seeds", "1", "--workers", "1", "--output", "record.json"]
    finished: set[tuple[str, int]] = set()
    for _ in range(ROUNDS):
        kill(start(tmp_path, *arguments), rng.choice(SIGNALS), rng.uniform(1.0, 20.0))
        path = tmp_path / "record.json"
        record = json.loads(path.read_text()) if path.is_file() else {"trials": [], "finals": []}
        now = {(stage, trial["number"]) for stage in ("trials", "finals") for trial in record[stage]}
        assert finished <= now
        finished = now
    process = start(tmp_path, *arguments)
    assert process.wait(300) == 0
    assert len(json.loads((tmp_path / "record.json").read_text())["trials"]) == 5


def test_train(tmp_path: Path, rng: random.Random) -> None:
    for i in range(ROUNDS):
        number = rng.choice(SIGNALS)
        folder = tmp_path / f"run{i}"
        kill(start(tmp_path, "train", "--budget", "50000", "--output", folder.name), number, rng.uniform(1.0, 25.0))
        if number == signal.SIGKILL:
            for path in whole_files(folder, "*.parquet"):
                validate_result(path)
        elif folder.exists():  # There was something to keep, so all of it is there.
            assert read_record(RunConfig, folder / "config.json").budget == 50_000
            summary = read_record(RunSummary, folder / "summary.json")
            assert summary.interrupted or summary.evaluations == 50_000  # It may have been too late.
            assert len(validate_result(folder / "result.parquet")) == summary.evaluations
            Policy.load(folder / "policy.safetensors")
            assert (folder / "report.html").is_file()
