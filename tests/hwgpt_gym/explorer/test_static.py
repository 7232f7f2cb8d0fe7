"""The page without a server: complete, offline, and readable without its script."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest
from browsing import requested, set_size, until

from hwgpt_gym import Benchmark
from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.optimum import pareto_front, solve

pytest.importorskip("dash", reason="the page needs the extra explore")

from hwgpt_gym.explorer.static import LEVELS, SCRIPT, write_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(Explorer(["a6000", "h100"]), tmp_path_factory.mktemp("export") / "page").parent


def test_it_holds_the_fronts_and_the_optima(folder: Path) -> None:
    table = pyarrow.csv.read_csv(folder / "front-latency_ms.csv").to_pandas()
    for name in ("a6000", "h100"):
        rows, front = table[table.device == name], pareto_front(Benchmark("s", name))
        np.testing.assert_allclose(rows[["perplexity", "latency_ms"]], front.values, rtol=1e-12)
        assert rows.architecture.tolist() == [str(item) for item in front.architectures]
        assert (rows.perplexity_low_90 < rows.perplexity).all()
        assert (rows.perplexity < rows.perplexity_high_90).all()
    page = (folder / "index.html").read_text(encoding="utf-8")
    for level in LEVELS:
        assert str(solve(Benchmark("s", "h100"), {"energy_j": f"p{level}"}).architecture) in page
    # Parameters do not depend on the device: there is one front of them.
    assert set(pyarrow.csv.read_csv(folder / "front-params.csv")["device"].to_pylist()) == {"a6000"}


def test_a_folder_that_holds_something_is_left_alone(folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(ValueError, match="new or an empty folder"):
        write_page(Explorer(["a6000"]), folder)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_it_opens_from_a_file_and_asks_nobody(driver: Any, folder: Path) -> None:
    set_size(driver, 360, 740)
    requested(driver)
    driver.get((folder / "index.html").as_uri())
    drawn = "return document.querySelectorAll('.front .main-svg .scatterlayer').length"
    until(driver, lambda: driver.execute_script(drawn) == 6, "six figures did not come")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
    driver.find_element("id", "log").click()
    kind = "return document.querySelector('.front').layout.xaxis.type"
    until(driver, lambda: driver.execute_script(kind) == "log", "the axes are not logarithmic")
    assert [url for url in requested(driver) if not url.startswith(("file:", "data:"))] == []
    set_size(driver, 1400)


def test_without_the_script_there_are_pictures(driver: Any, folder: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns(SCRIPT))
    driver.get((bare / "index.html").as_uri())
    loaded = "return Array.from(document.querySelectorAll('.front img'), image => image.naturalWidth)"
    widths = until(driver, lambda: driver.execute_script(loaded), "there are no pictures")
    assert len(widths) == 6
    assert min(widths) > 100
