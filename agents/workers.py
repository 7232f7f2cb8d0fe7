"""Processes that searches run in, side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final

_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def single_threaded_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes of one thread each; at the end what has not begun is cancelled.

    One thread, because the processes are what runs side by side, and because a search gives the same result only with
    the same number of threads. The processes are spawned: what they run must be importable.

    Args:
        workers: The number of processes, at least 1.
    """
    import multiprocessing

    # Libraries of linear algebra read these when they are loaded, so they have to be set before a process begins.
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_initialize)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _initialize() -> None:
    """Prepare a process: one thread for torch too."""
    import torch

    torch.set_num_threads(1)
