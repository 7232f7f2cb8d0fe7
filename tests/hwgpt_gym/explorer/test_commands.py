"""The command, from outside: it serves until it is told to end, and says what is wrong."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from hwgpt_gym.cli import app as cli

pytest.importorskip("dash", reason="the page needs the extra explore")


def test_it_serves_this_machine_until_it_is_told_to_end() -> None:
    program = "from hwgpt_gym.cli.app import main; main()"
    command = [sys.executable, "-c", program, "explore", "--port", "0", "--device", "h100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        # What waits for a line, waits no longer than this.
        guard = threading.Timer(120.0, process.kill)
        guard.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert found is not None, line
            with urllib.request.urlopen(found[0], timeout=60) as answer:
                assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
                assert b"hwgpt-gym explorer" in answer.read()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
            assert (process.returncode, rest) == (0, "")
        finally:
            guard.cancel()
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "a600"], "unknown device"),
        (["--port", "70000"], "--port must be an integer from 0 to 65535"),
        (["--address", ""], "must not be empty"),
        (["--compare", "nowhere"], "there is no file"),
        (["--export", ".", "--port", "1"], "--port is taken only without --export"),
        (["--export", "."], "must be a new or an empty folder"),
        (["--scale", "x"], "scale must be one of"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert cli.run(["explore", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.run(["explore", "--port", str(port)]) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


def test_without_its_libraries_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwgpt_gym.checks.find_spec", lambda name: None)
    assert cli.run(["explore"]) == 1
    assert "pip install 'hwgpt-gym[explore]'" in capsys.readouterr().err
