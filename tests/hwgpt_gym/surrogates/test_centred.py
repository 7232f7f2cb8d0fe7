"""Centred coefficients become the chain model's arrays without loss, and few numbers become them again."""

from __future__ import annotations

import numpy as np

from hwgpt_gym import SearchSpace
from hwgpt_gym.fitting.chain_block import layer_features
from hwgpt_gym.surrogates import ChainModel
from hwgpt_gym.surrogates.centred import expand, pack, unpack

TINY = SearchSpace("tiny", embed_dims=(1, 2, 3), depths=(3, 4, 5), head_counts=(1, 2, 3))
LAYERS = TINY.max_layers


def coefficients(rng: np.random.Generator, number: int, *, pooled: bool) -> dict[str, np.ndarray]:
    """Draw coefficients with the structure of a fit."""
    drawn = {"intercept": rng.normal(size=(number, 3, 3, 2, 1))}
    for chain in ("mlp", "head"):
        shared = rng.normal(size=(number, 3, 1 if pooled else 3, 1, 3 * LAYERS))
        drawn[chain] = shared if pooled else shared + rng.normal(size=(number, 3, 1, 2, 3 * LAYERS))
        if not pooled:
            drawn[f"{chain}_pair"] = rng.normal(size=(number, 3, 1, 1, 9 * (LAYERS - 1)))
            drawn[f"{chain}_skip"] = rng.normal(size=(number, 3, 1, 1, 9 * (LAYERS - 2)))
            drawn[f"{chain}_curve"] = rng.normal(size=(number, 3, 1, 1, 3))
    if not pooled:
        drawn["cross"] = rng.normal(size=(number, 3, 1, 1, 4))
    return drawn


def test_arrays_predict_what_features_times_coefficients_are() -> None:
    rng = np.random.default_rng(0)
    drawn, encoded = coefficients(rng, 2, pooled=False), TINY.sample(rng, 200)
    features = layer_features(TINY, encoded)
    for index in range(2):
        expected = np.zeros(len(encoded))
        for name, part in drawn.items():
            full = np.broadcast_to(part[index], (3, 3, 2, part.shape[-1]))
            expected += (features[name] * full[encoded[:, 0], encoded[:, 1], encoded[:, 2]]).sum(axis=1)
        model = ChainModel(TINY, **{name: array[index] for name, array in expand(TINY, drawn).items()})
        np.testing.assert_allclose(model.predict(encoded), expected, atol=1e-12)


def test_few_numbers_are_enough() -> None:
    for pooled in (False, True):
        arrays = expand(TINY, coefficients(np.random.default_rng(1), 3, pooled=pooled))
        packed = pack(arrays)
        assert ("mlp_pair" in packed) is not pooled
        assert packed["mlp"].shape == (3, 3, 1 if pooled else 3, LAYERS, 2)
        again = unpack(TINY, packed)
        for name, array in arrays.items():
            np.testing.assert_allclose(again[name], array, atol=1e-12, err_msg=name)
