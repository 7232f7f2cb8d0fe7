"""What a finished architecture earns, and what is reported of it.

Everything here is a function of arrays over lanes; state and randomness belong to the callers, who hand in uniform
random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import NOISE_UNIFORMS, Benchmark
from hwgpt_gym.devices import Device
from hwgpt_gym.envs.construction import ObservationLayout
from hwgpt_gym.envs.contexts import ContextGenerator, Contexts
from hwgpt_gym.envs.naming import names_of
from hwgpt_gym.envs.problems import Problems
from hwgpt_gym.envs.settings import Settings
from hwgpt_gym.objective import BoundObjective
from hwgpt_gym.onboarding.devices import content_of, get_device
from hwgpt_gym.penalties import Outcome
from hwgpt_gym.search_space import EMBED_DIM, Encoded, FloatArray
from hwgpt_gym.synthetic_devices import make_pool


@dataclass(frozen=True, eq=False)
class Score:
    """What a batch of finished architectures earned.

    Attributes:
        outcome: Reward, quality, penalty and feasibility, arrays ``(m,)``.
        metrics: Every metric, ``float64 (m,)``; measured ones where the task is noisy.
        predicted_reward: The reward without noise, ``float64 (m,)``.
    """

    outcome: Outcome
    metrics: dict[str, FloatArray]
    predicted_reward: FloatArray

    def of(self, rows: npt.NDArray[np.intp]) -> Score:
        """Return copies of some rows."""
        metrics = {key: values[rows] for key, values in self.metrics.items()}
        return Score(Outcome._make(values[rows] for values in self.outcome), metrics, self.predicted_reward[rows])


class Task:
    """The episodes of an environment with given settings; immutable, and shared by environments alike.

    Args:
        settings: The settings.

    Attributes:
        settings: The settings.
        bench: The benchmark, of all devices of the settings.
        generator: The contexts of episodes.
        layout: The columns of an observation.
        constrained: The constrained costs.
        objective: The objective with the low end of every limit, bound to the benchmark.
        problems: What is optimal in contexts.
        num_score_uniforms: How many uniform numbers the score of an architecture takes.

    Raises:
        ValueError: If the low end of a limit's range is above its high end, or the optimum is to keep limits that no
            architecture keeps on one of the devices.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._several = len(settings.devices) > 1
        self.bench = _make_benchmark(settings)
        self.space = self.bench.space
        self.constrained = settings.constrained
        # The limits of a pool's devices are found when these are drawn.
        own = self.bench if settings.pool is None else self.bench.on(self.bench.devices[0])
        self.objective: BoundObjective = settings.lowest.bind(own)
        self.problems = Problems(settings, self.bench)
        self.generator = ContextGenerator(settings, self.bench)
        self.layout = ObservationLayout(self.space, self.generator.parts)
        self.num_score_uniforms = NOISE_UNIFORMS if settings.noise else 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Task:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return get_task, (self.settings,)

    def warn_of_limits(self) -> None:
        """Warn of limits that no architecture keeps, where the penalty takes them (others refuse them)."""
        if self.objective.unmeetable:
            gymnasium.logger.warn(self.objective.unmeetable)

    def score(self, encoded: Encoded, contexts: Contexts, uniforms: FloatArray | None = None) -> Score:
        """Evaluate finished architectures.

        Args:
            encoded: Complete architectures, ``int8 (m, D)``.
            contexts: Their contexts.
            uniforms: Uniform in [0, 1), ``float64 (m, num_score_uniforms)``; predictions instead of measurements
                if not given.
        """
        metrics = self._evaluate(encoded, contexts.device, self.bench.metrics)
        predicted = self._outcome(encoded, metrics, contexts)
        if uniforms is None:
            return Score(predicted, metrics, predicted.reward)
        factors = self.bench.noise_factors(uniforms, encoded[:, EMBED_DIM], contexts.device)
        metrics |= {key: metrics[key] * factor for key, factor in factors.items()}
        return Score(self._outcome(encoded, metrics, contexts), metrics, predicted.reward)

    def predict_reward(self, encoded: Encoded, contexts: Contexts) -> FloatArray:
        """Return the reward of complete architectures without noise, ``float64 (m,)``: the potential of shaping."""
        keys = ("perplexity", *self.constrained)
        return self._outcome(encoded, self._evaluate(encoded, contexts.device, keys), contexts).reward

    def ratios(self, encoded: Encoded, contexts: Contexts) -> FloatArray:
        """Return the predicted costs of complete architectures by their limits, ``float64 (m, constraints)``."""
        metrics = self._evaluate(encoded, contexts.device, self.constrained)
        return np.reshape(self._ratios(encoded, metrics, contexts), (len(self.constrained), -1)).T

    def report(self, encoded: Encoded, contexts: Contexts, score: Score) -> dict[str, Any]:
        """Put together the information at the end of episodes, arrays ``(m,)`` by key."""
        regret = {}
        if self.settings.regret:
            regret["regret"] = self.problems.optimal_rewards(contexts) - score.predicted_reward
        return {
            "architecture": names_of(self.space, encoded),
            **score.metrics,
            "quality": score.outcome.quality,
            "penalty": score.outcome.penalty,
            "feasible": score.outcome.feasible,
            **regret,
            **self.generator.info(contexts),
        }

    def _evaluate(self, encoded: Encoded, device: npt.NDArray[np.intp], keys: tuple[str, ...]) -> dict[str, FloatArray]:
        if self._several:
            return self.bench.evaluate_on(encoded, device, keys)
        return self.bench.evaluate(encoded, keys)

    def _outcome(self, encoded: Encoded, metrics: Mapping[str, FloatArray], contexts: Contexts) -> Outcome:
        ratios = self._ratios(encoded, metrics, contexts)
        quality = self.objective.quality(metrics["perplexity"])
        return self.objective.outcome(quality, ratios, self.problems.jumps(contexts))

    def _ratios(self, encoded: Encoded, metrics: Mapping[str, FloatArray], contexts: Contexts) -> list[FloatArray]:
        margins = self.objective.margins(encoded, contexts.device)
        costs = [metrics[key] * margins[key] if key in margins else metrics[key] for key in self.constrained]
        return [cost / contexts.limits[:, i] for i, cost in enumerate(costs)]


def _make_benchmark(settings: Settings) -> Benchmark:
    devices: Sequence[Device]
    if settings.pool is None:
        devices, surrogates = _find_devices(settings), None
    else:
        devices, surrogates = make_pool(settings.scale, len(settings.devices), *settings.pool)
    return Benchmark(settings.scale, devices if len(devices) > 1 else devices[0], surrogates, settings.world)


def _find_devices(settings: Settings) -> list[Device]:
    """Find the devices of settings, which may come from another process.

    Raises:
        ValueError: If a profile is not the one that the settings were made of.
    """
    devices = list(map(get_device, settings.devices))
    for device, content, reference in zip(devices, settings.contents, settings.devices, strict=True):
        if content_of(device) != content:
            raise ValueError(f"the device {reference!r} has changed since the environment's settings were made")
    return devices


@lru_cache(maxsize=64)
def get_task(settings: Settings) -> Task:
    """Return the task of settings; made once and shared."""
    return Task(settings)
