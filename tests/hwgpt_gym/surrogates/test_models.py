"""The predict side of the surrogates, on random coefficients, against loops that read like the formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgpt_gym import SEARCH_SPACES, SearchSpace
from hwgpt_gym.search_space import Group
from hwgpt_gym.surrogates import ChainModel, CountModel

TINY = SearchSpace("tiny", embed_dims=(1, 2, 3), depths=(1, 2, 3), head_counts=(1, 2, 3))
SPACES = {**SEARCH_SPACES, "tiny": TINY}


def random_chain_model(space: SearchSpace, rng: np.random.Generator, crossings: float = 1.0) -> ChainModel:
    arrays = {name: rng.normal(size=shape) for name, shape in ChainModel.shapes(space).items()}
    arrays["cross"] *= rng.random((5, 5)) < crossings
    for depth, n_layer in enumerate(space.depths):
        for name in ("mlp", "head"):
            arrays[name][:, depth, :, n_layer:] = 0.0
            arrays[f"{name}_pair"][:, depth, :, n_layer - 1 :] = 0.0
            arrays[f"{name}_skip"][:, depth, :, max(n_layer - 2, 0) :] = 0.0
    return ChainModel(space, **arrays)


def random_count_model(space: SearchSpace, rng: np.random.Generator, *devices: int) -> CountModel:
    shapes = ((3, 3, 2), (3, 2, 3), (3, 2, 3))
    return CountModel(space, *(rng.uniform(1, 2, size=(*devices, *shape)) for shape in shapes))


def phi(choices: np.ndarray) -> np.ndarray:
    second, third = np.mean(choices == 1), np.mean(choices == 2)
    return np.array([second, third, second**2, second * third, third**2])


def chain_value(model: ChainModel, row: np.ndarray) -> float:
    group = tuple(int(choice) for choice in row[:3])
    n_layer = model.space.depths[group[1]]
    value = model.intercept[group]
    features = []
    for first, single, pair, skip, count in (
        (3, model.mlp, model.mlp_pair, model.mlp_skip, model.mlp_count),
        (4, model.head, model.head_pair, model.head_skip, model.head_count),
    ):
        choices = row[first::2][:n_layer].astype(int)
        value += sum(single[group][i, choice] for i, choice in enumerate(choices))
        value += sum(pair[group][i, choices[i], choices[i + 1]] for i in range(n_layer - 1))
        value += sum(skip[group][i, choices[i], choices[i + 2]] for i in range(n_layer - 2))
        features.append(phi(choices))
        value += count[group] @ features[-1]
    return float(value + features[0] @ model.cross[group] @ features[1])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(SPACES)), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 1.0]))
def test_chain_model_equals_its_formula(name: str, seed: int, crossings: float) -> None:
    rng = np.random.default_rng(seed)
    model = random_chain_model(SPACES[name], rng, crossings)
    encoded = model.space.sample(rng, 20)
    expected = [chain_value(model, row) for row in encoded]
    np.testing.assert_allclose(model.predict(encoded), expected, rtol=1e-12, atol=1e-11)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(SPACES)), st.integers(0, 2**32 - 1))
def test_count_model_equals_its_formula(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = SPACES[name]
    model = random_count_model(space, rng)
    encoded = space.sample(rng, 20)
    mlp_counts, head_counts = space.counts(encoded)
    for row, mlp, head, predicted in zip(encoded, mlp_counts, head_counts, model.predict(encoded), strict=True):
        e, d, b = (int(choice) for choice in row[:3])
        expected = model.base[e, d, b] + model.mlp[e, b] @ mlp + model.head[e, b] @ head
        assert predicted == pytest.approx(expected, rel=1e-13)
        constant, mlp_slopes, head_slopes = model.count_tables(Group(e, d, b))
        assert constant + mlp_slopes @ mlp[1:] + head_slopes @ head[1:] == pytest.approx(expected, rel=1e-13)


def test_predictions_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(5)
    space = SEARCH_SPACES["m"]
    chain, count = random_chain_model(space, rng), random_count_model(space, rng, 3)
    encoded = space.sample(rng, 300)
    for model in (chain, count):
        whole = model.predict(encoded)
        for rows in (slice(7, 8), slice(10, 13), slice(100, 300)):
            np.testing.assert_array_equal(model.predict(encoded[rows]), whole[rows])


def test_a_count_model_of_several_devices_is_each_of_them() -> None:
    rng = np.random.default_rng(6)
    space = SEARCH_SPACES["s"]
    model = random_count_model(space, rng, 4)
    encoded = space.sample(rng, 50)
    predicted = model.predict(encoded)
    assert predicted.shape == (50, 4)
    for device in range(4):
        np.testing.assert_array_equal(model[device].predict(encoded), predicted[:, device])
    np.testing.assert_array_equal(model[[2, 0]].predict(encoded), predicted[:, [2, 0]])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_extremes_of_a_count_model_are_those_of_the_whole_space(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_count_model(TINY, rng)
    # 23 of each on average: none is missed.
    values = model.predict(TINY.sample(rng, 300_000))
    least, greatest = model.extremes()
    assert (least, greatest) == (pytest.approx(values.min(), rel=1e-13), pytest.approx(values.max(), rel=1e-13))


@pytest.mark.parametrize("change", [{"base": np.zeros((3, 3))}, {"mlp": np.zeros((2, 3, 2, 3))}, {"head": np.zeros(3)}])
def test_count_models_of_wrong_shape_are_refused(change: dict[str, Any]) -> None:
    model = random_count_model(TINY, np.random.default_rng(0))
    with pytest.raises(ValueError, match=f"{next(iter(change))} must have shape"):
        replace(model, **change)


def test_damaged_models_are_refused() -> None:
    rng = np.random.default_rng(0)
    chain, count = random_chain_model(TINY, rng), random_count_model(TINY, rng)
    with pytest.raises(ValueError, match="base must be finite"):
        replace(count, base=np.full((3, 3, 2), np.nan))
    with pytest.raises(ValueError, match="intercept must be finite"):
        replace(chain, intercept=np.full((3, 3, 2), np.inf))
    with pytest.raises(ValueError, match=r"mlp must have shape \(3, 3, 2, 3, 3\), got"):
        replace(chain, mlp=chain.mlp[:, :, :, 1:])
    with pytest.raises(ValueError, match="layers beyond the depth 1 must be zero"):
        replace(chain, head=np.ones_like(chain.head))
