"""Parameters and FLOPs in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwgpt_gym import SEARCH_SPACES, Architecture, analytic
from hwgpt_gym.dataset.measurements import load_dataset

SCALES = ("s", "m", "l")


@pytest.mark.parametrize("scale", SCALES)
def test_gated_counts_equal_the_profiled_ones(scale: str, dataset_path: Path) -> None:
    data = load_dataset(dataset_path)[scale]
    space = SEARCH_SPACES[scale]
    np.testing.assert_array_equal(analytic.params(space, data.encoded, "gated"), data.profiled_params)
    np.testing.assert_array_equal(analytic.profiled_flops(space, data.encoded), data.profiled_flops)


def test_one_architecture_by_hand() -> None:
    architecture = Architecture("s", 192, 10, (2,) * 9 + (4,), (4,) * 10, True)
    space, encoded = architecture.space, architecture.encode()
    e, ratios, heads, tokens, vocabulary = 192, 22, 40, 1024, 50254
    layers = 0
    for ratio in architecture.mlp_ratio:
        attention = (e * 3 * 256 + 3 * 256) + (256 * e + e)
        mlp = (e * ratio * e + ratio * e) + (ratio * e * e + e)
        layers += 4 * e + attention + mlp
    assert analytic.params(space, encoded).tolist() == [2 * vocabulary * e + 2 * e + layers]
    products = tokens * 2 * (10 * (e * 3 * 256 + 256 * e) + 2 * ratios * e * e + vocabulary * e)
    scores = heads * 2 * (2 * tokens * tokens * 64)
    assert analytic.flops(space, encoded).tolist() == [products + scores]


@pytest.mark.parametrize("scale", SCALES)
def test_the_gated_model_differs_by_one_matrix(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    encoded = space.sample(np.random.default_rng(3), 100)
    for architecture, more_params, more_flops in zip(
        space.decode(encoded),
        analytic.params(space, encoded, "gated") - analytic.params(space, encoded),
        analytic.flops(space, encoded, "gated") - analytic.flops(space, encoded),
        strict=True,
    ):
        hidden = architecture.embed_dim * sum(architecture.mlp_ratio)
        assert more_params == hidden * (architecture.embed_dim + architecture.bias)
        assert more_flops == 2 * 1024 * architecture.embed_dim * hidden


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("metric", ["params", "flops"])
def test_count_models_are_exact(scale: str, metric: str) -> None:
    space = SEARCH_SPACES[scale]
    encoded = space.sample(np.random.default_rng(4), 5000)
    model = analytic.count_model(space, metric)  # type: ignore[arg-type]
    np.testing.assert_array_equal(model.predict(encoded), getattr(analytic, metric)(space, encoded))


def test_unknown_models_are_refused() -> None:
    space = SEARCH_SPACES["s"]
    encoded = space.sample(np.random.default_rng(0), 1)
    for count in (analytic.params, analytic.flops):
        with pytest.raises(ValueError, match=r"mlp must be one of \['gpt2', 'gated'\], got 'relu'"):
            count(space, encoded, "relu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"metric must be one of \['params', 'flops'\], got 'latency_ms'"):
        analytic.count_model(space, "latency_ms")  # type: ignore[arg-type]
