"""The rules of construction, against a plain reimplementation of them."""

from __future__ import annotations

import numpy as np
import pytest

from hwgpt_gym import SEARCH_SPACES, Architecture
from hwgpt_gym.envs.construction import Construction, ObservationLayout, complete
from hwgpt_gym.envs.lane_streams import LaneStreams
from hwgpt_gym.envs.naming import names_of

SCALES = list(SEARCH_SPACES)


def build_plainly(scale: str, actions: list[int]) -> list[int]:
    """Take decisions one by one, as the rules say; returns the choices."""
    space = SEARCH_SPACES[scale]
    choices: list[int] = []
    while len(choices) < 2 or len(choices) < 3 + 2 * space.depths[choices[1]]:
        choices.append(min(actions[len(choices)], space.num_choices[len(choices)] - 1))
    return choices


@pytest.mark.parametrize("scale", SCALES)
def test_lanes_build_what_their_actions_say(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    actions = np.random.default_rng(0).integers(0, 3, (20, space.num_decisions))
    construction = Construction(ObservationLayout(space), 20)
    construction.begin()
    lengths = np.zeros(20, dtype=int)
    lanes = np.arange(20)
    for step in range(space.num_decisions):
        finished = construction.apply(actions[lanes, step], lanes)
        lengths[lanes[finished]] = step + 1
        lanes = lanes[~finished]
    assert len(lanes) == 0
    for lane in range(20):
        expected = build_plainly(scale, actions[lane].tolist())
        assert lengths[lane] == len(expected)
        assert construction.encoded[lane].tolist() == expected + [-1] * (space.num_decisions - len(expected))
    space.validate(construction.encoded)


@pytest.mark.parametrize("scale", SCALES)
def test_one_lane_by_number_is_one_lane_by_array(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    by_number, by_array = Construction(ObservationLayout(space), 1), Construction(ObservationLayout(space), 1)
    by_number.begin()
    by_array.begin()
    for action in np.random.default_rng(1).integers(0, 3, space.num_decisions).tolist():
        finished = by_number.apply(action, 0)
        assert bool(finished) == by_array.apply(np.array([action])).item()
        np.testing.assert_array_equal(by_number.observation, by_array.observation)
        np.testing.assert_array_equal(by_number.masks(0), by_array.masks()[0])
        if finished:
            break


@pytest.mark.parametrize("scale", SCALES)
def test_observation_is_one_hot_choices_then_position(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    decisions = space.num_decisions
    layout = ObservationLayout(space, (("one", 2), ("other", 1)))
    construction = Construction(layout, 8)
    construction.observation[:, layout.context] = (0.25, 0.25, 0.75)
    construction.begin()
    actions = np.random.default_rng(2).integers(0, 3, (decisions, 8))
    for step in range(10):
        choices = construction.observation[:, layout.choices].reshape(8, decisions, 3)
        np.testing.assert_array_equal(choices.sum(axis=2), construction.encoded >= 0)
        np.testing.assert_array_equal(np.where(choices.any(axis=2), choices.argmax(axis=2), -1), construction.encoded)
        position = construction.observation[:, layout.position]
        np.testing.assert_array_equal(position, np.arange(decisions)[None] == construction.position[:, None])
        context = construction.observation[:, layout.context]
        assert np.all(context[:, layout.part("one")] == 0.25)
        assert np.all(context[:, layout.part("other")] == 0.75)
        construction.apply(actions[step])


def test_layout_covers_the_observation_and_names_its_parts() -> None:
    layout = ObservationLayout(SEARCH_SPACES["s"], (("one", 2), ("other", 1)))
    columns = np.arange(layout.num_columns)
    parts = [columns[part] for part in (layout.choices, layout.position, layout.context)]
    assert [len(part) for part in parts] == [81, 27, 3]
    np.testing.assert_array_equal(np.concatenate(parts), columns)
    assert columns[layout.context][layout.part("other")].tolist() == [110]
    with pytest.raises(KeyError, match="no part 'third' of the context, there are"):
        layout.part("third")


@pytest.mark.parametrize("scale", SCALES)
def test_masks_tell_distinct_choices(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    construction = Construction(ObservationLayout(space), 2)
    construction.begin()
    for num_choices in space.num_choices[: 3 + 2 * space.depths[0]]:
        assert construction.masks().sum(axis=1).tolist() == [num_choices] * 2
        np.testing.assert_array_equal(construction.bool_masks(), construction.masks().astype(bool))
        construction.apply(np.array([0, 0]))
    # A complete lane has no decision to mask; libraries that average over masks must not meet an empty one.
    assert construction.masks().all()


def test_bias_takes_its_last_choice_for_a_higher_action() -> None:
    construction = Construction(ObservationLayout(SEARCH_SPACES["s"]), 3)
    construction.begin()
    for actions in ([0, 0, 0], [1, 1, 1], [0, 1, 2]):
        construction.apply(np.array(actions))
    assert construction.encoded[:, 2].tolist() == [0, 1, 1]


@pytest.mark.parametrize("scale", SCALES)
def test_begin_on_some_lanes_leaves_the_others(scale: str) -> None:
    construction = Construction(ObservationLayout(SEARCH_SPACES[scale]), 4)
    construction.begin()
    for _ in range(5):
        construction.apply(np.array([2, 1, 0, 1]))
    before = construction.observation.copy()
    construction.begin(np.array([1, 3]))
    assert construction.position.tolist() == [5, 0, 5, 0]
    np.testing.assert_array_equal(construction.observation[[0, 2]], before[[0, 2]])
    fresh = Construction(ObservationLayout(SEARCH_SPACES[scale]), 1)
    fresh.begin()
    np.testing.assert_array_equal(construction.observation[[1, 3]], fresh.observation.repeat(2, axis=0))


@pytest.mark.parametrize("scale", SCALES)
def test_completion_keeps_what_is_decided(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    whole = space.sample(np.random.default_rng(3), 50)
    partial = whole.copy()
    partial[np.arange(50)[:, None] % space.num_decisions <= np.arange(space.num_decisions)] = -1
    completed = complete(space, partial)
    space.validate(completed)
    np.testing.assert_array_equal(completed[partial >= 0], partial[partial >= 0])
    np.testing.assert_array_equal(complete(space, whole), whole)


@pytest.mark.parametrize("scale", SCALES)
def test_names_are_those_of_architectures(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    encoded = space.sample(np.random.default_rng(4), 200)
    names = names_of(space, encoded)
    assert names.tolist() == [architecture.to_string() for architecture in space.decode(encoded)]
    assert Architecture.from_string(names[0]).encode().tolist() == encoded[:1].tolist()


def test_streams_are_those_of_single_generators() -> None:
    streams = LaneStreams(3)
    streams.seed([5, None, 7])
    rng = np.random.default_rng(0)
    drawn: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for _ in range(100):
        lanes = np.flatnonzero(rng.random(3) < 0.6)
        count = int(rng.integers(1, 8))
        for lane, numbers in zip(lanes.tolist(), streams.draw(lanes, count), strict=True):
            drawn[lane] += numbers.tolist()
    for lane, seed in ((0, 5), (2, 7)):
        assert drawn[lane] == np.random.default_rng(seed).random(len(drawn[lane])).tolist()
    assert 0.0 <= min(drawn[1]) <= max(drawn[1]) < 1.0
