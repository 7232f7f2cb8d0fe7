"""Serving the page on this machine."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from werkzeug.serving import make_server

from hwgpt_gym.explorer.app import make_app
from hwgpt_gym.explorer.model import Explorer

ADDRESS: Final = "127.0.0.1"
"""Where the page can be reached unless another address is given: from this machine alone."""


@contextmanager
def serving(explorer: Explorer, address: str = ADDRESS, port: int = 0) -> Iterator[Any]:
    """Open a server of the page; ``serve_forever`` of what is yielded answers.

    Args:
        explorer: What the page knows.
        address: The address to listen at.
        port: The port; any free one if 0.

    Raises:
        OSError: If it cannot listen there.
        ValueError: If the address is empty: that would be every address.
    """
    if not address:
        raise ValueError("address must not be empty; '0.0.0.0' lets other machines in")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{address}:{port}") from error
    with listening:
        number = listening.getsockname()[1]
        server = make_server(address, number, make_app(explorer).server, threaded=True, fd=listening.fileno())
        try:
            yield server
        finally:
            server.server_close()
