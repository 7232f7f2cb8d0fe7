"""The benchmark: architectures in, metrics out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym import analytic
from hwgpt_gym.checks import check_array, check_between, check_list, check_rng, check_type, echo
from hwgpt_gym.devices import DEVICES, Device
from hwgpt_gym.metrics import COST_METRICS, DEVICE_METRICS, METRICS, get_metric
from hwgpt_gym.onboarding.devices import ProfiledDevice, default_scale, get_device
from hwgpt_gym.onboarding.surrogates import cost_covariance, known_metrics, surrogates_of
from hwgpt_gym.search_space import (
    EMBED_DIM,
    GROUPS,
    SEARCH_SPACES,
    Architecture,
    Encoded,
    FloatArray,
    SearchSpace,
    read_architecture,
)
from hwgpt_gym.surrogates.cautious_cost import TERMS, CautiousCost
from hwgpt_gym.surrogates.chain_extremes import chain_extremes
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.effects import layer_effects
from hwgpt_gym.surrogates.features import Features, extract
from hwgpt_gym.surrogates.quantiles import cost_quantile, sampled_quantile
from hwgpt_gym.surrogates.store import Surrogates, load_surrogates
from hwgpt_gym.surrogates.worlds import load_worlds

if TYPE_CHECKING:
    import pandas

    from hwgpt_gym.onboarding.profile import DeviceProfile

AnyDevice: TypeAlias = "str | os.PathLike[str] | Device | DeviceProfile"
"""What :func:`hwgpt_gym.get_device` takes for a device."""

CHUNK: Final = 4_096
"""Architectures evaluated at once: intermediate results then stay in the processor's caches."""

CACHED: Final = 256
"""Entries that each cache of a benchmark has at most."""

ENERGY_WARNING: Final = (
    "the intervals of a profile's energy cover too little: those of 90 % hold 70 to 81 % of the costs of devices that "
    "were left out"
)

NOISE_UNIFORMS: Final = 4
"""Uniform numbers that one measurement takes: session and repeat of latency, then of energy."""

Metrics = dict[str, FloatArray]


class Benchmark:
    """Predicts every metric of an architecture, from surrogates fitted to real measurements.

    Args:
        scale: The search space, ``"s"``, ``"m"`` or ``"l"``; by default that of the device's profile if it holds one,
            else ``"s"``.
        device: The device whose latency and energy to predict: a shipped one by name whatever the case, one of the
            user's by its registered name, by the path of its profile or as a profile; ``None`` for the metrics that do
            not depend on a device; a list of such or ``"all"`` for several, whose metrics then have shape
            ``(n, devices)`` and are those that all of them have.
        surrogates: The surrogates to use instead of the shipped ones of ``scale``; their own scale then counts.
        world: A posterior world, 0 to 63, whose perplexity and accuracy to predict instead of the nominal ones
            (:mod:`hwgpt_gym.surrogates.worlds`).

    Attributes:
        space: The search space.
        devices: The devices, in the order of the last axis of what depends on them.
        surrogates: The surrogates of the scale: of all shipped devices or, if one is the user's, of its devices.
        world: The posterior world, ``None`` for the nominal models.

    Raises:
        FileNotFoundError: If the path of a profile leads nowhere.
        ValueError: If the scale, the world or a device is unknown, to the surrogates too, no or a repeated device is
            listed, or a device was not measured at the scale.

    Example:
        >>> import numpy as np
        >>> from hwgpt_gym import Benchmark
        >>> bench = Benchmark(scale="s", device="a6000")
        >>> encoded = bench.space.sample(np.random.default_rng(0), 1000)
        >>> bench.evaluate(encoded, metrics=["perplexity", "latency_ms"])["latency_ms"].shape
        (1000,)
    """

    def __init__(
        self,
        scale: str | None = None,
        device: AnyDevice | Sequence[AnyDevice] | None = "a6000",
        surrogates: Surrogates | None = None,
        world: int | None = None,
    ) -> None:
        if surrogates is not None:
            check_type("surrogates", surrogates, Surrogates, "Surrogates, or None for the shipped ones")
        elif isinstance(scale, str) and scale.lower() in DEVICES:
            raise ValueError(f"scale must be one of {list(SEARCH_SPACES)}: did you mean device={scale!r}?")
        self._several, self.devices = _resolve_devices(device, surrogates)
        if surrogates is None:
            surrogates = load_surrogates(default_scale(self.devices) if scale is None else scale)
        self.space: SearchSpace = surrogates.space
        self._nominal: Surrogates = surrogates
        self.world = world
        answering = surrogates if world is None else load_worlds(self.scale).surrogates(surrogates, world)
        self.surrogates: Surrogates = surrogates_of(answering, self.devices)
        positions = [self.surrogates.index_of(item.name) for item in self.devices]
        self._device_index = np.array(positions, dtype=np.intp)
        self._count_models = self._bind_costs()
        costs = self._count_models
        self._metrics = tuple(key for key, metric in METRICS.items() if metric.kind == "quality" or key in costs)
        self._stacks: dict[tuple[str, ...], tuple[CountModel, dict[str, int | slice]]] = {}
        self._quantiles: dict[tuple[str, float], FloatArray] = {}
        self._views: dict[str, Benchmark] = {}

    @property
    def scale(self) -> str:
        """The name of the search space."""
        return self.space.scale

    @property
    def device(self) -> Device | None:
        """The device, if it is one; ``None`` if there is none or there are several."""
        return self.devices[0] if self.devices and not self._several else None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that this benchmark predicts; without a device, those that need none."""
        return self._metrics

    def on(self, device: str | Device) -> Benchmark:
        """Return the benchmark of one of the devices alone; made once for each.

        Args:
            device: One of :attr:`devices`, by name whatever the case.

        Raises:
            ValueError: If it is none of them.

        Example:
            >>> Benchmark("s", ["a6000", "h100"]).on("h100")
            Benchmark(scale='s', device='h100')
        """
        name = device.name if isinstance(device, Device) else device
        names = [item.name for item in self.devices]
        # A name of one of its own devices needs no look-up: the device may be known to nobody else.
        name = name if isinstance(name, str) and name in names else get_device(name).name
        if name not in names:
            raise ValueError(f"device must be one of {[item.name for item in self.devices]}, got {echo(name)}")
        if not self._several:
            return self
        if name not in self._views:
            own = next(item for item in self.devices if item.name == name)
            self._views[name] = Benchmark(self.scale, own, self._nominal, self.world)
        return self._views[name]

    def __repr__(self) -> str:
        names: Any = [device.name for device in self.devices] if self._several else self.device and self.device.name
        world = "" if self.world is None else f", world={self.world}"
        return f"Benchmark(scale={self.scale!r}, device={names!r}{world})"

    def evaluate(self, encoded: npt.ArrayLike, metrics: Iterable[str] | None = None) -> Metrics:
        """Predict metrics of a batch of architectures, of the device in its median state.

        A row's results do not depend on the batch it stands in, to the last bit. Memory use beyond the result is
        constant: the batch is worked on in pieces.

        Args:
            encoded: The architectures, integers ``(n, D)``.
            metrics: The metrics to predict; all of :attr:`metrics` by default.

        Returns:
            For each metric ``float64 (n,)`` in its unit; ``(n, devices)`` for latency and energy if the benchmark
            is of several devices.

        Raises:
            ValueError: If an architecture is not valid, or a metric unknown or in need of a device.
        """
        keys = self._check_metrics(metrics)
        return self._predict(self.space.validate(encoded), keys)

    def evaluate_on(
        self, encoded: npt.ArrayLike, device: npt.NDArray[np.intp], metrics: Iterable[str] | None = None
    ) -> Metrics:
        """Predict metrics of every architecture on a device of its own.

        Args:
            encoded: The architectures, integers ``(n, D)``.
            device: Position in :attr:`devices` of each architecture's device, ``intp (n,)``.
            metrics: As for :meth:`evaluate`.

        Returns:
            For each metric ``float64 (n,)`` in its unit.

        Raises:
            ValueError: As :meth:`evaluate`, or if a device does not exist.
        """
        keys = self._check_metrics(metrics)
        encoded = self.space.validate(encoded)
        positions = check_array("device", device, "iu", f"positions from 0 to {len(self.devices) - 1} in bench.devices")
        if positions.shape != (len(encoded),) or np.any((positions < 0) | (positions >= len(self.devices))):
            raise ValueError(
                f"device must hold {len(encoded)} positions from 0 to {len(self.devices) - 1}, got {echo(device)}"
            )
        return self._predict(encoded, keys, positions.astype(np.intp) if self._several else None)

    def measure(
        self, encoded: npt.ArrayLike, rng: np.random.Generator, metrics: Iterable[str] | None = None
    ) -> Metrics:
        """Draw what a measurement of each architecture would show: the prediction with the device's noise.

        Latency and energy vary, as one observation of the benchmark's profiling would; the other metrics are
        deterministic. Each architecture takes the same draws whichever metrics are asked for.

        Args:
            encoded: The architectures, integers ``(n, D)``.
            rng: The generator to draw from.
            metrics: As for :meth:`evaluate`.

        Returns:
            As :meth:`evaluate`.

        Raises:
            TypeError: If ``rng`` is no generator.
            ValueError: As :meth:`evaluate`.
        """
        check_rng(rng, "bench.measure(encoded, np.random.default_rng(0))")
        keys = self._check_metrics(metrics)
        encoded = self.space.validate(encoded)
        result = self._predict(encoded, keys)
        devices = len(self.devices)
        if devices:
            uniforms = rng.random((len(encoded), devices, NOISE_UNIFORMS)).reshape(-1, NOISE_UNIFORMS)
            device = np.tile(np.arange(devices), len(encoded))
            factors = self.noise_factors(uniforms, np.repeat(encoded[:, EMBED_DIM], devices), device)
            for key in set(keys) & set(factors):
                result[key] = result[key] * factors[key].reshape(result[key].shape)
        return result

    def noise_factors(
        self, uniforms: FloatArray, embed_dim: npt.NDArray[Any], device: npt.NDArray[np.intp]
    ) -> dict[str, FloatArray]:
        """Turn uniform numbers into the factors of measurements on predictions.

        Args:
            uniforms: Uniform in [0, 1), ``float64 (n, 4)``: session and repeat of latency, then of energy.
            embed_dim: Choice index of the embedding width, ``(n,)``.
            device: Position in :attr:`devices`, ``intp (n,)``.

        Returns:
            For latency and energy, ``float64 (n,)``.

        Raises:
            TypeError: If an array is of another type.
            ValueError: If a shape or a value is not legal.
        """
        uniforms = check_array("uniforms", uniforms, "iuf", "numbers from 0 up to 1")
        width, position = (
            check_array(name, array, "iu", "positions").astype(np.intp)
            for name, array in (("embed_dim", embed_dim), ("device", device))
        )
        n = len(width) if width.ndim == 1 else -1
        for name, array, shape, end in (
            ("uniforms", uniforms, (n, NOISE_UNIFORMS), 1.0),
            ("embed_dim", width, (n,), len(self.space.embed_dims)),
            ("device", position, (n,), len(self.devices)),
        ):
            if array.shape != shape or not np.all((array >= 0) & (array < end)):
                raise ValueError(f"{name} must be of shape {shape}, from 0 up to {end}, got {echo(array)}")
        index = self._device_index[position]
        return {
            key: self.surrogates.noise[key].factors(uniforms[:, 2 * i : 2 * i + 2], index, width)
            for i, key in enumerate(DEVICE_METRICS)
            if key in self._count_models
        }

    def query(self, architecture: Architecture | str | Mapping[str, Any]) -> dict[str, Any]:
        """Predict every metric of one architecture.

        Args:
            architecture: An :class:`Architecture`, upstream's name of one, or upstream's ``sample_*`` dictionary.

        Returns:
            Each metric as a float; with several devices, a dictionary by device for latency and energy.

        Raises:
            ValueError: If it is no architecture of this scale.
        """
        values = self._predict(self.space.encode([read_architecture(architecture, self.scale)]), self.metrics)
        names = [device.name for device in self.devices]
        return {
            key: dict(zip(names, array[0].tolist(), strict=True)) if array.ndim == 2 else float(array[0])
            for key, array in values.items()
        }

    def quantile(self, metric: str, level: float) -> Any:
        """Return a quantile of a metric under the distribution of :meth:`SearchSpace.sample`.

        Of a cost it is exact; of perplexity and accuracy, that of a million fixed samples.

        Args:
            metric: The metric.
            level: From 0 to 1.

        Returns:
            A float in the metric's unit; ``float64 (devices,)`` where :meth:`evaluate` has an axis of devices.

        Raises:
            ValueError: If the metric is unknown or the level is not within 0 and 1.
        """
        self._check_metrics([metric])
        level = check_between("level", level, 0.0, 1.0)
        key = (metric, level)
        if key not in self._quantiles:
            _make_room(self._quantiles)
            if METRICS[metric].kind == "cost":
                models = self._single_models(metric)
                self._quantiles[key] = np.array([cost_quantile(model, level) for model in models])
            else:
                chain = self.chain_model(metric)
                value = sampled_quantile(chain, level)
                self._quantiles[key] = np.array([np.exp(value) if metric == "perplexity" else value])
        values = self._quantiles[key]
        return values.copy() if self._several and metric in DEVICE_METRICS else float(values[0])

    def extremes(self, metric: str) -> tuple[Any, Any]:
        """Return the least and the greatest value of a metric over the whole space, exactly.

        Returns:
            Two floats in the metric's unit; two arrays ``float64 (devices,)`` where :meth:`evaluate` has an axis
            of devices.

        Raises:
            ValueError: If the metric is unknown or needs a device.
        """
        self._check_metrics([metric])
        if METRICS[metric].kind == "cost":
            low, high = self._count_models[metric].extremes()
            return (low, high) if np.ndim(low) else (float(low), float(high))
        bounds = self.surrogates.ranges.get(metric)
        if bounds is None:
            bounds = chain_extremes(self.chain_model(metric))[:2]
        least, greatest = np.exp(bounds) if metric == "perplexity" else bounds
        return float(least), float(greatest)

    def layer_effects(self, metric: str) -> pandas.DataFrame:
        """Return what each choice at each layer does to a metric (:func:`~hwgpt_gym.surrogates.effects.layer_effects`).

        Raises:
            ValueError: If the metric is unknown, or depends on the device and the benchmark is not of one.
        """
        is_cost = get_metric(metric).kind == "cost"
        return layer_effects(metric, self.count_model(metric) if is_cost else self.chain_model(metric))

    def chain_model(self, metric: Literal["perplexity", "accuracy"] | str) -> ChainModel:
        """Return the chain model of log-perplexity (``"perplexity"``) or of accuracy.

        Raises:
            ValueError: If it is another metric.
        """
        get_metric(metric, ("perplexity", "accuracy"))
        model: ChainModel = getattr(self.surrogates, metric)
        return model

    def count_model(self, metric: str) -> CountModel:
        """Return the count model of a cost, of one device: what is exact is exact of one device.

        Raises:
            ValueError: If it is no cost, or depends on the device and the benchmark is not of one (see :meth:`on`).
        """
        get_metric(metric, COST_METRICS)
        self.check_one_device([metric])
        return self._count_models[metric]

    def cautious_cost(self, metric: str, confidence: float) -> CautiousCost:
        """Return a cost with the margin of a confidence, for the limit that it has to keep.

        Costs that do not depend on the device are known. The margin of the others is that of the device's profile or,
        of a shipped device, its error on architectures that were kept out of the fit.

        Args:
            metric: A cost.
            confidence: From 0.5 to 0.9999.

        Returns:
            The cost: of the device, or with an axis of devices if there are several.

        Raises:
            ValueError: If it is no cost, needs a device and there is none, or the confidence is not legal.
        """
        get_metric(metric, COST_METRICS)
        self._check_metrics([metric])
        model = self._count_models[metric]
        if metric not in DEVICE_METRICS:
            return CautiousCost(model, np.zeros((len(GROUPS), TERMS, TERMS)), confidence)
        if metric == "energy_j" and any(isinstance(device, ProfiledDevice) for device in self.devices):
            warnings.warn(ENERGY_WARNING, stacklevel=2)
        covariances = [
            cost_covariance(self.surrogates, device, metric, own)
            for device, own in zip(self.devices, self._single_models(metric), strict=True)
        ]
        return CautiousCost(model, np.stack(covariances) if self._several else covariances[0], confidence)

    def check_one_device(self, metrics: Iterable[str]) -> None:
        """Check that metrics have one value for each architecture.

        Raises:
            ValueError: If a metric is unknown, or depends on the device and the benchmark is not of one.
        """
        for metric in check_list("metrics", metrics, "metrics"):
            if get_metric(metric).per_device and self.device is None:
                raise ValueError(
                    f"{metric!r} depends on the device: make the benchmark of one device, or choose one of several "
                    f"with bench.on(device); got {echo(self)}"
                )

    def _check_metrics(self, metrics: Iterable[str] | None) -> tuple[str, ...]:
        if metrics is None:
            return self.metrics
        keys = tuple(check_list("metrics", metrics, "metrics"))
        for key in keys:
            if get_metric(key).per_device and key not in self._count_models:
                raise ValueError(self._missing(key))
        return keys

    def _missing(self, metric: str) -> str:
        """Say why a metric that depends on the device is not there."""
        if not self.devices:
            return f"metric {metric!r} depends on the device: make the benchmark with device=…"
        lacking = next(item for item in self.devices if metric not in known_metrics(self._nominal, item))
        known = known_metrics(self._nominal, lacking)
        return f"metric {metric!r} is not known of the device {lacking.name!r}, which has {', '.join(known)}"

    def _predict(self, encoded: Encoded, keys: Sequence[str], device: npt.NDArray[np.intp] | None = None) -> Metrics:
        if len(encoded) <= CHUNK:
            return self._predict_chunk(encoded, keys, device)
        starts = range(0, len(encoded), CHUNK)
        result: Metrics = {}
        for start in starts:
            rows = slice(start, start + CHUNK)
            part = self._predict_chunk(encoded[rows], keys, None if device is None else device[rows])
            for key, values in part.items():
                if key not in result:
                    result[key] = np.empty((len(encoded), *values.shape[1:]))
                result[key][rows] = values
        return result

    def _predict_chunk(self, encoded: Encoded, keys: Sequence[str], device: npt.NDArray[np.intp] | None) -> Metrics:
        features = extract(self.space, encoded)
        costs = tuple(key for key in keys if METRICS[key].kind == "cost")
        result = self._predict_costs(costs, features, device) if costs else {}
        for key in keys:
            if key not in result:
                is_perplexity = key == "perplexity"
                model = self.surrogates.perplexity if is_perplexity else self.surrogates.accuracy
                values = model.predict_features(features)
                result[key] = np.exp(values, out=values) if is_perplexity else values
        return {key: result[key] for key in keys}

    def _predict_costs(self, keys: tuple[str, ...], features: Features, device: npt.NDArray[np.intp] | None) -> Metrics:
        if device is not None:
            rows = {key: device if key in DEVICE_METRICS else None for key in keys}
            return {key: self._count_models[key].predict_features(features, row) for key, row in rows.items()}
        model, columns = self._stack_costs(keys)
        values = model.predict_features(features)
        return {key: values[:, column] for key, column in columns.items()}

    def _stack_costs(self, keys: tuple[str, ...]) -> tuple[CountModel, dict[str, int | slice]]:
        """Return one model that predicts several costs at once, and the column (or columns) of each."""
        if keys not in self._stacks:
            _make_room(self._stacks)
            models = [self._count_models[key] for key in keys]
            columns: dict[str, int | slice] = {}
            width = 0
            for key, model in zip(keys, models, strict=True):
                several = model.base.ndim == 4
                columns[key] = slice(width, width + len(model.base)) if several else width
                width += len(model.base) if several else 1
            parts = [
                np.concatenate([getattr(model, name).reshape(-1, *shape) for model in models])
                for name, shape in CountModel.shapes().items()
            ]
            self._stacks[keys] = (CountModel(self.space, *parts), columns)
        return self._stacks[keys]

    def _bind_costs(self) -> dict[str, CountModel]:
        costs = {
            "params": analytic.count_model(self.space, "params"),
            "flops": analytic.count_model(self.space, "flops"),
        }
        for key, model in self.surrogates.costs.items():
            if key not in DEVICE_METRICS:
                costs[key] = model
            elif self.devices:
                index = self._device_index.tolist()
                costs[key] = model[index if self._several else index[0]]
        return costs

    def _single_models(self, metric: str) -> list[CountModel]:
        model = self._count_models[metric]
        return [model[i] for i in range(len(self.devices))] if model.base.ndim == 4 else [model]


def check_benchmark(bench: object, name: str = "bench") -> Benchmark:
    """Return an argument that has to be a benchmark.

    Args:
        bench: The argument.
        name: What it is called.

    Raises:
        TypeError: If it is none.
    """
    return check_type(name, bench, Benchmark, "a Benchmark, such as Benchmark('s', 'a6000')")


def _make_room(cache: dict[Any, Any]) -> None:
    """Empty a cache that is full: what is asked for again is soon back."""
    if len(cache) >= CACHED:
        cache.clear()


def _resolve_devices(
    device: AnyDevice | Sequence[AnyDevice] | None, surrogates: Surrogates | None
) -> tuple[bool, tuple[Device, ...]]:
    """Return whether several devices are meant, and the devices; ``"all"`` are those that the surrogates know."""
    if device is None:
        return False, ()
    if isinstance(device, str) and device.lower() == "all":
        return True, tuple(map(get_device, DEVICES if surrogates is None else surrogates.devices))
    if isinstance(device, str | os.PathLike) or not isinstance(device, Sequence):
        return False, (get_device(device),)
    devices = tuple(map(get_device, device))
    if not devices:
        raise ValueError("device must name at least one device, got an empty list; use None for no device")
    if len({item.name for item in devices}) < len(devices):
        raise ValueError(f"device must not repeat a device, got {[item.name for item in devices]}")
    return True, devices
