"""Every architecture has a number, and moves between architectures change what they say they change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwgpt_gym import SEARCH_SPACES, SearchSpace
from hwgpt_gym.search_space import FIRST_LAYER, N_LAYER


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_a_mutant_differs_in_one_decision(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    rng = np.random.default_rng(0)
    parents = space.sample(rng, 2_000)
    before = parents.copy()
    children = space.validate(space.mutate(parents, rng))
    np.testing.assert_array_equal(parents, before)
    differences = children != parents
    same_depth = ~differences[:, N_LAYER]
    np.testing.assert_array_equal(differences[same_depth].sum(axis=1), 1)
    shallow = FIRST_LAYER + 2 * np.minimum(space.n_layer(parents), space.n_layer(children))
    for row in np.flatnonzero(~same_depth):
        assert differences[row, : shallow[row]].sum() == 1
    # Every decision is hit.
    assert differences.any(axis=0).all()


def test_neighbours_are_all_single_changes() -> None:
    space = SEARCH_SPACES["s"]
    encoded = space.sample(np.random.default_rng(3), 1)
    around = space.validate(space.neighbours(encoded))
    length = FIRST_LAYER + 2 * int(space.n_layer(encoded)[0])
    assert len(around) == sum(space.num_choices[column] - 1 for column in range(length))
    assert len(np.unique(around, axis=0)) == len(around)
    assert not (around == encoded).all(axis=1).any()


def test_swaps_are_all_that_exchange_two_layers() -> None:
    space = SEARCH_SPACES["s"]
    encoded = space.sample(np.random.default_rng(3), 1)
    swapped = space.validate(space.swaps(encoded))
    layers = encoded[0, FIRST_LAYER:].reshape(-1, 2)[: int(space.n_layer(encoded)[0])]
    expected = sum((own != other).sum() for own, other in itertools.combinations(layers, 2))
    assert len(swapped) == expected > 20
    assert len(np.unique(swapped, axis=0)) == len(swapped)
    differences = swapped != encoded
    np.testing.assert_array_equal(differences.sum(axis=1), 2)
    assert not differences[:, :FIRST_LAYER].any()
    for counts, own in zip(space.counts(swapped), space.counts(encoded), strict=True):
        np.testing.assert_array_equal(counts, np.broadcast_to(own, counts.shape))
    assert len(space.swaps(space.from_index([0]))) == 0


def test_moves_are_those_of_one_architecture() -> None:
    space = SEARCH_SPACES["s"]
    for move in (space.neighbours, space.swaps):
        with pytest.raises(ValueError, match="one architecture, got 2"):
            move(space.sample(np.random.default_rng(0), 2))


def test_numbers_count_a_tiny_space() -> None:
    space = SearchSpace("tiny", embed_dims=(1, 2, 3), depths=(1, 2, 3), head_counts=(1, 2, 3))
    everything = space.validate(space.from_index(range(space.size)))
    assert everything.dtype == np.int8
    assert space.index(everything).tolist() == list(range(space.size))
    # All of them, by brute force, and in the order of their encodings.
    rows = {
        (width, depth, bias, *layers, *(-1,) * (6 - len(layers)))
        for width, depth, bias in itertools.product(range(3), range(3), range(2))
        for layers in itertools.product(range(3), repeat=2 * (depth + 1))
    }
    assert [tuple(row) for row in everything.tolist()] == sorted(rows)


@given(st.sampled_from(sorted(SEARCH_SPACES)), st.data())
def test_numbers_and_architectures_are_one_to_one(scale: str, data: st.DataObject) -> None:
    space = SEARCH_SPACES[scale]
    bounds = st.one_of(st.integers(0, space.size - 1), st.sampled_from([0, space.size - 1]))
    numbers = data.draw(st.lists(bounds, max_size=8))
    encoded = space.validate(space.from_index(numbers))
    assert space.index(encoded).tolist() == numbers
    # The order of the numbers is that of the encodings, read from left to right.
    assert sorted(range(len(numbers)), key=lambda i: numbers[i]) == sorted(
        range(len(numbers)), key=lambda i: encoded[i].tolist()
    )


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_numbers_of_a_batch(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    encoded = space.sample(np.random.default_rng(1), 3_000)
    numbers = space.index(encoded)
    assert numbers.shape == (3_000,)
    assert numbers.dtype == object
    assert {type(number) for number in numbers} == {int}
    np.testing.assert_array_equal(space.from_index(numbers), encoded)
    np.testing.assert_array_equal(space.index(encoded[5:6]), numbers[5:6])
    assert space.index(encoded[:0]).shape == (0,)
    assert space.from_index([]).shape == (0, space.num_decisions)


def test_wrong_numbers_are_refused() -> None:
    space = SEARCH_SPACES["l"]
    with pytest.raises(ValueError, match=f"from 0 to {space.size - 1}, got {space.size}"):
        space.from_index([3, space.size])
    with pytest.raises(ValueError, match="got -1"):
        space.from_index(np.array([-1]))
    with pytest.raises(TypeError, match=r"numbers must be integers, got 2\.0"):
        space.from_index([2.0])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="shape"):
        space.index(np.zeros((1, 4), dtype=np.int8))
