"""Posterior worlds: other chain models that the measurements could have come from, to say how sure a prediction is.

A file a scale holds what each world adds to the shipped ("nominal") models of log-perplexity and accuracy, as few
half-precision numbers (:func:`~hwgpt_gym.surrogates.centred.pack`); nothing reads it unless a world is asked for.
World ``2 i`` adds the ``i``-th deviation, world ``2 i + 1`` takes it off: their mean is the nominal model.
``docs/worlds.md`` says how worlds are drawn, what they cover, and why their deviations count *model-form factor*
times as much at the exact optimum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwgpt_gym.checks import check_integer, echo
from hwgpt_gym.encoding import read_only
from hwgpt_gym.files import read_json, replacing
from hwgpt_gym.metrics import get_metric
from hwgpt_gym.search_space import EMBED_DIM, Encoded, FloatArray, SearchSpace, get_search_space
from hwgpt_gym.surrogates.centred import Arrays, unpack
from hwgpt_gym.surrogates.chain_extremes import chain_extremes
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER, Surrogates, load_surrogates

WORLDS: Final = 64
"""How many worlds a scale has."""

SCHEMA_VERSION: Final = 1
SETTINGS: Final = ("spread", "noise", "lesson_centre", "lesson_spread", "gain")
"""The tensors of a metric that all worlds share, by embedding width, ``float64 (3,)``; the others are deviations."""


_METADATA_KEY: Final = "hwgpt_gym"


@dataclass(frozen=True, eq=False)
class Worlds:
    """The posterior worlds of one scale.

    Attributes:
        space: The search space.
        nominal: The models that the worlds deviate from, of log-perplexity (``"perplexity"``) and ``"accuracy"``.
        tensors: What is stored, by ``metric.name``: deviations in half precision, everything else in double; of
            ``teacher``, the teacher of log-perplexity in units of its deviation, where it has one.
        metadata: What is known of the worlds: how they were drawn, what they cover, the model-form factor.
    """

    space: SearchSpace
    nominal: Mapping[str, ChainModel]
    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]

    def __len__(self) -> int:
        return 2 * len(self.tensors["perplexity.slope"])

    @property
    def model_form_factor(self) -> float:
        """How many times as far as the worlds say the truth may be from the nominal model, at the exact optimum."""
        return float(self.metadata.get("model_form_factor", 1.0))

    @property
    def noise(self) -> FloatArray:
        """Standard deviation of measured log-perplexity about a world's, by embedding width, ``float64 (3,)``."""
        return self.tensors["perplexity.noise"].copy()

    def model(self, metric: str, world: int, factor: float = 1.0) -> ChainModel:
        """Return a world's model of log-perplexity (``"perplexity"``) or accuracy.

        Args:
            metric: ``"perplexity"`` or ``"accuracy"``.
            world: The world, from 0.
            factor: What its deviation is multiplied with.

        Raises:
            ValueError: If there is no such metric or world.
        """
        get_metric(metric, tuple(self.nominal))
        pair, partner = divmod(self._check(world), 2)
        signed = -factor if partner else factor
        nominal, deviations = self.nominal[metric], self._deviations[metric]
        return ChainModel(
            self.space, **{name: getattr(nominal, name) + signed * array[pair] for name, array in deviations.items()}
        )

    def deviations(self, metric: str, encoded: Encoded) -> FloatArray:
        """Return what every world adds to the prediction of log-perplexity (``"perplexity"``) or accuracy.

        Args:
            metric: ``"perplexity"`` or ``"accuracy"``.
            encoded: The architectures, ``int8 (n, D)``.

        Returns:
            ``float64 (n, worlds)``.
        """
        arrays = self._deviations[get_metric(metric, tuple(self.nominal)).key]
        result = np.empty((len(encoded), len(self)))
        for pair in range(len(self) // 2):
            model = ChainModel(self.space, **{name: array[pair] for name, array in arrays.items()})
            result[:, 2 * pair] = model.predict(encoded)
        result[:, 1::2] = -result[:, 0::2]
        return result

    def standard_deviation(self, encoded: Encoded, factor: float = 1.0) -> FloatArray:
        """Return the standard deviation of measured log-perplexity about its prediction, world and noise together.

        Args:
            encoded: The architectures, ``int8 (n, D)``.
            factor: What the worlds' deviations are multiplied with.

        Returns:
            ``float64 (n,)``.
        """
        spread = np.square(self.deviations("perplexity", encoded)).mean(axis=1)
        deviation: FloatArray = np.sqrt(factor**2 * spread + np.square(self.noise[encoded[:, EMBED_DIM]]))
        return deviation

    def ranges(self, metric: str, factor: float = 1.0) -> FloatArray:
        """Return the least and the greatest prediction of every world over the whole space.

        Those of factor 1, and of log-perplexity at the scale's own factor, are stored; others are solved for.

        Returns:
            ``float64 (worlds, 2)``; of log-perplexity for ``"perplexity"``.
        """
        for suffix, stored in (("", 1.0), ("_model_form", self.model_form_factor)):
            name = f"ranges.{metric}{suffix}"
            if factor == stored and name in self.tensors:
                return self.tensors[name].copy()
        models = (self.model(metric, world, factor) for world in range(len(self)))
        return np.array([chain_extremes(model)[:2] for model in models])

    def surrogates(self, surrogates: Surrogates, world: int) -> Surrogates:
        """Return surrogates with the chain models of a world.

        Raises:
            ValueError: If there is no such world, or it deviates from other models than those of ``surrogates``.
        """
        world = self._check(world)
        self.check_nominal(surrogates)
        ranges = {name: self.ranges(name)[world].tolist() for name in self.nominal}
        return replace(
            surrogates,
            perplexity=self.model("perplexity", world),
            accuracy=self.model("accuracy", world),
            ranges={name: (low, high) for name, (low, high) in ranges.items()},
        )

    def check_nominal(self, surrogates: Surrogates) -> None:
        """Check that the worlds deviate from the models of surrogates.

        Raises:
            ValueError: If they do not.
        """
        own = (surrogates.perplexity, surrogates.accuracy)
        if fingerprint(*own) != fingerprint(self.nominal["perplexity"], self.nominal["accuracy"]):
            raise ValueError(
                "worlds are of the shipped models of perplexity and accuracy, these surrogates have others"
            )

    @cached_property
    def _deviations(self) -> dict[str, Arrays]:
        """What each pair adds to the nominal models, each array ``float64 (pairs, 3, 3, 2, …)``."""
        perplexity = self._own_deviation("perplexity")
        if "teacher.intercept" in self.tensors:
            teacher = unpack(self.space, self._packed("teacher"))
            _add(perplexity, self.tensors["perplexity.slope"] * self.tensors["perplexity.spread"], teacher)
        accuracy = self._own_deviation("accuracy")
        if accuracy:
            # Accuracy's teacher is log-perplexity: of its own deviation, and of a world's other slope.
            unit = self.tensors["accuracy.spread"] / self.tensors["accuracy.lesson_spread"]
            _add(accuracy, np.broadcast_to(self.tensors["accuracy.gain"] * unit, (len(self) // 2, 3)), perplexity)
            nominal = {name: getattr(self.nominal["perplexity"], name)[None] for name in perplexity}
            nominal["intercept"] = nominal["intercept"] - self.tensors["accuracy.lesson_centre"][:, None, None]
            _add(accuracy, self.tensors["accuracy.slope"] * unit, nominal)
        return {"perplexity": perplexity, "accuracy": accuracy}

    def _own_deviation(self, metric: str) -> Arrays:
        if f"{metric}.spread" not in self.tensors:
            return {}
        arrays = unpack(self.space, self._packed(metric))
        spread = self.tensors[f"{metric}.spread"]
        return {name: array * spread.reshape(3, *[1] * (array.ndim - 2)) for name, array in arrays.items()}

    def _packed(self, metric: str) -> Arrays:
        parts = {name.partition(".")[2]: part for name, part in self.tensors.items() if name.startswith(f"{metric}.")}
        return {name: part.astype(np.float64) for name, part in parts.items() if name not in (*SETTINGS, "slope")}

    def _check(self, world: int) -> int:
        if check_integer("world", world, 0) >= len(self):
            raise ValueError(f"world must be an integer from 0 to {len(self) - 1}, got {echo(world)}")
        return int(world)


def _add(arrays: Arrays, slopes: FloatArray, model: Arrays) -> None:
    """Add ``slopes`` ``(pairs, 3)``, by width, times the arrays of a model (or of one a pair)."""
    for name, array in arrays.items():
        array += slopes.reshape(*slopes.shape, *[1] * (array.ndim - 2)) * model[name]


def fingerprint(*models: ChainModel) -> str:
    """Return the SHA-256 of chain models, to the last bit."""
    digest = hashlib.sha256()
    for model in models:
        for name in ChainModel.shapes(model.space):
            digest.update(np.ascontiguousarray(getattr(model, name), dtype="<f8").tobytes())
    return digest.hexdigest()


def save_worlds(worlds: Worlds, path: Path) -> None:
    """Write worlds to a file, whole or not at all; the same worlds give the same bytes."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(part) for name, part in worlds.tensors.items()}
    document = {
        **worlds.metadata,
        "schema_version": SCHEMA_VERSION,
        "scale": worlds.space.scale,
        "nominal_sha256": fingerprint(*worlds.nominal.values()),
    }
    document["sha256"] = _sha256(document, tensors)
    # One key, because safetensors does not promise an order of several.
    content = save(tensors, metadata={_METADATA_KEY: json.dumps(document, sort_keys=True)})
    with replacing(path, parents=True) as temporary:
        temporary.write_bytes(content)


def read_worlds(path: Path, surrogates: Surrogates) -> Worlds:
    """Read worlds from a file, and check that they are whole and belong to some surrogates.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is damaged, of another version or of other surrogates.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there are no worlds at {path}")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(_METADATA_KEY, "{}")
            tensors: dict[str, np.ndarray] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is no readable safetensors file: {error}") from error
    document = read_json(path, text)
    found = document.get("schema_version") if isinstance(document, dict) else document
    if found != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema version {echo(found)}, this version of hwgpt_gym reads {SCHEMA_VERSION}")
    if document.pop("sha256", None) != _sha256(document, tensors):
        raise ValueError(f"{path} is damaged: its content is not that of its SHA-256")
    nominal = {"perplexity": surrogates.perplexity, "accuracy": surrogates.accuracy}
    if document.get("nominal_sha256") != fingerprint(*nominal.values()):
        raise ValueError(f"{path} holds worlds of other surrogates: draw them anew with hwgpt-gym surrogates worlds")
    return Worlds(surrogates.space, nominal, {name: read_only(part) for name, part in tensors.items()}, document)


def _sha256(document: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def worlds_path(scale: str, folder: Path = WEIGHTS_FOLDER) -> Path:
    """Return where a scale's worlds are stored."""
    return folder / f"worlds_{get_search_space(scale).scale}.safetensors"


def load_worlds(scale: str) -> Worlds:
    """Load the shipped worlds of a scale, and check their SHA-256; loaded once and shared.

    Raises:
        ValueError: If there is no such scale, or the file is damaged.
        FileNotFoundError: If the package was installed without its worlds.
    """
    return _load(get_search_space(scale).scale)


@lru_cache
def _load(scale: str) -> Worlds:
    return read_worlds(worlds_path(scale), load_surrogates(scale))
