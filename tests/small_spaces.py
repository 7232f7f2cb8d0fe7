"""Small spaces, every architecture of which can be listed, with random surrogates."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np

from hwgpt_gym import DEVICES, Benchmark, SearchSpace
from hwgpt_gym.search_space import FIRST_LAYER, GROUPS, NOT_SET, Encoded, FloatArray
from hwgpt_gym.surrogates import ChainModel, CountModel, Surrogates

TINY = (
    SearchSpace("tiny", embed_dims=(192, 384, 768), depths=(2, 3, 4), head_counts=(4, 8, 12)),
    SearchSpace("tinier", embed_dims=(192, 384, 768), depths=(1, 2, 3), head_counts=(4, 8, 12)),
)


@lru_cache
def everything(space: SearchSpace) -> Encoded:
    """Every architecture of a small space, in the order of ties."""
    rows = []
    for e, d, b in GROUPS:
        n_layer = space.depths[d]
        layers = np.array(list(itertools.product(range(3), repeat=2 * n_layer)), dtype=np.int8)
        block = np.full((len(layers), space.num_decisions), NOT_SET, dtype=np.int8)
        block[:, :FIRST_LAYER] = e, d, b
        block[:, FIRST_LAYER : FIRST_LAYER + 2 * n_layer] = layers
        rows.append(block)
    encoded = space.validate(np.concatenate(rows))
    assert len(encoded) == space.size
    return encoded


def random_chain(space: SearchSpace, rng: np.random.Generator, grid: float | None = None) -> ChainModel:
    """A chain model of random coefficients; on a grid, all sums are exact and many architectures tie."""
    arrays = {name: rng.normal(0.0, 0.1, shape) for name, shape in ChainModel.shapes(space).items()}
    if grid:
        arrays = {name: np.round(array / grid) * grid for name, array in arrays.items()}
        for name in ("mlp_count", "head_count", "cross"):
            arrays[name][:] = 0.0
    arrays["intercept"] += 3.0
    for d, n_layer in enumerate(space.depths):
        for chain in ("mlp", "head"):
            arrays[chain][:, d, :, n_layer:] = 0.0
            arrays[f"{chain}_pair"][:, d, :, max(n_layer - 1, 0) :] = 0.0
            arrays[f"{chain}_skip"][:, d, :, max(n_layer - 2, 0) :] = 0.0
    return ChainModel(space, **arrays)


def random_cost(space: SearchSpace, rng: np.random.Generator, *devices: int) -> CountModel:
    return CountModel(
        space,
        base=rng.uniform(1.0, 3.0, (*devices, 3, 3, 2)),
        mlp=rng.uniform(0.1, 2.0, (*devices, 3, 2, 3)),
        head=rng.uniform(0.1, 2.0, (*devices, 3, 2, 3)),
    )


def random_benchmark(space: SearchSpace, seed: int, grid: float | None = None) -> Benchmark:
    rng = np.random.default_rng(seed)
    surrogates = Surrogates(
        space=space,
        perplexity=random_chain(space, rng, grid),
        accuracy=random_chain(space, rng, grid),
        costs={
            "latency_ms": random_cost(space, rng, 13),
            "energy_j": random_cost(space, rng, 13),
            "float16_memory_mb": random_cost(space, rng),
            "bfloat16_memory_mb": random_cost(space, rng),
        },
        devices=tuple(DEVICES),
    )
    return Benchmark(device="a6000", surrogates=surrogates)


@lru_cache(maxsize=2)
def all_metrics(bench: Benchmark) -> dict[str, FloatArray]:
    return bench.evaluate(everything(bench.space))
