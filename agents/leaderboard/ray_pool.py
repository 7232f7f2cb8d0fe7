"""The cells of a leaderboard as Ray tasks, on this machine or on a cluster.

Ray is an extra (``hwgpt-gym[ray]``) and loaded when a pool is made.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from hwgpt_gym.agents.workers import THREAD_VARIABLES
from hwgpt_gym.checks import echo

RETRIES: Final = 3
"""How often a task begins anew whose worker was killed or whose machine is gone."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class RayPool(Executor):
    """Runs functions as Ray tasks of one processor and one thread each.

    What a function raises is its future's exception, and it is not run again; one whose worker died is, :data:`RETRIES`
    times. Functions and arguments must be importable where the tasks run.

    Args:
        folder: A folder that the tasks write to. Each looks first whether it is there, and the same one.
    """

    def __init__(self, folder: Path) -> None:
        import ray

        handle, path = tempfile.mkstemp(prefix=".cluster-", dir=folder)
        os.close(handle)
        self._mark = Path(path).resolve()
        self._task: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(_run)
        self._references: list[Any] = []
        self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def submit(
        self, function: Callable[_Arguments, _Result], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> Future[_Result]:
        """Run a function as a task."""
        reference = self._task.remote(self._mark, function, args, kwargs)
        self._references.append(reference)
        future: Future[_Result] = Future()
        reference.future().add_done_callback(lambda done: _settle(future, done))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget the tasks; with ``cancel_futures``, end those that run and let no other begin."""
        import ray

        if cancel_futures:
            for reference in self._references:
                ray.cancel(reference, force=True)
        self._mark.unlink(missing_ok=True)


@contextmanager
def ray_pool(address: str, workers: int, folder: Path) -> Iterator[RayPool]:
    """Give a pool on a cluster, which is left, or ended if it was begun here, with the block.

    If the block raises, as at Ctrl-C, what runs is ended at once and nothing else begins.

    Args:
        address: ``"local"`` for a cluster of this machine alone that ends with the block, else as :func:`ray.init`
            takes it: ``"auto"``, ``"10.0.0.1:6379"`` or ``"ray://…"``.
        workers: Tasks at a time of a local cluster; another one has as many as processors.
        folder: Where the tasks write; on every machine of the cluster the same folder.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        ValueError: If there is no cluster at the address.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise ModuleNotFoundError("Ray is not installed: pip install 'hwgpt-gym[ray]'", name="ray") from None

    # One thread, as in a local pool: a search gives the same result only with the same number of threads.
    options: dict[str, Any] = {"runtime_env": {"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}}
    if address == "local":
        options |= {"num_cpus": workers, "include_dashboard": False}
    ours = not ray.is_initialized()
    if ours:
        _connect(address, options)
    try:
        pool = RayPool(folder)
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        pool.shutdown()
    finally:
        if ours:
            ray.shutdown()


def _connect(address: str, options: dict[str, Any]) -> None:
    """Connect to a cluster and leave SIGTERM to whom it belonged: Ray takes it."""
    import ray

    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        host, colon, port = address.removeprefix("ray://").rpartition(":")
        if colon:  # Ray itself would try for many minutes.
            socket.create_connection((host, int(port)), timeout=10.0).close()
        ray.init(address, log_to_driver=False, logging_level="ERROR", **options)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Ray cluster answers at {echo(address)}: {error}") from None
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _run(mark: Path, function: Callable[..., _Result], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Result:
    """Run a function on a worker."""
    import torch

    if not mark.is_file():
        raise FileNotFoundError(f"{mark.parent} on {os.uname().nodename} is not the folder of the one who asks")
    torch.set_num_threads(1)
    return function(*args, **kwargs)


def _settle(future: Future[_Result], done: Future[_Result]) -> None:
    """Hand on a result, or what the function itself raised rather than Ray's account of it."""
    error = done.exception()
    if error is None:
        future.set_result(done.result())
    else:
        future.set_exception(getattr(error, "cause", None) or error)
