"""Devices that do not exist: mixes of real ones with noise, for policies that are to know devices never seen.

A device is a convex mix of three random ones (Dirichlet 0.5), the same three for all its costs, times log-normal noise
that differs by part, width, choice and entry. Costs that hardly differ between devices get a third of the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_choice, check_integer, check_list, echo
from hwgpt_gym.devices import DEVICES, Device, ProfilingConditions
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.search_space import FloatArray
from hwgpt_gym.surrogates.cost_tables import BASE, HEAD, MLP, cost_table, split_tables
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.store import Surrogates

PARENTS: Final = 3
MIX: Final = 0.5
"""How many devices are mixed, and the parameter of the Dirichlet distribution of their shares."""

FIXED_NOISE: Final = 1.0 / 3.0
"""The noise of costs that do not depend on the device, relative to that of the others."""

POOL: Final = 256
"""How many devices a pool has unless it is said."""

LARGEST_POOL: Final = 4_096


class DeviceMixer:
    """Mixes devices.

    Args:
        scale: The search space.
        exclude: Shipped devices that are parents of none.
        metrics: The costs of devices that are mixed.

    Attributes:
        parents: The devices that are mixed.
        space: The search space.
        medians: The median of each cost on each of them, ``float64 (costs, parents)``.

    Raises:
        ValueError: If fewer than three devices are left to be mixed.
    """

    def __init__(self, scale: str, exclude: Sequence[str], metrics: Sequence[str]) -> None:
        self.parents = check_parents(exclude)
        benches = [Benchmark(scale, name) for name in self.parents]
        self.space = benches[0].space
        self.medians = np.array([[bench.quantile(key, 0.5) for bench in benches] for key in metrics])
        tables = np.array([[cost_table(bench.count_model(key)) for bench in benches] for key in metrics])
        self._tables = tables / self.medians[:, :, None]
        self._noise = np.array([1.0 if key in DEVICE_METRICS else FIXED_NOISE for key in metrics])

    def draw_shares(self, rng: np.random.Generator, n: int) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Draw the parents of devices, ``intp (n, 3)``, and their shares, ``float64 (n, 3)``."""
        parents = rng.random((n, len(self.parents))).argsort(axis=1)[:, :PARENTS]
        return parents, rng.dirichlet(np.full(PARENTS, MIX), n)

    def mix(
        self,
        rng: np.random.Generator,
        cost: npt.NDArray[np.intp],
        parents: npt.NDArray[np.intp],
        shares: FloatArray,
    ) -> FloatArray:
        """Return tables of costs of devices, relative to a median, ``float64 (n, 54)``.

        Args:
            rng: Draws the noise.
            cost: Position of the cost among the metrics, ``intp (n,)``.
            parents: As of :meth:`draw_shares`, as are the ``shares``.
            shares: Their shares.
        """
        mixed = (shares[:, :, None] * self._tables[cost[:, None], parents]).sum(axis=1)
        return _with_noise(rng, mixed, self._noise[cost][:, None, None, None])


def check_parents(exclude: Sequence[str]) -> tuple[str, ...]:
    """Return the shipped devices without the excluded ones.

    Raises:
        ValueError: If an excluded one is unknown, or fewer than three are left.
    """
    names = check_list("exclude", exclude, "names of devices")
    for name in names:
        check_choice("exclude", name, list(DEVICES))
    parents = tuple(name for name in DEVICES if name not in names)
    if len(parents) < PARENTS:
        raise ValueError(f"exclude must leave at least {PARENTS} devices to mix, got {echo(names)}")
    return parents


class SyntheticDevice(Device):
    """A device that does not exist, known only by its costs; kind and precision mean nothing."""

    def conditions(self, metric: str, scale: str) -> ProfilingConditions:
        """Nothing was measured.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"the device {self.name!r} does not exist: nothing of it was measured")


def pool_names(number: int) -> tuple[str, ...]:
    """Return the names of a pool's devices: ``random-0``, ``random-1`` and so on.

    Raises:
        ValueError: If the number is not legal.
    """
    return tuple(f"random-{index}" for index in range(check_integer("pool", number, 1, LARGEST_POOL)))


@lru_cache(maxsize=4)
def make_pool(
    scale: str, number: int, seed: int, exclude: tuple[str, ...]
) -> tuple[tuple[SyntheticDevice, ...], Surrogates]:
    """Return a pool of devices and surrogates that know them; made once and shared.

    Latencies and energies are of the size that the geometric mean of the parents' medians has. The other metrics are
    those of the search space, which depend on no device.

    Args:
        scale: The search space.
        number: How many.
        seed: The seed that they are made from: the first ones of a larger pool are others.
        exclude: Shipped devices that are parents of none.

    Raises:
        ValueError: If an argument is not legal.
    """
    names = pool_names(number)
    mixer = DeviceMixer(scale, exclude, DEVICE_METRICS)
    rng = np.random.default_rng(seed)
    parents, shares = mixer.draw_shares(rng, number)
    shipped = Benchmark(scale, None).surrogates
    costs = dict(shipped.costs)
    for position, metric in enumerate(DEVICE_METRICS):
        tables = mixer.mix(rng, np.full(number, position), parents, shares)
        typical = np.exp((shares * np.log(mixer.medians[position, parents])).sum(axis=1))
        costs[metric] = CountModel(mixer.space, *split_tables(tables * typical[:, None]))
    devices = tuple(
        SyntheticDevice(name, f"random device {index}", "gpu", "bfloat16") for index, name in enumerate(names)
    )
    return devices, replace(shipped, costs=costs, noise={}, devices=names)


def _with_noise(rng: np.random.Generator, tables: FloatArray, scale: npt.NDArray[np.float64]) -> FloatArray:
    """Return tables ``float64 (n, 54)`` with log-normal noise; ``scale`` is ``(n, 1, 1, 1)``."""
    n = len(tables)
    base = tables[:, BASE].reshape(n, 3, 3, 2)
    middle = base[:, :, 1:2].mean(axis=3, keepdims=True)

    def noise(deviation: float, *shape: int) -> FloatArray:
        factor: FloatArray = np.exp(scale * deviation * rng.standard_normal((n, *shape)))
        return factor

    parts = [middle * noise(0.10, 3, 1, 1) + (base - middle) * noise(0.30, 1, 1, 1)]
    for part, deviations in ((MLP, (0.20, 0.15, 0.10, 0.05)), (HEAD, (0.20, 0.10, 0.15, 0.05))):
        layer = tables[:, part].reshape(n, 3, 2, 3)
        for deviation, shape in zip(deviations, ((1, 1, 1), (3, 1, 1), (1, 1, 3), (3, 2, 3)), strict=True):
            layer = layer * noise(deviation, *shape)
        parts.append(layer)
    return np.concatenate([part.reshape(n, -1) for part in parts], axis=1)
