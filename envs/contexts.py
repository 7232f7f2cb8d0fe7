"""The contexts of episodes: drawing, setting and describing the device and the limits that one is about.

Everything here is a function of arrays over lanes; state and randomness belong to the callers, who hand in uniform
random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import echo
from hwgpt_gym.envs.settings import Settings
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.onboarding.devices import get_device
from hwgpt_gym.search_space import FloatArray
from hwgpt_gym.surrogates.count_model import CountModel

DEVICE_FEATURES: Final = 21
"""The number of features that describe how one cost of a device depends on the architecture."""


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
    """Draws, sets and describes the contexts of episodes with given settings; immutable.

    Args:
        settings: The settings.
        bench: The benchmark, of all devices of the settings.

    Attributes:
        constrained: The constrained costs.
        medians: The median of each constrained cost over the search space, ``float64 (devices, constraints)``.
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
        self._low = self._per_device(settings.lowest.bind(bench).limits)
        self._high = self._per_device(settings.highest.bind(bench).limits)
        if np.any(self._low > self._high):
            device, column = np.argwhere(self._low > self._high)[0]
            raise ValueError(
                f"constraint[{self.constrained[column]!r}] must be a range (low, high) with low <= high, got "
                f"{self._low[device, column]:.6g} to {self._high[device, column]:.6g}"
            )
        self.medians = self._per_device({key: bench.quantile(key, 0.5) for key in self.constrained})
        self._drawn = np.flatnonzero((self._low < self._high).any(axis=0))
        self._names = [device.name for device in bench.devices]
        self._device_names = np.array(self._names, dtype=object)
        self._device_features = self._describe_devices()
        for shared in (self._low, self._high, self.medians, self._device_features):
            shared.flags.writeable = False
        self.num_uniforms = int(self._several) + len(self._drawn)
        self.parts = context_parts(self.constrained) if settings.has_context else ()

    def draw(self, uniforms: FloatArray) -> Contexts:
        """Draw contexts: the device evenly, each limit evenly between the ends of its range.

        Args:
            uniforms: Uniform in [0, 1), ``float64 (m, num_uniforms)``: the device's if there are several, then those
                of the limits that are ranges.
        """
        device = np.zeros(len(uniforms), dtype=np.intp)
        if self._several:
            device = (uniforms[:, 0] * len(self._settings.devices)).astype(np.intp)
        limits = self._low[device]
        if len(self._drawn):
            low, high = limits[:, self._drawn], self._high[device][:, self._drawn]
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
                raise ValueError(f"options['device'] must be one of {self._names}, got {echo(device)}")
            # The limits are drawn anew with the same numbers, as quantiles are the device's own.
            position = self._names.index(name)
            share = self._share(positions, limits)
            positions = np.full_like(positions, position)
            limits = self._low[position] + (self._high[position] - self._low[position]) * share
        if constraint is not None:
            limits = limits.copy()
            for metric, values in self._resolve(constraint, device).items():
                limits[:, self.constrained.index(metric)] = values[positions]
        return Contexts(positions, limits)

    def columns(self, contexts: Contexts) -> FloatArray:
        """Describe contexts for the observation, within 0 and 1, ``float64 (m, columns)`` in the order of the parts.

        ``limits`` has a column for each constraint: with ``r`` the ratio of the limit to the device's median of that
        cost, ``r / (1 + r)``. ``devices`` has the :func:`device_features` of each constrained cost that depends on
        the device.
        """
        relative = contexts.limits / self.medians[contexts.device]
        return np.concatenate([relative / (1.0 + relative), self._device_features[contexts.device]], axis=1)

    def info(self, contexts: Contexts) -> dict[str, Any]:
        """Report contexts: ``device`` and ``constraint``; nothing where the environment shows none."""
        if not self._settings.has_context:
            return {}
        limits = {metric: contexts.limits[:, i] for i, metric in enumerate(self.constrained)}
        return {"device": self._device_names[contexts.device], "constraint": limits}

    def _per_device(self, limits: Mapping[str, Any]) -> FloatArray:
        """Bring one number or one a device into ``float64 (devices, constraints)``."""
        result = np.empty((len(self._settings.devices), len(self.constrained)))
        for column, key in enumerate(self.constrained):
            result[:, column] = limits[key]
        return result

    def _share(self, device: npt.NDArray[np.intp], limits: FloatArray) -> FloatArray:
        """Return where limits lie in their ranges, from 0 to 1."""
        low, width = self._low[device], (self._high - self._low)[device]
        return np.divide(limits - low, width, out=np.zeros_like(limits), where=width > 0.0)

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

    def _describe_devices(self) -> FloatArray:
        rows = []
        for name in self._names:
            index = self._bench.surrogates.index_of(name)
            features = [
                device_features(self._bench.surrogates.costs[key][index])
                for key in self.constrained
                if key in DEVICE_METRICS
            ]
            rows.append(np.concatenate([np.empty(0), *features]))
        return np.array(rows)


def context_parts(constrained: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Return names and widths of the parts of :meth:`ContextGenerator.columns` for some constrained costs."""
    per_device = sum(key in DEVICE_METRICS for key in constrained)
    return (("limits", len(constrained)), ("devices", DEVICE_FEATURES * per_device))


def device_features(model: CountModel) -> FloatArray:
    """Describe how a cost of one device depends on the architecture.

    For each embedding width, averaged over the bias and relative to the device's typical cost (that of the average
    architecture): the base, averaged over the depths, and what all layers of the middle depth cost with each MLP ratio
    and with each head count. A share ``x`` enters as ``(1 + x / (1 + |x|)) / 2``.

    Args:
        model: The cost model of one device.

    Returns:
        Within 0 and 1, ``float64 (21,)``.
    """
    layers = model.space.depths[len(model.space.depths) // 2]
    base = model.base.mean(axis=(1, 2))[:, None]
    parts = np.concatenate([base, layers * model.mlp.mean(axis=1), layers * model.head.mean(axis=1)], axis=1)
    typical = (parts[:, 0] + parts[:, 1:4].mean(axis=1) + parts[:, 4:7].mean(axis=1)).mean()
    share = parts.ravel() / typical
    result: FloatArray = (1.0 + share / (1.0 + np.abs(share))) / 2.0
    return result
