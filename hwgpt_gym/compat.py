"""A stand-in for upstream's ``hwgpt.api.HWGPT``: the same calls, answered by this package's surrogates.

``from hwgpt.api import HWGPT`` becomes ``from hwgpt_gym.compat import HWGPT``. Names, shapes and effective units of the
answers are upstream's: latencies in milliseconds, energies in milliwatt-hours, memory in MB. What differs on
purpose stands in ``docs/compat.md``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_choice, check_flag, check_integer, check_list, echo, suggest
from hwgpt_gym.onboarding.devices import get_device
from hwgpt_gym.search_space import Architecture

if TYPE_CHECKING:
    from hwgpt_gym.transformer import Transformer

MILLIWATT_HOURS_PER_JOULE: Final = 1000 / 3600

_METRICS: Final = {
    "perplexity": "perplexity",
    "accuracy": "accuracy",
    "latencies": "latency_ms",
    "energies": "energy_j",
    "float16_memory": "float16_memory_mb",
    "bfloat16_memory": "bfloat16_memory_mb",
    "flops": "flops",
    "params": "params",
}
"""Upstream's names of the metrics, and this package's."""

_PREDICTORS: Final = ("mlp", "supernet")


class HWGPT:
    """Upstream's programming interface; see the module's notes.

    >>> from hwgpt_gym.compat import HWGPT
    >>> api = HWGPT(search_space="s", use_supernet_surrogate=False, seed=0)
    >>> api.set_arch(api.sample_arch())
    >>> sorted(api.query(device="a100"))
    ['energies', 'latencies']

    Args:
        search_space: The scale, ``"s"``, ``"m"`` or ``"l"``.
        use_supernet_surrogate: Whether :meth:`query` adds perplexity and accuracy to hardware metrics.
        base_path: Ignored; upstream's files are not needed.
        seed: Seeds :meth:`sample_arch` and the noise.
        noise: Whether latencies and energies are draws of a measurement, as upstream's are; otherwise they are
            those of the device in its median state, and the same every time.

    Attributes:
        search_space: The choices by upstream's names.
        search_space_name: The scale.
        device_list: The devices in upstream's spelling and order.
        config: The architecture, ``None`` before :meth:`set_arch` or :meth:`sample_arch`; a copy, as everything that
            is returned, so that editing it chooses nothing.

    Raises:
        ValueError: If there is no such scale, or an argument is not legal.
    """

    hw_metrics_surrogate: Final = ["latencies", "energies"]
    hw_metrics_true: Final = ["flops", "params", "float16_memory", "bfloat16_memory"]
    metrics: Final = ["perplexity", "accuracy"]

    def __init__(
        self,
        search_space: str,
        use_supernet_surrogate: bool = True,
        base_path: str | os.PathLike[str] = ".",
        *,
        seed: int | None = None,
        noise: bool = False,
    ) -> None:
        self._benchmark = Benchmark(scale=search_space, device="all")
        space = self._benchmark.space
        self.search_space: dict[str, list[Any]] = {
            "embed_dim_choices": list(space.embed_dims),
            "n_layer_choices": list(space.depths),
            "mlp_ratio_choices": list(space.mlp_ratios),
            "n_head_choices": list(space.head_counts),
            "bias_choices": ["True", "False"],
        }
        self.search_space_name = search_space
        self.device_list = [
            *("a100", "a40", "h100", "rtx2080", "rtx3080", "a6000", "v100", "P100"),
            *("cpu_xeon_silver", "cpu_xeon_gold", "cpu_amd_7502", "cpu_amd_7513", "cpu_amd_7452"),
        ]
        self.use_supernet_surrogate = check_flag("use_supernet_surrogate", use_supernet_surrogate)
        self._config: dict[str, Any] | None = None
        self._noise = check_flag("noise", noise)
        self._rng = np.random.default_rng(None if seed is None else check_integer("seed", seed, 0))

    @property
    def config(self) -> dict[str, Any] | None:
        """The architecture that is asked about."""
        return deepcopy(self._config)

    def sample_arch(self) -> dict[str, Any]:
        """Draw an architecture, choose it and return it; every choice is uniform and independent.

        Returns:
            Upstream's dictionary of ``sample_*`` keys, with the bias as ``'True'`` or ``'False'``.
        """
        space = self._benchmark.space
        config = space.decode(space.sample(self._rng, 1))[0].to_config()
        self._config = {**config, "sample_bias": str(config["sample_bias"])}
        return deepcopy(self._config)

    def set_arch(self, config: Mapping[str, Any]) -> None:
        """Choose the architecture that is asked about.

        Args:
            config: Upstream's dictionary of ``sample_*`` keys; the bias as a bool or as ``'True'`` / ``'False'``.

        Raises:
            TypeError: If it is no dictionary; the architecture chosen before stays.
            ValueError: If it is no architecture of this scale; the architecture chosen before stays.
        """
        Architecture.from_config(config, self.search_space_name)
        self._config = deepcopy(dict(config))

    def query(
        self,
        device: str | Sequence[str] | None = None,
        metric: str | Sequence[str] | None = None,
        predictor: str = "mlp",
    ) -> dict[str, Any]:
        """Answer as upstream does.

        Args:
            device: A device or several; all by default.
            metric: A metric or several of upstream's names. By default the hardware metrics: latencies and energies
                if a device is given, else these and FLOPs, parameters and memory.
            predictor: ``"mlp"``, or ``"supernet"``, which adds the accuracy to the perplexity. Both are answered by
                the same surrogate.

        Returns:
            By metric, a number, or for latencies and energies a dictionary by device, spelled as in ``device``.

        Raises:
            ValueError: If no architecture is chosen, or a metric, device or predictor is unknown.
        """
        check_choice("predictor", predictor, _PREDICTORS)
        if metric is None:
            metric = self.hw_metrics_surrogate + ([] if device is not None else self.hw_metrics_true)
        names = [metric] if isinstance(metric, str) else check_list("metric", metric, "metrics, or one metric")
        if names == ["perplexity"]:
            return self._answer(self.metrics if predictor == "supernet" else names, [])
        if device is None:
            device = self.device_list
        devices = [device] if isinstance(device, str) else check_list("device", device, "devices, or one device")
        extra = [name for name in self.metrics if name not in names] if self.use_supernet_surrogate else []
        return self._answer([*names, *extra], devices)

    def get_flops(self) -> int:
        """Count the floating-point operations of one forward pass of one sequence of 1,024 tokens."""
        return int(self._answer(["flops"], [])["flops"])

    def get_params(self) -> int:
        """Count the parameters."""
        return int(self._answer(["params"], [])["params"])

    def get_memory(self, objective: str) -> float:
        """Predict ``"float16_memory"`` or ``"bfloat16_memory"``, MB.

        Raises:
            ValueError: If it is neither, or no architecture is chosen.
        """
        check_choice("objective", objective, ("float16_memory", "bfloat16_memory"))
        return float(self._answer([objective], [])[objective])

    def compute_predictions_ppl(self) -> float:
        """Predict the perplexity."""
        return float(self._answer(["perplexity"], [])["perplexity"])

    def compute_predictions_hw(self, hw_metric: str, device: str) -> float:
        """Predict ``"latencies"``, milliseconds, or ``"energies"``, milliwatt-hours, on a device.

        Raises:
            ValueError: If it is neither, the device is unknown, or no architecture is chosen.
        """
        check_choice("hw_metric", hw_metric, self.hw_metrics_surrogate)
        return float(self._answer([hw_metric], [device])[hw_metric][device])

    def create_model(self) -> Transformer:
        """Build the torch model of the architecture, with random weights."""
        from hwgpt_gym.transformer import build

        return build(self._architecture())

    def _architecture(self) -> Architecture:
        if self._config is None:
            raise ValueError("no architecture is chosen: call set_arch or sample_arch before")
        return Architecture.from_config(self._config, self.search_space_name)

    def _answer(self, names: Sequence[str], devices: Sequence[str]) -> dict[str, Any]:
        """Return metrics by upstream's names, in upstream's units."""
        for name in names:
            if not isinstance(name, str) or name not in _METRICS:
                raise ValueError(f"unknown metric {echo(name)}: {suggest(name, _METRICS)}")
        order = [device.name for device in self._benchmark.devices]
        columns = {name: order.index(get_device(name).name) for name in devices}
        encoded = self._architecture().encode()
        keys = [_METRICS[name] for name in names]
        if self._noise and set(names) & set(self.hw_metrics_surrogate):
            values = self._benchmark.measure(encoded, self._rng, metrics=keys)
        else:
            values = self._benchmark.evaluate(encoded, metrics=keys)
        return {name: _in_upstreams_units(name, values[_METRICS[name]][0], columns) for name in names}


def _in_upstreams_units(name: str, value: Any, columns: Mapping[str, int]) -> Any:
    """Convert one architecture's metric: a scalar, or an array over all devices."""
    if name in HWGPT.hw_metrics_surrogate:
        factor = MILLIWATT_HOURS_PER_JOULE if name == "energies" else 1.0
        return {device: factor * float(value[column]) for device, column in columns.items()}
    return int(value) if name in ("flops", "params") else float(value)
