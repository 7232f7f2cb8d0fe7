"""The figure of PPO's value network: what is recorded is right, and the picture and the command are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hwgpt_gym import Benchmark
from hwgpt_gym.agents import SearchProblem, make_agent
from hwgpt_gym.agents.ppo.agent import PPO
from hwgpt_gym.agents.ppo.policy import Policy
from hwgpt_gym.agents.ppo.value_figure import (
    cut_off,
    estimated_values,
    record_values,
    save_value_figure,
    shown_records,
)
from hwgpt_gym.cli.app import app
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import action_values, solve
from hwgpt_gym.search_space import NOT_SET

OBJECTIVE = Objective({"latency_ms": "p30"})


def test_states_are_seen_as_the_environment_shows_them() -> None:
    import gymnasium as gym

    env = gym.make("HWGPT-v0")
    torch.manual_seed(0)
    policy = Policy.untrained(env.unwrapped.bench.space, masked=False, hidden_size=16)
    observation, _ = env.reset(seed=0)
    observations, states = [observation], [env.unwrapped.encoded[0]]
    for action in (2, 0, 1, 2, 1, 0, 0):
        observations.append(env.step(action)[0])
        states.append(env.unwrapped.encoded[0])
    with torch.no_grad():
        expected = policy.network.predict_values(torch.as_tensor(np.array(observations))).numpy()[:, 0]
    np.testing.assert_allclose(estimated_values(policy, np.array(states)), expected, rtol=1e-5, atol=1e-7)


def test_states_are_prefixes_at_evenly_drawn_decisions() -> None:
    space = Benchmark("s").space
    encoded = space.sample(np.random.default_rng(0), 3_000)
    states, taken = space.validate_partial(cut_off(encoded, np.random.default_rng(1)))
    decided = states != NOT_SET
    np.testing.assert_array_equal(states[decided], encoded[decided])
    counts = np.bincount(taken, minlength=27)
    assert counts[0] > 70
    assert np.all(counts[: space.lengths[0]] > 70)
    assert np.all(taken < (encoded != NOT_SET).sum(axis=1))


def test_records_and_picture(tmp_path: Path) -> None:
    bench = Benchmark("s", "a6000")
    problem = SearchProblem(bench, OBJECTIVE, budget=1_500, seed=0)
    records = record_values(problem, PPO(checkpoints=3, num_envs=64))
    assert [record.evaluations for record in records] == sorted(record.evaluations for record in records)
    assert (records[0].evaluations, records[-1].evaluations) == (0, 1_500)
    assert len(records) >= 4
    best = solve(bench, OBJECTIVE).reward
    root = action_values(bench, OBJECTIVE, np.full((1, 27), NOT_SET)).max()
    for record in records:
        assert record.exact.max() == pytest.approx(root, rel=0.0, abs=1e-12)
        assert record.exact.max() <= best + 1e-12
        assert record.error == pytest.approx(np.abs(record.estimated - record.exact).mean())
    # It learns: what it says of its own states, and what it earns.
    assert records[-1].regret < records[0].regret
    assert records[-1].error < records[0].error
    # And looking changes nothing.
    plain = make_agent("ppo", checkpoints=3, num_envs=64).run(SearchProblem(bench, OBJECTIVE, budget=1_500, seed=0))
    watched = problem.result("ppo", {}, 0.0, 0.0)
    np.testing.assert_array_equal(watched.encoded, plain.encoded)
    assert set(shown_records(records)) <= set(records)
    save_value_figure(records, tmp_path / "values.png")
    assert (tmp_path / "values.png").stat().st_size > 10_000


def test_command(tmp_path: Path) -> None:
    picture = tmp_path / "values.png"
    result = CliRunner().invoke(app, ["plot", "values", str(picture), "--budget", "300", "-c", "latency_ms=p30"])
    assert result.exit_code == 0, result.output
    assert picture.is_file()
    assert "the value network is off by" in result.output
    refused = CliRunner().invoke(app, ["plot", "values", str(picture), "--budget", "0"])
    assert refused.exit_code != 0
