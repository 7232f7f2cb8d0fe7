"""The ``VecEnv`` whose rewards come from a function, against the vector environment."""

from __future__ import annotations

import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.monitor import Monitor

from hwgpt_gym import SEARCH_SPACES
from hwgpt_gym.envs.construction import ObservationLayout
from hwgpt_gym.envs.search_vec_env import SearchVecEnv
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.search_space import Encoded, FloatArray


class Recorder:
    """Earns the share of last choices, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Encoded] = []

    def __call__(self, encoded: Encoded) -> FloatArray:
        self.asked.append(encoded)
        share: FloatArray = (encoded == 2).sum(axis=1) / (encoded >= 0).sum(axis=1)
        return share


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_every_architecture_is_asked_for_once_when_it_is_complete(scale: str) -> None:
    space, reward = SEARCH_SPACES[scale], Recorder()
    venv = SearchVecEnv(ObservationLayout(space), 6, reward)
    envs = HWGPTVectorEnv(6, scale=scale, constraint={}, penalty="hinge", autoreset_mode="SameStep")
    np.testing.assert_array_equal(venv.reset(), envs.reset()[0])
    rng = np.random.default_rng(0)
    built = []
    for _ in range(3 * space.num_decisions):
        np.testing.assert_array_equal(get_action_masks(venv), envs.action_masks())
        before, actions = envs.encoded, rng.integers(0, 3, 6)
        observations, rewards, dones, infos = venv.step(actions)
        expected, _, terminations, _, final = envs.step(actions)
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_array_equal(dones, terminations)
        assert infos == [{}] * 6
        assert rewards.dtype == np.float32
        assert (rewards[~dones] == 0.0).all()
        if dones.any():
            np.testing.assert_array_equal(rewards[dones], Recorder()(reward.asked[-1]).astype(np.float32))
            names = final["final_info"]["architecture"][dones]
            assert [item.to_string() for item in space.decode(reward.asked[-1])] == names.tolist()
            built.append(np.count_nonzero(dones))
        assert (before[dones][:, :3] >= 0).all()
    assert [len(asked) for asked in reward.asked] == built
    assert sum(built) >= 12


def test_what_is_handed_out_is_a_copy() -> None:
    venv = SearchVecEnv(ObservationLayout(SEARCH_SPACES["s"]), 2, Recorder())
    first = venv.reset()
    first[:] = 7.0
    observations, *_, infos = venv.step(np.array([0, 1]))
    assert observations.max() == 1.0
    infos[0]["mine"] = True
    assert venv.step(np.array([0, 1]))[-1] == [{}, {}]


def test_attributes_methods_and_wrong_actions() -> None:
    venv = SearchVecEnv(ObservationLayout(SEARCH_SPACES["s"]), 3, Recorder())
    venv.reset()
    assert is_masking_supported(venv)
    assert [masks().tolist() for masks in venv.get_attr("action_masks", [1])] == [[True] * 3]
    assert venv.get_attr("render_mode") == [None] * 3
    assert venv.env_is_wrapped(Monitor) == [False] * 3
    with pytest.raises(AttributeError, match="not encoded"):
        venv.get_attr("encoded")
    with pytest.raises(AttributeError, match="not render"):
        venv.env_method("render")
    with pytest.raises(NotImplementedError, match="cannot set 'seed'"):
        venv.set_attr("seed", 1)
    with pytest.raises(ValueError, match="from 0 to 2, got 3 for lane 1"):
        venv.step(np.array([0, 3, 0]))
    assert (venv.construction.encoded == -1).all()


def test_a_maskable_algorithm_learns_what_the_function_rewards() -> None:
    reward = Recorder()
    venv = SearchVecEnv(ObservationLayout(SEARCH_SPACES["s"]), 64, reward)
    MaskablePPO(
        "MlpPolicy", venv, n_steps=27, batch_size=432, learning_rate=1e-3, gamma=1.0, seed=0, device="cpu"
    ).learn(64 * 27 * 10)
    rewards = [reward(asked).mean() for asked in list(reward.asked)]
    # Uniform decisions take the last choice a third of the time.
    assert np.mean(rewards[:5]) < 0.4 < 0.5 < np.mean(rewards[-5:])
