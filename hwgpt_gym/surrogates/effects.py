"""What each choice at each decision does to a metric."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hwgpt_gym.search_space import FloatArray, SearchSpace
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.count_model import CountModel

if TYPE_CHECKING:
    import pandas


def layer_effects(metric: str, model: ChainModel | CountModel) -> pandas.DataFrame:
    """Tabulate the main effect of every layer's choices on a metric, for each embedding width.

    The main effect of a choice is the expectation of the metric given that choice, less the expectation over all
    three choices, where all other choices are uniform and independent. It is exact: expectations of the surrogates
    are taken in closed form. Effects on perplexity are those on its logarithm.

    Args:
        metric: The metric.
        model: Its model, of one device.

    Returns:
        A row per embedding width, layer, decision and choice: ``metric``, ``embed_dim``, ``layer``, ``decision``
        (``"mlp_ratio"`` or ``"n_head"``), ``value`` (the choice), ``effect`` (in the metric's unit; of the natural
        logarithm for perplexity) and ``effect_percent`` (relative to the width's mean). A layer that only deeper
        architectures have is averaged over those.
    """
    import pandas

    effects, mean = _cost_effects(model) if isinstance(model, CountModel) else _chain_effects(model)
    percent = 100.0 * (np.expm1(effects) if metric == "perplexity" else effects / mean[:, None, None, None])
    return pandas.DataFrame(_rows(model.space, metric, effects, percent))


def _rows(space: SearchSpace, metric: str, effects: FloatArray, percent: FloatArray) -> Iterator[dict[str, Any]]:
    values = {"mlp_ratio": space.mlp_ratios, "n_head": space.head_counts}
    for e, layer, (kind, decision), k in itertools.product(
        range(3), range(space.max_layers), enumerate(values), range(3)
    ):
        yield {
            "metric": metric,
            "embed_dim": space.embed_dims[e],
            "layer": layer,
            "decision": decision,
            "value": values[decision][k],
            "effect": float(effects[e, layer, kind, k]),
            "effect_percent": float(percent[e, layer, kind, k]),
        }


def _cost_effects(model: CountModel) -> tuple[FloatArray, FloatArray]:
    """Return effects ``(3, L, 2, 3)`` by width, layer, kind and choice, and the mean cost by width ``(3,)``."""
    kinds = np.stack([model.mlp, model.head], axis=1).mean(axis=2)
    effects = np.repeat((kinds - kinds.mean(axis=2, keepdims=True))[:, None], model.space.max_layers, axis=1)
    mean = model.base.mean(axis=(1, 2)) + np.mean(model.space.depths) * kinds.mean(axis=2).sum(axis=1)
    return effects, mean


def _chain_effects(model: ChainModel) -> tuple[FloatArray, FloatArray]:
    """Return effects ``(3, L, 2, 3)`` by width, layer, kind and choice, and the mean value by width ``(3,)``."""
    space = model.space
    effects = np.zeros((3, space.max_layers, 2, 3))
    present = np.zeros((space.max_layers, 1, 1))
    means = np.zeros(3)
    for depth, n_layer in enumerate(space.depths):
        at_random, given = _expected_count_features(n_layer)
        present[:n_layer] += 1
        for kind, (single, pair, skip, count) in enumerate(_chains(model)):
            cross = model.cross[:, depth] if kind == 0 else np.swapaxes(model.cross[:, depth], -1, -2)
            layers = single[:, depth, :, :n_layer].copy()
            for distance, reach in ((1, pair), (2, skip)):
                present_pairs = reach[:, depth, :, : n_layer - distance]
                layers[:, :, :-distance] += present_pairs.mean(axis=-1)
                layers[:, :, distance:] += present_pairs.mean(axis=-2)
            slopes = count[:, depth] + cross @ at_random
            layers += (slopes @ given.T)[:, :, None]
            layers -= layers.mean(axis=-1, keepdims=True)
            effects[:, :n_layer, kind] += layers.mean(axis=1)
        means += _expectation(model, depth, n_layer, at_random).mean(axis=1) / len(space.depths)
    return effects / present, means


def _chains(model: ChainModel) -> tuple[tuple[FloatArray, FloatArray, FloatArray, FloatArray], ...]:
    """Return the terms of single layers, neighbours, layers two apart and counts, of both chains."""
    return (
        (model.mlp, model.mlp_pair, model.mlp_skip, model.mlp_count),
        (model.head, model.head_pair, model.head_skip, model.head_count),
    )


def _expectation(model: ChainModel, depth: int, n_layer: int, phi: FloatArray) -> FloatArray:
    """Return the mean value of a depth's architectures by width and bias, ``(3, 2)``."""
    chains = sum(
        single[:, depth, :, :n_layer].mean(axis=-1).sum(axis=-1)
        + pair[:, depth, :, : n_layer - 1].mean(axis=(-1, -2)).sum(axis=-1)
        + skip[:, depth, :, : n_layer - 2].mean(axis=(-1, -2)).sum(axis=-1)
        + count[:, depth] @ phi
        for single, pair, skip, count in _chains(model)
    )
    expectation: FloatArray = model.intercept[:, depth] + chains + (model.cross[:, depth] @ phi) @ phi
    return expectation


def _expected_count_features(n_layer: int) -> tuple[FloatArray, FloatArray]:
    """Return the expected count features, and those given one layer's choice: ``(5,)`` and ``(3, 5)``.

    The counts of the other ``n_layer - 1`` layers are multinomial: a count has mean ``N / 3`` and variance
    ``2 N / 9``, two counts have covariance ``-N / 9``.
    """
    others = n_layer - 1
    given = np.empty((3, 5))
    for choice in range(3):
        second, third = others / 3 + (choice == 1), others / 3 + (choice == 2)
        variance, covariance = 2 * others / 9, -others / 9
        squares = (second**2 + variance, second * third + covariance, third**2 + variance)
        given[choice] = (second / n_layer, third / n_layer, *(square / n_layer**2 for square in squares))
    return given.mean(axis=0), given
