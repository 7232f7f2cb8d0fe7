"""The shipped worlds: what they deviate from, what they say of themselves, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from hwgpt_gym import Benchmark
from hwgpt_gym.dataset.measurements import load_dataset
from hwgpt_gym.surrogates import load_surrogates
from hwgpt_gym.surrogates.chain_extremes import chain_extremes
from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER
from hwgpt_gym.surrogates.worlds import WORLDS, load_worlds, read_worlds, save_worlds, worlds_path

SCALES = ("s", "m", "l")

BANDS = {
    ("s", "held_out"): ((0.45, 0.57), (0.86, 0.94)),
    ("m", "held_out"): ((0.44, 0.57), (0.85, 0.94)),
    ("l", "held_out"): ((0.38, 0.62), (0.82, 0.98)),
    ("s", "held_out_best"): ((0.0, 1.0), (0.80, 0.97)),
    ("m", "held_out_best"): ((0.0, 1.0), (0.80, 0.97)),
    **{(scale, "best_left_out"): ((0.0, 1.0), (0.80, 1.0)) for scale in SCALES},
}
"""Where coverage of the 50 % and of the 90 % interval has to lie."""


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("metric", ["perplexity", "accuracy"])
def test_the_mean_of_the_worlds_is_the_nominal_model(scale: str, metric: str) -> None:
    worlds, surrogates = load_worlds(scale), load_surrogates(scale)
    assert len(worlds) == WORLDS
    encoded = worlds.space.sample(np.random.default_rng(0), 40)
    predicted = np.stack([worlds.model(metric, world).predict(encoded) for world in range(WORLDS)], axis=1)
    nominal = getattr(surrogates, metric).predict(encoded)
    np.testing.assert_allclose(predicted.mean(axis=1), nominal, rtol=1e-12)
    np.testing.assert_allclose(worlds.deviations(metric, encoded), predicted - nominal[:, None], atol=1e-12)
    assert (predicted.std(axis=1) > 0.0).all()


@pytest.mark.parametrize(("scale", "split"), BANDS)
def test_coverage_of_held_out_perplexities(scale: str, split: str) -> None:
    scores = load_worlds(scale).metadata["scores"][split]
    for level, (low, high) in zip((50, 90), BANDS[scale, split], strict=True):
        assert low <= scores[f"coverage_{level}"] <= high
    assert scores["coverage_90_of_worlds"] < scores["coverage_90"]


@pytest.mark.parametrize("scale", SCALES)
def test_worlds_name_their_origin_and_factor(scale: str, dataset_path: Path) -> None:
    worlds = load_worlds(scale)
    assert worlds.metadata["dataset_fingerprint"] == load_dataset(dataset_path)[scale].fingerprint
    assert worlds.metadata["worlds_command"] == "hwgpt-gym surrogates worlds"
    assert worlds.model_form_factor == max(1.0, worlds.metadata["model_form"]["factor"])


@pytest.mark.parametrize("scale", SCALES)
def test_stored_ranges_are_the_exact_extremes(scale: str) -> None:
    worlds = load_worlds(scale)
    for metric, factor in (("perplexity", 1.0), ("accuracy", 1.0), ("perplexity", worlds.model_form_factor)):
        for world in (0, WORLDS - 1):
            found = chain_extremes(worlds.model(metric, world, factor))
            np.testing.assert_array_equal(worlds.ranges(metric, factor)[world], found[:2])


def test_files_are_small_and_round_trip_to_the_byte(tmp_path: Path) -> None:
    for scale in SCALES:
        save_worlds(load_worlds(scale), tmp_path / "worlds.safetensors")
        assert (tmp_path / "worlds.safetensors").read_bytes() == worlds_path(scale).read_bytes()
    assert sum(worlds_path(scale).stat().st_size for scale in SCALES) <= 650_000
    assert worlds_path("s") == WEIGHTS_FOLDER / "worlds_s.safetensors"


def test_damaged_files_and_other_surrogates_are_refused(tmp_path: Path) -> None:
    surrogates, path = load_surrogates("l"), tmp_path / "worlds.safetensors"
    with pytest.raises(FileNotFoundError, match="no worlds at"):
        read_worlds(path, surrogates)
    with safe_open(worlds_path("l"), framework="np") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    tensors["perplexity.slope"][0, 0] += 1.0
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match="not that of its SHA-256"):
        read_worlds(path, surrogates)
    with pytest.raises(ValueError, match="worlds of other surrogates"):
        read_worlds(worlds_path("l"), replace(surrogates, perplexity=surrogates.accuracy))
    path.write_bytes(worlds_path("l").read_bytes()[:-100])
    with pytest.raises(ValueError, match="no readable safetensors file"):
        read_worlds(path, surrogates)


def test_a_benchmark_answers_from_a_world() -> None:
    nominal, other = Benchmark("l", ["a6000", "h100"]), Benchmark("l", ["a6000", "h100"], world=5)
    encoded = nominal.space.sample(np.random.default_rng(1), 100)
    expected, found = nominal.evaluate(encoded), other.evaluate(encoded)
    for metric in nominal.metrics:
        assert np.array_equal(expected[metric], found[metric]) == (metric not in ("perplexity", "accuracy"))
    worlds = load_worlds("l")
    np.testing.assert_array_equal(found["perplexity"], np.exp(worlds.model("perplexity", 5).predict(encoded)))
    assert np.log(other.extremes("perplexity")) == pytest.approx(worlds.ranges("perplexity")[5])
    assert repr(other.on("h100")) == "Benchmark(scale='l', device='h100', world=5)"


def test_an_environment_answers_from_a_world() -> None:
    env = gym.make("HWGPT-v0", scale="l", world=5)
    env.reset(seed=0)
    terminated = False
    while not terminated:
        _, reward, terminated, _, info = env.step(1)
    expected = Benchmark("l", "a6000", world=5).query(info["architecture"])
    assert info["perplexity"] == expected["perplexity"]
    least, greatest = load_worlds("l").ranges("perplexity")[5]
    assert info["quality"] == pytest.approx((greatest - np.log(info["perplexity"])) / (greatest - least))
    assert reward == info["quality"] - info["penalty"]


@pytest.mark.parametrize("world", [-1, WORLDS, True, 1.0])
def test_worlds_that_are_none_are_refused(world: object) -> None:
    with pytest.raises(ValueError, match="world must be an integer"):
        Benchmark("l", "a6000", world=world)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="world must be an integer"):
        gym.make("HWGPT-v0", scale="l", world=world)
