"""A measured device as a file: safetensors with a JSON document in its metadata.

Loading checks types, shapes, values and the file's own hash; nothing in it is executed. What is predicted follows from
the posterior's mean and covariance alone; measurements are kept so that the fit can be checked, and done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from hwgpt_gym.devices import DEVICES
from hwgpt_gym.files import replacing
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.onboarding.measurements import Measurements
from hwgpt_gym.onboarding.posterior import CostPosterior
from hwgpt_gym.onboarding.profile_document import (
    SCHEMA_VERSION,
    Checks,
    MetricDocument,
    ProfileDocument,
    ScaleDocument,
)
from hwgpt_gym.onboarding.records import Clock, Conditions, explain
from hwgpt_gym.search_space import get_search_space
from hwgpt_gym.surrogates.noise_model import NoiseModel

SUFFIX: Final = ".safetensors"
RESERVED: Final = frozenset({"all", "random", "none", *DEVICES})
_METADATA_KEY: Final = "hwgpt_gym"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")


@dataclass(frozen=True, eq=False)
class MetricProfile:
    """A cost of a device at a scale.

    Attributes:
        posterior: What is known of it.
        noise: What one measurement would show.
        measurements: What it was fitted to, and what it is checked with.
        clock: The clock of the times, ``None`` if not known.
        prior: Fingerprint of the prior.
        layers: How many passes with timed layers went into the fit.
        checks: What the checks say.
    """

    posterior: CostPosterior
    noise: NoiseModel
    measurements: Measurements
    clock: Clock | None
    prior: str
    layers: int = 0
    checks: Checks | None = None


@dataclass(frozen=True, eq=False)
class ScaleProfile:
    """A device at a scale.

    Attributes:
        conditions: How it was measured.
        metrics: Its costs.
    """

    conditions: Conditions
    metrics: Mapping[str, MetricProfile]


@dataclass(frozen=True, eq=False)
class DeviceProfile:
    """A device that was measured by its user.

    Attributes:
        name: Its identifier: lower-case letters, digits and ``_ . + -``.
        label: Its name as a person writes it.
        scales: What is known of it, by scale.

    Raises:
        ValueError: If the name is not legal or belongs to a shipped device, or there is no scale.
    """

    name: str
    label: str
    scales: Mapping[str, ScaleProfile]

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.scales:
            raise ValueError("a profile must hold a scale at least")

    def __str__(self) -> str:
        return self.name

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of all it says, 64 hexadecimal digits; two profiles of the same hash are the same."""
        return _hash(self._document(), self._tensors())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile; the same profile gives the same bytes.

        Raises:
            ValueError: If the path does not end in ``.safetensors``.
        """
        from safetensors.numpy import save

        if Path(path).suffix != SUFFIX:
            raise ValueError(f"a profile's path must end in {SUFFIX!r}, got {str(path)!r}")
        document = {**self._document(), "sha256": self.content_hash}
        content = save(self._tensors(), metadata={_METADATA_KEY: json.dumps(document, sort_keys=True)})
        with replacing(path) as temporary:
            temporary.write_bytes(content)

    def _document(self) -> dict[str, Any]:
        scales = {
            scale: ScaleDocument(
                conditions=own.conditions,
                metrics={
                    metric: MetricDocument(
                        sigma=item.posterior.sigma,
                        clock=item.clock,
                        prior=item.prior,
                        layers=item.layers,
                        checks=item.checks,
                    )
                    for metric, item in own.metrics.items()
                },
            )
            for scale, own in self.scales.items()
        }
        return ProfileDocument(name=self.name, label=self.label, scales=scales).model_dump(exclude={"sha256"})

    def _tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors = {}
        for scale, own in self.scales.items():
            for metric, item in own.metrics.items():
                arrays: dict[str, npt.NDArray[Any]] = {
                    "mean": item.posterior.mean,
                    "covariance": item.posterior.covariance,
                    "noise.session": item.noise.session,
                    "noise.repeat": item.noise.repeat,
                    **{key: getattr(item.measurements, key) for key in _MEASUREMENT_TYPES},
                }
                for key, array in arrays.items():
                    tensors[f"{scale}.{metric}.{key}"] = np.ascontiguousarray(array, dtype=_types()[key])
        return tensors


_MEASUREMENT_TYPES: Final = {
    "encoded": "int8",
    "values": "float64",
    "visits": "int64",
    "deviations": "float64",
    "checks": "bool",
}


def _types() -> dict[str, str]:
    numbers = ("mean", "covariance", "noise.session", "noise.repeat")
    return {**dict.fromkeys(numbers, "float64"), **_MEASUREMENT_TYPES}


def check_name(name: str) -> None:
    """Check the name of a profile.

    Raises:
        ValueError: If it is not legal, or stands for something else.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith(SUFFIX):
        raise ValueError(
            f"a device's name must be lower-case letters, digits and _ . + -, at most 64, must begin with a letter or "
            f"a digit and not end in {SUFFIX!r}, got {name!r}"
        )
    if name in RESERVED:
        raise ValueError(f"a device of your own cannot have the name {name!r}: it is one of {sorted(RESERVED)}")


def load_profile(path: str | os.PathLike[str]) -> DeviceProfile:
    """Read a profile, and check all of it.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is damaged, no profile, or one of another version.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no device profile at {path}")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(_METADATA_KEY, "{}")
            tensors: dict[str, npt.NDArray[Any]] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dict)
        raw = json.loads(text)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no readable device profile: {error}") from error
    if not isinstance(raw, dict) or raw.get("kind") != "device-profile":
        raise ValueError(f"{path} is no device profile")
    if raw.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {raw.get('schema_version')!r}, this version of hwgpt_gym reads {SCHEMA_VERSION}"
        )
    try:
        document = ProfileDocument.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from None
    stated = raw.pop("sha256", "")
    if stated != _hash(raw, tensors):
        raise ValueError(f"{path} is damaged: its content is not what its hash says")
    try:
        scales = {scale: _read_scale(scale, own, tensors) for scale, own in document.scales.items()}
        return DeviceProfile(document.name, document.label, scales)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_scale(scale: str, document: ScaleDocument, tensors: Mapping[str, npt.NDArray[Any]]) -> ScaleProfile:
    space = get_search_space(scale)
    metrics = {}
    for metric, own in document.metrics.items():
        if metric not in DEVICE_METRICS:
            raise ValueError(f"a device has the metrics {list(DEVICE_METRICS)}, got {metric!r}")
        arrays = {}
        for key, dtype in _types().items():
            name = f"{scale}.{metric}.{key}"
            if name not in tensors or tensors[name].dtype != dtype:
                raise ValueError(f"the array {name!r} of type {dtype} is missing")
            arrays[key] = tensors[name]
        metrics[metric] = MetricProfile(
            CostPosterior(space, arrays["mean"], arrays["covariance"], own.sigma),
            NoiseModel(arrays["noise.session"], arrays["noise.repeat"]),
            Measurements(space, *(arrays[key] for key in _MEASUREMENT_TYPES)),
            own.clock,
            own.prior,
            own.layers,
            own.checks,
        )
    return ScaleProfile(document.conditions, metrics)


def _hash(document: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """Hash what a profile says, whatever order a library writes it in."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
