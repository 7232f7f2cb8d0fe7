"""Storing surrogates: one safetensors file a scale, with a JSON document in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwgpt_gym.files import replacing
from hwgpt_gym.search_space import SearchSpace, get_search_space
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.noise_model import NoiseModel

SCHEMA_VERSION: Final = 1
WEIGHTS_FOLDER: Final = Path(__file__).parent / "weights"
DEVICE_COSTS: Final = ("latency_ms", "energy_j")
MEMORY_COSTS: Final = ("float16_memory_mb", "bfloat16_memory_mb")
_METADATA_KEY: Final = "hwgpt_gym"


@dataclass(frozen=True, eq=False)
class Surrogates:
    """All surrogates of one scale.

    Attributes:
        space: The search space.
        perplexity: The model of *log*-perplexity.
        accuracy: The model of accuracy.
        costs: The models of latency and energy (with an axis of all devices) and of both memories, by metric.
        noise: The noise of latency and energy by metric; empty if there is none.
        ranges: The least and the greatest value that each chain model takes over the whole space, exactly, by
            metric (of log-perplexity for ``"perplexity"``).
        metadata: What is known of the fit: dataset fingerprint, command, scores.
    """

    space: SearchSpace
    perplexity: ChainModel
    accuracy: ChainModel
    costs: Mapping[str, CountModel]
    noise: Mapping[str, NoiseModel] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


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
        "ranges": {name: list(bounds) for name, bounds in surrogates.ranges.items()},
    }
    # One key, because safetensors does not promise an order of several.
    content = save(tensors, metadata={_METADATA_KEY: json.dumps(document, sort_keys=True)})
    with replacing(path, parents=True) as temporary:
        temporary.write_bytes(content)


def read_surrogates(path: Path) -> Surrogates:
    """Read surrogates from a file, validating version, names, shapes and values.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is damaged, of another version, or lacks an array.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there are no surrogate weights at {path}")
    try:
        with safe_open(path, framework="np") as file:
            document = json.loads((file.metadata() or {}).get(_METADATA_KEY, "{}"))
            tensors: dict[str, np.ndarray] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is no readable safetensors file: {error}") from error
    if document.get("schema_version") != SCHEMA_VERSION:
        found = document.get("schema_version")
        raise ValueError(f"{path} has schema version {found!r}, this version of hwgpt_gym reads {SCHEMA_VERSION}")
    space = get_search_space(document["scale"])
    groups: dict[str, dict[str, Any]] = {}
    for name, array in tensors.items():
        model, _, key = name.rpartition(".")
        groups.setdefault(model, {})[key] = array.astype(np.float64)
    try:
        return Surrogates(
            space=space,
            perplexity=ChainModel(space, **groups["perplexity"]),
            accuracy=ChainModel(space, **groups["accuracy"]),
            costs={name: CountModel(space, **groups[name]) for name in (*DEVICE_COSTS, *MEMORY_COSTS)},
            noise={name: NoiseModel(**groups[f"noise.{name}"]) for name in DEVICE_COSTS if f"noise.{name}" in groups},
            ranges={name: (low, high) for name, (low, high) in document["ranges"].items()},
            metadata=document,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} lacks an array or has one too many: {error}") from error


@lru_cache
def load_surrogates(scale: str) -> Surrogates:
    """Load the shipped surrogates of a scale; loaded once and shared.

    Raises:
        ValueError: If there is no such scale.
        FileNotFoundError: If the package was installed without its weights.
    """
    return read_surrogates(WEIGHTS_FOLDER / f"{get_search_space(scale).scale}.safetensors")


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
