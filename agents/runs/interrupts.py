"""What Ctrl-C ends, and what it does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

Stop = Callable[[], None]


def interrupt() -> None:
    """Do what Ctrl-C does by default.

    Raises:
        KeyboardInterrupt: Always.
    """
    raise KeyboardInterrupt


class Interrupts:
    """In the block, the first Ctrl-C calls a function that may change on the way, and the second raises.

    So what is under way can end as it does by itself, and what comes after it, as writing its files, is not cut off: a
    Ctrl-C that came while nothing could be stopped raises when the block has ended. One handler serves the whole block,
    for between two of them an interrupt would be of neither. In another thread than the main one, which no signal
    reaches, the block does nothing.

    Attributes:
        stop: What the first one calls; ``None`` holds it back until the end.
        came: Whether it came.
    """

    def __init__(self, stop: Stop | None = interrupt) -> None:
        self.stop = stop
        self.came = False
        self._held = False

    def __enter__(self) -> Interrupts:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)
        if self._held and error is None:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came, self._held = True, self.stop is None
        if self.stop is not None:
            self.stop()
