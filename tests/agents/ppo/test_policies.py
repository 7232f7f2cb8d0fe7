"""PPO and MaskablePPO learn; policies are evaluated, saved and loaded."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from hwgpt_gym import Benchmark
from hwgpt_gym.agents import SearchProblem, make_agent
from hwgpt_gym.agents.amortised.devices import UNSEEN
from hwgpt_gym.agents.ppo.agent import PPO, MaskablePPO, tuned_hyperparameters
from hwgpt_gym.agents.ppo.contextual import ContextualPPO, evaluate
from hwgpt_gym.agents.ppo.policy import Policy
from hwgpt_gym.agents.ppo.training import make_env
from hwgpt_gym.envs.limit_shares import expand
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

BENCHMARK = Benchmark("s", "a6000")
OBJECTIVE = Objective({"latency_ms": "p50"})
OPTIMUM = solve(BENCHMARK, OBJECTIVE)
QUICK: dict[str, Any] = {"num_envs": 64, "batch_size": 432, "learning_rate": 0.003, "entropy_start": 0.1}


@pytest.mark.parametrize("agent", [PPO, MaskablePPO])
def test_it_learns(agent: type[PPO], tmp_path: Path) -> None:
    problem = SearchProblem(BENCHMARK, OBJECTIVE, 4_000, seed=0)
    result, policy = agent(**QUICK).train(problem)
    assert len(result) == 4_000
    assert result.reward[-500:].mean() > result.reward[:500].mean() + 0.2
    assert result.regret(OPTIMUM)[-1] < 0.04
    assert result.greedy_regret(OPTIMUM)[-1] < 0.06
    np.testing.assert_array_equal(policy.greedy(), result.greedy_encoded[-1:])

    score = policy.evaluate(BENCHMARK, OBJECTIVE, episodes=200)
    assert score.greedy_regret == result.greedy_regret(OPTIMUM)[-1]
    assert score.sampled_regret == pytest.approx(OPTIMUM.reward - score.sampled_reward)
    assert 0.5 < score.sampled_feasible <= 1.0

    loaded = Policy.load(policy.save(tmp_path / "policy.safetensors", device="a6000"))
    assert loaded.evaluate(BENCHMARK, OBJECTIVE, episodes=200) == score


def test_training_leaves_global_random_states_alone() -> None:
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    make_agent("ppo", num_envs=8, batch_size=54).run(SearchProblem(BENCHMARK, OBJECTIVE, 20))
    assert np.random.random() == expected  # noqa: NPY002


def test_tuned_settings_are_legal_and_recorded() -> None:
    for name, agent in (("ppo", PPO), ("maskable_ppo", MaskablePPO)):
        for scale, settings in tuned_hyperparameters()[name].items():
            resolved = agent().resolve(SearchProblem(Benchmark(scale, "a6000"), OBJECTIVE))
            assert resolved == agent(**settings)
    result = make_agent("ppo", num_envs=8, batch_size=54).run(SearchProblem(BENCHMARK, OBJECTIVE, 10))
    assert None not in result.settings.values()


def test_training_sees_the_environment_and_evaluates_every_architecture_once() -> None:
    problem = SearchProblem(BENCHMARK, OBJECTIVE, 1_000)
    env = make_env(problem, 8)
    constraint, penalty = dict(OBJECTIVE.constraints), OBJECTIVE.penalty
    envs = HWGPTVectorEnv(8, "a6000", constraint=constraint, penalty=penalty, autoreset_mode="SameStep")
    np.testing.assert_array_equal(env.reset(), envs.reset()[0])
    rng = np.random.default_rng(0)
    built = 0
    for _ in range(60):
        actions = rng.integers(0, 3, 8)
        observations, rewards, dones, _ = env.step(actions)
        expected, expected_rewards, terminations, _, _ = envs.step(actions)
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_array_equal(rewards, expected_rewards.astype(np.float32))
        np.testing.assert_array_equal(dones, terminations)
        np.testing.assert_array_equal(env.env_method("action_masks"), envs.action_masks())
        built += np.count_nonzero(dones)
    assert problem.evaluations == built > 8


def test_beyond_the_budget_nothing_is_evaluated() -> None:
    problem = SearchProblem(BENCHMARK, OBJECTIVE, 5)
    env = make_env(problem, 8)
    env.reset()
    for _ in range(60):
        env.step(np.ones(8, dtype=np.int64))
    assert problem.evaluations == 5


def test_tensorboard_events_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    agent = PPO(num_envs=8, batch_size=54)
    agent.train(SearchProblem(BENCHMARK, OBJECTIVE, 30), tensorboard=tmp_path)
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_other_files_are_no_policies(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "policy.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no policy"):
        Policy.load(path)
    save_file({"weight": np.zeros(1)}, path)
    with pytest.raises(ValueError, match="has the schema None"):
        Policy.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (None, "has the schema None"),
        ([], "has the schema None"),
        ({"hidden_size": -3}, "hidden_size"),
        ({"hidden_size": 100_000}, "hidden_size is not 100000"),
        ({"hidden_size": None}, "hidden_size"),
        ({"context_columns": 5}, "context_columns must be 0"),
        ({"masked": 1}, "masked"),
        ({"scale": "xl"}, "xl"),
        ({"scale": "m"}, "does not fit"),
        ({"notes": {"objective": 5}}, "is damaged"),
        ({"notes": {"device": 5}}, "is damaged"),
    ],
)
def test_a_damaged_policy_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    from safetensors.torch import load_file, save_file

    path = Policy.untrained(BENCHMARK.space, False, 16).save(tmp_path / "policy.safetensors", device="a6000")
    assert Policy.load(path).notes == {"device": "a6000"}
    description = {"schema": "hwgpt-gym policy 1", "scale": "s", "masked": False, "hidden_size": 16}
    description |= {"context_columns": 0, "notes": {}}
    document = description | changes if isinstance(changes, dict) else changes
    save_file(load_file(path), path, metadata={"hwgpt_gym": json.dumps(document)})
    with pytest.raises(ValueError, match=message):
        Policy.load(path)


def test_damaged_weights_are_noticed(tmp_path: Path) -> None:
    path = Policy.untrained(BENCHMARK.space, False, 16).save(tmp_path / "policy.safetensors")
    with pytest.raises(ValueError, match="is no file"):
        Policy.load(tmp_path)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(content[:8], "little")
    for position in rng.integers(header, len(content), 20):
        flipped = content.copy()
        flipped[position] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="do not have their checksum"):
            Policy.load(path)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_policy_has_the_permissions_of_its_neighbours(tmp_path: Path) -> None:
    path = Policy.untrained(BENCHMARK.space, False, 8).save(tmp_path / "policy.safetensors")
    (tmp_path / "neighbour").touch()
    assert path.stat().st_mode == (tmp_path / "neighbour").stat().st_mode


def test_training_leaves_no_folders_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_agent("ppo", num_envs=8, batch_size=54).run(SearchProblem(BENCHMARK, OBJECTIVE, 10))
    assert not list(tmp_path.iterdir())


SMALL = ContextualPPO(devices=("h100", "p100"), evaluations=600, num_envs=32, batch_size=432, hidden_size=16)


def test_contextual_policy(tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    policy = SMALL.train(lambda *progress: seen.append(progress))
    assert seen[-1][0] >= 600
    assert all(np.isfinite(reward) for _, reward in seen)
    score = evaluate(policy, ("h100", "a6000"), (0.2, 0.8))
    assert score.regret.shape == (2, 2)
    assert (score.regret >= -1e-12).all()
    assert score.mean_regret(["h100"]) == pytest.approx(score.regret[0].mean())
    loaded = Policy.load(policy.save(tmp_path / "policy.safetensors"))
    np.testing.assert_array_equal(evaluate(loaded, ("h100", "a6000"), (0.2, 0.8)).regret, score.regret)
    with pytest.raises(ValueError, match="has a context"):
        policy.evaluate(BENCHMARK, OBJECTIVE)
    with pytest.raises(ValueError, match="contexts must be given"):
        policy.greedy()
    built = policy.build([("a6000", {"latency_ms": "p20"}), ("a6000", {"latency_ms": "p80"})])
    for row, level, regret in zip(built, (0.2, 0.8), score.regret[1], strict=True):
        bound = Objective({"latency_ms": f"p{100 * level:g}"}).bind(BENCHMARK)
        reward = bound.evaluate(BENCHMARK.evaluate(row[None], bound.metrics)).reward[0]
        assert solve(BENCHMARK, bound.objective).reward - reward == pytest.approx(regret)


def test_an_interrupted_contextual_training_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = SMALL.train()
    asked = iter(range(10**6))
    # In the middle of a rollout, the ninth: nothing of it counts.
    SMALL.train(folder=tmp_path, stopped=lambda: next(asked) >= 8 * 27 + 5)
    built: list[int] = []
    resumed = SMALL.train(lambda count, _: built.append(count), tmp_path)
    assert built[0] > 8 * 32
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    with pytest.raises(ValueError, match="checkpoint of another training"):
        replace(SMALL, seed=1).train(folder=tmp_path)


def test_what_a_policy_builds_with_is_what_the_environment_shows() -> None:
    """Under one limit and under two, its own observations are those of the environment."""
    policy = Policy.untrained(BENCHMARK.space, False, 8, 124)
    for constraint in ({"energy_j": "p30"}, {"latency_ms": "p30", "params": "p60"}):
        env = gym.make("HWGPT-v0", device=["a6000"], constraint=constraint)
        observation, _ = env.reset(seed=0)
        terminated = False
        while not terminated:
            logits = policy.network.get_distribution(torch.as_tensor(observation[None])).distribution.logits
            observation, _, terminated, _, _ = env.step(int(logits.argmax()))
        np.testing.assert_array_equal(policy.build([("a6000", constraint)]), env.unwrapped.encoded)


def test_features_of_contexts_are_in_units_of_decisions() -> None:
    env = HWGPTVectorEnv(64, device=["v100"], constraint={"latency_ms": ("p10", "p90")})
    observations, _ = env.reset(seed=0)
    features = Policy.untrained(BENCHMARK.space, False, 8, env.layout.num_context_columns).network.features_extractor
    for row in np.random.default_rng(0).integers(0, 3, (20, 64)):
        observations = env.step(row)[0]
        seen = features(torch.as_tensor(observations)).numpy()
        assert seen.shape == (64, features.features_dim)
        assert np.isfinite(seen).all()
        first, second = np.split(seen[:, env.layout.context.start :], 2, axis=1)
        assert not second.any()
        shares = expand(observations[:, env.layout.context][:, env.layout.part("shares")][:, :7].astype(np.float64))
        left = shares[:, 3, None] - shares[:, 4:]
        np.testing.assert_allclose(first[:, -3:], np.clip(left, -1.0, 1.0), atol=1e-4)


def test_contextual_settings() -> None:
    assert not set(UNSEEN) & set(ContextualPPO().devices)
    assert len(ContextualPPO().devices) == 10
    with pytest.raises(ValueError, match="at least two devices"):
        ContextualPPO(devices=("h100",))
    with pytest.raises(ValueError, match="high"):
        ContextualPPO(low=0.5, high=0.4)
    with pytest.raises(ValueError, match="metrics must name one or two costs"):
        ContextualPPO(metrics=())
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 51"):
        ContextualPPO(scale="m", n_steps=27)
    with pytest.raises(ValueError, match="context_columns must be 0, or 124 for limited costs, got 5"):
        Policy.untrained(BENCHMARK.space, False, 8, 5)
