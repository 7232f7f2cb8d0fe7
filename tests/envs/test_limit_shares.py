"""What observations say of limited costs, against lists of all completions."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from hwgpt_gym.envs.construction import Construction, ObservationLayout
from hwgpt_gym.envs.limit_shares import SHARES, LimitTables, expand, limit_parts, squash
from hwgpt_gym.search_space import FIRST_LAYER, layers_of
from hwgpt_gym.surrogates.cost_tables import cost_table
from hwgpt_gym.surrogates.count_model import CountModel
from small_spaces import TINY, everything, random_cost

SPACE = TINY[1]


def make_costs() -> list[CountModel]:
    """Two costs, one of which has coefficients of either sign."""
    rng = np.random.default_rng(0)
    signed = CountModel(SPACE, *(rng.normal(1.0, 1.0, shape) for shape in CountModel.shapes().values()))
    return [random_cost(SPACE, rng), signed]


def begin(limits: np.ndarray) -> Construction:
    costs = make_costs()
    layout = ObservationLayout(SPACE, limit_parts(len(costs)))
    tables = LimitTables(SPACE, np.stack([cost_table(cost) for cost in costs])[None])
    construction = Construction(layout, len(limits), tables)
    construction.show_limits(np.arange(len(limits)), np.zeros(len(limits), dtype=np.intp), limits)
    construction.begin()
    return construction


def shares(construction: Construction) -> np.ndarray:
    layout = construction.layout
    shown = construction.observation[:, layout.context][:, layout.part("shares")].astype(np.float64)
    return expand(shown).reshape(len(shown), -1, SHARES)


def used_by(cost: CountModel, prefix: np.ndarray) -> float:
    """What is decided costs: nothing before the bias is."""
    if (prefix[:FIRST_LAYER] < 0).any():
        return 0.0
    e, d, b = prefix[:FIRST_LAYER]
    decided = layers_of(prefix[None])[0]
    parts = [cost.mlp[e, b, k] for k in decided[:, 0] if k >= 0] + [cost.head[e, b, k] for k in decided[:, 1] if k >= 0]
    return float(cost.base[e, d, b] + sum(parts))


def test_shares_are_those_of_all_completions() -> None:
    listed, costs = everything(SPACE), make_costs()
    predicted = [cost.predict(listed) for cost in costs]
    limits = np.array([[4.0, 3.0], [9.0, 1.5]])
    rng, checked = np.random.default_rng(1), 0
    layers = SPACE.depths[1]
    for _ in range(12):
        construction = begin(limits)
        while True:
            found, prefix = shares(construction), construction.encoded[0]
            place = int(construction.position[0])
            agrees = (listed[:, :place] == prefix[:place]).all(axis=1)
            complete = place == construction.num_decisions_of(0)
            for slot, (cost, values) in enumerate(zip(costs, predicted, strict=True)):
                least, most = values[agrees].min(), values[agrees].max()
                steps = np.zeros(3)
                if not complete:
                    # The third choice of the bias means the second.
                    chosen = [min(k, SPACE.num_choices[place] - 1) for k in range(3)]
                    after = [values[agrees & (listed[:, place] == k)].min() for k in chosen]
                    steps = (np.array(after) - least) * (1 if place < FIRST_LAYER else layers)
                for lane, limit in enumerate(limits[:, slot]):
                    slack = 1.0 - least / limit
                    expected = [used_by(cost, prefix) / limit, slack, (most - least) / limit, layers * slack]
                    np.testing.assert_allclose(found[lane, slot, :4], expected, atol=2e-5)
                    np.testing.assert_allclose(found[lane, slot, 4:], steps / limit, atol=2e-5)
                    checked += 1
            if complete:
                break
            construction.apply(np.full(2, rng.integers(3)))
    assert checked > 200


def test_lanes_do_not_depend_on_their_batch() -> None:
    limits = np.random.default_rng(2).uniform(1.0, 9.0, (6, 2))
    together, alone = begin(limits), [begin(limits[lane : lane + 1]) for lane in range(6)]
    actions = np.random.default_rng(3).integers(0, 3, (SPACE.num_decisions, 6))
    going = np.arange(6)
    for row in actions:
        ended = together.apply(row[going], going)
        for lane in going:
            alone[lane].apply(row[lane], 0)
            np.testing.assert_array_equal(together.observation[lane], alone[lane].observation[0])
        going = going[~ended]
    assert not len(going)


def test_copies_go_their_own_ways_and_share_tables() -> None:
    construction = begin(np.array([[4.0, 3.0]]))
    construction.apply(1, 0)
    twin = copy.deepcopy(construction)
    before = construction.observation.copy()
    twin.apply(2, 0)
    np.testing.assert_array_equal(construction.observation, before)
    construction.apply(2, 0)
    np.testing.assert_array_equal(construction.observation, twin.observation)
    assert construction._shares.tables is twin._shares.tables


@pytest.mark.parametrize("value", [-1e6, -3.5, -0.25, 0.0, 1e-9, 0.5, 7.0, 1e5])
def test_squashed_numbers_come_back(value: float) -> None:
    squashed = squash(np.array([value]))
    assert 0.0 <= squashed[0] <= 1.0
    assert expand(squashed)[0] == pytest.approx(value, rel=1e-5, abs=1e-12)
