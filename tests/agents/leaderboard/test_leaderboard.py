"""The leaderboard: cells on disk at once, resumption, statistics, the page."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hwgpt_gym.agents import AGENTS, SearchResult, make_agent, validate_result
from hwgpt_gym.agents.leaderboard.execute import Session, note_session, read_sessions, run_leaderboard
from hwgpt_gym.agents.leaderboard.figures import draw_curves, draw_devices
from hwgpt_gym.agents.leaderboard.findings import findings
from hwgpt_gym.agents.leaderboard.grids import Entry, Grid
from hwgpt_gym.agents.leaderboard.page import write_report
from hwgpt_gym.agents.leaderboard.reality import reality_line
from hwgpt_gym.agents.leaderboard.rows import collect, hits, make_row, regret_at, true_regret
from hwgpt_gym.agents.leaderboard.statistics import comparable, curve, interval, median, never
from hwgpt_gym.agents.leaderboard.suites import SUITES, Suite, custom_suite
from hwgpt_gym.agents.leaderboard.tables import summary_table
from hwgpt_gym.agents.leaderboard.tasks import Task, make_tasks
from hwgpt_gym.agents.regularized_evolution import RegularizedEvolution

SUITE = custom_suite(
    {"exact": 1_000, "random_search": 1_000, "local_search": 1_000, "regularized_evolution": 1_000},
    devices=("a6000", "p100"),
    seeds=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_leaderboard(SUITE, tmp_path_factory.mktemp("results"), workers=1, progress=False)


def copy_cells(source: Path, target: Path) -> None:
    for cell in SUITE.cells():
        cell.path(target).parent.mkdir(parents=True, exist_ok=True)
        cell.path(target).write_bytes(cell.path(source).read_bytes())


def test_every_cell_is_on_disk_valid_and_of_its_task(folder: Path) -> None:
    cells = list(SUITE.cells())
    assert len(cells) == 4 * 2 * 2
    for cell in cells[::3]:
        result = validate_result(cell.path(folder))
        assert (result.seed, result.task) == (cell.seed, cell.task.name)


def test_only_what_is_missing_runs_again(folder: Path) -> None:
    cells = list(SUITE.cells())
    before = {cell: cell.path(folder).stat().st_mtime_ns for cell in cells}
    cells[3].path(folder).unlink()
    run_leaderboard(SUITE, folder, workers=1, progress=False)
    after = {cell: cell.path(folder).stat().st_mtime_ns for cell in cells}
    assert [cell for cell in cells if before[cell] != after[cell]] == [cells[3]]
    assert [session.searches for session in read_sessions(folder)][-1] == 1


def test_tasks_have_names_and_seeds_of_their_own() -> None:
    task = Task("s", "A6000", (("latency_ms", "p30"),))
    assert re.fullmatch(r"HWGPT-v0/s/a6000/latency_ms=p30/exact/[0-9a-f]{12}", task.name)
    others = [
        Task("m", "a6000", task.limits),
        Task("s", "h100", task.limits),
        Task("s", "a6000", (("latency_ms", "p50"),)),
        Task("s", "a6000", (("latency_ms", "p30"), ("float16_memory_mb", "p50"))),
        Task("s", "a6000", task.limits, "measured"),
        Task("s", "a6000", task.limits, "onboarded"),
    ]
    for attribute in ("name", "folder"):
        assert len({getattr(item, attribute) for item in (task, *others)}) == 7
    assert len({item.seed(number) for item in (task, *others) for number in range(5)}) == 35
    with pytest.raises(ValueError, match="unknown device 'a7000'"):
        Task("s", "a7000")
    with pytest.raises(ValueError, match="costs must be"):
        Task("s", "a6000", costs="guessed")


def test_devices_see_different_architectures(folder: Path) -> None:
    runs = [cell for cell in SUITE.cells() if cell.label == "random_search"]
    drawn = {SearchResult.load(cell.path(folder)).encoded.tobytes() for cell in runs}
    assert len(drawn) == len(runs) == 4


def test_the_page(folder: Path, tmp_path: Path) -> None:
    page = write_report(SUITE, folder, tmp_path / "leaderboard.md")
    text = page.read_text(encoding="utf-8")
    for line in ("### custom, scale s, latency_ms=p50", "`random_search` | 2 × 2", "All 16 searches were run."):
        assert line in text
    figures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert figures == ["leaderboard_custom_s.png"]
    assert all(f"(figures/{name})" in text for name in figures)
    table = pd.read_csv(tmp_path / "leaderboard.csv")
    assert len(table) == 16
    assert (table[table["agent"] == "exact"][regret_at(1_000)] == 0.0).all()
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "leaderboard.parquet"), rtol=1e-5)
    # What people wrote stays, what was written for them is replaced.
    page.write_text(text.replace("# Leaderboard", "# Ours").replace("`random_search`", "`somebody`"), encoding="utf-8")
    assert write_report(SUITE, folder, page).read_text(encoding="utf-8") == text.replace("# Leaderboard", "# Ours")


def test_a_missing_search_is_reported_or_left_out(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the leaderboard first"):
        write_report(SUITE, tmp_path, tmp_path / "leaderboard.md")
    copy_cells(folder, tmp_path)
    for cell in SUITE.cells():
        if cell.task.device == "p100":
            cell.path(tmp_path).unlink()
    with pytest.raises(FileNotFoundError, match="run the leaderboard first"):
        write_report(SUITE, tmp_path, tmp_path / "leaderboard.md")
    text = write_report(SUITE, tmp_path, tmp_path / "leaderboard.md", partial=True).read_text(encoding="utf-8")
    assert "8 of 16 searches were run, on a6000" in text


def test_a_search_with_other_settings_is_not_taken_for_the_same(tmp_path: Path) -> None:
    entry = Entry(RegularizedEvolution(), 100, 1)
    suite = custom_suite([entry], devices=("a6000",))
    run_leaderboard(suite, tmp_path, workers=1, progress=False)
    other = custom_suite([replace(entry, agent=RegularizedEvolution(sample_size=5))], devices=("a6000",))
    with pytest.raises(ValueError, match="was made with sample_size 10 instead of 5: delete it and run again"):
        run_leaderboard(other, tmp_path, workers=1, progress=False)
    with pytest.raises(ValueError, match="sample_size 10 instead of 5"):
        collect(other.cells(), tmp_path)


def test_a_result_of_another_task_is_refused(folder: Path, tmp_path: Path) -> None:
    copy_cells(folder, tmp_path)
    first = next(cell for cell in SUITE.cells() if cell.label == "local_search")
    other = replace(first, task=replace(first.task, limits=(("latency_ms", "p30"),)))
    other.path(tmp_path).parent.mkdir(parents=True)
    other.path(tmp_path).write_bytes(first.path(folder).read_bytes())
    with pytest.raises(ValueError, match=f"was made with task '{first.task.name}' instead of '{other.task.name}'"):
        collect([other], tmp_path)
    result = SearchResult.load(first.path(folder))
    forged = replace(result, task=result.task[:-12] + "0" * 12).save(tmp_path / "forged.parquet")
    with pytest.raises(ValueError, match="they do not compare"):
        validate_result(forged)


def test_more_than_the_optimum_is_an_error(folder: Path) -> None:
    cell = next(cell for cell in SUITE.cells() if cell.label == "local_search")
    result = SearchResult.load(cell.path(folder))
    metrics = {key: 0.9 * values for key, values in result.metrics.items()}
    with pytest.raises(ValueError, match="more than the certified optimum"):
        make_row(cell.task, cell.label, 0, replace(result, metrics=metrics))


def test_regret_counts_what_keeps_the_limits(folder: Path) -> None:
    cell = next(cell for cell in SUITE.cells() if cell.label == "random_search")
    result = SearchResult.load(cell.path(folder))
    course = true_regret(cell.task, result)
    limit = cell.task.truth.limits["latency_ms"]
    keeping = np.flatnonzero(result.metrics["latency_ms"] <= limit)
    assert 0 < len(keeping) < len(result)
    assert np.isinf(course.regret[: keeping[0]]).all()
    assert course.kept[keeping[0] :].all()
    best = result.reward[keeping].max()
    assert course.regret[-1] == pytest.approx(cell.task.optimum.reward - best)
    row = make_row(cell.task, cell.label, 0, result)
    reached = row[hits(0.01)]
    assert np.isinf(reached) or course.regret[int(reached) - 1] <= 0.01 < course.regret[int(reached) - 2]
    assert row[regret_at(1_000)] == pytest.approx(course.regret[-1])
    assert np.isnan(row[regret_at(2_000)])


def test_measurements_are_checked_and_regret_is_that_of_the_truth(tmp_path: Path) -> None:
    tasks = make_tasks("s", ["a6000"], [{"latency_ms": "p50"}], "measured")
    suite = Suite("noisy", (Grid(tasks, (Entry(make_agent("local_search"), 300, 1),)),))
    run_leaderboard(suite, tmp_path, workers=1, progress=False)
    (cell,) = suite.cells()
    result = validate_result(cell.path(tmp_path))
    assert result.measured
    truth = tasks[0].truth.bench.evaluate(result.encoded)["latency_ms"]
    assert np.abs(result.metrics["latency_ms"] / truth - 1.0).max() > 1e-3
    course = true_regret(cell.task, result)
    assert (course.regret >= -1e-9).all()
    # What seemed best may be worse than what seemed best before.
    kept = result.metrics["latency_ms"] <= tasks[0].truth.limits["latency_ms"]
    assert course.choice[-1] == np.argmax(np.where(kept, result.reward, -np.inf))
    with pytest.raises(ValueError, match="have no regret"):
        result.save(tmp_path / "claimed.parquet", 0.5)
    drawn_otherwise = replace(result, seed=result.seed + 1).save(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="latency_ms of entry"):
        validate_result(drawn_otherwise)


def test_devices_known_through_twenty_measurements(tmp_path: Path) -> None:
    tasks = make_tasks("s", ["rtx3080"], [{"latency_ms": "p50"}], "onboarded")
    suite = Suite("new", (Grid(tasks, (Entry(make_agent("exact"), 100, 1),)),))
    run_leaderboard(suite, tmp_path, workers=1, progress=False)
    (row,) = collect(suite.cells(), tmp_path).to_dict("records")
    assert "/rtx3080@20/" in row["task"]
    assert 0.0 <= row[regret_at(100)] < 0.1


def test_suites_with_searches_in_common_count_them_once(folder: Path, tmp_path: Path) -> None:
    write_report([SUITE, replace(SUITE, name="again")], folder, tmp_path / "twice.md")
    write_report(SUITE, folder, tmp_path / "once.md")
    assert (tmp_path / "twice.csv").read_text() == (tmp_path / "once.csv").read_text()


def test_submissions_are_checked_and_stand_beside(folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with pytest.raises(FileNotFoundError, match="holds no result file"):
        write_report(SUITE, folder, tmp_path / "page.md", submissions=[theirs])
    cells = [cell for cell in SUITE.cells() if cell.label == "local_search"]
    for number, cell in enumerate(cells):
        result = SearchResult.load(cell.path(folder))
        replace(result, agent="theirs", seed=number).save(theirs / f"{number}.parquet", cell.task.optimum)
    text = write_report(SUITE, folder, tmp_path / "page.md", submissions=[theirs]).read_text(encoding="utf-8")
    assert "4 searches were submitted: theirs." in text
    ours, new = (re.findall(rf"`{name}` (\|.*\|)[^|]*\|\n", text) for name in ("local_search", "theirs"))
    assert ours == new != []
    with pytest.raises(ValueError, match="which the suites do not have"):
        write_report(SUITE.on(["p100"]), folder, tmp_path / "page.md", submissions=[theirs])
    SearchResult.load(theirs / "0.parquet").save(theirs / "twice.parquet")
    with pytest.raises(ValueError, match="and seed 0 as another file"):
        write_report(SUITE, folder, tmp_path / "page.md", submissions=[theirs])
    (theirs / "twice.parquet").write_bytes(cells[0].path(folder).read_bytes())
    with pytest.raises(ValueError, match="'local_search', which the leaderboard has: give it another name"):
        write_report(SUITE, folder, tmp_path / "page.md", submissions=[theirs])


def test_a_file_that_changed_is_read_again(folder: Path, tmp_path: Path) -> None:
    copy_cells(folder, tmp_path)
    cells = list(SUITE.cells())
    before = collect(cells, tmp_path)
    path = cells[0].path(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        collect(cells, tmp_path)
    path.write_bytes(cells[0].path(folder).read_bytes())
    pd.testing.assert_frame_equal(collect(cells, tmp_path), before)


def test_budgets_are_apart_and_what_does_not_compare_is_left_out(tmp_path: Path) -> None:
    agent = make_agent("random_search")
    tasks = make_tasks("s", ["a6000"], [{"latency_ms": "p50"}, {"latency_ms": "p30"}])
    both = Suite("both", (Grid(tasks[:1], (Entry(agent, 50, 1), Entry(agent, 100, 1))),))
    run_leaderboard(both, tmp_path, workers=1, progress=False)
    text = write_report(both, tmp_path, tmp_path / "both.md").read_text(encoding="utf-8")
    assert "| `random_search (50)` | 1 × 1 |" in text
    assert "| `random_search (100)` | 1 × 1 |" in text
    grids = (Grid(tasks[:1], (Entry(agent, 100, 1),)), Grid(tasks[1:], (Entry(make_agent("exact"), 100, 1),)))
    apart = Suite("apart", grids)
    run_leaderboard(apart, tmp_path, workers=1, progress=False)
    text = write_report(apart, tmp_path, tmp_path / "apart.md").read_text(encoding="utf-8")
    assert "Not run on every task of scale s, and left out here: `random_search`, `exact`." in text
    assert "### apart" not in text


def test_sessions_are_not_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: note_session(tmp_path, Session("core", i, 1.0, 1)), range(40)))
    assert sorted(session.searches for session in read_sessions(tmp_path)) == list(range(40))


def test_sessions_of_version_0_1_are_read(tmp_path: Path) -> None:
    (tmp_path / "sessions.json").write_text('[{"profile": "quick", "searches": 3, "seconds": 1.5, "workers": 2}]')
    assert read_sessions(tmp_path) == [Session("quick", 3, 1.5, 2)]


def test_a_file_of_another_search_is_refused(folder: Path, tmp_path: Path) -> None:
    copy_cells(folder, tmp_path)
    cells = [cell for cell in SUITE.cells() if cell.label == "local_search"]
    cells[0].path(tmp_path).write_bytes(cells[2].path(folder).read_bytes())
    with pytest.raises(ValueError, match=f"was made with seed {cells[2].seed} instead of {cells[0].seed}"):
        run_leaderboard(SUITE, tmp_path, workers=1, progress=False)
    with pytest.raises(ValueError, match="was made with seed"):
        collect(cells, tmp_path)


def test_statistics() -> None:
    assert median(np.array([3.0, np.inf, 1.0, np.inf])) == 3.0
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 1.0, 400)
    middle, low, high = interval(values, range(400))
    assert low < middle < high
    assert low < 3.0 < high
    assert high - low < 0.4
    assert interval(values, range(400)) == (middle, low, high)
    assert interval([2.0], ["a"]) == (2.0, 2.0, 2.0)
    # Four devices that differ and hundred runs each that hardly do: the interval is as wide as devices differ.
    devices = np.repeat(np.arange(4), 100)
    by_device = devices + 0.01 * rng.normal(size=400)
    hierarchical, flat = interval(by_device, devices.tolist()), interval(by_device, range(400))
    assert hierarchical.high - hierarchical.low > 2.5 * (flat.high - flat.low) > 0.0
    # Devices may have been run a different number of times.
    assert interval([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"]) == (1.0, 1.0, 5.0)


def test_hitting_times_and_curves(folder: Path) -> None:
    rows = collect(SUITE.cells(), folder)
    assert never(rows[rows["agent"] == "exact"], 0.001) == 0.0
    assert never(rows[rows["agent"] == "random_search"], 0.001) == 1.0
    points, values = curve(rows[rows["agent"] == "local_search"])
    assert points.tolist() == [10, 20, 50, 100, 200, 500, 1_000]
    assert (np.diff(values[:, 0]) <= 0.0).all()
    assert (values[:, 1] <= values[:, 0]).all()
    assert (values[:, 0] <= values[:, 2]).all()
    assert "`exact` | 0" in summary_table(rows)


@pytest.mark.parametrize(
    ("line", "labels"), [(2.13e-4, ["0", ".0002", ".001", ".01", ".1"]), (0.0114, ["0", ".01", ".1"])]
)
def test_figures_name_the_line_and_hold_their_titles(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: float, labels: list[str]
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("hwgpt_gym.agents.leaderboard.figures.save_figure", lambda figure, path: drawn.append(figure))
    rows = collect(SUITE.cells(), folder)
    title = "scale, scale l, a6000, rtx3080, cpu_amd_7452: regret, median and 95 % interval"
    draw_curves(rows, line, title, tmp_path / "curves.png")
    draw_devices(rows, line, title, tmp_path / "devices.png")
    for figure in drawn:
        figure.draw_without_rendering()
        for text in (figure._suptitle, figure._supxlabel):
            assert text is None or text.get_window_extent().width <= figure.bbox.width
        assert figure._suptitle.get_text().replace("\n", " ") == title
    assert [text.get_text() for text in drawn[0].axes[0].get_yticklabels()] == labels
    assert f"up to a regret of {labels[1]}," in drawn[0]._supxlabel.get_text().replace("\n", " ")


def core_rows(regrets: dict[str, dict[str, float]], wrong_width: set[tuple[str, str]]) -> pd.DataFrame:
    """Make rows of the suite ``core``: the regret by agent and limit, the same after any number of evaluations."""
    return pd.DataFrame(
        [
            {
                "task": f"{device} {limit}",
                "device": device,
                "limits": f"latency_ms={limit}",
                "agent": agent,
                "run": 0,
                "optimal_width": (agent, limit) not in wrong_width,
                "processor_s": 1.0,
                **{regret_at(point): regret for point in (20, 100, 1_000, 10_000, 20_000)},
                **{hits(target): 50.0 if regret <= target else np.inf for target in (0.01, 0.001)},
            }
            for agent, by_limit in regrets.items()
            for limit, regret in by_limit.items()
            for device in ("a6000", "h100")
        ]
    )


def test_findings_say_who_wins_and_why() -> None:
    regrets = {
        "regularized_evolution": {"p10": 0.3, "p50": 0.004},
        "ppo": {"p10": 0.02, "p50": 0.0001},
        "amortised_beam": {"p10": 0.003, "p50": 0.0},
    }
    rows = core_rows(regrets, {("regularized_evolution", "p10")})
    text = findings(rows, 2e-4)
    assert (
        "**`ppo` wins at every limit**: of the agents that start from nothing, after 1,000 evaluations `ppo` (p10 "
        ".020, p50 .0001) and after 20,000 `ppo` (p10 .020, p50 .0001) has the least median regret: a policy needs"
        in text
    )
    assert "wrong embedding width at low limits**" in text
    assert "**Nobody always arrives**" in text
    assert "100 % at p10 of the runs of `regularized_evolution` end there, with a median regret of .30" in text
    assert "`ppo`, which samples all widths for long, never does" in text
    assert "`amortised_beam` has a median regret of at most .0030 at every limit" in text
    assert "50 % of the runs of `ppo` and 100 % of the runs of `regularized_evolution`" in text
    assert "the median runs of `ppo` at p50" in text
    # An agent that was run on the easy tasks alone is not compared.
    easy = rows[(rows["agent"] != "ppo") | (rows["limits"] == "latency_ms=p50")]
    assert set(comparable(easy)["agent"]) == {"regularized_evolution", "amortised_beam"}
    assert "`ppo`" not in findings(easy, 2e-4)
    # Of a submission with fewer evaluations nobody knows where it ends.
    rows.loc[rows["agent"] == "ppo", regret_at(20_000)] = np.nan
    assert "`ppo` wins" not in findings(rows, 2e-4)
    assert not findings(rows[rows["agent"] == "amortised_beam"], 2e-4)


def test_findings_follow_the_data() -> None:
    regrets = {
        "regularized_evolution": {"p10": 0.0001, "p30": 0.0001, "p50": 0.02, "p90": 0.0001},
        "ppo": {"p10": 0.0002, "p30": 0.0002, "p50": 0.0002, "p90": 0.0002},
    }
    text = findings(core_rows(regrets, {("regularized_evolution", "p50")}), 2e-5)
    assert "**Who wins depends on limit and budget**" in text
    assert "wrong embedding width**: 100 % at p50" in text
    assert "**Only `ppo` always arrives**" in text
    assert "of the runs of `ppo` and" not in text
    assert "reality" not in text
    regrets["regularized_evolution"]["p50"] = 0.0001
    text = findings(core_rows(regrets, set()), 2e-5)
    assert "**`regularized_evolution` wins at every limit**" in text
    assert "embedding width" not in text
    assert "**All arrive**" in text


def test_below_which_regret_reality_cannot_tell(tmp_path: Path) -> None:
    assert reality_line("s", tmp_path) == pytest.approx(2e-4, rel=0.2)
    path = tmp_path / "reality.json"
    path.write_text(re.sub(r"0\.\d+", "0.5", path.read_text()))
    with pytest.raises(ValueError, match="damaged"):
        reality_line("s", tmp_path)


def test_suites_are_made_of_known_agents() -> None:
    for suite in SUITES.values():
        cells = list(suite.cells())
        assert {cell.agent.name for cell in cells} <= set(AGENTS)
        assert len({cell.path(Path("results")) for cell in cells}) == len(cells)
    core = list(SUITES["core"].cells())
    assert len({cell.task for cell in core}) == 65
    assert {cell.task.scale for cell in SUITES["scale"].cells()} == {"m", "l"}
    assert {cell.task.device for cell in SUITES["core"].on(["A6000"]).cells()} == {"a6000"}
    with pytest.raises(ValueError, match="suite 'smoke' has no search on h100"):
        SUITES["smoke"].on(["h100"])
    with pytest.raises(ValueError, match="unknown suite 'cora': did you mean 'core'"):
        run_leaderboard("cora", "nowhere")
