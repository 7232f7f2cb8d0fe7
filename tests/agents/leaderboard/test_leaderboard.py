"""The leaderboard: cells on disk at once, resumption, statistics, the page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hwgpt_gym.agents import AGENTS, SearchResult, validate_result
from hwgpt_gym.agents.leaderboard.execute import Session, note_session, read_sessions, run_leaderboard
from hwgpt_gym.agents.leaderboard.page import write_report
from hwgpt_gym.agents.leaderboard.statistics import (
    collect,
    interquartile_mean,
    interval,
    overtakes,
    ranks,
    record,
    to_table,
)
from hwgpt_gym.agents.leaderboard.suites import SUITES, Entry, Grid, Suite, custom_suite
from hwgpt_gym.agents.ppo.agent import PPO
from hwgpt_gym.agents.random_search import RandomSearch
from hwgpt_gym.agents.regularized_evolution import RegularizedEvolution
from hwgpt_gym.agents.tpe import MultiObjectiveTPE

SUITE = custom_suite(
    {"exact": 1, "random_search": 1_000, "local_search": 1_000, "regularized_evolution": 1_000, "nsga2": 100},
    devices=("a6000", "p100"),
    seeds=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_leaderboard(SUITE, tmp_path_factory.mktemp("results"), workers=1, progress=False)


def test_every_cell_is_on_disk_and_valid(folder: Path) -> None:
    cells = list(SUITE.cells())
    assert len(cells) == 5 * 2 * 2
    for cell in cells[::5]:
        assert validate_result(cell.path(folder)).seed == cell.seed


def test_only_what_is_missing_runs_again(folder: Path) -> None:
    cells = list(SUITE.cells())
    before = {cell: cell.path(folder).stat().st_mtime_ns for cell in cells}
    cells[3].path(folder).unlink()
    run_leaderboard(SUITE, folder, workers=1, progress=False)
    after = {cell: cell.path(folder).stat().st_mtime_ns for cell in cells}
    assert [cell for cell in cells if before[cell] != after[cell]] == [cells[3]]
    assert [session.searches for session in read_sessions(folder)][-1] == 1


def test_the_page(folder: Path, tmp_path: Path) -> None:
    page = write_report(SUITE, folder, tmp_path / "leaderboard.md")
    text = page.read_text(encoding="utf-8")
    for line in ("## Scale s", "`random_search`", "Both local search and evolution beat random search on", "`p100`"):
        assert line in text
    figures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert figures == ["leaderboard_hypervolume_s.png", "leaderboard_rank_s.png", "leaderboard_regret_s.png"]
    assert all(f"(figures/{name})" in text for name in figures)
    summary = pd.read_csv(tmp_path / "leaderboard.csv")
    assert (summary[summary["agent"] == "exact"]["regret_median"] == 0.0).all()


def test_a_missing_search_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the leaderboard first"):
        write_report(SUITE, tmp_path, tmp_path / "leaderboard.md")


def test_a_search_with_other_settings_is_not_taken_for_the_same(folder: Path, tmp_path: Path) -> None:
    entry = Entry(RegularizedEvolution(), 100, 1)
    suite = custom_suite([entry], devices=("a6000",))
    run_leaderboard(suite, tmp_path, workers=1, progress=False)
    other = custom_suite([replace(entry, agent=RegularizedEvolution(sample_size=5))], devices=("a6000",))
    with pytest.raises(ValueError, match="was made with sample_size 10 instead of 5: delete it and run again"):
        run_leaderboard(other, tmp_path, workers=1, progress=False)
    with pytest.raises(ValueError, match="sample_size 10 instead of 5"):
        collect(other.cells(), tmp_path)


def test_more_than_the_optimum_is_an_error(folder: Path) -> None:
    cell = next(cell for cell in SUITE.cells() if cell.agent.name == "local_search")
    result = SearchResult.load(cell.path(folder))
    with pytest.raises(ValueError, match="more than the certified optimum"):
        record(cell, result, result.best_reward - 1e-6)
    assert record(cell, result, result.best_reward).regret[1_000] == 0.0


def test_suites_with_searches_in_common_count_them_once(folder: Path, tmp_path: Path) -> None:
    write_report([SUITE, replace(SUITE, name="again")], folder, tmp_path / "twice.md")
    write_report(SUITE, folder, tmp_path / "once.md")
    assert (tmp_path / "twice.csv").read_text() == (tmp_path / "once.csv").read_text()


def test_policies_by_budget_and_agents_on_fewer_devices(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"num_envs": 8, "batch_size": 54, "n_steps": 27}
    few = [Entry(PPO(**settings), budget, 1) for budget in (20, 60)]
    grids = (
        Grid("s", ("a6000", "v100"), (Entry(RandomSearch(), 60, 2),)),
        Grid("s", ("v100",), (*few, Entry(MultiObjectiveTPE(), 30, 1))),
    )
    suite = Suite("mixed", grids)
    folder = run_leaderboard(suite, tmp_path / "results", workers=1, progress=False)
    page = write_report(suite, folder, tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    whole, part = page.split("## Scale s: v100\n")
    assert "`random_search` | 60 | 2 × 2" in whole
    assert "`ppo`" not in whole
    assert "`random_search` | 60 | 1 × 2" in part
    # The main table has the greatest budget only, the table of budgets all.
    assert "`ppo` | 60 | 1 × 1" in part
    records = collect(suite.cells(), folder)
    for budget in (20, 60):
        (item,) = (item for item in records if item.cell.agent.name == "ppo" and item.cell.budget == budget)
        assert max(item.regret) == budget
        assert f"| {budget} | {item.regret[budget]:.5f} | {item.greedy:.5f} | 1 |" in part


def test_sessions_are_not_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: note_session(tmp_path, Session("quick", i, 1.0, 1)), range(40)))
    assert sorted(session.searches for session in read_sessions(tmp_path)) == list(range(40))


def test_sessions_of_version_0_1_are_read(tmp_path: Path) -> None:
    (tmp_path / "sessions.json").write_text('[{"profile": "quick", "searches": 3, "seconds": 1.5, "workers": 2}]')
    assert read_sessions(tmp_path) == [Session("quick", 3, 1.5, 2)]


def test_a_file_of_another_search_is_refused(folder: Path, tmp_path: Path) -> None:
    cells = list(SUITE.cells())
    for cell in cells:
        path = cell.path(tmp_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cell.path(folder).read_bytes())
    cells[2].path(tmp_path).write_bytes(cells[3].path(folder).read_bytes())
    with pytest.raises(ValueError, match="was made with seed 1 instead of 0"):
        run_leaderboard(SUITE, tmp_path, workers=1, progress=False)
    with pytest.raises(ValueError, match="was made with seed 1 instead of 0"):
        collect(cells, tmp_path)


def test_records(folder: Path) -> None:
    table = to_table(collect(SUITE.cells(), folder))
    final = table[table["evaluations"] == 1_000].groupby("agent")["regret"].median()
    assert final["exact"] == 0.0
    assert final["local_search"] < final["random_search"]
    ranked = ranks(table, 1_000)
    assert list(ranked.columns) == ["a6000", "p100"]
    assert ranked.index[-1] == "random_search"
    np.testing.assert_allclose(ranked.sum(), 1 + 2 + 3)
    assert overtakes(table, "random_search", "local_search") is None
    assert overtakes(table, "local_search", "random_search") is not None


def test_statistics() -> None:
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 100.0])) == 1.5
    values = np.random.default_rng(0).normal(3.0, 1.0, 400).tolist()
    mean, low, high = interval(values)
    assert low < mean < high
    assert low < 3.0 < high
    assert high - low < 0.4
    assert interval(values) == (mean, low, high)
    assert interval([2.0]) == (2.0, 2.0, 2.0)


def test_overtaking() -> None:
    rows = [("a", 10, 0.5), ("a", 100, 0.3), ("a", 1_000, 0.1), ("b", 10, 0.4), ("b", 100, 0.4), ("b", 1_000, 0.4)]
    table = pd.DataFrame(rows, columns=["agent", "evaluations", "regret"])
    assert overtakes(table, "a", "b") == 100
    assert overtakes(table, "b", "a") is None
    assert overtakes(table[table["evaluations"] >= 100], "a", "b") == 100
    both_solve = pd.DataFrame([("a", 10_000, 0.0), ("b", 10_000, 0.0)], columns=table.columns)
    table = pd.concat([table, both_solve])
    assert overtakes(table, "a", "b") == 100
    assert overtakes(table, "b", "a") is None
    assert overtakes(both_solve, "a", "b") is None


def test_suites_are_made_of_known_agents() -> None:
    for suite in SUITES.values():
        for cell in suite.cells():
            assert cell.agent.name in AGENTS
    scales = {cell.scale for cell in SUITES["quick"].cells()}
    assert scales == {"s", "m", "l"}
    paths = [cell.path(Path("results")) for cell in SUITES["policies"].cells()]
    assert len(set(paths)) == len(paths)
    assert {cell.agent.name for cell in SUITES["full"].cells()} == set(AGENTS)
    with pytest.raises(ValueError, match="unknown suite 'quik'"):
        run_leaderboard("quik", "nowhere")
