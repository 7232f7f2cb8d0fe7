"""The encoding of architectures, and what a space of choices is.

A batch of architectures is an ``int8`` array ``(n, D)`` of *choice indices*, ``D = 3 + 2 * max_layers``::

    [embed_dim, n_layer, bias, mlp_0, head_0, mlp_1, head_1, ...]

``-1`` marks a layer that does not exist (it lies beyond the depth) or a decision that is not taken yet.
This encoding is the state of the environment, the input of the surrogates and the output of the solver.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_array, check_flag, check_integer, check_list, check_rng, check_type

Encoded: TypeAlias = npt.NDArray[np.int8]
"""A batch of encoded architectures, ``(n, D)``."""

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]

EMBED_DIM: Final = 0
N_LAYER: Final = 1
BIAS: Final = 2
FIRST_LAYER: Final = 3
"""Columns of the encoding: the three decisions about the whole, and where the layers begin."""
MLP_COLUMNS: Final = slice(FIRST_LAYER, None, 2)
HEAD_COLUMNS: Final = slice(FIRST_LAYER + 1, None, 2)
"""Columns of the encoding: the layers' MLP choices and their head choices; :func:`layers_of` has both in one array."""

NOT_SET: Final = -1
"""The choice index of a layer that does not exist, or of a decision that is not taken yet."""

GROUP_SHAPE: Final = (3, 3, 2)
NUM_CHOICES: Final = 3
"""The numbers of embedding widths, depths and biases of every search space; of MLP ratios, and of head counts."""


class Group(NamedTuple):
    """A combination of choice indices of embedding width, depth and bias."""

    embed_dim: int
    depth: int
    bias: int


GROUPS: Final = tuple(Group(*choices) for choices in itertools.product(*map(range, GROUP_SHAPE)))
"""All groups. Arrays over groups have this order, or the shape :data:`GROUP_SHAPE`, which is the same when flat."""

GROUP_WEIGHTS: Final = (6, 2, 1)
"""What the first three columns of an encoding count in the position in :data:`GROUPS`."""


MOST_ROWS: Final = 10**9
"""The most architectures that are drawn at a time."""


def layers_of(encoded: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the choices of the layers as a view, ``(…, max_layers, 2)``: of the MLP, then of the heads.

    Args:
        encoded: Choice indices, ``(…, D)``.
    """
    return encoded[..., FIRST_LAYER:].reshape(*encoded.shape[:-1], (encoded.shape[-1] - FIRST_LAYER) // 2, 2)


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of an array that cannot be written to: what many share, nobody may change."""
    view = array.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True)
class ChoiceSpace:
    """A search space as far as choice indices go.

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

    scale: str
    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    head_counts: tuple[int, ...]
    mlp_ratios: tuple[int, ...] = (2, 3, 4)
    biases: tuple[bool, ...] = (False, True)

    def __post_init__(self) -> None:
        check_type("scale", self.scale, str, "a name")
        for name in ("embed_dims", "depths", "head_counts", "mlp_ratios"):
            values = check_list(name, getattr(self, name), "integers")
            object.__setattr__(self, name, tuple(check_integer(name, value, 1) for value in values))
        biases = check_list("biases", self.biases, "True and False")
        object.__setattr__(self, "biases", tuple(check_flag("biases", value) for value in biases))
        shape = tuple(map(len, (self.embed_dims, self.depths, self.biases, self.mlp_ratios, self.head_counts)))
        legal = (*GROUP_SHAPE, NUM_CHOICES, NUM_CHOICES)
        if shape != legal:
            raise ValueError(
                f"embed_dims, depths, biases, mlp_ratios and head_counts must have {legal} entries, got {shape}"
            )
        first = self.depths[0]
        if first < 1 or self.depths != tuple(range(first, first + len(self.depths))):
            raise ValueError(f"depths must be consecutive and ascending from at least 1, got {self.depths}")

    @property
    def max_layers(self) -> int:
        """The greatest number of layers."""
        return self.depths[-1]

    @property
    def num_decisions(self) -> int:
        """The length of the encoding, ``D = 3 + 2 * max_layers``."""
        return int(self.lengths[-1])

    @cached_property
    def lengths(self) -> IntArray:
        """The number of decisions by choice of the depth, ``int64 (3,)``: ``3 + 2 * depth``."""
        lengths: IntArray = FIRST_LAYER + 2 * np.array(self.depths, dtype=np.int64)
        lengths.setflags(write=False)
        return lengths

    @cached_property
    def num_choices(self) -> tuple[int, ...]:
        """The number of choices of every decision, ``D`` entries."""
        per_layer = (len(self.mlp_ratios), len(self.head_counts))
        return (len(self.embed_dims), len(self.depths), len(self.biases), *per_layer * self.max_layers)

    @cached_property
    def decision_names(self) -> tuple[str, ...]:
        """The name of every decision, ``D`` entries: ``embed_dim``, …, ``mlp_ratio_0``, ``n_head_0``, …."""
        layers = (f"{kind}_{i}" for i in range(self.max_layers) for kind in ("mlp_ratio", "n_head"))
        return ("embed_dim", "n_layer", "bias", *layers)

    def sample(self, rng: np.random.Generator, n: int = 1) -> Encoded:
        """Draw architectures as upstream does: every choice uniform and independent.

        Depths are therefore equally likely, although most *distinct* architectures have the greatest depth.

        Args:
            rng: The generator to draw from.
            n: How many architectures to draw, at least 0.

        Returns:
            The architectures, ``int8 (n, D)``.

        Raises:
            TypeError: If ``rng`` is no generator.
            ValueError: If ``n`` is no integer of at least 0.
        """
        check_rng(rng, "space.sample(np.random.default_rng(0), n)")
        n = check_integer("n", n, 0, MOST_ROWS)
        encoded = rng.integers(0, np.asarray(self.num_choices), size=(n, self.num_decisions), dtype=np.int8)
        return self.canonical(encoded)

    def active(self, encoded: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Mark the decisions that architectures have: those of layers within the depth, ``bool (n, D)``.

        Args:
            encoded: Choice indices, integers ``(n, D)``; the depth must be set, the others may be anything.

        Raises:
            TypeError: If they are no integers.
            ValueError: If the shape is wrong, or a depth is no choice.
        """
        try:
            ends = self.lengths[self._check_rows(encoded)[:, N_LAYER]]
        except IndexError:
            raise ValueError(_NO_DEPTH) from None
        active: npt.NDArray[np.bool_] = np.arange(self.num_decisions) < ends[:, None]
        return active

    def canonical(self, choices: npt.NDArray[Any]) -> Encoded:
        """Return the architectures that choices for all layers mean: -1 in layers beyond the depth.

        Args:
            choices: Choice indices of every decision, integers ``(n, D)``.

        Returns:
            ``int8 (n, D)``, a new array.
        """
        active = self.active(choices)
        encoded: Encoded = np.where(active, choices, NOT_SET).astype(np.int8, copy=False)
        return encoded

    def n_layer(self, encoded: Encoded) -> IntArray:
        """Return the depth of every architecture, ``int64 (n,)``."""
        try:
            depths: IntArray = np.asarray(self.depths, dtype=np.int64)[self._check_rows(encoded)[:, N_LAYER]]
        except IndexError:
            raise ValueError(_NO_DEPTH) from None
        return depths

    def counts(self, encoded: Encoded) -> tuple[IntArray, IntArray]:
        """Count the layers that have each MLP ratio and each number of heads.

        Returns:
            The counts by MLP choice and by head choice, each ``int64 (n, 3)``; rows sum to the depth.
        """
        encoded = self._check_rows(encoded)
        counted = [
            np.stack([np.count_nonzero(kind == k, axis=1) for k in range(NUM_CHOICES)], axis=1)
            for kind in (encoded[:, MLP_COLUMNS], encoded[:, HEAD_COLUMNS])
        ]
        return counted[0].astype(np.int64), counted[1].astype(np.int64)

    def validate(self, encoded: npt.ArrayLike) -> Encoded:
        """Check that a batch encodes complete architectures of this space.

        Args:
            encoded: Choice indices, integers of shape ``(n, D)``.

        Returns:
            The batch as ``int8 (n, D)``.

        Raises:
            ValueError: If the shape or the type is wrong, a choice does not exist, a layer within the depth
                is not set or a layer beyond it is.
        """
        array = self._check_choices(encoded, FIRST_LAYER)
        active = self.active(array)
        wrong = active == (array == NOT_SET)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            legal = "a choice, not -1" if active[row, column] else "-1 (the layer lies beyond the depth)"
            raise ValueError(
                f"encoded[{row}, {column}] ({self.decision_names[column]}) is {array[row, column]}, must be {legal}"
            )
        return np.ascontiguousarray(array, dtype=np.int8)

    def validate_partial(self, encoded: npt.ArrayLike) -> tuple[Encoded, IntArray]:
        """Check that a batch encodes architectures of this space that are decided up to some decision.

        Args:
            encoded: Choice indices, integers of shape ``(n, D)``; -1 where undecided.

        Returns:
            The batch as ``int8 (n, D)``, and the number of decisions that are taken, ``int64 (n,)``.

        Raises:
            TypeError: If it holds no integers.
            ValueError: If the shape is wrong, a choice does not exist, a decision is taken before an earlier one or a
                layer beyond the depth is set.
        """
        array = self._check_choices(encoded, 0)
        taken = array != NOT_SET
        early = taken & np.maximum.accumulate(~taken, axis=1)
        # As long as the depth is not chosen, no layer is set: that of a choice of -1 does not matter.
        wrong = early | (taken & ~self.active(array))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            reason = "an earlier decision is not taken" if early[row, column] else "the layer lies beyond the depth"
            name = self.decision_names[column]
            raise ValueError(f"encoded[{row}, {column}] ({name}) is {array[row, column]}, must be -1 ({reason})")
        return np.ascontiguousarray(array, dtype=np.int8), np.count_nonzero(taken, axis=1)

    def _check_choices(self, encoded: npt.ArrayLike, required: int) -> npt.NDArray[Any]:
        """Check shape, type and choices; -1 is none of the first ``required`` decisions."""
        array = self._check_rows(encoded)
        wrong = (array < NOT_SET) | (array >= np.asarray(self.num_choices))
        wrong[:, :required] |= array[:, :required] == NOT_SET
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"encoded[{row}, {column}] ({self.decision_names[column]}) is {array[row, column]}, "
                f"legal choices are 0 to {self.num_choices[column] - 1}"
            )
        return array

    def _check_rows(self, encoded: npt.ArrayLike) -> npt.NDArray[Any]:
        """Check shape and type alone, at no cost by the row."""
        array = check_array("encoded", encoded, "iu", _ROWS)
        if array.ndim != 2 or array.shape[1] != self.num_decisions or array.dtype.kind not in "iu":
            raise ValueError(
                f"encoded must have shape (n, {self.num_decisions}) at scale {self.scale!r}, got {array.shape}"
            )
        return array


_NO_DEPTH: Final = "encoded[:, 1] (n_layer) must hold choices, from 0 to 2"
_ROWS: Final = "integers (n, D): space.encode([architecture]) makes them, bench.query(architecture) needs none"
