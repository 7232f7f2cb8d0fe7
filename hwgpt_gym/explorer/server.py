"""Serving the page on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from werkzeug.serving import BaseWSGIServer, make_server

from hwgpt_gym.explorer.app import make_app
from hwgpt_gym.explorer.model import Explorer

ADDRESS: Final = "127.0.0.1"
"""Where the page can be reached unless another address is given: from this machine alone."""


@contextmanager
def serving(explorer: Explorer, address: str = ADDRESS, port: int = 0) -> Iterator[BaseWSGIServer]:
    """Open a server of the page; ``serve_forever`` of what is yielded answers.

    Args:
        explorer: What the page knows.
        address: The address to listen at.
        port: The port; any free one if 0.

    Raises:
        OSError: If it cannot listen there.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(address, port, make_app(explorer).server, threaded=True)
    try:
        yield server
    finally:
        server.server_close()
