"""Results: regret, files, and that a manipulated file is found out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from hwgpt_gym import Benchmark
from hwgpt_gym.agents import SearchProblem, SearchResult, make_agent, validate_result
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

BENCHMARK = Benchmark("s", "v100")
OBJECTIVE = Objective({"latency_ms": "p40"})
OPTIMUM = solve(BENCHMARK, OBJECTIVE)


@pytest.fixture(scope="module")
def result() -> SearchResult:
    return make_agent("reinforce", checkpoints=3).run(SearchProblem(BENCHMARK, OBJECTIVE, 200, 7))


@pytest.fixture
def path(result: SearchResult, tmp_path: Path) -> Path:
    return result.save(tmp_path / "result.parquet", OPTIMUM)


def edit_metadata(path: Path, **changes: Any) -> None:
    table = pyarrow.parquet.read_table(path)
    description = json.loads(table.schema.metadata[b"hwgpt_gym"])
    for key, value in changes.items():
        description[key] = description[key] | value if isinstance(value, dict) else value
    metadata = {b"hwgpt_gym": json.dumps(description).encode()}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)


def edit_column(path: Path, name: str, row: int, value: float) -> None:
    table = pyarrow.parquet.read_table(path)
    column = table[name].to_numpy().copy()
    column[row] = value
    index = table.column_names.index(name)
    pyarrow.parquet.write_table(table.set_column(index, name, [column]), path)


def test_regret_is_monotone_and_against_the_optimum(result: SearchResult) -> None:
    regret = result.regret(OPTIMUM)
    assert (np.diff(regret) <= 0.0).all()
    assert regret[-1] == OPTIMUM.reward - result.best_reward == result.regret(OPTIMUM.reward)[-1]
    np.testing.assert_array_equal(result.greedy_regret(OPTIMUM), OPTIMUM.reward - result.greedy_reward)
    assert BENCHMARK.query(result.best)["perplexity"] == result.metrics["perplexity"][result.best_index]


def test_a_file_gives_back_all_of_it(result: SearchResult, path: Path) -> None:
    loaded = SearchResult.load(path)
    for name in ("agent", "settings", "scale", "device", "objective", "budget", "seed", "trade_off", "wall_time"):
        assert getattr(loaded, name) == getattr(result, name)
    for name in ("encoded", "reward", "greedy_evaluations", "greedy_encoded", "greedy_reward"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))
    assert loaded.claims["regret"] == result.regret(OPTIMUM)[-1]
    assert list(path.parent.iterdir()) == [path]


def test_an_honest_file_is_valid(result: SearchResult, path: Path) -> None:
    np.testing.assert_array_equal(validate_result(path).reward, result.reward)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("reward", 0.99, "reward of entry 5 is .*, claimed is 0.99"),
        ("perplexity", 1.0, "perplexity of entry 5"),
        ("latency_ms", 1.0, "latency_ms of entry 5"),
        ("embed_dim", 3, "legal choices are 0 to 2"),
        ("reward", np.nan, "finite"),
    ],
)
def test_a_manipulated_evaluation_is_rejected(path: Path, column: str, value: float, message: str) -> None:
    edit_column(path, column, 5, value)
    with pytest.raises(ValueError, match=message):
        validate_result(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claims": {"regret": 0.0}}, "regret of entry 0 is .*, claimed is 0"),
        ({"claims": {"greedy_regret": 0.0}}, "greedy_regret"),
        ({"claims": {"optimum_reward": 0.1}}, "optimum_reward"),
        ({"claims": {"speed": 1.0}}, "claims 'speed', for which the file has no evidence"),
        ({"claims": {"best_architecture": OPTIMUM.architecture.to_string()}}, "best architecture is"),
        ({"device": "a100"}, "is of the task HWGPT-v0/s/v100/.*, not of HWGPT-v0/s/a100/.*: they do not compare"),
        ({"device": "a100", "task": ""}, "latency_ms"),
        ({"budget": 10}, "exceed the budget of 10"),
        ({"objective": {"constraints": {"latency_ms": "p90"}}}, "they do not compare"),
        ({"objective": {"constraints": {"latency_ms": "p90"}}, "task": ""}, "reward"),
        ({"schema": "another"}, "has the schema 'another'"),
    ],
)
def test_a_manipulated_claim_is_rejected(path: Path, changes: dict[str, Any], message: str) -> None:
    edit_metadata(path, **changes)
    with pytest.raises(ValueError, match=message):
        validate_result(path)


def test_a_manipulated_greedy_reward_is_rejected(result: SearchResult, tmp_path: Path) -> None:
    better = replace(result, greedy_reward=result.greedy_reward + 0.1)
    with pytest.raises(ValueError, match="greedy reward of entry 0"):
        validate_result(better.save(tmp_path / "result.parquet", OPTIMUM))


def test_other_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "result.parquet"
    path.write_text("no parquet")
    with pytest.raises(ValueError, match="no Parquet file"):
        SearchResult.load(path)
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), path)
    with pytest.raises(ValueError, match="no search result"):
        SearchResult.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claims": None}, "claims"),
        ({"device": -1}, "device"),
        ({"budget": float("inf")}, "budget"),
        ({"budget": True}, "budget"),
        ({"wall_time": float("nan")}, "wall_time"),
        ({"seed": -1}, "seed"),
        ({"settings": []}, "settings"),
        ({"greedy": [{"evaluations": 1}]}, "greedy"),
        ({"objective": {"constraints": 5}}, "constraints"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_description_is_read_through_its_schema(path: Path, changes: dict[str, Any], message: str) -> None:
    table = pyarrow.parquet.read_table(path)
    description = json.loads(table.schema.metadata[b"hwgpt_gym"]) | changes
    metadata = {b"hwgpt_gym": json.dumps(description).encode()}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(ValueError, match=message):
        SearchResult.load(path)


def test_a_file_without_rows_has_no_evidence(path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).slice(0, 0), path)
    with pytest.raises(ValueError, match="has no evidence"):
        validate_result(path)


def test_damage_is_noticed(result: SearchResult, path: Path) -> None:
    """Of any byte that is flipped: the file is refused, or nothing that it says has changed."""
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    messages = []
    for position in rng.integers(0, len(content), 300):
        flipped = content.copy()
        flipped[position] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(flipped)
        try:
            loaded = validate_result(path)
        except ValueError as error:
            messages.append(str(error))
            continue
        for name in ("encoded", "reward", "greedy_encoded", "greedy_reward"):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))
        assert (loaded.agent, loaded.budget, loaded.seed) == (result.agent, result.budget, result.seed)
        assert loaded.settings == result.settings
        assert loaded.wall_time == result.wall_time
    assert len(messages) > 200
    assert all(str(path) in message for message in messages)
