"""What episodes are about: the context they are drawn with, and what a finished architecture earns.

Everything here is a function of arrays over lanes; state and randomness belong to the callers, who hand in uniform
random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import NOISE_UNIFORMS, Benchmark
from hwgpt_gym.devices import get_device
from hwgpt_gym.envs.naming import names_of
from hwgpt_gym.envs.settings import Settings
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.objective import BoundObjective, Objective
from hwgpt_gym.penalties import Outcome
from hwgpt_gym.search_space import EMBED_DIM, Encoded, FloatArray
from hwgpt_gym.surrogates.count_model import CountModel

DEVICE_FEATURES: Final = 21
"""The number of features that describe how one cost of a device depends on the architecture."""


class Contexts(NamedTuple):
    """The contexts of a batch of episodes.

    Attributes:
        device: Position of the device among the task's, ``intp (m,)``.
        budgets: The budget of every constraint, in the metric's unit, ``float64 (m, constraints)``.
    """

    device: npt.NDArray[np.intp]
    budgets: FloatArray


class Score(NamedTuple):
    """What a batch of finished architectures earned.

    Attributes:
        outcome: Reward, quality, penalty and feasibility, arrays ``(m,)``.
        metrics: Every metric, ``float64 (m,)``; measured ones where the task is noisy.
    """

    outcome: Outcome
    metrics: dict[str, FloatArray]


class Task:
    """The episodes of an environment with given settings; immutable, and shared by environments alike.

    Args:
        settings: The settings.

    Attributes:
        settings: The settings.
        bench: The benchmark, of all devices of the settings.
        constrained: The constrained costs.
        medians: The median of each constrained cost over the search space, ``float64 (devices, constraints)``.
        num_context_columns: The number of columns that describe a context in an observation.
        num_context_uniforms: How many uniform numbers the context of an episode takes.
        num_score_uniforms: How many uniform numbers the score of an architecture takes.

    Raises:
        ValueError: If the low end of a budget's range is above its high end.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._several = len(settings.devices) > 1
        device = list(settings.devices) if self._several else settings.devices[0]
        self.bench = Benchmark(settings.scale, device, world=settings.world)
        self.space = self.bench.space
        self.constrained = tuple(metric for metric, _, _ in settings.constraint)
        self.objective: BoundObjective = settings.lowest.bind(self.bench)
        self._low = self._per_device(self.objective.limits)
        self._high = self._per_device(settings.highest.bind(self.bench).limits)
        if np.any(self._low > self._high):
            device_index, column = np.argwhere(self._low > self._high)[0]
            raise ValueError(
                f"constraint[{self.constrained[column]!r}] must be a range (low, high) with low <= high, got "
                f"{self._low[device_index, column]:.6g} to {self._high[device_index, column]:.6g}"
            )
        self.medians = self._per_device({key: self.bench.quantile(key, 0.5) for key in self.constrained})
        self._drawn = np.flatnonzero((self._low < self._high).any(axis=0))
        self._device_features = self._describe_devices()
        width = len(self.constrained) + self._device_features.shape[1]
        self.num_context_columns = width if settings.has_context else 0
        self.num_context_uniforms = int(self._several) + len(self._drawn)
        self.num_score_uniforms = NOISE_UNIFORMS if settings.noise else 0
        self._device_names = np.array(settings.devices, dtype=object)

    def __deepcopy__(self, memo: dict[int, Any]) -> Task:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return get_task, (self.settings,)

    def draw_contexts(self, uniforms: FloatArray) -> Contexts:
        """Draw contexts: the device evenly, each budget evenly between the ends of its range.

        Args:
            uniforms: Uniform in [0, 1), ``float64 (m, num_context_uniforms)``: the device's if there are several,
                then those of the budgets that are ranges.
        """
        device = np.zeros(len(uniforms), dtype=np.intp)
        if self._several:
            device = (uniforms[:, 0] * len(self.settings.devices)).astype(np.intp)
        budgets = self._low[device]
        if len(self._drawn):
            low, high = budgets[:, self._drawn], self._high[device][:, self._drawn]
            budgets[:, self._drawn] = low + (high - low) * uniforms[:, int(self._several) :]
        return Contexts(device, budgets)

    def set_contexts(self, contexts: Contexts, options: Mapping[str, Any]) -> Contexts:
        """Replace the device or budgets of contexts by given ones.

        Args:
            contexts: The contexts that are drawn.
            options: ``device``, a name, and ``constraint``, which maps costs to budgets; either may be missing.

        Raises:
            ValueError: If the environment's observation shows no context, or a device or budget is not legal.
        """
        if not self.settings.has_context:
            raise ValueError(
                "options 'device' and 'constraint' need an environment whose observation shows them: make it with a "
                "list of devices or with a range (low, high) as a constraint"
            )
        device, constraint = options.get("device"), options.get("constraint")
        positions, budgets = contexts.device, contexts.budgets
        if device is not None:
            name = get_device(device).name
            if name not in self.settings.devices:
                raise ValueError(f"options['device'] must be one of {list(self.settings.devices)}, got {device!r}")
            # The budgets are drawn anew with the same numbers, as quantiles are the device's own.
            position = self.settings.devices.index(name)
            share = self._share(positions, budgets)
            positions = np.full_like(positions, position)
            budgets = self._low[position] + (self._high[position] - self._low[position]) * share
        if constraint is not None:
            budgets = budgets.copy()
            for metric, thresholds in self._resolve(constraint).items():
                budgets[:, self.constrained.index(metric)] = thresholds[positions]
        return Contexts(positions, budgets)

    def context_columns(self, contexts: Contexts) -> FloatArray:
        """Describe contexts for the observation, ``float64 (m, num_context_columns)`` within 0 and 1.

        First a column for each budget: with ``r`` its ratio to the device's median of that cost,
        ``r / (1 + r)``. Then the :func:`device_features` of each constrained cost that depends on the device.
        """
        relative = contexts.budgets / self.medians[contexts.device]
        return np.concatenate([relative / (1.0 + relative), self._device_features[contexts.device]], axis=1)

    def context_info(self, contexts: Contexts) -> dict[str, Any]:
        """Report contexts: ``device`` and ``constraint``; nothing where the environment shows none."""
        if not self.settings.has_context:
            return {}
        budgets = {metric: contexts.budgets[:, i] for i, metric in enumerate(self.constrained)}
        return {"device": self._device_names[contexts.device], "constraint": budgets}

    def score(self, encoded: Encoded, contexts: Contexts, uniforms: FloatArray | None = None) -> Score:
        """Evaluate finished architectures.

        Args:
            encoded: Complete architectures, ``int8 (m, D)``.
            contexts: Their contexts.
            uniforms: Uniform in [0, 1), ``float64 (m, num_score_uniforms)``; predictions instead of measurements
                if not given.
        """
        metrics = self._evaluate(encoded, contexts.device, self.bench.metrics)
        if uniforms is not None:
            factors = self.bench.noise_factors(uniforms, encoded[:, EMBED_DIM], contexts.device)
            metrics |= {key: metrics[key] * factor for key, factor in factors.items()}
        return Score(self._outcome(metrics, contexts.budgets), metrics)

    def predict_reward(self, encoded: Encoded, contexts: Contexts) -> FloatArray:
        """Return the reward of complete architectures without noise, ``float64 (m,)``: the potential of shaping."""
        keys = ("perplexity", *self.constrained)
        return self._outcome(self._evaluate(encoded, contexts.device, keys), contexts.budgets).reward

    def report(self, encoded: Encoded, contexts: Contexts, score: Score) -> dict[str, Any]:
        """Put together the information at the end of episodes, arrays ``(m,)`` by key."""
        return {
            "architecture": names_of(self.space, encoded),
            **score.metrics,
            "quality": score.outcome.quality,
            "penalty": score.outcome.penalty,
            "feasible": score.outcome.feasible,
            **self.context_info(contexts),
        }

    def objective_of(self, device: int, budgets: Sequence[float]) -> tuple[str, Objective]:
        """Return the device and the objective of one context, for the exact solver."""
        thresholds = {key: float(value) for key, value in zip(self.constrained, budgets, strict=True)}
        settings = self.settings
        return settings.devices[device], Objective(thresholds, settings.penalty, settings.weight)

    def _evaluate(self, encoded: Encoded, device: npt.NDArray[np.intp], keys: tuple[str, ...]) -> dict[str, FloatArray]:
        if self._several:
            return self.bench.evaluate_on(encoded, device, keys)
        return self.bench.evaluate(encoded, keys)

    def _outcome(self, metrics: Mapping[str, FloatArray], budgets: FloatArray) -> Outcome:
        ratios = [metrics[key] / budgets[:, i] for i, key in enumerate(self.constrained)]
        return self.objective.outcome(self.objective.quality(metrics["perplexity"]), ratios)

    def _per_device(self, thresholds: Mapping[str, Any]) -> FloatArray:
        """Bring one number or one a device into ``float64 (devices, constraints)``."""
        result = np.empty((len(self.settings.devices), len(self.constrained)))
        for column, key in enumerate(self.constrained):
            result[:, column] = thresholds[key]
        return result

    def _share(self, device: npt.NDArray[np.intp], budgets: FloatArray) -> FloatArray:
        """Return where budgets lie in their ranges, from 0 to 1."""
        low, width = self._low[device], (self._high - self._low)[device]
        return np.divide(budgets - low, width, out=np.zeros_like(budgets), where=width > 0.0)

    def _resolve(self, constraint: Mapping[str, Any]) -> dict[str, FloatArray]:
        """Turn given budgets into one a device, ``float64 (devices,)``."""
        if not isinstance(constraint, Mapping) or not set(constraint) <= set(self.constrained):
            raise ValueError(
                f"options['constraint'] must map some of {list(self.constrained)} to a budget, got {constraint!r}"
            )
        bound = Objective(constraint).bind(self.bench)
        return {key: np.broadcast_to(value, len(self.settings.devices)) for key, value in bound.limits.items()}

    def _describe_devices(self) -> FloatArray:
        rows = []
        for name in self.settings.devices:
            index = self.bench.surrogates.index_of(name)
            features = [
                device_features(self.bench.surrogates.costs[key][index])
                for key in self.constrained
                if key in DEVICE_METRICS
            ]
            rows.append(np.concatenate([np.empty(0), *features]))
        return np.array(rows)


@lru_cache(maxsize=64)
def get_task(settings: Settings) -> Task:
    """Return the task of settings; made once and shared."""
    return Task(settings)


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
