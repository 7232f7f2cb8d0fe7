import io
import json
import os
import re
import shlex
import signal
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from hwgpt_gym import Benchmark
from hwgpt_gym.agents import SearchProblem, SearchResult, validate_result
from hwgpt_gym.agents.random_search import RandomSearch
from hwgpt_gym.agents.runs import pictures
from hwgpt_gym.agents.runs.display import RunDisplay, sparkline
from hwgpt_gym.agents.runs.interrupts import Interrupts
from hwgpt_gym.agents.runs.page import write_report
from hwgpt_gym.agents.runs.records import RunConfig, RunSummary, read_record
from hwgpt_gym.agents.runs.run import Run, StoppableProblem, perform, perform_into_folder, run_folder
from hwgpt_gym.cli import app as cli
from hwgpt_gym.files import seal
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import pareto_front, solve

OBJECTIVE = Objective({"latency_ms": "p40"})


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demonstration that cannot reach its target: its exit code, its folder and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hwgpt_gym.cli.demo.output", Console(file=stream, width=120))
        code = cli.run(["demo", "--budget", "300", "--target", "0", "--seed", "3", "--output", str(folder)])
    return code, folder, stream.getvalue()


def test_demo_that_misses_its_target_says_so(demo):
    code, folder, printed = demo
    assert code == 1
    assert "Not reached" in printed
    assert json.loads((folder / "summary.json").read_text())["reached"] is False


def test_demo_shows_what_was_found_beside_optimum_and_random_search(demo):
    _, folder, printed = demo
    summary = json.loads((folder / "summary.json").read_text())
    optimum = solve(Benchmark("s", "a6000"), OBJECTIVE)
    entries = summary
    assert entries["optimum"]["reward"] == optimum.reward
    assert entries["optimum"]["architecture"] == str(optimum.architecture)
    assert summary["regret"] == entries["found"]["regret"] == optimum.reward - entries["found"]["reward"]
    assert summary["evaluations"] == entries["random"]["evaluations"] == 300
    for name in ("found", "random", "optimum"):
        assert f"{entries[name]['regret']:.6f}" in printed
    assert f"{summary['limits']['latency_ms']:.3f}" in printed


def test_demo_leaves_results_that_can_be_checked_and_scored(demo, capsys):
    _, folder, _ = demo
    summary = json.loads((folder / "summary.json").read_text())
    result = validate_result(folder / "result.parquet")
    assert result.claims["regret"] == summary["regret"]
    assert len(validate_result(folder / "random.parquet")) == 300
    assert cli.run(["evaluate", str(folder), "--episodes", "20", "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert score["greedy"] == summary["greedy"]["architecture"]
    assert score["greedy_regret"] == pytest.approx(summary["greedy"]["regret"], abs=1e-12)


def test_demo_can_be_run_again(demo, tmp_path):
    _, folder, _ = demo
    config = json.loads((folder / "config.json").read_text())
    words = config["command"].split()
    assert words[:2] == ["hwgpt-gym", "demo"]
    assert cli.run([*words[1:], "--output", str(tmp_path / "again")]) == 1
    first, again = (validate_result(path / "result.parquet") for path in (folder, tmp_path / "again"))
    np.testing.assert_array_equal(first.encoded, again.encoded)


@pytest.mark.parametrize(
    "objective",
    [
        Objective(),
        Objective({"latency_ms": 1 / 0.07, "params": "p12.5"}, "power", 1 / 3),
        Objective({"energy_j": "p30"}, "hinge", confidence=0.9),
    ],
)
def test_the_command_of_a_run_asks_for_the_same(monkeypatch, objective):
    asked = []

    def stop(config, *_):
        asked.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("hwgpt_gym.agents.runs.run.perform_into_folder", stop)
    monkeypatch.setattr("hwgpt_gym.agents.runs.run.perform", stop)
    problem = SearchProblem(Benchmark("m", "h100"), objective, 321, 7)
    for verb, agent, target in (("train", "maskable_ppo", 0.0125), ("search", "tpe", None)):
        config = RunConfig.of(verb, agent, problem, target)
        words = shlex.split(config.command)
        assert words[:2] == ["hwgpt-gym", verb]
        cli.run(words[1:])
        assert asked.pop() == config


class Links(HTMLParser):
    """Everything a page refers to."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "data", "srcset")]


def test_report_opens_offline_and_shows_everything(demo):
    _, folder, _ = demo
    page = (folder / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert len(links.found) == 3
    assert all(link.startswith("data:image/png;base64,") for link in links.found)
    # What the drawing refers to stands in the page.
    assert set(re.findall(r"url\((.)", page)) == {"#"}
    assert all(f'id="{name}"' in page for name in re.findall(r"url\(#(\w+)\)", page))
    assert all(link.startswith(("#", "data:image/")) for link in re.findall(r'xlink:href="([^"]*)"', page))
    front = pareto_front(Benchmark("s", "a6000"))
    assert page.count("<title>Perplexity ") == len(front)
    assert all(f"{architecture}</title>" in page for architecture in front.architectures[::50])
    assert "@import" not in page
    assert "<!--" not in page.replace("<!DOCTYPE", "")
    shown = read_record(RunSummary, folder / "summary.json").architectures
    for entry in shown.values():
        assert entry.architecture in page
        assert f"{entry.regret:.6f}" in page
    row = page[page.index("Within the limits") :].split("</tr>")[0]
    assert re.findall(r">(yes|no)<", row) == ["yes" if entry.feasible else "no" for entry in shown.values()]
    before = page
    assert write_report(folder).read_text(encoding="utf-8") == before


def test_report_escapes_what_it_shows(demo, tmp_path):
    _, folder, _ = demo
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    versions = config["versions"] | {"<script>alert(1)</script>": "<b>"}
    (tmp_path / "config.json").write_text(json.dumps(seal(config | {"versions": versions})))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is no JSON"):
        write_report(tmp_path)


def test_pictures_are_pictures(demo):
    from PIL import Image

    _, folder, _ = demo
    for name in ("learning_curve", "pareto", "architecture", "optimum"):
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) >= 500
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_no_temporary_file_is_left(demo):
    _, folder, _ = demo
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "architecture.png",
        "config.json",
        "learning_curve.png",
        "optimum.png",
        "pareto.png",
        "pareto.svg",
        "policy.safetensors",
        "random.parquet",
        "report.html",
        "result.parquet",
        "summary.json",
    }


def test_search_ends_at_the_reward_that_is_enough():
    bench = Benchmark("s", "a6000")
    optimum = solve(bench, OBJECTIVE)
    problem = StoppableProblem(bench, OBJECTIVE, 2_000, 0, optimum.reward - 0.5)
    rng = np.random.default_rng(0)
    while problem.remaining:
        problem.evaluate(problem.space.sample(rng, 10))
    assert problem.best_reward >= optimum.reward - 0.5
    assert problem.evaluations < 2_000


def test_first_interrupt_keeps_the_policy(monkeypatch):
    def interrupt(display, problem):
        if problem.evaluations > 100 and not problem.stopped:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RunDisplay, "__call__", interrupt)
    problem = SearchProblem(Benchmark("s", "a6000"), OBJECTIVE, 100_000)
    config = RunConfig.of("train", "ppo", problem, 0.001)
    config = replace(config, settings=config.settings | {"num_envs": 32, "batch_size": 96})
    before = signal.getsignal(signal.SIGINT)
    with perform(config, Console(file=io.StringIO())) as run:
        pass
    assert run.interrupted
    assert 100 < len(run.result) < 1_000
    assert run.policy is not None
    assert len(run.random) == len(run.result)
    assert signal.getsignal(signal.SIGINT) is before
    assert run.summarize().interrupted


@pytest.mark.parametrize("agent", ["ppo", "local_search"])
@pytest.mark.parametrize(
    ("holder", "name"), [(RandomSearch, "run"), (Run, "summarize"), (pictures, "save_pareto_picture")]
)
def test_interrupt_after_the_search_keeps_the_whole_folder(tmp_path, monkeypatch, agent, holder, name):
    function, sent = getattr(holder, name), []

    def interrupted(*args, **kwargs):
        if not sent:
            sent.append(signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return function(*args, **kwargs)

    monkeypatch.setattr(holder, name, interrupted)
    problem = SearchProblem(Benchmark("s", "a6000"), OBJECTIVE, 60)
    config = RunConfig.of("train" if agent == "ppo" else "search", agent, problem)
    with pytest.raises(KeyboardInterrupt):
        perform_into_folder(config, tmp_path / "run", Console(file=io.StringIO()))
    assert sent
    assert (tmp_path / "run" / "report.html").is_file()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["interrupted"], summary["evaluations"]) == (False, 60)


def test_second_interrupt_raises_at_once():
    passed = []
    with pytest.raises(KeyboardInterrupt), Interrupts(None):  # noqa: PT012
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            passed.append("the first one")
    assert passed == ["the first one"]


def test_interrupt_of_a_search_keeps_what_was_evaluated(tmp_path, capsys, monkeypatch):
    def search(self, problem):
        problem.evaluate(problem.space.sample(np.random.default_rng(0), 70))
        raise KeyboardInterrupt

    monkeypatch.setattr("hwgpt_gym.agents.local_search.LocalSearch.search", search)
    path = tmp_path / "result.parquet"
    assert cli.run(["search", "--agent", "local_search", "--output", str(path)]) == 130
    assert len(validate_result(path)) == 70
    assert "70 evaluations" in capsys.readouterr().out


def test_interrupt_before_the_first_evaluation_writes_nothing(tmp_path, monkeypatch):
    def search(self, problem):
        raise KeyboardInterrupt

    monkeypatch.setattr("hwgpt_gym.agents.local_search.LocalSearch.search", search)
    path = tmp_path / "result.parquet"
    assert cli.run(["search", "--agent", "local_search", "--output", str(path)]) == 130
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["search", "--agent", "local_serch"], "local_search"),
        (["search", "--agent", "local_search", "--set", "swap=true"], "no setting 'swap'"),
        (["search", "--agent", "local_search", "--set", "swaps=on"], "swaps must be True or False, got 'on'"),
        (["search", "--agent", "local_search", "--set", "swaps"], "--set must be NAME=VALUE"),
        (["search", "--set", "warm_start=60"], "at most population_size"),
        (["search", "--budget", "0"], "budget"),
        (["search", "--seed", "-1"], "seed"),
        (["train", "--agent", "random_search"], "policy"),
        (["demo", "--target", "-1"], "target"),
        (["train", "--target", "nan"], "target"),
        (["evaluate", "missing"], "no file"),
        (["validate", "missing.parquet"], "no file"),
        (["render", "gpt"], "gpt"),
        (["leaderboard", "--suite", "cora"], "did you mean 'core'"),
        (["leaderboard", "--agent", "local_search"], "AGENT=BUDGET"),
        (["dataset", "build", "missing", "there"], "no folder"),
        (["dataset", "check", "missing"], "missing"),
        (["surrogates", "fit", "--dataset", "missing"], "missing"),
    ],
)
def test_wrong_input_is_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == cli.WRONG_INPUT
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_settings_of_the_agent_stand_in_the_result(tmp_path, capsys):
    path = tmp_path / "warm.parquet"
    settings = ["--set", "warm_start=4", "--set", "swaps=true"]
    assert cli.run(["search", "--agent", "local_search", *settings, "--budget", "20", "--output", str(path)]) == 0
    found = SearchResult.load(path).settings
    assert (found["warm_start"], found["swaps"]) == (4, True)
    capsys.readouterr()


def test_search_scores_every_kind_of_agent(capsys):
    assert cli.run(["search", "--agent", "exact", "--budget", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["regret"] == 0.0
    assert cli.run(["search", "--agent", "nsga2", "--budget", "200", "--json"]) == 0
    assert 0.0 < json.loads(capsys.readouterr().out)["hypervolume_ratio"] <= 1.0


def test_render_draws_text_pictures_and_films(tmp_path, capsys):
    from PIL import Image

    name = "gpt-s-10-192-2-2-2-2-2-2-2-2-2-2-4-4-4-4-4-4-4-4-4-4-True"
    assert cli.run(["render", name]) == 0
    assert "n_layer 10" in capsys.readouterr().out
    for suffix, frames in (("png", 1), ("gif", 24)):
        path = tmp_path / f"architecture.{suffix}"
        assert cli.run(["render", name, "--output", str(path)]) == 0
        with Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) == frames


def test_leaderboard_of_ones_own_agents(tmp_path):
    arguments = ["leaderboard", "--agent", "random_search=60", "--agent", "exact=1", "--device", "a6000"]
    assert cli.run([*arguments, "--seeds", "1", "--workers", "1", "--output", str(tmp_path)]) == 0
    assert "random_search" in (tmp_path / "leaderboard.md").read_text()
    assert len(list(tmp_path.rglob("*-run0.parquet"))) == 2


def test_display_on_a_terminal_shows_reward_architecture_and_regret():
    bench = Benchmark("s", "a6000")
    optimum = solve(bench, OBJECTIVE)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, height=40)
    with RunDisplay("a title", optimum, 500, 0.001, console) as display:
        result = RandomSearch(batch_size=100).run(SearchProblem(bench, OBJECTIVE, 500), display)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "a title" in shown
    assert "500/500" in shown
    assert str(result.best) in shown
    assert f"{optimum.reward - result.best_reward:.6f}" in shown


def test_sparkline_falls_with_its_values():
    assert sparkline([1.0, 0.1, 0.01]) == "█▅▁" or sparkline([1.0, 0.1, 0.01]) == "█▄▁"
    assert sparkline([0.5]) == "█"
    assert len(sparkline(list(range(1, 500)))) == 48
    assert sparkline([0.0, 0.0]) == "██"


def test_folders_of_runs_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with run_folder("demo", "first") as first, run_folder("demo", "second") as second:
        assert first != second
    assert [(path / "config.json").read_text() for path in (first, second)] == ["first", "second"]
    with pytest.raises(ValueError, match="must be a new or an empty folder"), run_folder("demo", "third", first):
        pass
    assert (first / "config.json").read_text() == "first"


def test_a_run_that_fails_at_once_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt), run_folder("demo", "{}", tmp_path / "a" / "b"):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), run_folder("demo", "{}"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())

    def fail_late():
        with run_folder("demo", "{}", tmp_path) as folder:
            (folder / "result.parquet").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_late()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "result.parquet"]


def test_a_stop_never_refuses_an_evaluation_of_the_budget():
    problem = StoppableProblem(Benchmark("s", "a6000"), OBJECTIVE, 10, 0)
    encoded = problem.space.sample(np.random.default_rng(0), 4)
    problem.stopped = True
    assert problem.remaining == 0
    assert len(problem.evaluate(encoded)) == problem.evaluations == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": "many"}, "budget: Input should be a valid integer"),
        ({"budget": 0}, "budget must be an integer of at least 1"),
        ({"target": -1.0}, "target must be"),
        ({"device": "a6001"}, "did you mean 'a6000'"),
        ({"agent": "pppo"}, "did you mean 'ppo'"),
        ({"settings": {"num_envs": 0}}, "num_envs"),
        ({"objective": 5}, "objective"),
        ({"surprise": 1}, "surprise"),
        ({"schema": "hwgpt-gym run 1"}, "has the schema 'hwgpt-gym run 1', this version reads"),
    ],
)
def test_a_damaged_configuration_is_refused(demo, tmp_path, changes, message):
    _, folder, _ = demo
    config = json.loads((folder / "config.json").read_text())
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert read_record(RunConfig, path).to_json() == (folder / "config.json").read_text()
    path.write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=message):
        read_record(RunConfig, path)


def test_a_damaged_summary_is_refused(demo, tmp_path):
    _, folder, _ = demo
    summary = json.loads((folder / "summary.json").read_text())
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(summary))
    assert read_record(RunSummary, path).to_json() == (folder / "summary.json").read_text()
    for changes in ({"found": None}, {"random": summary["random"] | {"architecture": "gpt"}}, {"seconds": "long"}):
        path.write_text(json.dumps(summary | changes))
        with pytest.raises(ValueError, match="is damaged"):
            read_record(RunSummary, path)
