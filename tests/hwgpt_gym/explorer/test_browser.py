"""The page in a real browser: what a visitor does, and what is then to be seen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from browsing import open_page, requested, set_size, text, until

from hwgpt_gym import Benchmark
from hwgpt_gym.console import format_metric
from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.explorer.state import State, read_query
from hwgpt_gym.optimum import episode_regret, pareto_front, solve

BENCH = Benchmark("s", "a6000")


def solved(limits: dict[str, float | str]) -> str:
    """What the page has to say of the optimum that the solver finds."""
    return str(solve(BENCH, limits).architecture)


def state_of(driver: Any, explorer: Explorer) -> State:
    state, wrong = read_query(urlsplit(driver.current_url).query, explorer.devices, explorer.default)
    assert wrong == []
    return state


def press(driver: Any, name: str, keys: str) -> None:
    driver.find_element("id", name).send_keys(keys)


def click(driver: Any, name: str) -> None:
    driver.execute_script("document.getElementById(arguments[0]).click()", name)


def click_on(driver: Any, element: Any) -> None:
    """Click in the middle of what is drawn: a figure looks at where the pointer is."""
    from selenium.webdriver import ActionChains

    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    ActionChains(driver).move_to_element(element).pause(0.2).click().perform()


def click_on_front(driver: Any, position: int) -> None:
    """Click on an architecture of the front: where it is, the figure knows."""
    from selenium.webdriver import ActionChains

    area = driver.find_element("css selector", "#front .nsewdrag")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    x, y = driver.execute_script(
        """
        const drawn = document.querySelector("#front .js-plotly-plot");
        const line = drawn.data.find(trace => trace.name.startsWith("exact front"));
        const { xaxis, yaxis } = drawn._fullLayout;
        const [x, y] = [line.x[arguments[0]], line.y[arguments[0]]];
        return [xaxis.d2p(x) - xaxis._length / 2, yaxis.d2p(y) - yaxis._length / 2];
        """,
        position,
    )
    ActionChains(driver).move_to_element_with_offset(area, x, y).pause(0.2).click().perform()


def test_it_opens_and_asks_nobody_else(driver: Any, address: str) -> None:
    set_size(driver, 1400)
    requested(driver)
    open_page(driver, address)
    assert solved({"latency_ms": "p50"}) in text(driver, "name")
    assert "NVIDIA RTX A6000: perplexity" in text(driver, "headline")
    assert (
        text(driver, "readout-latency_ms")
        == f"p50 = {format_metric('latency_ms', BENCH.quantile('latency_ms', 0.5))} ms"
    )
    asked = requested(driver)
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_slider_moves_the_optimum_to_what_the_solver_says(driver: Any, address: str, explorer: Explorer) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(driver, f"{address}?limit=latency_ms:p40")
    before = driver.execute_script(
        "return document.querySelector('#front .js-plotly-plot').data.find(t => t.name === 'certified optimum').x[0]"
    )
    # By keyboard alone: the slider is a control that has the focus.
    press(driver, "level-latency_ms", Keys.ARROW_LEFT * 20)
    until(driver, lambda: text(driver, "readout-latency_ms").startswith("p30 = "), "the limit did not move")
    until(driver, lambda: solved({"latency_ms": "p30"}) in text(driver, "name"), "the optimum did not move")
    assert state_of(driver, explorer).limits == (("latency_ms", "p30"),)
    after = driver.execute_script(
        "return document.querySelector('#front .js-plotly-plot').data.find(t => t.name === 'certified optimum').x[0]"
    )
    assert after == solve(BENCH, {"latency_ms": "p30"}).metrics["latency_ms"] < before
    # In the metric's unit; the slider follows.
    number = driver.find_element("id", "number-latency_ms")
    number.clear()
    number.send_keys("20", Keys.ENTER)
    until(driver, lambda: solved({"latency_ms": 20.0}) in text(driver, "name"), "the number did not count")
    level = float(driver.find_element("id", "level-latency_ms").get_attribute("value"))
    assert abs(BENCH.quantile("latency_ms", level / 100.0) - 20.0) < 0.5


def test_a_click_on_the_front_shows_the_architecture(driver: Any, address: str, explorer: Explorer) -> None:
    open_page(driver, address)
    front = pareto_front(BENCH)
    click_on_front(driver, 100)
    until(driver, lambda: state_of(driver, explorer).architecture is not None, "nothing was looked at")
    architecture = state_of(driver, explorer).architecture
    assert architecture is not None
    # Neighbours on the front are less than a pixel apart.
    assert str(architecture) in map(str, front.architectures[95:106])
    until(driver, lambda: text(driver, "name") == str(architecture), "the page shows another architecture")
    until(
        driver,
        lambda: driver.find_element("id", "picture").get_attribute("src").startswith("data:image/png"),
        "no picture",
    )
    metrics = BENCH.query(architecture)
    until(driver, lambda: format_metric("perplexity", metrics["perplexity"]) in text(driver, "metrics"), "no metrics")
    for table in ("NVIDIA A100", "AMD EPYC 7452", "Parameters by part"):
        assert table in text(driver, "metrics")
    # Along the front by keyboard: its first and its last architecture.
    from selenium.webdriver.common.keys import Keys

    for key, position in ((Keys.END, -1), (Keys.HOME, 0)):
        press(driver, "along", key)
        expected = str(front.architectures[position])
        until(driver, lambda expected=expected: text(driver, "name") == expected, "the front has another end")
    click(driver, "to-optimum")
    until(driver, lambda: text(driver, "name").startswith("The optimum: "), "the optimum did not come back")


def test_a_decision_is_flipped_by_bar_and_by_control(driver: Any, address: str, explorer: Explorer) -> None:
    open_page(driver, address)
    best = solve(BENCH, {"latency_ms": "p50"}).encoded[0]
    bar = driver.find_element("css selector", "#bars .barlayer .trace .point path")
    click_on(driver, bar)
    until(driver, lambda: state_of(driver, explorer).architecture is not None, "the bar changed nothing")
    flipped = state_of(driver, explorer).architecture
    assert flipped is not None
    assert (flipped.encode()[0] != best)[:3].sum() == 1
    until(driver, lambda: text(driver, "name") == str(flipped), "the flipped architecture is not shown")
    rows = [line.split("\t") for line in text(driver, "metrics").splitlines()]
    regret = next(float(row[1]) for row in rows if row[0] == "Regret")
    assert regret > 0.0
    click(driver, "to-optimum")
    until(driver, lambda: text(driver, "name").startswith("The optimum: "), "the optimum did not come back")
    number = driver.find_element("id", "decision")
    number.clear()
    number.send_keys("4")
    until(driver, lambda: text(driver, "decision-name") == "MLP 1", "the decision has another name")
    options = driver.find_elements("css selector", "#choice input")
    wanted = (int(best[3]) + 1) % 3
    driver.execute_script("arguments[0].click()", options[wanted])
    click(driver, "flip")
    until(driver, lambda: state_of(driver, explorer).architecture is not None, "the control changed nothing")
    flipped = state_of(driver, explorer).architecture
    assert flipped is not None
    assert np.flatnonzero(flipped.encode()[0] != best).tolist() == [3]


def test_exports_and_the_link(driver: Any, address: str, downloads: Path, explorer: Explorer) -> None:
    import urllib.request

    open_page(driver, f"{address}?device=a6000&device=h100&limit=latency_ms:p30&limit=params:p60&axis=log")
    for kind, start in (("svg", b"<svg"), ("png", b"\x89PNG")):
        click(driver, f"save-{kind}")
        path = downloads / f"front.{kind}"
        until(driver, lambda path=path: path.exists() and path.stat().st_size > 0, f"no {kind} was saved")
        assert path.read_bytes().startswith(start)
    links = [link.get_attribute("href") for link in driver.find_elements("css selector", "#exports a")]
    by_kind = {urlsplit(link).path: link for link in links}
    with urllib.request.urlopen(by_kind["/front.csv"], timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    sizes = [len(pareto_front(Benchmark("s", name))) for name in ("a6000", "h100")]
    assert len(lines) == 1 + sum(sizes)
    link = driver.find_element("id", "link").get_attribute("href")
    shown = text(driver, "name"), text(driver, "headline"), text(driver, "difference")
    assert "optimum for NVIDIA H100" in shown[2]
    driver.get("about:blank")
    open_page(driver, link)
    assert (text(driver, "name"), text(driver, "headline"), text(driver, "difference")) == shown
    assert state_of(driver, explorer) == State(
        devices=("a6000", "h100"), axis="log", limits=(("latency_ms", "p30"), ("params", "p60"))
    )


def test_pasted_and_loaded_architectures_are_compared(driver: Any, address: str, tmp_path: Path) -> None:
    open_page(driver, address)
    first, second = BENCH.space.decode(BENCH.space.sample(np.random.default_rng(0), 2))
    driver.find_element("id", "paste").send_keys(f"mine: {first}\n")
    click(driver, "add")
    until(driver, lambda: "mine" in text(driver, "compared"), "what was pasted is not compared")
    path = tmp_path / "theirs.txt"
    path.write_text(f"theirs: {second}\n", encoding="utf-8")
    driver.find_element("css selector", "#files input[type=file]").send_keys(str(path))
    until(driver, lambda: "theirs" in text(driver, "compared"), "what was loaded is not compared")
    best = solve(BENCH, {"latency_ms": "p50"})
    rows = [line.split("\t") for line in text(driver, "compared").splitlines()]
    for label, architecture in (("mine", first), ("theirs", second)):
        (row,) = (row for row in rows if row[0] == label)
        regret = episode_regret(BENCH, {"latency_ms": "p50"}, architecture.encode()).sum()
        assert abs(float(row[5]) - regret) < 2e-6
        assert float(row[4]) <= best.reward
    drawn = "return document.querySelector('#front .js-plotly-plot').data.find(t => t.name === 'compared').x.length"
    assert driver.execute_script(drawn) == 2
    driver.find_element("id", "paste").send_keys("what is this")
    click(driver, "add")
    until(driver, lambda: "a line must hold" in text(driver, "message").lower(), "nothing is said of wrong text")
    click(driver, "forget")
    until(driver, lambda: text(driver, "compared") == "", "what was compared is still there")


def test_two_tabs_do_not_disturb_each_other(driver: Any, address: str) -> None:
    open_page(driver, f"{address}?limit=latency_ms:p20")
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    open_page(driver, f"{address}?limit=latency_ms:p80")
    driver.find_element("id", "level-latency_ms").send_keys("\ue012" * 2)
    until(driver, lambda: text(driver, "readout-latency_ms").startswith("p79 = "), "the second tab did not move")
    driver.close()
    driver.switch_to.window(first)
    time.sleep(0.5)
    assert text(driver, "readout-latency_ms").startswith("p20 = ")
    driver.find_element("id", "level-latency_ms").send_keys("\ue014" * 2)
    until(driver, lambda: solved({"latency_ms": "p21"}) in text(driver, "name"), "the first tab has another state")


def test_wrong_addresses_get_a_message(driver: Any, address: str) -> None:
    open_page(driver, f"{address}?device=a600&limit=latency_ms:p500&scale=s")
    message = text(driver, "message")
    assert all(word in message for word in ("device", "a6000", "limit"))
    assert "Traceback" not in driver.page_source
    # What is right in it counts, and the rest is the default.
    assert solved({"latency_ms": "p50"}) in text(driver, "name")
    driver.get(f"{address}?limit=latency_ms:0.5")
    until(driver, lambda: "no architecture" in text(driver, "message").lower(), "nothing is said")


def test_it_fits_a_phone(driver: Any, address: str) -> None:
    set_size(driver, 360, 740, dark=True)
    open_page(driver, f"{address}?device=a6000&device=h100")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
    smallest = driver.execute_script(
        "return Math.min(...Array.from(document.querySelectorAll('#page *'), e => e.innerText && e.offsetParent ? "
        "parseFloat(getComputedStyle(e).fontSize) : 99))"
    )
    assert smallest >= 10
    colours = driver.execute_script(
        "const ground = getComputedStyle(document.body).backgroundColor, "
        "ink = getComputedStyle(document.querySelector('#front .xtick text')).fill; return [ground, ink];"
    )
    dark, light = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
    assert dark < 100 < 600 < light
    set_size(driver, 1400)


def test_every_control_has_a_name_and_the_focus(driver: Any, address: str) -> None:
    open_page(driver, address)
    controls = (
        "document.querySelectorAll('details').forEach(part => { part.open = true; });"
        "const controls = Array.from(document.querySelectorAll('#page input:not([type=file]), #page textarea, "
        "#page button, #page a')).filter(control => control.offsetParent !== null && !control.disabled);"
    )
    assert driver.execute_script(f"{controls} return controls.length") > 50
    named = "c.labels?.length || c.innerText || c.getAttribute('aria-label')"
    focused = "(c.focus(), document.activeElement === c)"
    for holds in (named, focused):
        exceptions = f"{controls} return controls.filter(c => !({holds})).map(c => c.outerHTML)"
        assert driver.execute_script(exceptions) == []
