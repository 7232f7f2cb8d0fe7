"""Quantiles of metrics under the sampling distribution of a search space."""

from __future__ import annotations

from functools import lru_cache
from math import lgamma, log

import numpy as np

from hwgpt_gym.search_space import GROUPS, FloatArray, Group, SearchSpace
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.count_model import CountModel

_SAMPLES = 1_000_000
_SAMPLE_CHUNK = 50_000
_SEED = 0


def cost_quantile(model: CountModel, level: float) -> float:
    """Return the least cost that a share of at least ``level`` of all samples does not exceed.

    A cost depends on counts, and the counts of uniformly drawn choices are multinomial. So the distribution function
    is a finite sum over the counts of one chain, of the distribution function of the other, and bisection inverts it
    up to rounding.

    Args:
        model: The cost, of one device.
        level: From 0 to 1.

    Returns:
        The quantile in the metric's unit.
    """
    low, high = (float(bound) for bound in model.extremes())
    if level == 0.0:
        return low
    if level == 1.0:
        return high
    groups = [_group_tables(model, group) for group in GROUPS]
    while high - low > 1e-12 * abs(high):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if _distribution(groups, middle) >= level:
            high = middle
        else:
            low = middle
    return high


def sampled_quantile(model: ChainModel, level: float) -> float:
    """Return the quantile of a chain model's value over a million samples from a fixed seed."""
    return float(np.quantile(_sampled_values(model), level))


@lru_cache(maxsize=8)
def _sampled_values(model: ChainModel) -> FloatArray:
    rng = np.random.default_rng(_SEED)
    chunks = range(0, _SAMPLES, _SAMPLE_CHUNK)
    return np.sort(np.concatenate([model.predict(model.space.sample(rng, _SAMPLE_CHUNK)) for _ in chunks]))


def _group_tables(model: CountModel, group: Group) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return a group's MLP costs and their probabilities, its head costs ascending and their cumulated ones."""
    counts, probability = _count_distribution(model.space, group.depth)
    constant, mlp, head = model.count_tables(group)
    head_cost = counts @ head
    ascending = np.argsort(head_cost, kind="stable")
    cumulated = np.concatenate([[0.0], np.cumsum(probability[ascending])])
    return constant + counts @ mlp, probability, head_cost[ascending], cumulated


def _distribution(groups: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]], value: float) -> float:
    """Return the probability that the cost is at most ``value``; groups are equally likely."""
    shares = [
        probability @ cumulated[np.searchsorted(head_cost, value - mlp_cost, side="right")]
        for mlp_cost, probability, head_cost, cumulated in groups
    ]
    return float(np.mean(shares))


@lru_cache
def _count_distribution(space: SearchSpace, depth: int) -> tuple[FloatArray, FloatArray]:
    """Return the possible counts ``(states, 2)`` of second and third choices, and their probabilities."""
    layers = space.depths[depth]
    counts = [(second, third) for second in range(layers + 1) for third in range(layers + 1 - second)]
    log_probability = [
        lgamma(layers + 1)
        - lgamma(second + 1)
        - lgamma(third + 1)
        - lgamma(layers - second - third + 1)
        - layers * log(3.0)
        for second, third in counts
    ]
    return np.array(counts, dtype=np.float64), np.exp(log_probability)
