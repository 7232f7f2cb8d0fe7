"""The report of a run on a phone: nothing is wider than it, and every value says of what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import browser, set_size, until, why_no_browser

from hwgpt_gym.cli import app as cli


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert cli.run(["train", "--agent", "ppo", "--device", "a6000", "--budget", "128", "--output", str(folder)]) == 0
    return folder / "report.html"


@pytest.mark.skipif(why_no_browser() is not None, reason=why_no_browser() or "")
def test_it_is_readable_at_360_pixels(report: Path) -> None:
    with browser() as driver:
        set_size(driver, 360, 740)
        driver.get(report.as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
        wide = "return Array.from(document.querySelectorAll('.picture > *'), e => e.getBoundingClientRect().width)"
        assert min(driver.execute_script(wide)) >= 600
        value = "return document.querySelector('tbody td').innerText"
        assert driver.execute_script(value).split()[:2] == ["best", "found"]
        _check_the_front_speaks(driver)
        set_size(driver, 1000)
        inside = "const box = document.querySelector('.scroll'); return box.scrollWidth <= box.clientWidth"
        until(driver, lambda: driver.execute_script(inside), "the table is wider than its page")
        set_size(driver, 1400)
        until(driver, lambda: "best found" not in driver.execute_script(value), "a wide page repeats itself")


def _check_the_front_speaks(driver: Any) -> None:
    """Every point of the front has a reach that a pointer can hit, and a title."""
    points = driver.execute_script(
        "return Array.from(document.querySelectorAll('#front use'), e => [getComputedStyle(e).pointerEvents, "
        "e.querySelector('title').textContent])"
    )
    assert len(points) > 100
    assert {reach for reach, _ in points} == {"all"}
    assert all("Latency (ms)" in title and "gpt-s-" in title for _, title in points)
