"""A browser and a served page for tests; run as a program, it draws the figure of docs/explorer.md and measures."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WAIT = 60.0
"""Seconds after which a page is taken not to come any more."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRIVERS = ("chromedriver", "chromium-driver")


def why_no_browser() -> str | None:
    """Return what a browser test lacks on this machine, None if nothing."""
    lacking = [name for name in ("selenium", "dash") if find_spec(name) is None]
    if not any(map(shutil.which, BROWSERS)):
        lacking.append("Chromium")
    if not any(map(shutil.which, DRIVERS)):
        lacking.append("its driver")
    return f"a browser test needs {' and '.join(lacking)}" if lacking else None


@contextmanager
def browser(downloads: Path | None = None) -> Iterator[Any]:
    """Open a Chromium without a window, which can reach nothing but this machine."""
    import pytest
    from selenium import webdriver
    from selenium.common.exceptions import SessionNotCreatedException

    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(next(filter(None, map(shutil.which, DRIVERS))))
    try:
        driver = webdriver.Chrome(options=options, service=service)
    except SessionNotCreatedException as error:
        pytest.skip(f"Chromium does not start on this machine: {error.msg}")
    driver.set_page_load_timeout(WAIT)
    driver.set_script_timeout(WAIT)
    if downloads is not None:
        behaviour = {"behavior": "allow", "downloadPath": str(downloads)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def served(explorer: Any) -> Iterator[str]:
    """Serve the explorer's page in a thread; the address, with a slash at its end."""
    from hwgpt_gym.explorer.server import serving

    with serving(explorer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.port}/"
        server.shutdown()
        thread.join(WAIT)


def until(driver: Any, condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition holds; its value."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(driver, WAIT, 0.05, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(lambda _: condition(), f"{what}; the page says: {text(driver, 'message')!r}")


def text(driver: Any, name: str) -> str:
    """Return the text of an element by its id, empty if there is none."""
    found = driver.execute_script("return document.getElementById(arguments[0])?.innerText ?? ''", name)
    return str(found)


def open_page(driver: Any, address: str) -> None:
    """Open a page of the explorer and wait until everything is there."""
    driver.get(address)
    until(driver, lambda: text(driver, "exports"), "the page did not come")
    until(driver, lambda: driver.execute_script("return document.querySelector('#bars .bars path') !== null || "
          "document.querySelector('#bars .barlayer path') !== null"), "the bars did not come")  # fmt: skip


def set_size(driver: Any, width: int, height: int = 900, *, dark: bool = False) -> None:
    """Give the page the size of a device, and a light or a dark ground."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def requested(driver: Any) -> list[str]:
    """Return the addresses of all requests since this was last asked."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


def latencies(driver: Any, metric: str, steps: int = 20) -> list[float]:
    """Return for each step of a slider by key after how many milliseconds the marks of limit and optimum had moved."""
    from selenium.webdriver.common.keys import Keys

    driver.execute_script(
        """
        window.pressed = 0; window.moved = [];
        document.addEventListener("keydown", () => { window.pressed = performance.now(); }, true);
        const place = () => {
            // The limit's line is the last one; it moves with every step, and the optimum's star with it or not.
            const lines = document.querySelectorAll("#front .scatterlayer .trace .lines path");
            return lines.length ? lines[lines.length - 1].getAttribute("d") : "";
        };
        let last = place();
        const watch = () => {
            const now = place();
            if (now !== last && now !== "") {
                if (window.pressed) { window.moved.push(performance.now() - window.pressed); window.pressed = 0; }
                last = now;
            }
            requestAnimationFrame(watch);
        };
        watch();
        """
    )
    slider = driver.find_element("id", f"level-{metric}")
    for step in range(steps):
        slider.send_keys(Keys.ARROW_RIGHT)
        until(
            driver,
            lambda step=step: driver.execute_script("return window.moved.length") > step,
            "the mark did not move",
        )
    found: list[float] = driver.execute_script("return window.moved")
    return found


def main(picture: str) -> None:
    """Draw the figure of docs/explorer.md, and print what it says about speed."""
    from statistics import median

    from hwgpt_gym.explorer.model import Explorer

    explorer = Explorer(["a6000"])
    with served(explorer) as address, browser() as driver:
        for scale in ("s", "m", "l"):
            open_page(driver, f"{address}?scale={scale}&limit=latency_ms:p40&limit=params:p80")
            requested(driver)
            found = sorted(latencies(driver, "latency_ms"))
            print(f"scale {scale}: from slider to mark {median(found):.0f} ms (median), {found[-2]:.0f} ms (95 %)")
        set_size(driver, 1400, 1150)
        open_page(driver, f"{address}?device=a6000&device=h100&limit=latency_ms:p40&axis=log")
        driver.save_screenshot(picture)


if __name__ == "__main__":
    main(sys.argv[1])
