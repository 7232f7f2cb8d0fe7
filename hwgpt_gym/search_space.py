"""The search spaces of HW-GPT-Bench, and what an architecture is.

A batch of architectures is an ``int8`` array ``(n, D)`` of choice indices (:mod:`hwgpt_gym.encoding`, whose
names are here as well); :class:`Architecture` is its readable counterpart for one architecture at a time.

The choices are those of Sukthanker et al., *HW-GPT-Bench: Hardware-Aware Architecture Benchmark for Language
Models*, NeurIPS 2024 (arXiv 2405.10299), Table 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_array, check_choice, check_list, check_type, echo, is_integer
from hwgpt_gym.combinatorics import CombinatorialSpace
from hwgpt_gym.encoding import (
    BIAS,
    EMBED_DIM,
    FIRST_LAYER,
    GROUP_SHAPE,
    GROUP_WEIGHTS,
    GROUPS,
    HEAD_COLUMNS,
    MLP_COLUMNS,
    N_LAYER,
    NOT_SET,
    NUM_CHOICES,
    Encoded,
    FloatArray,
    Group,
    IntArray,
    layers_of,
)

__all__ = [
    "BIAS",
    "EMBED_DIM",
    "FIRST_LAYER",
    "GROUPS",
    "GROUP_SHAPE",
    "GROUP_WEIGHTS",
    "HEAD_COLUMNS",
    "MLP_COLUMNS",
    "NOT_SET",
    "NUM_CHOICES",
    "N_LAYER",
    "SEARCH_SPACES",
    "Architecture",
    "Encoded",
    "FloatArray",
    "Group",
    "IntArray",
    "SearchSpace",
    "get_search_space",
    "layers_of",
]


class SearchSpace(CombinatorialSpace):
    """One of the three search spaces.

    Attributes:
        scale: The name of the space, ``"s"``, ``"m"`` or ``"l"``.
        embed_dims: The embedding widths.
        depths: The numbers of layers, consecutive and ascending.
        head_counts: The numbers of attention heads of a layer.
        mlp_ratios: The widths of a layer's MLP, as multiples of the embedding width.
        biases: Whether linear layers and normalisations have biases.

    Raises:
        ValueError: If there are not three widths, three consecutive depths, two biases, three MLP ratios and three head
            counts: surrogates and solver are laid out for these numbers.
    """

    def encode(self, architectures: Iterable[Architecture]) -> Encoded:
        """Encode architectures of this space, ``int8 (n, D)``.

        Raises:
            TypeError: If one is no :class:`Architecture`.
            ValueError: If an architecture belongs to another scale.
        """
        if isinstance(architectures, Architecture):
            raise TypeError("architectures must be a list: space.encode([architecture]), or architecture.encode()")
        rows = check_list("architectures", architectures, "Architecture (Architecture.from_string reads a name)")
        encoded = np.full((len(rows), self.num_decisions), NOT_SET, dtype=np.int8)
        for row, architecture in zip(encoded, rows, strict=True):
            if not isinstance(architecture, Architecture):
                raise TypeError(
                    f"architectures must hold Architecture, got {echo(architecture)}: Architecture.from_string reads "
                    "a name, and Architecture.from_config upstream's dictionary"
                )
            if architecture.scale != self.scale:
                raise ValueError(
                    f"architecture {architecture.to_string()!r} is of scale {architecture.scale!r}, "
                    f"this space is of scale {self.scale!r}"
                )
            row[EMBED_DIM] = self.embed_dims.index(architecture.embed_dim)
            row[N_LAYER] = self.depths.index(architecture.n_layer)
            row[BIAS] = self.biases.index(architecture.bias)
            layers = layers_of(row)[: architecture.n_layer]
            layers[:, 0] = [self.mlp_ratios.index(ratio) for ratio in architecture.mlp_ratio]
            layers[:, 1] = [self.head_counts.index(heads) for heads in architecture.n_head]
        return encoded

    def decode(self, encoded: npt.ArrayLike) -> list[Architecture]:
        """Decode a batch ``(n, D)`` into architectures.

        Raises:
            ValueError: As :meth:`validate`.
        """
        return [self._decode_row(row) for row in self.validate(encoded)]

    def _decode_row(self, row: Encoded) -> Architecture:
        n_layer = self.depths[row[N_LAYER]]
        layers = layers_of(row)[:n_layer]
        return Architecture(
            scale=self.scale,
            embed_dim=self.embed_dims[row[EMBED_DIM]],
            n_layer=n_layer,
            mlp_ratio=tuple(self.mlp_ratios[k] for k in layers[:, 0]),
            n_head=tuple(self.head_counts[k] for k in layers[:, 1]),
            bias=self.biases[row[BIAS]],
        )


SEARCH_SPACES: Final[dict[str, SearchSpace]] = {
    "s": SearchSpace("s", embed_dims=(192, 384, 768), depths=(10, 11, 12), head_counts=(4, 8, 12)),
    "m": SearchSpace("m", embed_dims=(256, 512, 1024), depths=(22, 23, 24), head_counts=(8, 12, 16)),
    "l": SearchSpace("l", embed_dims=(320, 640, 1280), depths=(34, 35, 36), head_counts=(8, 16, 20)),
}
"""The three search spaces by scale."""


def get_search_space(scale: str) -> SearchSpace:
    """Return the search space of a scale.

    Raises:
        ValueError: If there is no such scale.
    """
    check_choice("scale", scale, list(SEARCH_SPACES))
    return SEARCH_SPACES[scale]


def check_space(space: object) -> SearchSpace:
    """Return an argument that has to be a search space.

    Raises:
        TypeError: If it is none.
    """
    return check_type("space", space, SearchSpace, "a SearchSpace, such as get_search_space('s')")


@dataclass(frozen=True)
class Architecture:
    """One complete architecture: readable, validated and hashable.

    Attributes:
        scale: The search space it belongs to, ``"s"``, ``"m"`` or ``"l"``.
        embed_dim: The embedding width.
        n_layer: The number of layers.
        mlp_ratio: The MLP ratio of every layer, ``n_layer`` entries.
        n_head: The number of heads of every layer, ``n_layer`` entries.
        bias: Whether linear layers and normalisations have biases.

    Raises:
        ValueError: If a value is not a choice of the space, or a list has the wrong length.
    """

    scale: str
    embed_dim: int
    n_layer: int
    mlp_ratio: tuple[int, ...]
    n_head: tuple[int, ...]
    bias: bool

    def __post_init__(self) -> None:
        space = get_search_space(self.scale)
        _check_choice("embed_dim", self.embed_dim, space.embed_dims, self.scale)
        _check_choice("n_layer", self.n_layer, space.depths, self.scale)
        _check_choice("bias", self.bias, space.biases, self.scale)
        for name, values, legal in (
            ("mlp_ratio", self.mlp_ratio, space.mlp_ratios),
            ("n_head", self.n_head, space.head_counts),
        ):
            entries = check_list(name, values, "integers")
            if len(entries) != self.n_layer:
                raise ValueError(f"{name} must have n_layer = {self.n_layer} entries, got {len(entries)}")
            for i, value in enumerate(entries):
                _check_choice(f"{name}[{i}]", value, legal, self.scale)
        # Equal architectures must be equal values whatever they were made from (lists, numpy integers).
        object.__setattr__(self, "embed_dim", int(self.embed_dim))
        object.__setattr__(self, "n_layer", int(self.n_layer))
        object.__setattr__(self, "mlp_ratio", tuple(int(ratio) for ratio in self.mlp_ratio))
        object.__setattr__(self, "n_head", tuple(int(heads) for heads in self.n_head))
        object.__setattr__(self, "bias", bool(self.bias))

    @property
    def space(self) -> SearchSpace:
        """The search space it belongs to."""
        return SEARCH_SPACES[self.scale]

    def __str__(self) -> str:
        return self.to_string()

    def to_string(self) -> str:
        """Return upstream's name, ``gpt-{scale}-{n_layer}-{embed_dim}-{mlp ratios}-{heads}-{bias}``."""
        lists = "-".join(str(value) for value in (*self.mlp_ratio, *self.n_head))
        return f"gpt-{self.scale}-{self.n_layer}-{self.embed_dim}-{lists}-{self.bias}"

    @classmethod
    def from_string(cls, name: str) -> Architecture:
        """Read upstream's name; the inverse of :meth:`to_string`.

        Raises:
            ValueError: If the name is malformed or names a choice that does not exist.
        """
        form = "gpt-{scale}-{n_layer}-{embed_dim}-{mlp ratios}-{heads}-{True|False}"
        fields = name.split("-") if isinstance(name, str) else []
        if len(fields) < 5 or fields[0] != "gpt":
            raise ValueError(f"architecture name must have the form {form}, got {echo(name)}")
        scale = get_search_space(fields[1]).scale
        try:
            n_layer, embed_dim, *layers = (_parse_integer(field) for field in fields[2:-1])
        except ValueError as error:
            raise ValueError(f"architecture name must have the form {form}, got {echo(name)}: {error}") from None
        if len(layers) != 2 * n_layer:
            raise ValueError(
                f"architecture name with n_layer = {n_layer} must list {n_layer} MLP ratios and {n_layer} heads, "
                f"got {len(layers)} numbers in {echo(name)}"
            )
        return cls(
            scale,
            embed_dim,
            n_layer,
            tuple(layers[:n_layer]),
            tuple(layers[n_layer:]),
            _parse_bias(fields[-1]),
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any], scale: str | None = None) -> Architecture:
        """Read upstream's configuration, a dictionary of ``sample_*`` keys.

        Args:
            config: ``sample_embed_dim``, ``sample_n_layer``, ``sample_mlp_ratio``, ``sample_n_head`` and
                ``sample_bias`` (a bool, or ``'True'`` / ``'False'``). Lists may be longer than the depth:
                only the first ``sample_n_layer`` entries count. ``sample_layer_indices``, which upstream
                also stores, is not needed.
            scale: The search space; found from the embedding width if not given (widths are distinct).

        Raises:
            TypeError: If it is no dictionary, or a list is none.
            ValueError: If a key is missing, a list is shorter than the depth or a choice does not exist.
        """
        check_type("config", config, Mapping, "a dictionary of sample_* keys (Architecture.from_string reads a name)")
        missing = [key for key in _CONFIG_KEYS if key not in config]
        if missing:
            raise ValueError(f"config lacks {missing}; it must have {list(_CONFIG_KEYS)}, got {echo(list(config))}")
        embed_dim, n_layer = config["sample_embed_dim"], config["sample_n_layer"]
        if scale is None:
            scale = _scale_of(embed_dim)
        _check_choice("sample_n_layer", n_layer, get_search_space(scale).depths, scale)
        keys = ("sample_mlp_ratio", "sample_n_head")
        lists: list[list[int]] = [check_list(key, config[key], "integers") for key in keys]
        for key, values in zip(keys, lists, strict=True):
            if len(values) < n_layer:
                raise ValueError(f"{key} must have at least n_layer = {n_layer} entries, got {len(values)}")
        mlp_ratio, n_head = (tuple(values[:n_layer]) for values in lists)
        return cls(scale, embed_dim, n_layer, mlp_ratio, n_head, _parse_bias(config["sample_bias"]))

    def to_config(self) -> dict[str, Any]:
        """Return upstream's configuration, with the bias as a bool; the inverse of :meth:`from_config`."""
        return {
            "sample_embed_dim": self.embed_dim,
            "sample_n_layer": self.n_layer,
            "sample_mlp_ratio": list(self.mlp_ratio),
            "sample_n_head": list(self.n_head),
            "sample_bias": self.bias,
            "sample_layer_indices": list(range(self.n_layer)),
        }

    def encode(self) -> Encoded:
        """Return the encoding as a batch of one, ``int8 (1, D)``."""
        return self.space.encode([self])

    @classmethod
    def decode(cls, encoded: npt.ArrayLike, scale: str) -> Architecture:
        """Decode one architecture, of shape ``(D,)`` or ``(1, D)``.

        Raises:
            ValueError: If it is not exactly one complete architecture of the space.
        """
        batch = np.atleast_2d(check_array("encoded", encoded, "iu", "the integers of one architecture"))
        if len(batch) != 1:
            raise ValueError(f"encoded must hold one architecture, got {len(batch)}")
        return get_search_space(scale).decode(batch)[0]


_CONFIG_KEYS: Final = (
    "sample_embed_dim",
    "sample_n_layer",
    "sample_mlp_ratio",
    "sample_n_head",
    "sample_bias",
)


def _check_choice(name: str, value: object, legal: Sequence[object], scale: str) -> None:
    # True == 1 in Python; a bool is no number of layers, and 1 is no bias.
    of_kind = isinstance(value, bool | np.bool_) if isinstance(legal[0], bool) else is_integer(value)
    if not of_kind or value not in legal:
        raise ValueError(f"{name} must be one of {list(legal)} at scale {scale!r}, got {echo(value)}")


def _parse_integer(field: str) -> int:
    # No choice has so many digits, and Python takes its time to read thousands.
    if not (field.isascii() and field.isdigit() and len(field) < 10):
        raise ValueError(f"{echo(field)} is not a number")
    return int(field)


def _parse_bias(value: object) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str) and value in ("True", "False"):
        return value == "True"
    raise ValueError(f"bias must be True, False, 'True' or 'False', got {echo(value)}")


def _scale_of(embed_dim: object) -> str:
    for scale, space in SEARCH_SPACES.items():
        if is_integer(embed_dim) and embed_dim in space.embed_dims:
            return scale
    legal = [width for space in SEARCH_SPACES.values() for width in space.embed_dims]
    raise ValueError(f"sample_embed_dim must be one of {legal}, got {echo(embed_dim)}")


def read_architecture(architecture: Architecture | str | Mapping[str, Any], scale: str | None = None) -> Architecture:
    """Return an architecture, whatever it is given as.

    Args:
        architecture: An :class:`Architecture`, upstream's name of one, or upstream's ``sample_*`` dictionary.
        scale: The search space of a dictionary, as for :meth:`Architecture.from_config`.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is no architecture.
    """
    if isinstance(architecture, Architecture):
        return architecture
    if isinstance(architecture, str):
        return Architecture.from_string(architecture)
    legal = "an Architecture, the name of one, or a dictionary of sample_* keys (bench.evaluate takes encoded batches)"
    return Architecture.from_config(check_type("architecture", architecture, Mapping, legal), scale)
