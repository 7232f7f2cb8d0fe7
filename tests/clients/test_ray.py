"""The leaderboard on Ray: the local pool's results, whatever happens to workers."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgpt_gym.agents import SearchResult
from hwgpt_gym.agents.leaderboard.execute import read_sessions, run_leaderboard
from hwgpt_gym.agents.leaderboard.grids import Entry
from hwgpt_gym.agents.leaderboard.ray_pool import ray_pool
from hwgpt_gym.agents.leaderboard.suites import custom_suite
from hwgpt_gym.agents.local_search import LocalSearch
from hwgpt_gym.agents.ppo.agent import PPO
from hwgpt_gym.agents.workers import single_threaded_pool

ray: Any = pytest.importorskip("ray", reason="needs Ray: pip install 'hwgpt-gym[ray]'")

SUITE = custom_suite(
    [Entry(LocalSearch(), 500, 2), Entry(PPO(num_envs=8, batch_size=54, n_steps=27), 100, 1)], devices=("a6000",)
)


@pytest.fixture(scope="module", autouse=True)
def _functions_of_this_module() -> Iterator[None]:
    """Send functions of this module by value: workers cannot import it."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_leaderboard(SUITE, tmp_path_factory.mktemp("ray"), workers=2, progress=False, ray="local")


def test_results_are_the_local_pools_to_the_bit(results: Path, tmp_path: Path) -> None:
    run_leaderboard(SUITE, tmp_path, workers=2, progress=False)
    for cell in SUITE.cells():
        here, there = (vars(SearchResult.load(cell.path(folder))).copy() for folder in (tmp_path, results))
        assert here.pop("wall_time") != there.pop("wall_time")
        assert here.pop("cpu_time") != there.pop("cpu_time")
        np.testing.assert_equal(here, there)


def test_what_is_on_disk_is_not_run_again(results: Path) -> None:
    cells = list(SUITE.cells())
    before = {cell: cell.path(results).stat().st_mtime_ns for cell in cells}
    cells[1].path(results).unlink()
    run_leaderboard(SUITE, results, workers=1, progress=False, ray="local")
    assert [cell for cell in cells if cell.path(results).stat().st_mtime_ns != before[cell]] == [cells[1]]
    assert [(session.searches, session.workers) for session in read_sessions(results)] == [(3, 2), (1, 1)]
    assert not list(results.glob(".cluster-*"))


def test_workers_have_one_thread(tmp_path: Path) -> None:
    with ray_pool("local", 1, tmp_path) as there, single_threaded_pool(1) as here:
        import torch

        assert [pool.submit(torch.get_num_threads).result(60) for pool in (here, there)] == [1, 1]
        assert [pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result(60) for pool in (here, there)] == ["1", "1"]


def test_a_killed_worker_is_replaced_and_an_error_is_not_repeated(tmp_path: Path) -> None:
    killed, failed = tmp_path / "killed", tmp_path / "failed"

    def die_once() -> str:
        if not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    def fail() -> None:
        with failed.open("a") as file:
            file.write("x")
        raise KeyError("mine")

    with ray_pool("local", 1, tmp_path) as pool:
        futures = [pool.submit(die_once), pool.submit(fail)]
        assert futures[0].result(90) == "done"
        error = futures[1].exception(90)
    assert killed.exists()
    assert repr(error) == "KeyError('mine')"
    assert failed.read_text() == "x"
    assert not ray.is_initialized()


def test_a_folder_that_workers_do_not_have_is_noticed(tmp_path: Path) -> None:
    with ray_pool("local", 1, tmp_path) as pool:
        (mark,) = tmp_path.glob(".cluster-*")
        mark.unlink()
        assert "is not the folder" in str(pool.submit(int).exception(60))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_no_cluster_is_one_line(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no Ray cluster answers at '{address}'"):
        run_leaderboard(SUITE, tmp_path, progress=False, ray=address)


def test_a_cluster_that_runs_already_is_used_and_left(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    # Both sides of a cluster know its token; this one has its own.
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    short = tempfile.mkdtemp(prefix="ray")  # Sockets' paths have at most 107 bytes.
    begin = ["start", "--head", "--block", f"--temp-dir={short}", f"--port={port}", "--num-cpus=1"]
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *begin]
    cluster = subprocess.Popen(
        [*command, "--include-dashboard=false"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60.0
        while not list(Path(short).glob("session_latest/sockets/raylet*")) and time.monotonic() < deadline:
            time.sleep(0.5)
        code = "from hwgpt_gym.cli.app import main; main()"
        options = ["--agent", "random_search=1000", "--device", "a6000", "--seeds", "2", "--output", str(tmp_path)]
        command = [sys.executable, "-c", code, "leaderboard", "--ray", f"127.0.0.1:{port}", *options]
        subprocess.run(command, env=environment, check=True, timeout=120)
        assert len(list(tmp_path.rglob("random_search-*.parquet"))) == 2
        # The cluster's processors count, not this machine's.
        assert [(session.searches, session.workers) for session in read_sessions(tmp_path)] == [(2, 1)]
        assert cluster.poll() is None
    finally:
        if cluster.poll() is None:
            os.killpg(cluster.pid, signal.SIGTERM)
            cluster.wait(60)
        shutil.rmtree(short, ignore_errors=True)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    code = "from hwgpt_gym.cli.app import main; main()"
    options = ["--agent", "random_search=1000", "--agent", "ppo=200000", "--device", "a6000", "--seeds", "1"]
    command = [sys.executable, "-c", code, "leaderboard", *options, "--output", str(tmp_path), "--workers", "2"]
    process = subprocess.Popen([*command, "--ray"], stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120.0
    while not list(tmp_path.rglob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint.splitlines()[-1] == "error: interrupted"
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["random_search-1000-run0.parquet"]
    assert not list(tmp_path.rglob(".*-*"))
    deadline = time.monotonic() + 20.0
    while _members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _members(process.pid)
    assert [session.searches for session in read_sessions(tmp_path)] == [1]


def _members(session: int) -> list[str]:
    """Return the names of the processes of a session that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(name)
    return found
