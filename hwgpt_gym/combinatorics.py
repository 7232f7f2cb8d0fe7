"""The number of every architecture, and the moves from one architecture to others."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_integer, check_list, check_rng, echo, is_integer
from hwgpt_gym.encoding import BIAS, EMBED_DIM, FIRST_LAYER, N_LAYER, NOT_SET, ChoiceSpace, Encoded, IntArray, layers_of

MOST_CHANGES: Final = 1_000
"""The most decisions that a mutation changes, one after the other."""

LIMB: Final = 16
"""Layers whose choices one int64 holds: there are nine of each, and 9^16 is below 2^63."""


class CombinatorialSpace(ChoiceSpace):
    """A space of choices whose architectures are numbered and have neighbours."""

    @cached_property
    def size(self) -> int:
        """The number of distinct architectures, exactly; layers beyond the depth do not count."""
        return len(self.embed_dims) * self._size_by_width

    def index(self, encoded: npt.ArrayLike) -> npt.NDArray[np.object_]:
        """Return the number of every architecture: its position among all, ordered by their encodings.

        Numbers of the scales m and l exceed 64 bits. All arithmetic on them is exact.

        Args:
            encoded: The architectures, integers ``(n, D)``.

        Returns:
            Python integers from 0 to :attr:`size` - 1, ``object (n,)``.

        Raises:
            ValueError: If an architecture is not valid.

        Example:
            >>> import numpy as np
            >>> from hwgpt_gym import get_search_space
            >>> space = get_search_space("s")
            >>> space.index(space.from_index([0, space.size - 1])).tolist() == [0, space.size - 1]
            True
        """
        rows = self.validate(encoded)
        depth, number = rows[:, N_LAYER], np.zeros(len(rows), dtype=object)
        choices = np.maximum(layers_of(rows), 0).astype(np.int64)
        of_layer = choices[:, :, 0] * len(self.head_counts) + choices[:, :, 1]
        for start in range(0, self.max_layers, LIMB):
            limb = of_layer[:, start : start + LIMB]
            number = number * self._per_layer ** limb.shape[1] + (limb @ self._weights(limb.shape[1])).astype(object)
        # Layers beyond the depth are the last digits, all zero.
        number //= self._per_layer ** (self.max_layers - self.n_layer(rows)).astype(object)
        number += rows[:, BIAS].astype(object) * self._sizes[depth]
        number += self._offsets[depth]
        number += rows[:, EMBED_DIM].astype(object) * self._size_by_width
        return number

    def from_index(self, numbers: Iterable[int]) -> Encoded:
        """Return the architectures of numbers; the inverse of :meth:`index`.

        Args:
            numbers: Integers from 0 to :attr:`size` - 1, ``n`` of them.

        Returns:
            ``int8 (n, D)``.

        Raises:
            TypeError: If one is no integer.
            ValueError: If one is out of range.
        """
        listed = check_list("numbers", numbers, "integers")
        for item in listed:
            if not is_integer(item):
                raise TypeError(f"numbers must be integers, got {echo(item)}")
        # Not asarray: of integers beyond 64 bits beside others it would make floats.
        number = np.array([*map(int, listed), None], dtype=object)[:-1]
        wrong = (number < 0) | (number >= self.size)
        if wrong.any():
            raise ValueError(f"numbers must be from 0 to {self.size - 1}, got {echo(number[wrong.argmax()])}")
        choices = np.empty((len(number), self.num_decisions), dtype=np.int8)
        choices[:, EMBED_DIM] = number // self._size_by_width
        number = number % self._size_by_width
        choices[:, N_LAYER] = (number[:, None] >= self._offsets[1:]).sum(axis=1)
        depth = choices[:, N_LAYER]
        number = number - self._offsets[depth]
        choices[:, BIAS] = number // self._sizes[depth]
        number = (
            number % self._sizes[depth] * self._per_layer ** (self.max_layers - self.n_layer(choices)).astype(object)
        )
        for start in reversed(range(0, self.max_layers, LIMB)):
            layers = layers_of(choices)[:, start : start + LIMB]
            weights = self._weights(layers.shape[1])
            limb = (number % self._per_layer ** len(weights)).astype(np.int64)
            number = number // self._per_layer ** len(weights)
            layers[:, :, 0], layers[:, :, 1] = np.divmod(
                limb[:, None] // weights % self._per_layer, len(self.head_counts)
            )
        return self.canonical(choices)

    def mutate(self, encoded: Encoded, rng: np.random.Generator, decisions: int = 1) -> Encoded:
        """Change random decisions of every architecture to another choice.

        A layer that comes into being repeats the layer before it.

        Args:
            encoded: The architectures, ``int8 (n, D)``.
            rng: The generator to draw from.
            decisions: How many decisions to change, one after the other (the same one may be drawn again).

        Returns:
            The children, ``int8 (n, D)``.

        Raises:
            TypeError: If ``rng`` is no generator.
            ValueError: If an architecture is not valid, or ``decisions`` no integer from 0 to 1,000.
        """
        check_rng(rng, "space.mutate(encoded, np.random.default_rng(0))")
        check_integer("decisions", decisions, 0, MOST_CHANGES)
        # Parents stay what they are: validating need not copy.
        children = self.validate(encoded).copy()
        num_choices = np.asarray(self.num_choices)
        rows = np.arange(len(children))
        for _ in range(decisions):
            column = rng.integers(0, self.lengths[children[:, N_LAYER]])
            shift = rng.integers(1, num_choices[column])
            children[rows, column] = (children[rows, column] + shift) % num_choices[column]
            children = self.repair(children)
        return children

    def neighbours(self, encoded: Encoded) -> Encoded:
        """Return every architecture that differs from one in one decision.

        A layer that comes into being repeats the layer before it.

        Args:
            encoded: The architecture, ``int8 (1, D)``.

        Returns:
            ``int8 (k, D)``: by decision, then by how far the choice is moved on (cyclically).

        Raises:
            ValueError: If it is not one architecture, or not valid.
        """
        encoded = self._check_one(encoded)
        length = int(self.lengths[encoded[0, N_LAYER]])
        moves = [(column, shift) for column in range(length) for shift in range(1, self.num_choices[column])]
        columns, shifts = np.array(moves).T
        changed = np.repeat(encoded, len(moves), axis=0)
        rows = np.arange(len(moves))
        changed[rows, columns] = (changed[rows, columns] + shifts) % np.asarray(self.num_choices)[columns]
        return self.repair(changed)

    def swaps(self, encoded: Encoded) -> Encoded:
        """Return every architecture in which two layers of one have swapped their different MLP or head choices.

        They have the same counts, and therefore the same costs.

        Args:
            encoded: The architecture, ``int8 (1, D)``.

        Returns:
            ``int8 (k, D)``: MLP choices first, then by the earlier layer; none if all layers are alike.

        Raises:
            ValueError: If it is not one architecture, or not valid.
        """
        encoded = self._check_one(encoded)
        layers = np.arange(int(self.n_layer(encoded)[0]))
        earlier, later = np.triu_indices(len(layers), 1)
        columns = FIRST_LAYER + 2 * np.concatenate([[earlier, later], [earlier, later]], axis=1)
        columns[:, len(earlier) :] += 1
        one, other = columns[:, encoded[0, columns[0]] != encoded[0, columns[1]]]
        swapped = np.repeat(encoded, len(one), axis=0)
        rows = np.arange(len(one))
        swapped[rows, one], swapped[rows, other] = encoded[0, other], encoded[0, one]
        return swapped

    def _check_one(self, encoded: Encoded) -> Encoded:
        encoded = self.validate(encoded)
        if len(encoded) != 1:
            raise ValueError(f"encoded must hold one architecture, got {len(encoded)}")
        return encoded

    def repair(self, encoded: Encoded) -> Encoded:
        """Make layers agree with the depth: layers beyond it go, missing ones repeat the last that is there.

        Args:
            encoded: ``int8 (n, D)``, complete but for its layers; at least one layer is set.

        Returns:
            Valid architectures, ``int8 (n, D)``.
        """
        repaired = self._check_rows(encoded).astype(np.int8)
        layers = layers_of(repaired)
        for layer in range(self.depths[0] - 1, self.max_layers):
            missing = layers[:, layer] == NOT_SET
            layers[:, layer] = np.where(missing, layers[:, layer - 1], layers[:, layer])
        return self.canonical(repaired)

    @property
    def _per_layer(self) -> int:
        """The number of choices of a layer."""
        return len(self.mlp_ratios) * len(self.head_counts)

    @cached_property
    def _sizes(self) -> npt.NDArray[Any]:
        """The number of architectures of an embedding width, a depth and a bias by depth, ``object (3,)``."""
        return np.array([self._per_layer**depth for depth in self.depths], dtype=object)

    @cached_property
    def _offsets(self) -> npt.NDArray[Any]:
        """The number of architectures of an embedding width that are shallower, by depth, ``object (3,)``."""
        return np.array(
            [len(self.biases) * sum(self._sizes[:depth]) for depth in range(len(self.depths))], dtype=object
        )

    @cached_property
    def _size_by_width(self) -> int:
        """The number of architectures of an embedding width."""
        return len(self.biases) * int(self._sizes.sum())

    def _weights(self, layers: int) -> IntArray:
        """Return what the choices of successive layers count in a number, ``int64 (layers,)``."""
        weights: IntArray = self._per_layer ** np.arange(layers - 1, -1, -1, dtype=np.int64)
        return weights
