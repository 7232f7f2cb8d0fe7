"""What a page knows, without a browser: optima, prices, decisions, comparisons."""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from explorer_states import STATES
from hypothesis import given, settings

from hwgpt_gym import SEARCH_SPACES, Architecture, Benchmark
from hwgpt_gym.agents import SearchProblem, make_agent
from hwgpt_gym.agents.runs.records import RunSummary, Scored
from hwgpt_gym.explorer.actions import act
from hwgpt_gym.explorer.compare import read_path, read_text, read_upload
from hwgpt_gym.explorer.controls import show_controls
from hwgpt_gym.explorer.decisions import choices_of, flip, value_decisions
from hwgpt_gym.explorer.figures import COLOURS, GREY, decision_figure, front_figure, mark_traces, still_traces
from hwgpt_gym.explorer.limit_index import Combinations, LimitIndex
from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.explorer.prices import find_prices
from hwgpt_gym.explorer.state import State, decode_architecture, write_query
from hwgpt_gym.explorer.tables import compared_table, devices_table, difference_table, parts_table, price_sentences
from hwgpt_gym.metrics import COST_METRICS
from hwgpt_gym.objective import Objective
from hwgpt_gym.onboarding.fit import fit_table
from hwgpt_gym.onboarding.plan import make_plan
from hwgpt_gym.onboarding.profile import DeviceProfile
from hwgpt_gym.optimum import episode_regret, pareto_front, solve

BENCH = Benchmark("s", "a6000")
SHARED = Explorer(["a6000"])


@pytest.fixture(scope="module")
def index() -> LimitIndex:
    return LimitIndex(BENCH, Combinations(BENCH.chain_model("perplexity")))


def test_optima_are_those_of_the_solver(index: LimitIndex) -> None:
    rng = np.random.default_rng(0)
    feasible = 0
    for _ in range(60):
        metrics = rng.choice(COST_METRICS, rng.integers(0, 5), replace=False).tolist()
        limits = {metric: BENCH.quantile(metric, float(rng.uniform(0.05, 1.0))) for metric in metrics}
        found = index.best(limits)
        bound = Objective(limits, penalty="hinge").bind(BENCH)
        assert (found is None) == (bound.unmeetable is not None)
        if found is not None:
            feasible += 1
            np.testing.assert_array_equal(found, solve(BENCH, limits).encoded)
    assert feasible > 40


def test_a_limit_that_is_an_architectures_cost_admits_it(index: LimitIndex) -> None:
    front = pareto_front(BENCH)
    for encoded, (_, latency) in itertools.islice(zip(front.encoded, front.values, strict=True), 0, None, 40):
        np.testing.assert_array_equal(index.best({"latency_ms": latency}), encoded[None])


def test_costs_of_four_devices_with_four_limits_are_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = Explorer(["a6000", "h100", "v100", "p100"])
    metrics = ("latency_ms", "energy_j", "float16_memory_mb", "params")
    state = replace(explorer.default, limits=tuple((metric, "p60") for metric in metrics))
    before = explorer.optima(state)[0]
    assert len(before) == 4
    monkeypatch.setattr("hwgpt_gym.explorer.limit_index.cost_matrix", None)
    after = explorer.optima(state)[0]
    assert [item.architecture for item in after.values()] == [item.architecture for item in before.values()]


def test_prices_are_those_of_neighbouring_optima() -> None:
    explorer = Explorer(["a6000"])
    state = State(limits=(("latency_ms", "p40"), ("params", "p55")))
    best = explorer.optimum(state, "a6000")
    prices = {price.metric: price for price in find_prices(explorer, state, "a6000")}
    assert any(price.binds for price in prices.values())
    for metric, price in prices.items():
        without = solve(BENCH, {key: limit for key, limit in best.limits.items() if key != metric})
        assert price.binds == (without.metrics["perplexity"] < best.metrics["perplexity"])
        raised = solve(BENCH, {**best.limits, metric: price.limit + price.step})
        assert price.gain == pytest.approx(best.metrics["perplexity"] - float(raised.metrics["perplexity"]), abs=1e-12)
        if price.needed is not None:
            enough, short = (
                solve(BENCH, {**best.limits, metric: (price.limit + price.needed) * factor})
                for factor in (1.0 + 1e-12, 1.0 - 1e-9)
            )
            gained = best.metrics["perplexity"] - float(enough.metrics["perplexity"])
            assert price.next_gain == pytest.approx(gained, abs=1e-12)
            assert gained > 0.0
            assert str(short.architecture) == str(best.architecture)


def test_sentences_say_which_limit_binds() -> None:
    explorer = Explorer(["a6000"])
    state = State(limits=(("latency_ms", "p30"), ("params", "p95")))
    binding, other = price_sentences(find_prices(explorer, state, "a6000"))
    assert binding.startswith("Latency (ms) binds: 1 ms more buys ")
    assert other.startswith("Parameters does not bind beside the other limits: ")
    (alone,) = price_sentences(find_prices(explorer, State(limits=(("params", "p100"),)), "a6000"))
    assert alone.startswith("Parameters does not bind: ")
    (none,) = price_sentences(find_prices(explorer, State(limits=()), "a6000"))
    assert "no limit" in none


def test_decisions_have_their_exact_values() -> None:
    explorer, state = Explorer(["a6000"]), State()
    architecture = BENCH.space.decode(BENCH.space.sample(np.random.default_rng(3), 1))[0]
    decisions = value_decisions(explorer, state, "a6000", architecture)
    judged, best = explorer.judge(state, "a6000", architecture), explorer.optimum(state, "a6000")
    assert decisions.lost.sum() == pytest.approx(best.reward - judged.reward, abs=1e-9)
    expected = episode_regret(BENCH, state.objective, architecture.encode())[0]
    np.testing.assert_allclose(decisions.lost, expected[list(decisions.columns)], atol=1e-12)
    # The bars of a decision: one for each choice, and the least of them 0.
    np.testing.assert_allclose(np.nanmin(decisions.losses, axis=1), 0.0, atol=1e-12)
    bars = [trace for trace in decision_figure(decisions)["data"] if trace["type"] == "bar"]
    drawn = {tuple(place): y for bar in bars for place, y in zip(bar["customdata"], bar["y"], strict=True)}
    assert len(drawn) == int((~np.isnan(decisions.losses)).sum()) == 3 * len(decisions.columns) - 1


def test_a_flip_changes_one_decision() -> None:
    explorer, state = Explorer(["a6000"]), State()
    architecture = explorer.optimum(state, "a6000").architecture
    row = architecture.encode()[0]
    for column in (0, 2, 3, 10):
        choice = (int(row[column]) + 1) % len(choices_of(BENCH.space, column))
        flipped = flip(explorer, state, "a6000", architecture, (column, choice)).encode()[0]
        assert np.flatnonzero(flipped != row).tolist() == [column]
    # Of another depth, what both have stays.
    for choice in range(3):
        flipped = flip(explorer, state, "a6000", architecture, (1, choice)).encode()[0]
        both = (flipped >= 0) & (row >= 0)
        assert set(np.flatnonzero(flipped[both] != row[both]).tolist()) <= {1}
        assert flipped[1] == choice
    for wrong in ((99, 0), (2, 2), (0, -1), (-1, 0)):
        with pytest.raises(ValueError, match="no decision and choice"):
            flip(explorer, state, "a6000", architecture, wrong)


def test_figures_keep_their_traces_while_limits_move() -> None:
    explorer = Explorer(["a6000", "h100"])
    state = replace(explorer.default, limits=(("latency_ms", "p30"),))
    optima = {name: explorer.optimum(state, name) for name in state.devices}
    whole = front_figure(explorer, state, optima)["data"]
    still, marks = still_traces(explorer, state), mark_traces(explorer, state, optima)
    assert len(still) == 4 * len(state.devices)
    assert len(whole) == len(still) + len(marks)
    # Without an optimum, with something looked at and compared: as many.
    other = replace(state, architecture=optima["a6000"].architecture, compared=(("x", optima["h100"].architecture),))
    assert len(mark_traces(explorer, other, {})) == len(marks)
    front = still[3]
    np.testing.assert_array_equal(front["y"], pareto_front(BENCH).values[:, 0])
    assert [str(decode_architecture(code)) for code in front["customdata"]] == list(
        map(str, pareto_front(BENCH).architectures)
    )
    json.dumps(whole, allow_nan=False)


def test_colours_have_contrast_on_either_ground() -> None:
    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) / 255.0 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for colour in (*COLOURS, GREY):
        assert (1.0 + 0.05) / (luminance(colour) + 0.05) >= 3.0
        assert (luminance(colour) + 0.05) / (luminance("#1b2128") + 0.05) >= 3.0


def test_tables_are_what_the_benchmark_says() -> None:
    explorer = Explorer(["a6000", "h100"])
    state = explorer.default
    architecture = explorer.optimum(state, "a6000").architecture
    rows = devices_table(explorer, state, architecture).rows
    assert len(rows) == 13
    known = Benchmark("s", "all").query(architecture)
    assert [row[1] for row in rows] == [f"{value:,.3f}" for value in known["latency_ms"].values()]
    assert parts_table(architecture).rows[-1][1] == f"{int(known['params']):,}"
    optima = {name: explorer.optimum(state, name) for name in state.devices}
    table = difference_table(explorer, state, optima)
    regret = {row[0]: row[1:] for row in table.rows}["Regret on NVIDIA H100"]
    assert regret[1] == "0.000000"
    judged = explorer.judge(state, "h100", architecture)
    assert regret[0].startswith(f"{optima['h100'].reward - judged.reward:.6f}")


def test_what_is_compared_has_its_regret(tmp_path: Path) -> None:
    problem = SearchProblem(BENCH, Objective({"latency_ms": "p50"}), 60, 1)
    result = make_agent("random_search").run(problem)
    path = result.save(tmp_path / "cell.parquet", solve(BENCH, problem.objective))
    (found,) = read_path(path)
    assert found == ("random_search, seed 1", result.best)
    assert read_upload("../../cell.parquet", path.read_bytes()) == [found]
    explorer = Explorer(["a6000"], compared=[found])
    optima = {"a6000": explorer.optimum(explorer.default, "a6000")}
    (row,) = compared_table(explorer, explorer.default, optima).rows
    assert row[5] == f"{float(result.regret(optima['a6000'].reward)[-1]):.6f}"
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(ValueError, match="no run folder"):
        read_path(folder)
    with pytest.raises(FileNotFoundError):
        read_path(tmp_path / "nothing.txt")


def test_a_run_folder_is_compared_and_so_is_its_summary_alone(tmp_path: Path) -> None:
    names = ("found", "random", "optimum")
    drawn = dict(zip(names, BENCH.space.decode(BENCH.space.sample(np.random.default_rng(0), 3)), strict=True))
    scores = {"reward": 0.5, "quality": 0.5, "penalty": 0.0, "feasible": True, "regret": 0.1, "evaluations": 4}
    entries = {name: Scored(architecture=str(item), metrics={}, **scores) for name, item in drawn.items()}
    summary = RunSummary(
        target=None, interrupted=False, evaluations=4, seconds=1.0, processor_seconds=1.0, limits={}, greedy=None,
        optimum_title="certified constrained optimum", constrained=None, **entries,
    )  # fmt: skip
    run = tmp_path / "mine"
    run.mkdir()
    (run / "summary.json").write_text(summary.to_json(), encoding="utf-8")
    assert read_path(run) == [(f"mine: {name}", item) for name, item in drawn.items()]
    # Of a file that a browser sent nobody knows the folder.
    content = (run / "summary.json").read_bytes()
    assert read_upload("summary.json", content) == [(f"run: {name}", item) for name, item in drawn.items()]
    with pytest.raises(ValueError, match=r"^summary\.json has the schema None"):
        read_upload("summary.json", b"{}")


def test_text_is_read_whatever_its_form(tmp_path: Path) -> None:
    first, second = BENCH.space.decode(BENCH.space.sample(np.random.default_rng(0), 2))
    lines = f"{first}\n\n mine: {second}\nconfig: {second.to_config()}\n"
    assert read_text(lines) == [("architecture", first), ("mine", second), ("config", second)]
    document = json.dumps({"a": first.to_config(), "more": [str(second)]})
    assert read_text(document) == [("a", first), ("more 1", second)]
    for wrong in ("", "hello", "gpt-s-1", "{'sample_embed_dim': __import__('os')}", "[[[[", "{}", "x" * 300_000):
        with pytest.raises(ValueError, match=r"must|at most"):
            read_text(wrong)
    for name, content in (("a.parquet", b"PAR1"), ("summary.json", b"{}"), ("a.txt", b"\xff\xfe"), ("", b"")):
        with pytest.raises(ValueError, match=name or "file") as raised:
            read_upload(name, content)
        # Not that of the file that it lay in meanwhile.
        assert tempfile.gettempdir() not in str(raised.value)
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"a\.bin is neither a result nor text"):
        read_path(tmp_path / "a.bin")


def test_controls_show_a_limit_as_quantile_and_in_its_unit() -> None:
    explorer = Explorer(["a6000"])
    median = BENCH.quantile("latency_ms", 0.5)
    for limit in ("p50", median):
        shown = show_controls(explorer, State(limits=(("latency_ms", limit),)))
        assert shown["level-latency_ms"] == 50.0
        assert shown["number-latency_ms"] == pytest.approx(median, rel=1e-5)
        assert f"{median:,.3f} ms" in shown["readout-latency_ms"]
        assert not shown["row-latency_ms"]
        assert shown["row-params"]
        assert shown["level-params"] is None


def test_a_device_of_ones_own_stands_beside_the_others(tmp_path: Path) -> None:
    plan = make_plan("s", 12, 0)
    encoded = BENCH.space.encode([Architecture.from_string(item) for item in plan.architectures])
    latency = 1.3 * BENCH.evaluate(encoded, ["latency_ms"])["latency_ms"]
    rows = [f"{name},{value}" for name, value in zip(plan.architectures, latency.tolist(), strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["architecture,latency_ms", *rows]))
    path = tmp_path / "mine.safetensors"
    DeviceProfile("mine", "Mine", fit_table(tmp_path / "table.csv")).save(path)
    explorer = Explorer([path, "a6000"])
    assert explorer.default.devices == ("mine", "a6000")
    assert "energy_j" not in explorer.costs(explorer.default)
    assert explorer.scales(explorer.default) == ["s"]
    bench = Benchmark("s", str(path))
    best = solve(bench, {"latency_ms": "p50"})
    np.testing.assert_array_equal(explorer.optimum(explorer.default, "mine").encoded, best.encoded)
    # What an address asks of it that is not known, is said and left out.
    state, wrong = explorer.read("?cost=energy_j&limit=energy_j:p30&limit=params:p30")
    assert wrong == ["Energy (J) is not known of every device that is shown."]
    assert (state.cost, state.limits) == ("latency_ms", (("params", "p30"),))
    assert explorer.read("?scale=m&device=mine")[1]
    show_controls(explorer, state)
    with pytest.raises(ValueError, match="scale"):
        act(explorer, explorer.default, "scale", "m")


@given(STATES)
@settings(max_examples=25, deadline=None)
def test_every_state_can_be_shown(state: State) -> None:
    state, wrong = SHARED.read(write_query(state))
    assert wrong == []
    optima, problems = SHARED.optima(state)
    assert len(optima) + len(problems) == len(state.devices)
    shown = show_controls(SHARED, state)
    assert shown["limited"] == [key for key, _ in state.limits]
    json.dumps([shown, front_figure(SHARED, state, optima)], allow_nan=False)
    for name in optima:
        assert len(price_sentences(find_prices(SHARED, state, name))) == max(1, len(state.limits))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown device"):
        Explorer(["a600"])
    with pytest.raises(ValueError, match="scale"):
        Explorer(["a6000"], "x")
    with pytest.raises(ValueError, match="side by side"):
        Explorer(["a100", "a40", "a6000", "h100", "p100"])
    explorer = Explorer(["a6000"])
    with pytest.raises(ValueError, match="no architecture"):
        explorer.optimum(State(limits=(("latency_ms", 0.5),)), "a6000")
    medium = SEARCH_SPACES["m"]
    (larger,) = medium.decode(medium.sample(np.random.default_rng(0), 1))
    with pytest.raises(ValueError, match="scale"):
        explorer.judge(State(), "a6000", larger)
