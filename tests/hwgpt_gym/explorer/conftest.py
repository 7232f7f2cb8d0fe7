"""One explorer, one server and one browser for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import browser, served, why_no_browser

from hwgpt_gym.explorer.model import Explorer


@pytest.fixture(scope="session")
def explorer() -> Explorer:
    return Explorer(["a6000"])


@pytest.fixture(scope="session")
def address(explorer: Explorer) -> Iterator[str]:
    """The address of the served page, with a slash at its end."""
    pytest.importorskip("dash", reason="the page needs the extra explore")
    with served(explorer) as address:
        yield address


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the browser's downloads."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def driver(downloads: Path) -> Iterator[Any]:
    """A browser, which can reach nothing but this machine."""
    if reason := why_no_browser():
        pytest.skip(reason)
    with browser(downloads) as driver:
        yield driver
