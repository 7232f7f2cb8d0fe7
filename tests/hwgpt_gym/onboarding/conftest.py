"""A device of known truth and noise, which measures in no time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from hwgpt_gym import Architecture, get_search_space
from hwgpt_gym.onboarding import measure
from hwgpt_gym.onboarding.coordinates import PER_WIDTH, model_of
from hwgpt_gym.onboarding.prior import LEVEL, make_prior
from hwgpt_gym.onboarding.records import Conditions, Timing


class FakeBackend:
    """Costs drawn from the prior, a machine that drifts by tens of percent, and noise of every run."""

    warms_up = True

    def __init__(self, scale: str = "s", noise: float = 0.01, seed: int = 0) -> None:
        self.space = get_search_space(scale)
        prior = make_prior("latency_ms", scale)
        self._rng = np.random.default_rng(seed)
        vector = self._rng.multivariate_normal(prior.mean, prior.covariance) + 3.0 * LEVEL
        vector[::PER_WIDTH] += self._rng.normal(0.0, 0.05, 3)
        self.truth = model_of(self.space, vector)
        self.noise = noise
        self.seconds = 0.0
        self.broken: set[str] = set()
        self.prepared: list[str] = []
        self.conditions = Conditions(backend="fake", threads=1, target="cpu", processor="a fake")

    def prepare(self, name: str) -> Callable[[], list[Timing]]:
        self.prepared.append(name)
        cost = float(self.truth.predict(self.space.encode([Architecture.from_string(name)]))[0])

        def run() -> list[Timing]:
            if name in self.broken:
                raise RuntimeError("out of memory")
            # Slow waves that every architecture sees alike, and a burst of contention now and then.
            drift = 0.2 * np.sin(self.seconds / 40.0) + (0.5 if self._rng.random() < 0.02 else 0.0)
            value = cost * float(np.exp(drift + self.noise * self._rng.normal()))
            self.seconds += value / 1e3
            return [{"wall": 1.1 * value, "cpu": value}]

        return run


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    fake = FakeBackend()
    clock = SimpleNamespace(monotonic=lambda: fake.seconds, time=lambda: 1.7e9 + fake.seconds)
    monkeypatch.setattr(measure, "time", clock)
    return fake
