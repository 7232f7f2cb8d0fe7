"""Moves between architectures stay in the space and change what they say they change."""

from __future__ import annotations

import numpy as np
import pytest

from hwgpt_gym import SEARCH_SPACES
from hwgpt_gym.agents.variation import mutate, neighbours
from hwgpt_gym.search_space import FIRST_LAYER, N_LAYER


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_a_mutant_differs_in_one_decision(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    rng = np.random.default_rng(0)
    parents = space.sample(rng, 2_000)
    children = space.validate(mutate(space, rng, parents))
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
    around = space.validate(neighbours(space, encoded))
    length = FIRST_LAYER + 2 * int(space.n_layer(encoded)[0])
    assert len(around) == sum(space.num_choices[column] - 1 for column in range(length))
    assert len(np.unique(around, axis=0)) == len(around)
    assert not (around == encoded).all(axis=1).any()
