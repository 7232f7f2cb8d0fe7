"""The decision process: building architectures on a batch of lanes, one decision at a time.

This is the only implementation of the rules. The scalar environment has one lane, the vector environment many; lanes
may stand at different decisions. All state is in three arrays that are updated in place, so that a step costs a few
scattered writes whatever the length of the encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.envs.limit_shares import SHARES, LimitShares, LimitTables
from hwgpt_gym.search_space import N_LAYER, NOT_SET, Encoded, FloatArray, SearchSpace

NUM_ACTIONS: Final = 3
"""The greatest number of choices of a decision, and the size of the action space."""

MIDDLE: Final = 1
"""The choice that :meth:`Construction.completed` puts where none is taken yet."""

Lanes: TypeAlias = npt.NDArray[np.intp]
"""Positions of lanes, ``intp (m,)``."""


@dataclass(frozen=True)
class ObservationLayout:
    """Which columns of an observation say what: ``[choices so far | next decision | context]``.

    Whoever writes or reads a part of an observation takes its columns from here.

    Attributes:
        space: The search space, of ``D`` decisions.
        context_parts: Names and widths of the parts that describe the context, in their order.
        has_position: Whether there is a next decision to show.
    """

    space: SearchSpace
    context_parts: tuple[tuple[str, int], ...] = ()
    has_position: bool = True

    @property
    def choices(self) -> slice:
        """The choices so far, one-hot, three columns for each decision; zeros where undecided."""
        return slice(0, NUM_ACTIONS * self.space.num_decisions)

    @property
    def position(self) -> slice:
        """The next decision, one-hot, a column for each; zeros once complete."""
        return slice(self.choices.stop, self.choices.stop + self.space.num_decisions * self.has_position)

    @property
    def context(self) -> slice:
        """All parts of the context."""
        return slice(self.position.stop, self.position.stop + self.num_context_columns)

    @property
    def num_context_columns(self) -> int:
        """The number of columns of the context."""
        return sum(width for _, width in self.context_parts)

    @property
    def num_columns(self) -> int:
        """The number of all columns."""
        return int(self.context.stop)

    def limit_columns(self, num_costs: int) -> tuple[slice, slice]:
        """Return the columns of an observation with the tables of limited costs, and those with their shares."""
        tables, shares = self.part("costs"), self.part("shares")
        start = self.context.start
        return (
            slice(start + tables.start, start + tables.stop),
            slice(start + shares.start, start + shares.start + num_costs * SHARES),
        )

    def part(self, name: str) -> slice:
        """Return the columns of one part of the context, counted from the first of the context.

        Raises:
            KeyError: If there is no such part.
        """
        start = 0
        for part, width in self.context_parts:
            if part == name:
                return slice(start, start + width)
            start += width
        raise KeyError(f"no part {name!r} of the context, there are {[part for part, _ in self.context_parts]}")


class Construction:
    """Architectures under construction, one a lane.

    The columns of the context in the observations belong to the caller, but for the shares of limits: these follow the
    decisions.

    Args:
        layout: The columns of an observation, of a search space of ``D`` decisions.
        num_lanes: The number of lanes, ``n``.
        limited: The limited costs that the observations show, if any.

    Attributes:
        layout: The columns of an observation.
        encoded: The choices so far, ``int8 (n, D)``, -1 where undecided.
        position: The next decision of every lane, ``intp (n,)``; of a complete one the number of its decisions.
        observation: The observations, ``float32 (n, layout.num_columns)``.
    """

    def __init__(self, layout: ObservationLayout, num_lanes: int, limited: LimitTables | None = None) -> None:
        self.layout = layout
        self.space = space = layout.space
        decisions, width = space.num_decisions, layout.num_columns
        self.encoded: Encoded = np.full((num_lanes, decisions), NOT_SET, dtype=np.int8)
        self.position = np.zeros(num_lanes, dtype=np.intp)
        self.observation = np.zeros((num_lanes, width), dtype=np.float32)
        # Offsets of the lanes' rows in the flattened arrays: one index then addresses one entry.
        self._encoded_row = np.arange(num_lanes) * decisions
        self._choice_row = np.arange(num_lanes) * width
        self._num_own_columns, self._first_position = layout.context.start, layout.position.start
        self._position_row = self._choice_row + layout.position.start
        # The choice that each action makes at each decision, flattened from (D, 3).
        last_choice = np.array(space.num_choices) - 1
        self._choices = np.minimum(np.arange(NUM_ACTIONS), last_choice[:, None]).astype(np.intp).ravel()
        # Before the depth is chosen it is -1, which reads the last entry.
        self._lengths = np.append(space.lengths, decisions)
        self._shares: LimitShares | None = None
        if limited is not None:
            self._shares = LimitShares(limited, num_lanes)
            self._table_columns, self._share_columns = layout.limit_columns(limited.num_costs)
        self._masks = _masks(space)
        self._bool_masks = self._masks.astype(np.bool_)

    def begin(self, lanes: Lanes | None = None) -> None:
        """Begin new architectures on some lanes, or on all; the context is left alone."""
        rows: Lanes | slice = slice(None) if lanes is None else lanes
        self.encoded[rows] = NOT_SET
        self.position[rows] = 0
        self.observation[rows, : self._num_own_columns] = 0.0
        self.observation[rows, self._first_position] = 1.0

    def show_limits(self, lanes: Lanes, device: npt.NDArray[np.intp], limits: FloatArray) -> None:
        """Show the limited costs of new architectures on some lanes.

        Args:
            lanes: The lanes, ``intp (m,)``.
            device: Their devices, ``intp (m,)``.
            limits: Their limits, ``float64 (m, costs)``.
        """
        if self._shares is not None:
            self.observation[lanes, self._table_columns] = self._shares.tables.columns(device, limits)
            self.observation[lanes, self._share_columns] = self._shares.begin(lanes, device, limits)

    def apply(self, actions: Any, lanes: Lanes | int | None = None) -> Any:
        """Take the next decision on some lanes, or on all, or on one; none of them may be complete.

        A decision with two choices takes the last one for any higher action, so that no action is invalid.

        Args:
            actions: Choice indices from 0 to 2, ``(m,)``; a number if ``lanes`` is.
            lanes: The lanes, distinct, ``intp (m,)``; all if not given. The number of one lane is the fast way to
                step a single one: the same lines then work on numbers.

        Returns:
            Whether each lane is complete now, ``bool (m,)``; one ``bool`` if ``lanes`` is a number.
        """
        rows = slice(None) if lanes is None else lanes
        position = self.position[rows]
        choice = self._choices[NUM_ACTIONS * position + actions]
        self.encoded.reshape(-1)[self._encoded_row[rows] + position] = choice
        next_position = position + 1
        going = next_position != self._lengths[self.encoded[rows, N_LAYER]]
        observation = self.observation.reshape(-1)
        observation[self._choice_row[rows] + (NUM_ACTIONS * position + choice)] = 1.0
        here = self._position_row[rows] + position
        observation[here] = 0.0
        # A complete lane has no next decision: it writes its zero once more.
        observation[here + going] = going
        self.position[rows] = next_position
        ended = ~going
        if self._shares is not None:
            self.observation[rows, self._share_columns] = self._shares.take(rows, choice, ended)
        return ended

    def num_decisions_of(self, lane: int) -> int:
        """Return how many decisions a lane takes in all: the greatest number while its depth is undecided."""
        return int(self._lengths[self.encoded[lane, N_LAYER]])

    def masks(self, lanes: Lanes | int | None = None) -> npt.NDArray[np.int8]:
        """Return which actions are distinct choices of the next decision, ``int8 (m, 3)``; ones when complete.

        For the number of one lane, ``int8 (3,)``.
        """
        return self._masks.take(self.position if lanes is None else self.position[lanes], axis=0)

    def bool_masks(self) -> npt.NDArray[np.bool_]:
        """Return the masks of all lanes as ``bool (n, 3)``."""
        return self._bool_masks.take(self.position, axis=0)

    def completed(self, lanes: Lanes | None = None) -> Encoded:
        """Return the architectures with the middle choice wherever none is taken yet, ``int8 (m, D)``."""
        return complete(self.space, self.encoded if lanes is None else self.encoded[lanes])


def complete(space: SearchSpace, encoded: Encoded) -> Encoded:
    """Return architectures with the middle choice wherever none is taken yet.

    Args:
        space: The search space.
        encoded: Architectures under construction, ``int8 (n, D)``.

    Returns:
        Complete architectures, ``int8 (n, D)``.
    """
    return space.canonical(np.where(encoded == NOT_SET, MIDDLE, encoded))


def _masks(space: SearchSpace) -> npt.NDArray[np.int8]:
    """Return the mask of every decision, and of completeness after the last one, ``int8 (D + 1, 3)``."""
    num_choices = np.array([*space.num_choices, NUM_ACTIONS])
    return (np.arange(NUM_ACTIONS) < num_choices[:, None]).astype(np.int8)
