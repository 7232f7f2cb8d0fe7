"""Non-dominated sorting, hypervolume and its reference points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgpt_gym import Benchmark
from hwgpt_gym.optimum import extremes, pareto_front
from hwgpt_gym.pareto import (
    Box,
    box,
    crowded_ranks,
    crowding_distances,
    hypervolume,
    hypervolume_ratio,
    losses_sign,
    non_dominated,
    non_domination_ranks,
)

UNIT = Box(ideal=np.zeros(2), reference=np.ones(2))


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.all(one <= other) and np.any(one < other))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), metrics=st.integers(1, 3), number=st.integers(0, 40))
def test_non_domination_is_its_definition(seed: int, metrics: int, number: int) -> None:
    # Few distinct values, so that points tie and repeat.
    points = np.random.default_rng(seed).integers(0, 6, (number, metrics)).astype(float)
    undominated = np.array([not any(dominates(other, point) for other in points) for point in points], dtype=bool)
    first = np.array([not any(np.all(points[:i] == points[i], axis=1)) for i in range(number)], dtype=bool)
    np.testing.assert_array_equal(non_dominated(points), undominated & first)
    ranks = non_domination_ranks(points)
    np.testing.assert_array_equal(ranks == 0, undominated)
    for i in np.flatnonzero(ranks):  # Somebody of the front before dominates, nobody of its own does.
        before, own = points[ranks == ranks[i] - 1], points[ranks == ranks[i]]
        assert any(dominates(other, points[i]) for other in before)
        assert not any(dominates(other, points[i]) for other in own)


def test_hypervolume_of_known_sets() -> None:
    assert hypervolume(np.array([[0.0, 0.0]]), UNIT) == 1.0
    assert hypervolume(np.array([[1.0, 0.0]]), UNIT) == 0.0
    assert hypervolume(np.empty((0, 2)), UNIT) == 0.0
    assert hypervolume(np.array([[0.5, 0.25], [0.25, 0.5], [0.6, 0.6]]), UNIT) == pytest.approx(0.5)
    # Accuracy is to be great: its reference is its least value.
    falling = Box(ideal=np.array([0.8, 10.0]), reference=np.array([0.4, 30.0]))
    assert hypervolume(np.array([[0.6, 20.0]]), falling) == pytest.approx(0.25)
    # Outside the box a point dominates what it dominates within.
    assert hypervolume(np.array([[-1.0, 0.5]]), UNIT) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", ["s", "m"])
@pytest.mark.parametrize("metrics", [("perplexity", "latency_ms"), ("energy_j", "accuracy")])
def test_box_and_ratio_of_a_benchmark(scale: str, metrics: tuple[str, str]) -> None:
    bench = Benchmark(scale, "h100")
    corners = box(bench, metrics)
    for i, metric in enumerate(metrics):
        ends = sorted((corners.ideal[i], corners.reference[i]))
        assert ends == pytest.approx(list(extremes(bench, metric)[:2]), rel=1e-14)
        assert (corners.ideal[i] < corners.reference[i]) == (metric != "accuracy")
    front = pareto_front(bench, metrics)
    assert hypervolume_ratio(front.values, front.values, corners) == 1.0
    sampled = bench.evaluate(bench.space.sample(np.random.default_rng(0), 2000), metrics)
    values = np.stack([sampled[metric] for metric in metrics], axis=1)
    ratio = hypervolume_ratio(values, front.values, corners)
    assert 0.5 < ratio < 1.0
    kept = values[non_dominated(values * losses_sign(metrics))]
    assert hypervolume_ratio(kept, front.values, corners) == pytest.approx(ratio, rel=1e-12)
    assert hypervolume_ratio(np.concatenate([values, front.values]), front.values, corners) == pytest.approx(1.0)


def test_illegal_arguments() -> None:
    for points in (np.ones(3), np.ones((2, 0)), np.array([[np.nan, 1.0]])):
        with pytest.raises(ValueError, match="finite matrix"):
            non_dominated(points)
    with pytest.raises(ValueError, match="must have 2 columns, got 3"):
        hypervolume(np.ones((1, 3)), UNIT)
    with pytest.raises(ValueError, match="does not vary"):
        hypervolume(np.ones((1, 2)), Box(np.zeros(2), np.array([0.0, 1.0])))
    with pytest.raises(ValueError, match="dominates nothing"):
        hypervolume_ratio(np.zeros((1, 2)), np.ones((1, 2)), UNIT)
    with pytest.raises(ValueError, match="one device"):
        box(Benchmark("s", "all"), ("perplexity", "latency_ms"))
    with pytest.raises(ValueError, match="depends on the device"):
        box(Benchmark("s", None), ("perplexity", "latency_ms"))


def test_crowding_distances() -> None:
    losses = np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0]])
    np.testing.assert_allclose(crowding_distances(losses), [np.inf, 0.5 + 0.75, 0.75 + 0.5, np.inf])


def test_crowded_ranks_order_by_front_and_then_by_room() -> None:
    # The first front is rows 0, 2, 3 and 4, of which 0 and 4 are its ends and 3 has more room than 2.
    losses = np.array([[0.0, 10.0], [9.0, 9.5], [1.0, 9.0], [5.0, 5.0], [10.0, 0.0], [9.5, 9.6]])
    assert non_domination_ranks(losses).tolist() == [0, 1, 0, 0, 0, 2]
    assert crowded_ranks(losses).tolist() == [0, 4, 3, 2, 1, 5]
    assert crowded_ranks(np.zeros((0, 2))).shape == (0,)
