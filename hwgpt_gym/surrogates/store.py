"""Storing surrogates: one safetensors file a scale, with a JSON document in its metadata.

The document names the devices in the order of the arrays, so that nobody has to rely on an order that is written down
elsewhere, and holds the SHA-256 of every array and its own, which loading checks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwgpt_gym.checks import check_list, check_type, echo
from hwgpt_gym.files import read_json, replacing
from hwgpt_gym.metrics import DEVICE_METRICS, MEMORY_METRICS
from hwgpt_gym.search_space import SearchSpace, get_search_space
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.noise_model import NoiseModel

SCHEMA_VERSION: Final = 2
WEIGHTS_FOLDER: Final = Path(__file__).parent / "weights"
_METADATA_KEY: Final = "hwgpt_gym"
_OWN_DIGEST: Final = "metadata_sha256"
_CHAIN_METRICS: Final = ("perplexity", "accuracy")


@dataclass(frozen=True, eq=False)
class Surrogates:
    """All surrogates of one scale.

    Attributes:
        space: The search space.
        perplexity: The model of *log*-perplexity.
        accuracy: The model of accuracy.
        costs: The models of latency and energy (with an axis of devices) and of both memories, by metric. Of devices
            that lack one of the first two it is missing; the shipped ones have both.
        devices: The names of the devices, in the order of that axis.
        noise: The noise of latency and energy by metric; empty if there is none.
        ranges: The least and the greatest value that each chain model takes over the whole space, exactly, by
            metric (of log-perplexity for ``"perplexity"``).
        metadata: What is known of the fit: dataset fingerprint, command, scores.

    Raises:
        ValueError: If a device stands there twice, or an array has another number of devices.
    """

    space: SearchSpace
    perplexity: ChainModel
    accuracy: ChainModel
    costs: Mapping[str, CountModel]
    devices: tuple[str, ...]
    noise: Mapping[str, NoiseModel] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type("space", self.space, SearchSpace, "a SearchSpace")
        for name in _CHAIN_METRICS:
            check_type(name, getattr(self, name), ChainModel, "a ChainModel")
        for name, kind in (("costs", CountModel), ("noise", NoiseModel)):
            for key, model in check_type(name, getattr(self, name), Mapping, "a dictionary of models").items():
                check_type(f"{name}[{echo(key)}]", model, kind, f"a {kind.__name__}")
        for name in check_list("devices", self.devices, "names"):
            check_type("devices", name, str, "names")
        if len(set(self.devices)) < len(self.devices):
            raise ValueError(f"devices must not repeat a name, got {list(self.devices)}")
        axes = {name: self.costs[name].base.shape[:-3] for name in DEVICE_METRICS if name in self.costs}
        axes |= {f"noise.{name}": model.session.shape[:1] for name, model in self.noise.items()}
        for name, axis in axes.items():
            if axis != (len(self.devices),):
                raise ValueError(f"{name} must be of the {len(self.devices)} devices {list(self.devices)}, has {axis}")

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of all arrays and their names: other numbers are other surrogates."""
        digest = hashlib.sha256(f"{self.space.scale} {' '.join(self.devices)}".encode())
        for name, model in sorted(_models(self).items()):
            for key, array in sorted(_arrays(model).items()):
                digest.update(f"{name}.{key} {_digest(array)}\n".encode())
        return digest.hexdigest()

    def index_of(self, device: str) -> int:
        """Return the position of a device in the arrays.

        Raises:
            ValueError: If these surrogates are not of this device.
        """
        if not isinstance(device, str) or device not in self.devices:
            raise ValueError(
                f"the surrogates of scale {self.space.scale!r} know no device {echo(device)}: "
                f"they are of {', '.join(self.devices)}"
            )
        return self.devices.index(device)


def save_surrogates(surrogates: Surrogates, path: Path) -> None:
    """Write surrogates to a file; the same surrogates give the same bytes.

    The file is written under a temporary name and renamed, so it is complete or not there.
    """
    from safetensors.numpy import save

    tensors = {
        f"{name}.{key}": np.ascontiguousarray(array)
        for name, model in _models(surrogates).items()
        for key, array in _arrays(model).items()
    }
    document = {
        **surrogates.metadata,
        "schema_version": SCHEMA_VERSION,
        "scale": surrogates.space.scale,
        "devices": list(surrogates.devices),
        "sha256": {name: _digest(array) for name, array in tensors.items()},
        "ranges": {name: list(bounds) for name, bounds in surrogates.ranges.items()},
    }
    document[_OWN_DIGEST] = _digest_document(document)
    # One key, because safetensors does not promise an order of several.
    content = save(tensors, metadata={_METADATA_KEY: json.dumps(document, sort_keys=True)})
    with replacing(path, parents=True) as temporary:
        temporary.write_bytes(content)


def read_surrogates(path: Path) -> Surrogates:
    """Read surrogates from a file, validating version, devices, checksums, names, shapes and values.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is damaged, of another version, or lacks an array; the message names the file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there are no surrogate weights at {path}")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(_METADATA_KEY, "{}")
            tensors: dict[str, np.ndarray] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is no readable safetensors file: {error}") from error
    content = read_json(path, text)
    try:
        document = _check_document(content)
        _check_digests(tensors, document["sha256"])
        surrogates = _assemble(document, tensors)
        if document.get(_OWN_DIGEST) != _digest_document(document):
            raise ValueError("the metadata do not have the SHA-256 that they say: the file is damaged")
        return surrogates
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _check_document(document: Any) -> dict[str, Any]:
    """Return the metadata, checked as far as loading relies on it."""
    if not isinstance(document, dict):
        raise ValueError(f"the metadata must be an object, got {echo(document)}")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version {echo(version)}, this version of hwgpt_gym reads {SCHEMA_VERSION}")
    devices, digests, ranges = (document.get(key) for key in ("devices", "sha256", "ranges"))
    if not isinstance(devices, list) or not all(isinstance(name, str) for name in devices):
        raise ValueError(f"'devices' must be a list of names, got {echo(devices)}")
    if not isinstance(digests, dict):
        raise ValueError(f"'sha256' must be an object of checksums by array, got {echo(digests)}")
    if not isinstance(ranges, dict) or not all(name in _CHAIN_METRICS and _is_range(ranges[name]) for name in ranges):
        raise ValueError(f"'ranges' must map {list(_CHAIN_METRICS)} to [least, greatest], got {echo(ranges)}")
    return document


def _is_range(bounds: object) -> bool:
    numbers = isinstance(bounds, list) and all(isinstance(bound, float) and np.isfinite(bound) for bound in bounds)
    return numbers and len(bounds) == 2 and bounds[0] <= bounds[1]  # type: ignore[arg-type, index]


def _check_digests(tensors: Mapping[str, np.ndarray], digests: Mapping[str, Any]) -> None:
    """Check that the arrays are those that were written."""
    if tensors.keys() != digests.keys():
        differing = sorted(tensors.keys() ^ digests.keys())
        raise ValueError(f"lacks an array or has one too many: {', '.join(differing)}")
    for name, array in tensors.items():
        if array.dtype.kind != "f" or _digest(array) != digests[name]:
            raise ValueError(f"array {name!r} does not have the SHA-256 that the metadata says: the file is damaged")


def _digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's bytes, in C order."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def _digest_document(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the metadata as they are written, without the digest itself."""
    content = {key: value for key, value in document.items() if key != _OWN_DIGEST}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _assemble(document: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> Surrogates:
    """Make surrogates from checked metadata and arrays."""
    space = get_search_space(document.get("scale", ""))
    groups: dict[str, dict[str, Any]] = {}
    for name, array in tensors.items():
        model, _, key = name.rpartition(".")
        groups.setdefault(model, {})[key] = array.astype(np.float64)
    try:
        return Surrogates(
            space=space,
            perplexity=ChainModel(space, **groups["perplexity"]),
            accuracy=ChainModel(space, **groups["accuracy"]),
            costs={name: CountModel(space, **groups[name]) for name in (*DEVICE_METRICS, *MEMORY_METRICS)},
            devices=tuple(document["devices"]),
            noise={name: NoiseModel(**groups[f"noise.{name}"]) for name in DEVICE_METRICS if f"noise.{name}" in groups},
            ranges={name: (low, high) for name, (low, high) in document["ranges"].items()},
            metadata=document,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks an array or has one too many: {error}") from error


def load_surrogates(scale: str) -> Surrogates:
    """Load the shipped surrogates of a scale; loaded once and shared.

    Raises:
        ValueError: If there is no such scale.
        FileNotFoundError: If the package was installed without its weights.
    """
    return _load(get_search_space(scale).scale)


@lru_cache
def _load(scale: str) -> Surrogates:
    return read_surrogates(WEIGHTS_FOLDER / f"{scale}.safetensors")


def _models(surrogates: Surrogates) -> dict[str, ChainModel | CountModel | NoiseModel]:
    return {
        "perplexity": surrogates.perplexity,
        "accuracy": surrogates.accuracy,
        **surrogates.costs,
        **{f"noise.{name}": model for name, model in surrogates.noise.items()},
    }


def _arrays(model: ChainModel | CountModel | NoiseModel) -> dict[str, np.ndarray]:
    values = {item.name: getattr(model, item.name) for item in fields(model)}
    # Noise is stored in single precision: its tables are the largest and its digits the least certain.
    dtype = np.float32 if isinstance(model, NoiseModel) else np.float64
    return {name: value.astype(dtype) for name, value in values.items() if isinstance(value, np.ndarray)}
