"""Processes that searches run in, side by side, and that never outlive the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final

THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What libraries of linear algebra read when they are loaded."""


@contextmanager
def single_threaded_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes of one thread each, which ends with the block.

    One thread, because the processes are what runs side by side, and because a search gives the same result only with
    the same number of threads. The processes are spawned: what they run must be importable. If the block raises, as
    at Ctrl-C, they are ended at once, and nothing else begins; if this process dies, they do too.

    Args:
        workers: The number of processes, at least 1.
    """
    # Libraries of linear algebra read these when they are loaded, so they have to be set before a process begins.
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_initialize)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        # Again and again, since one may just be starting.
        while left := set(multiprocessing.active_children()) - others:
            for process in left:
                process.terminate()
            for process in left:
                process.join(1.0)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _initialize() -> None:
    """Prepare a process: it ends with its parent and at nothing else, and torch has one thread too."""
    # Ctrl-C reaches all processes of a terminal; what it means is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
