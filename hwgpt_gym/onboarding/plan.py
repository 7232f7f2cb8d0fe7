"""Which architectures to measure on a new device.

The design is greedy and I-optimal: each architecture is the one of a pool after which the mean posterior variance of
the logarithm of all costs of the space is least, under the prior of the shipped devices and noise of 2 %. Nothing in
it depends on measured values, so it is made beforehand; a prefix of a design is the design of fewer.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_integer, check_list, echo
from hwgpt_gym.files import read_json, write_text
from hwgpt_gym.onboarding.coordinates import WIDTHS, encoded_coordinates, log_costs, uniform_architectures
from hwgpt_gym.onboarding.prior import LEVEL, Prior, make_prior
from hwgpt_gym.search_space import (
    EMBED_DIM,
    Architecture,
    Encoded,
    FloatArray,
    IntArray,
    SearchSpace,
    get_search_space,
)

PLAN_VERSION: Final = 1
DESIGN_SIGMA: Final = 0.02
POOL: Final = 1_500
EVERYWHERE: Final = 2_000
"""Random architectures that stand for the space."""

PROBES: Final = 2
"""Architectures of each width and bias whose layers are timed one by one."""

_POOL_SEED, _EVERYWHERE_SEED, _CHECK_SEED, _PROBE_SEED = 0, 1, 2, 3


def design(
    space: SearchSpace, prior: Prior, pool: Encoded, k: int, everywhere: Encoded | None = None
) -> npt.NDArray[np.intp]:
    """Choose which architectures of a pool to measure, the most telling first.

    The first three are of the three widths: the level of a width is not known from another's.

    Args:
        space: The search space.
        prior: What is known beforehand.
        pool: The architectures to choose from, ``int8 (n, D)``, of every width.
        k: How many to choose, from 3 to ``n``.
        everywhere: What stands for the space, ``int8 (m, D)``; 2,000 random architectures if not given.

    Returns:
        Rows of the pool, ``intp (k,)``.

    Raises:
        ValueError: If ``k`` is out of bounds, or the pool lacks a width.
    """
    widths = pool[:, EMBED_DIM]
    if not WIDTHS <= k <= len(pool):
        raise ValueError(f"k must be from {WIDTHS} (one for each width) to {len(pool)}, got {k!r}")
    if len(np.unique(widths)) < WIDTHS:
        raise ValueError(f"the pool must have architectures of all widths {list(space.embed_dims)}")
    if everywhere is None:
        everywhere = space.sample(np.random.default_rng(_EVERYWHERE_SEED), EVERYWHERE)
    steps = greedy_design(
        prior.mean,
        prior.covariance + np.outer(LEVEL, LEVEL),
        encoded_coordinates(space, pool),
        encoded_coordinates(space, everywhere),
        DESIGN_SIGMA,
        each_width=True,
    )
    return np.array([row for row, _ in itertools.islice(steps, k)], dtype=np.intp)


def greedy_design(
    mean: FloatArray,
    covariance: FloatArray,
    pool: tuple[FloatArray, IntArray],
    everywhere: tuple[FloatArray, IntArray],
    sigma: float,
    *,
    each_width: bool = False,
) -> Iterator[tuple[int, FloatArray]]:
    """Yield rows of a pool, each with the deviations over the space *before* it is measured.

    Args:
        mean: What is known of the device's vector, ``float64 (42,)``.
        covariance: ``float64 (42, 42)``.
        pool: Coordinates of what can be measured, ``float64 (n, 13)`` and ``int64 (n,)``.
        everywhere: Those of what stands for the space.
        sigma: Relative noise of a measurement.
        each_width: Whether the first three have to be of different widths.
    """
    _, derivative = log_costs(mean, *pool)
    _, over_space = log_costs(mean, *everywhere)
    mean_square = over_space.T @ over_space / len(over_space)
    # Rows times the posterior covariance; a measurement takes a matrix of rank one off it.
    projected = derivative @ covariance
    variance_over_space = np.einsum("ij,ij->i", over_space @ covariance, over_space)
    width = pool[1]
    free = np.ones(len(width), dtype=bool)
    chosen: list[int] = []
    while free.any():
        variance = np.einsum("ij,ij->i", projected, derivative) + sigma**2
        gain = np.einsum("ij,ij->i", projected @ mean_square, projected) / variance
        legal = free & ~np.isin(width, width[chosen]) if each_width and len(chosen) < WIDTHS else free
        best = int(np.argmax(np.where(legal, gain, -np.inf)))
        yield best, np.sqrt(np.maximum(variance_over_space, 0.0))
        chosen.append(best)
        free[best] = False
        update = projected[best] / np.sqrt(variance[best])
        variance_over_space -= np.square(over_space @ update)
        projected -= np.outer(derivative @ update, update)


def plan_pool(space: SearchSpace) -> Encoded:
    """Return what a plan chooses from: random architectures and those of equal layers, ``int8 (n, D)``."""
    drawn = space.sample(np.random.default_rng(_POOL_SEED), POOL)
    return np.unique(np.concatenate([uniform_architectures(space), drawn]), axis=0)


@dataclass(frozen=True)
class Plan:
    """What to measure on a device.

    Attributes:
        scale: The search space.
        architectures: Names of those to fit, the most telling first.
        checks: Names of random ones that are measured and never fitted.
        references: Names of one of each width, beside which all others of the width are measured.
        probes: Names of those whose layers may be timed one by one.
    """

    scale: str
    architectures: tuple[str, ...]
    checks: tuple[str, ...]
    references: tuple[str, ...]
    probes: tuple[str, ...]

    def __post_init__(self) -> None:
        space = get_search_space(self.scale)
        for name in (*self.architectures, *self.checks, *self.references, *self.probes):
            scale = Architecture.from_string(name).scale
            if scale != space.scale:
                raise ValueError(f"the plan is of scale {space.scale!r}, its architecture {name} is of scale {scale!r}")
        if tuple(width_of(name) for name in self.references) != space.embed_dims:
            raise ValueError(f"the plan's references must be of the widths {space.embed_dims}, one each")
        repeated = [name for name, times in Counter(self.measured).items() if times > 1]
        if repeated:
            raise ValueError(f"the plan names an architecture twice: {repeated[0]}")

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return get_search_space(self.scale)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of all that are measured as whole models."""
        return (*self.architectures, *self.checks)

    @cached_property
    def identity(self) -> str:
        """A hash of the plan, of 16 hexadecimal digits: a log belongs to the plan of its hash."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def reference_of(self, name: str) -> str:
        """Return the name of the reference beside which an architecture is measured."""
        return self.references[self.space.embed_dims.index(width_of(name))]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON."""
        write_text(path, json.dumps({"plan_version": PLAN_VERSION, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If it is no plan, or one of another version.
        """
        document = read_json(path, Path(path).read_bytes())
        version = document.pop("plan_version", None) if isinstance(document, dict) else None
        if version != PLAN_VERSION:
            raise ValueError(f"{path} is no plan of version {PLAN_VERSION}, it says {echo(version)}")
        keys = {item.name for item in fields(cls)}
        if set(document) != keys:
            raise ValueError(f"{path} is no plan: one has {sorted(keys)}, got {echo(sorted(document))}")
        try:
            lists = {key: tuple(check_list(key, document[key], "names")) for key in document if key != "scale"}
            return cls(scale=document.get("scale"), **lists)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is no plan: {error}") from error


def check_plan(names: Sequence[str]) -> Plan:
    """Plan to measure certain architectures and fit none, to hold a profile against them.

    Raises:
        ValueError: If there is no name, one is no architecture, or they are of different scales.
    """
    if not names:
        raise ValueError("a plan must name an architecture at least")
    space = Architecture.from_string(names[0]).space
    return Plan(space.scale, (), tuple(names), _references(space), tuple(map(str, _probes(space))))


def make_plan(scale: str, k: int = 20, checks: int = 8, metric: str = "latency_ms") -> Plan:
    """Plan the measurements of a device.

    Args:
        scale: The search space.
        k: How many architectures to fit, from 3 to 1,500.
        checks: How many further ones to check the fit with, at most 1,500.
        metric: The cost to measure; which architectures tell most depends on it a little.

    Raises:
        ValueError: If an argument is not legal.
    """
    space = get_search_space(scale)
    check_integer("k", k, WIDTHS, POOL)
    check_integer("checks", checks, 0, POOL)
    pool = plan_pool(space)
    chosen = space.decode(pool[design(space, make_prior(metric, scale), pool, k)])
    taken = {str(item) for item in chosen}
    drawn = map(str, space.decode(space.sample(np.random.default_rng(_CHECK_SEED), checks + k)))
    free = [name for name in dict.fromkeys(drawn) if name not in taken][:checks]
    return Plan(
        scale,
        tuple(map(str, chosen)),
        tuple(free),
        _references(space),
        tuple(map(str, _probes(space))),
    )


def width_of(name: str) -> int:
    """Return the embedding width that the name of an architecture says."""
    return int(name.split("-")[3])


def _references(space: SearchSpace) -> tuple[str, ...]:
    """Return the names of the architectures of the middle choices, one of each width."""
    layers, mlp, head = space.depths[1], space.mlp_ratios[1], space.head_counts[1]
    return tuple(
        str(Architecture(space.scale, width, layers, (mlp,) * layers, (head,) * layers, False))
        for width in space.embed_dims
    )


def _probes(space: SearchSpace) -> list[Architecture]:
    """Return architectures, two of each width and bias, whose layers hold every pair of MLP ratio and head count."""
    rng = np.random.default_rng(_PROBE_SEED)
    pairs = list(itertools.product(space.mlp_ratios, space.head_counts))
    times = -(-space.max_layers // len(pairs))
    found = []
    for width, bias, _ in itertools.product(space.embed_dims, space.biases, range(PROBES)):
        order = np.concatenate([rng.permutation(len(pairs)) for _ in range(times)])[: space.max_layers]
        layers = [pairs[index] for index in rng.permutation(order)]
        mlp, head = zip(*layers, strict=True)
        found.append(Architecture(space.scale, width, space.max_layers, mlp, head, bias))
    return found
