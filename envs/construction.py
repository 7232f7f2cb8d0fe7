"""The decision process: building architectures on a batch of lanes, one decision at a time.

This is the only implementation of the rules. The scalar environment has one lane, the vector environment many; lanes
may stand at different decisions. All state is in three arrays that are updated in place, so that a step costs a few
scattered writes whatever the length of the encoding.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.search_space import N_LAYER, NOT_SET, Encoded, SearchSpace

NUM_ACTIONS: Final = 3
"""The greatest number of choices of a decision, and the size of the action space."""

MIDDLE: Final = 1
"""The choice that :meth:`Construction.completed` puts where none is taken yet."""

Lanes: TypeAlias = npt.NDArray[np.intp]
"""Positions of lanes, ``intp (m,)``."""


class Construction:
    """Architectures under construction, one a lane.

    An observation row is ``[choices so far, one-hot (3 D) | next decision, one-hot (D) | context]``; the columns of
    the context belong to the caller. Once complete, a row's next decision is all zeros.

    Args:
        space: The search space, of ``D`` decisions.
        num_lanes: The number of lanes, ``n``.
        num_context_columns: The number of columns of the context.

    Attributes:
        encoded: The choices so far, ``int8 (n, D)``, -1 where undecided.
        position: The next decision of every lane, ``intp (n,)``; of a complete one the number of its decisions.
        observation: The observations, ``float32 (n, 4 D + num_context_columns)``.
    """

    def __init__(self, space: SearchSpace, num_lanes: int, num_context_columns: int = 0) -> None:
        self.space = space
        decisions = space.num_decisions
        width = (NUM_ACTIONS + 1) * decisions + num_context_columns
        self.encoded: Encoded = np.full((num_lanes, decisions), NOT_SET, dtype=np.int8)
        self.position = np.zeros(num_lanes, dtype=np.intp)
        self.observation = np.zeros((num_lanes, width), dtype=np.float32)
        # Offsets of the lanes' rows in the flattened arrays: one index then addresses one entry.
        self._encoded_row = np.arange(num_lanes) * decisions
        self._choice_row = np.arange(num_lanes) * width
        self._position_row = self._choice_row + NUM_ACTIONS * decisions
        # The choice that each action makes at each decision, flattened from (D, 3).
        last_choice = np.array(space.num_choices) - 1
        self._choices = np.minimum(np.arange(NUM_ACTIONS), last_choice[:, None]).astype(np.intp).ravel()
        # Before the depth is chosen it is -1, which reads the last entry.
        self._lengths = np.append(space.lengths, decisions)
        self._masks = _masks(space)
        self._bool_masks = self._masks.astype(np.bool_)

    def begin(self, lanes: Lanes | None = None) -> None:
        """Begin new architectures on some lanes, or on all; the context is left alone."""
        rows: Lanes | slice = slice(None) if lanes is None else lanes
        self.encoded[rows] = NOT_SET
        self.position[rows] = 0
        decisions = self.space.num_decisions
        self.observation[rows, : (NUM_ACTIONS + 1) * decisions] = 0.0
        self.observation[rows, NUM_ACTIONS * decisions] = 1.0

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
        return ~going

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
