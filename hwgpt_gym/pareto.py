"""Sets of architectures under several metrics: non-dominated sorting and hypervolume, on moocore.

Points are arrays ``(n, metrics)`` in the metrics' units. Perplexity and costs are to be small, accuracy is to be great;
the functions that take metrics know which.

The *reference point* of a search space and device is the worst value of every metric and the *ideal point* the best
one, both exact over the whole space (:meth:`Benchmark.extremes`), so they never move with what an agent happens to
find. Hypervolume is measured in the box between them, scaled to volume 1: the share of the box that a set dominates.
The *hypervolume ratio* divides it by that of the exact front (:func:`hwgpt_gym.optimum.pareto_front`): 1 is a proven
optimum. Hypervolume is that of Zitzler and Thiele (1998), *Multiobjective Optimization Using Evolutionary Algorithms*,
PPSN V.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_array, check_list, check_type
from hwgpt_gym.metrics import get_metric
from hwgpt_gym.search_space import FloatArray


class Box(NamedTuple):
    """The exact range of every metric of a search space and device.

    Attributes:
        ideal: The best value of each metric, ``float64 (metrics,)``.
        reference: The worst value of each metric, ``float64 (metrics,)``.
    """

    ideal: FloatArray
    reference: FloatArray


def losses_sign(metrics: Sequence[str]) -> FloatArray:
    """Return 1 for each metric of which less is better and -1 for the others, ``float64 (metrics,)``."""
    listed = check_list("metrics", metrics, "metrics")
    return np.array([1.0 if get_metric(metric).lower_is_better else -1.0 for metric in listed])


def non_dominated(losses: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which points no other point dominates.

    Args:
        losses: Points, less is better in every column, ``(n, metrics)``.

    Returns:
        ``bool (n,)``; of equal points only the first is marked.

    Raises:
        ValueError: If the points are no finite matrix.
    """
    import moocore

    points = _check_points(losses)
    if len(points) == 0:
        return np.zeros(0, dtype=np.bool_)
    marked: npt.NDArray[np.bool_] = moocore.is_nondominated(points)
    return marked


def non_domination_ranks(losses: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the front that each point belongs to, 0 for the first (Deb et al., 2002, NSGA-II, section III-A).

    Args:
        losses: Points, less is better in every column, ``(n, metrics)``.

    Returns:
        ``int64 (n,)``; equal points have equal ranks.

    Raises:
        ValueError: If the points are no finite matrix.
    """
    import moocore

    points = _check_points(losses)
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(points), dtype=np.int64)


def crowding_distances(losses: FloatArray) -> FloatArray:
    """Return the crowding distance of every point of a front, ``float64 (n,)`` (Deb et al., 2002, section III-B).

    Args:
        losses: The points, ``float64 (n, objectives)``.

    Raises:
        ValueError: If the points are no finite matrix.
    """
    losses = _check_points(losses)
    total = np.zeros(len(losses))
    for column in losses.T:
        order: npt.NDArray[np.intp] = np.argsort(column, kind="stable")
        gaps = np.full(len(order), np.inf)
        extent = column[order[-1]] - column[order[0]]
        if extent > 0.0:
            gaps[1:-1] = (column[order[2:]] - column[order[:-2]]) / extent
        total[order] += gaps
    return total


def crowded_ranks(losses: FloatArray) -> npt.NDArray[np.int64]:
    """Return the rank of every point by the front it belongs to, then by its crowding distance in that front.

    This is the crowded-comparison order of NSGA-II (Deb et al., 2002, section III-B).

    Args:
        losses: The points, less is better in every column, ``float64 (n, objectives)``.

    Returns:
        ``int64 (n,)``, from 0, the best, to ``n`` - 1; of points that are equal in both the first is better.

    Raises:
        ValueError: If the points are no finite matrix.
    """
    losses = _check_points(losses)
    fronts = non_domination_ranks(losses)
    distances = np.zeros(len(losses))
    for front in np.unique(fronts):
        members = fronts == front
        distances[members] = crowding_distances(losses[members])
    ranks = np.empty(len(losses), dtype=np.int64)
    ranks[np.lexsort((-distances, fronts))] = np.arange(len(losses))
    return ranks


def box(bench: Benchmark, metrics: Sequence[str]) -> Box:
    """Return the ideal and the reference point of a benchmark.

    Args:
        bench: The benchmark, of one device if a metric depends on the device.
        metrics: The metrics, in the points' order.

    Raises:
        ValueError: If a metric is unknown, or depends on the device and the benchmark is not of one.
    """
    metrics = check_list("metrics", metrics, "metrics")
    check_benchmark(bench).check_one_device(metrics)
    ranges = [bench.extremes(metric) for metric in metrics]
    lower = losses_sign(metrics) > 0.0
    least, greatest = np.array(ranges, dtype=np.float64).reshape(-1, 2).T
    return Box(np.where(lower, least, greatest), np.where(lower, greatest, least))


def hypervolume(values: npt.ArrayLike, box: Box) -> float:
    """Return the share of the box that points dominate.

    Args:
        values: Points in the metrics' units, ``(n, metrics)``. A point outside the box counts as far as it dominates
            within.
        box: The ideal and the reference point.

    Returns:
        From 0 to 1; 0 for no points.

    Raises:
        ValueError: If the points are no finite matrix, do not have the box's columns or the box is empty.
    """
    import moocore

    points = _check_points(values)
    check_type("box", box, Box, "a Box, as box(bench, metrics) returns it")
    if points.shape[1] != len(box.ideal):
        raise ValueError(f"values must have {len(box.ideal)} columns, got {points.shape[1]}")
    extent = box.reference - box.ideal
    if not extent.all():
        raise ValueError(f"a metric of the box does not vary: ideal {box.ideal}, reference {box.reference}")
    scaled = np.clip((points - box.ideal) / extent, 0.0, 1.0)
    return float(moocore.hypervolume(scaled, ref=np.ones(len(extent)))) if len(points) else 0.0


def hypervolume_ratio(values: npt.ArrayLike, front: npt.ArrayLike, box: Box) -> float:
    """Return the hypervolume of points by that of the exact front.

    Args:
        values: Points in the metrics' units, ``(n, metrics)``.
        front: The exact front's points, ``(k, metrics)``.
        box: The ideal and the reference point.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: As :func:`hypervolume`, or if the front dominates nothing.
    """
    greatest = hypervolume(front, box)
    if greatest <= 0.0:
        raise ValueError("front dominates nothing of the box")
    return hypervolume(values, box) / greatest


def _check_points(points: npt.ArrayLike) -> FloatArray:
    array = check_array("points", points, "iuf", "numbers (n, metrics)").astype(np.float64)
    if array.ndim != 2 or array.shape[1] == 0 or not np.isfinite(array).all():
        raise ValueError(f"points must be a finite matrix (n, metrics), got shape {array.shape}")
    return np.ascontiguousarray(array)
