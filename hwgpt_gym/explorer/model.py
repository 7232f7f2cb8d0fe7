"""What a page knows: fronts, optima, prices and what architectures cost, each worked out once.

Everything here is a function of a :class:`~hwgpt_gym.explorer.state.State` and of arrays; nothing knows of a browser.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any, Final, TypeVar

import numpy as np

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_list
from hwgpt_gym.devices import DEVICES, Device
from hwgpt_gym.explorer.limit_index import Combinations, LimitIndex
from hwgpt_gym.explorer.state import MOST_DEVICES, Compared, State, check_device_at, read_query, sentence_of
from hwgpt_gym.metrics import COST_METRICS, METRICS
from hwgpt_gym.objective import BoundObjective, Objective
from hwgpt_gym.onboarding.devices import default_scale, get_device, registered_devices
from hwgpt_gym.optimum import ParetoFront, pareto_front
from hwgpt_gym.optimum.worlds import NORMAL_WIDTHS
from hwgpt_gym.search_space import SEARCH_SPACES, Architecture, Encoded, FloatArray
from hwgpt_gym.surrogates.worlds import load_worlds

CLOUD: Final = 400
"""Random architectures behind the front. A browser redraws them with every step of a slider."""

INTERVAL: Final = NORMAL_WIDTHS[90]
"""Half the width of a central interval of 90 %, in standard deviations of a normal distribution."""

_CACHED: Final = 48
_BISECTIONS: Final = 14

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Front:
    """An exact front of perplexity against a cost, and how sure its perplexities are.

    Attributes:
        front: The front.
        low: Lower ends of the intervals of measured perplexity that hold 90 %, ``float64 (n,)``.
        high: Their upper ends.
        metrics: Every metric of the front's architectures, each ``float64 (n,)``.
    """

    front: ParetoFront
    low: FloatArray
    high: FloatArray
    metrics: Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Judged:
    """An architecture on a device, under limits.

    Attributes:
        encoded: The architecture, ``int8 (1, D)``.
        architecture: The same.
        metrics: Every metric.
        limits: The limits in the metrics' units.
        quality: Scaled log-perplexity.
        penalty: What exceeding the limits costs.
        reward: Quality less penalty.
        feasible: Whether every limit is kept.
    """

    encoded: Encoded
    architecture: Architecture
    metrics: Mapping[str, float]
    limits: Mapping[str, float]
    quality: float
    penalty: float
    reward: float
    feasible: bool


class Explorer:
    """Answers a page's questions, of the shipped devices, of registered ones and of those that are given.

    Args:
        devices: The devices that a page shows at first: names, paths of profiles, or profiles.
        scale: The search space that it shows at first; by default that of the devices' profiles.
        compared: Architectures that it compares at first.

    Attributes:
        devices: The devices that can be shown, by name.
        default: What a page shows at first.
        lock: Held by whoever works with the tables that all pages share.

    Raises:
        FileNotFoundError: If a path leads nowhere.
        ValueError: If a device or the scale is not known, or they do not fit each other.
    """

    def __init__(
        self,
        devices: Sequence[str | os.PathLike[str] | Device] = ("a6000",),
        scale: str | None = None,
        compared: Sequence[Compared] = (),
    ) -> None:
        shown = [get_device(device) for device in check_list("devices", devices, "devices")]
        self.devices: dict[str, Device] = dict(DEVICES)
        for name in registered_devices():
            with suppress(ValueError):  # A damaged profile is not shown; it is said where it is asked for.
                self.devices[name] = get_device(name)
        self.devices |= {device.name: device for device in shown}
        names = tuple(dict.fromkeys(device.name for device in shown))
        if not 1 <= len(names) <= MOST_DEVICES:
            raise ValueError(f"from 1 to {MOST_DEVICES} devices can be side by side, got {list(names)}")
        scale = default_scale(shown) if scale is None else scale
        self._cache: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self.lock = RLock()
        for device in shown:
            self.bench(scale, device.name)
        self.default = State(
            scale=scale,
            devices=names,
            compared=tuple(check_list("compared", compared, "architectures with their names")),
        )

    def bench(self, scale: str, device: str) -> Benchmark:
        """Return the benchmark of a device."""
        return self._once(("bench", scale, device), lambda: Benchmark(scale, self.devices[device]))

    def costs(self, state: State) -> list[str]:
        """Return the costs that are known of all devices that are shown."""
        benches = [self.bench(state.scale, name) for name in state.devices]
        return [key for key in COST_METRICS if all(key in bench.metrics for bench in benches)]

    def scales(self, state: State) -> list[str]:
        """Return the search spaces at which all devices that are shown are known."""
        found = []
        for scale in SEARCH_SPACES:
            with suppress(ValueError):
                for name in state.devices:
                    check_device_at(self.devices[name], scale)
                found.append(scale)
        return found

    def read(self, query: str) -> tuple[State, list[str]]:
        """Return the state of an address, and what was wrong in it, in sentences (:func:`read_query`)."""
        state, wrong = read_query(query, self.devices, self.default)
        known = self.costs(state)
        unknown = [key for key in dict.fromkeys((state.cost, *dict(state.limits))) if key not in known]
        wrong += [f"{METRICS[key].label} is not known of every device that is shown." for key in unknown]
        limits = tuple((key, limit) for key, limit in state.limits if key in known)
        return replace(state, cost=state.cost if state.cost in known else known[0], limits=limits), wrong

    def front(self, scale: str, device: str, cost: str) -> Front:
        """Return the exact front of perplexity against a cost."""
        return self._once(("front", scale, device, cost), lambda: self._find_front(scale, device, cost))

    def cloud(self, scale: str, device: str) -> Mapping[str, FloatArray]:
        """Return every metric of random architectures, the same ones on every device, each ``float64 (n,)``."""
        bench = self.bench(scale, device)
        encoded = self.cloud_architectures(scale)
        return self._once(("cloud", scale, device), lambda: bench.evaluate(encoded))

    def cloud_architectures(self, scale: str) -> Encoded:
        """Return random architectures, ``int8 (n, D)``."""
        return SEARCH_SPACES[scale].sample(np.random.default_rng(0), CLOUD)

    def index(self, scale: str, device: str) -> LimitIndex:
        """Return the constrained optima of a device."""
        bench = self.bench(scale, device)
        combinations = self._once(("combinations", scale), lambda: Combinations(bench.chain_model("perplexity")))
        return self._once(("index", scale, device), lambda: LimitIndex(bench, combinations))

    def limits(self, state: State, device: str) -> dict[str, float]:
        """Return the limits on a device, in the metrics' units.

        Raises:
            ValueError: If no architecture keeps them, or one makes no sense; the message says what does.
        """
        return self._bound(state, device)[1]

    def optimum(self, state: State, device: str) -> Judged:
        """Return the certified constrained optimum on a device.

        Raises:
            ValueError: As :meth:`limits`.
        """
        bound, limits = self._bound(state, device)
        with self.lock:
            found = self.index(state.scale, device).best(limits)
        if found is None:
            reason = bound.unmeetable or "no architecture keeps all of these limits"
            raise ValueError(reason)
        metrics = _floats(bound.bench, found)
        quality = float(bound.quality(np.array([metrics["perplexity"]]))[0])
        return Judged(found, bound.bench.space.decode(found)[0], metrics, limits, quality, 0.0, quality, True)

    def optima(self, state: State) -> tuple[dict[str, Judged], list[str]]:
        """Return the optimum of each device that is shown, and why another one has none, in sentences."""
        optima: dict[str, Judged] = {}
        problems = []
        for name in state.devices:
            try:
                optima[name] = self.optimum(state, name)
            except ValueError as error:
                problems.append(sentence_of(error))
        return optima, problems

    def metrics(self, device: str, architecture: Architecture) -> dict[str, float]:
        """Return every metric of an architecture on a device."""
        bench = self.bench(architecture.scale, device)
        return _floats(bench, bench.space.encode([architecture]))

    def judge(self, state: State, device: str, architecture: Architecture) -> Judged:
        """Return what an architecture costs and earns on a device.

        Raises:
            ValueError: As :meth:`limits`, or if it is of another scale.
        """
        bench = self.bench(state.scale, device)
        encoded = bench.space.encode([architecture])
        with self.lock:
            bound = state.objective.bind(bench)
            outcome = bound.evaluate(bench.evaluate(encoded, bound.metrics), jump=self._jump(state, device))
        metrics = _floats(bench, encoded)
        limits = {key: float(limit) for key, limit in bound.limits.items()}
        quality, penalty, reward = (float(values[0]) for values in (outcome.quality, outcome.penalty, outcome.reward))
        feasible = bool(outcome.feasible[0])
        return Judged(encoded, architecture, metrics, limits, quality, penalty, reward, feasible)

    def level(self, scale: str, device: str, metric: str, limit: float) -> float:
        """Return the share of random architectures that keep a limit in the metric's unit, from 0 to 1."""
        bench = self.bench(scale, device)
        low, high = 0.0, 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2.0
            low, high = (middle, high) if bench.quantile(metric, middle) <= limit else (low, middle)
        return (low + high) / 2.0

    def _bound(self, state: State, device: str) -> tuple[BoundObjective, dict[str, float]]:
        # Whether limits can be kept, the index says sooner than an objective under whose penalty they have to be.
        bound = Objective(dict(state.limits), penalty="hinge").bind(self.bench(state.scale, device))
        return bound, {key: float(limit) for key, limit in bound.limits.items()}

    def _jump(self, state: State, device: str) -> float:
        bench = self.bench(state.scale, device)
        return self._once(("jump", state.scale, device, state.limits), lambda: state.objective.bind(bench).jump)

    def _find_front(self, scale: str, device: str, cost: str) -> Front:
        bench = self.bench(scale, device)
        front = pareto_front(bench, ("perplexity", cost))
        worlds = load_worlds(scale)
        deviation = INTERVAL * worlds.standard_deviation(front.encoded, worlds.model_form_factor)
        perplexity = front.values[:, 0]
        metrics = bench.evaluate(front.encoded)
        return Front(front, perplexity * np.exp(-deviation), perplexity * np.exp(deviation), metrics)

    def _once(self, key: tuple[Any, ...], make: Callable[[], Value]) -> Value:
        """Return what is made once, by one thread; what was used last is kept."""
        with self.lock:
            if key not in self._cache:
                self._cache[key] = make()
            self._cache.move_to_end(key)
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
            value: Value = self._cache[key]
            return value


def _floats(bench: Benchmark, encoded: Encoded) -> dict[str, float]:
    return {key: float(values[0]) for key, values in bench.evaluate(encoded).items()}
