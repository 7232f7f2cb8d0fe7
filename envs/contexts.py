"""The contexts of episodes: drawing, setting and describing the device and the limits that one is about.

Everything here is a function of arrays over lanes; state and randomness belong to the callers, who hand in uniform
random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import echo
from hwgpt_gym.envs.limit_shares import LimitTables, limit_parts
from hwgpt_gym.envs.settings import Settings
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.onboarding.devices import get_device
from hwgpt_gym.search_space import FloatArray
from hwgpt_gym.surrogates.cost_tables import cost_table


class Contexts(NamedTuple):
    """The contexts of a batch of episodes.

    Attributes:
        device: Position of the device among the task's, ``intp (m,)``.
        limits: The limit of every constraint, in the metric's unit, ``float64 (m, constraints)``.
    """

    device: npt.NDArray[np.intp]
    limits: FloatArray

    def of(self, lanes: npt.NDArray[np.intp]) -> Contexts:
        """Return copies of the contexts of some lanes."""
        return Contexts._make(array[lanes] for array in self)

    def put(self, lanes: npt.NDArray[np.intp], contexts: Contexts) -> None:
        """Replace the contexts of some lanes."""
        for array, values in zip(self, contexts, strict=True):
            array[lanes] = values


class ContextGenerator:
    """Draws, sets and describes the contexts of episodes with given settings.

    Args:
        settings: The settings.
        bench: The benchmark, of all devices of the settings.

    Attributes:
        constrained: The constrained costs.
        num_uniforms: How many uniform numbers the context of an episode takes.
        parts: Names and widths of the columns that describe a context in an observation; none where it shows none.

    Raises:
        ValueError: If the low end of a limit's range is above its high end.
    """

    def __init__(self, settings: Settings, bench: Benchmark) -> None:
        self.constrained = settings.constrained
        self._settings = settings
        self._bench = bench
        self._several = len(settings.devices) > 1
        self._names = [device.name for device in bench.devices]
        self._device_names = np.array(self._names, dtype=object)
        ends = [limit[1:] for limit in settings.constraint]
        self._drawn = np.flatnonzero([low != high for low, high in ends])
        self.num_uniforms = int(self._several) + len(self._drawn)
        self.parts = limit_parts(len(self.constrained)) if settings.has_context else ()
        shape = (len(settings.devices), len(self.constrained))
        self._low, self._high = np.full(shape, np.nan), np.full(shape, np.nan)
        # One quantile can be kept on every device: then nothing has to be known of those that were not drawn yet.
        if settings.pool is None or len(ends) != 1 or not all(isinstance(end, str) for end in ends[0]):
            self._set_ends(slice(None), bench)

    @cached_property
    def limited(self) -> LimitTables | None:
        """What observations show of the constrained costs; nothing if there are none, or they show no context."""
        if not self._settings.has_context or not self.constrained:
            return None
        return LimitTables(self._bench.space, np.stack([self._cost_tables(key) for key in self.constrained], axis=1))

    @cached_property
    def medians(self) -> FloatArray:
        """The median of each constrained cost over the search space, ``float64 (devices, constraints)``."""
        medians = self._per_device({key: self._bench.quantile(key, 0.5) for key in self.constrained}, len(self._names))
        medians.flags.writeable = False
        return medians

    def draw(self, uniforms: FloatArray) -> Contexts:
        """Draw contexts: the device evenly, each limit evenly between the ends of its range.

        Args:
            uniforms: Uniform in [0, 1), ``float64 (m, num_uniforms)``: the device's if there are several, then those
                of the limits that are ranges.
        """
        device = np.zeros(len(uniforms), dtype=np.intp)
        if self._several:
            device = (uniforms[:, 0] * len(self._settings.devices)).astype(np.intp)
        limits, highest = self._ends(device)
        if len(self._drawn):
            low, high = limits[:, self._drawn], highest[:, self._drawn]
            limits[:, self._drawn] = low + (high - low) * uniforms[:, int(self._several) :]
        return Contexts(device, limits)

    def replace(self, contexts: Contexts, options: Mapping[str, Any]) -> Contexts:
        """Replace the device or limits of contexts by given ones.

        Args:
            contexts: The contexts that are drawn.
            options: ``device``, a name, and ``constraint``, which maps costs to limits; either may be missing.

        Raises:
            ValueError: If the environment's observation shows no context, or a device or limit is not legal.
        """
        settings = self._settings
        if not settings.has_context:
            raise ValueError(
                "options 'device' and 'constraint' need an environment whose observation shows them: make it with a "
                "list of devices or with a range (low, high) as a constraint"
            )
        device, constraint = options.get("device"), options.get("constraint")
        positions, limits = contexts
        if device is not None:
            # One of its own devices goes by its name even if it is known by its path alone.
            name = device if device in self._names else get_device(device).name
            if name not in self._names:
                legal = self._names if settings.pool is None else f"{self._names[0]} to {self._names[-1]}"
                raise ValueError(f"options['device'] must be one of {legal}, got {echo(device)}")
            # The limits are drawn anew with the same numbers, as quantiles are the device's own.
            low, high = self._ends(positions)
            share = np.divide(limits - low, high - low, out=np.zeros_like(limits), where=high > low)
            positions = np.full_like(positions, self._names.index(name))
            low, high = self._ends(positions)
            limits = low + (high - low) * share
        if constraint is not None:
            limits = limits.copy()
            for metric, values in self._resolve(constraint, device).items():
                limits[:, self.constrained.index(metric)] = values[positions]
        return Contexts(positions, limits)

    def info(self, contexts: Contexts) -> dict[str, Any]:
        """Report contexts: ``device`` and ``constraint``; nothing where the environment shows none."""
        if not self._settings.has_context:
            return {}
        limits = {metric: contexts.limits[:, i] for i, metric in enumerate(self.constrained)}
        return {"device": self._device_names[contexts.device], "constraint": limits}

    def _ends(self, device: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the ranges on some devices, ``float64 (m, constraints)`` twice."""
        low, high = self._low[device], self._high[device]
        unknown = np.isnan(low).any(axis=1)
        if not unknown.any():
            return low, high
        for position in np.unique(device[unknown]).tolist():
            self._set_ends(slice(position, position + 1), self._bench.on(self._names[position]))
        return self._low[device], self._high[device]

    def _set_ends(self, devices: slice, bench: Benchmark) -> None:
        """Find the ends of the ranges on all devices of a benchmark, which are some of the settings'."""
        settings, count = self._settings, len(bench.devices)
        low, high = (
            self._per_device(objective.bind(bench).limits, count) for objective in (settings.lowest, settings.highest)
        )
        if np.any(low > high):
            device, column = np.argwhere(low > high)[0]
            raise ValueError(
                f"constraint[{self.constrained[column]!r}] must be a range (low, high) with low <= high, got "
                f"{low[device, column]:.6g} to {high[device, column]:.6g}"
            )
        self._low[devices], self._high[devices] = low, high

    def _per_device(self, limits: Mapping[str, Any], count: int) -> FloatArray:
        """Bring one number or one a device into ``float64 (devices, constraints)``."""
        result = np.empty((count, len(self.constrained)))
        for column, key in enumerate(self.constrained):
            result[:, column] = limits[key]
        return result

    def _resolve(self, constraint: Mapping[str, Any], device: str | None) -> dict[str, FloatArray]:
        """Turn given limits into one a device, ``float64 (devices,)``.

        They are checked like those of the settings: with the low ends of the others, on the given device or on all.
        """
        if not isinstance(constraint, Mapping) or not set(constraint) <= set(self.constrained):
            raise ValueError(
                f"options['constraint'] must map some of {list(self.constrained)} to a limit, got {echo(constraint)}"
            )
        lowest = self._settings.lowest
        given = replace(lowest, constraints={**lowest.constraints, **constraint})
        bound = given.bind(self._bench if device is None else self._bench.on(device))
        return {key: np.broadcast_to(bound.limits[key], len(self._settings.devices)) for key in constraint}

    def _cost_tables(self, metric: str) -> FloatArray:
        """Return the tables of a cost on all devices, ``float64 (devices, 54)``."""
        confidence, bench = self._settings.confidence, self._bench
        if confidence is not None:
            costs = (bench.on(device).cautious_cost(metric, confidence) for device in bench.devices)
            return np.array([cost_table(cost) for cost in costs])
        if metric not in DEVICE_METRICS:
            return np.tile(cost_table(bench.on(self._names[0]).count_model(metric)), (len(self._names), 1))
        return cost_table(bench.surrogates.costs[metric][[bench.surrogates.index_of(name) for name in self._names]])
