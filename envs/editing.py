"""The decision process of editing: changing complete architectures on a batch of lanes, one decision at a time.

The counterpart of :mod:`hwgpt_gym.envs.construction`, with the same interface.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hwgpt_gym.envs.construction import NUM_ACTIONS, Lanes, ObservationLayout
from hwgpt_gym.envs.limit_shares import LimitTables
from hwgpt_gym.search_space import N_LAYER, NOT_SET, Encoded, FloatArray


class Editing:
    """Architectures that are changed one decision at a time, one a lane.

    Every decision has a choice, in layers beyond the depth as well: it is kept, and counts once the layer appears.
    The columns of the context in the observations belong to the caller.

    Args:
        layout: The columns of an observation, of a search space of ``D`` decisions.
        num_lanes: The number of lanes, ``n``.
        max_steps: After how many changes an episode ends.
        limited: The limited costs that the observations show, if any.

    Attributes:
        layout: The columns of an observation.
        kept: The choice of every decision, ``int8 (n, D)``.
        encoded: The architectures, ``int8 (n, D)``: -1 in layers beyond the depth.
        steps: How many actions were taken, ``intp (n,)``.
        observation: The observations, ``float32 (n, layout.num_columns)``.
    """

    def __init__(
        self, layout: ObservationLayout, num_lanes: int, max_steps: int, limited: LimitTables | None = None
    ) -> None:
        self.layout = layout
        self._limited = limited
        self.space = space = layout.space
        self.max_steps = max_steps
        self.kept: Encoded = np.zeros((num_lanes, space.num_decisions), dtype=np.int8)
        self.encoded: Encoded = np.full((num_lanes, space.num_decisions), NOT_SET, dtype=np.int8)
        self.steps = np.zeros(num_lanes, dtype=np.intp)
        self.observation = np.zeros((num_lanes, layout.num_columns), dtype=np.float32)
        self._lanes = np.arange(num_lanes)
        self._last_choice = np.array(space.num_choices) - 1
        self.begin_from(self._lanes, self.kept.copy())

    @property
    def position(self) -> npt.NDArray[np.intp]:
        """Behind the last decision, where every architecture stands, ``intp (n,)``."""
        lengths: npt.NDArray[np.intp] = np.asarray(self.space.lengths, dtype=np.intp)[self.encoded[:, N_LAYER]]
        return lengths

    def begin(self, lanes: Lanes | None = None) -> None:
        """Begin new episodes on some lanes, or on all; :meth:`begin_from` says from where."""
        self.steps[slice(None) if lanes is None else lanes] = 0

    def begin_from(self, lanes: Lanes, kept: Encoded) -> None:
        """Put architectures on some lanes.

        Args:
            lanes: The lanes, ``intp (m,)``.
            kept: A choice for every decision, ``int8 (m, D)``.
        """
        self.kept[lanes] = kept
        self.encoded[lanes] = self.space.canonical(kept)
        one_hot = kept[:, :, None] == np.arange(NUM_ACTIONS)
        self.observation[lanes, self.layout.choices] = one_hot.reshape(len(kept), -1)

    def show_limits(self, lanes: Lanes, device: npt.NDArray[np.intp], limits: FloatArray) -> None:
        """Show the limited costs of new episodes on some lanes; as :meth:`Construction.show_limits`."""
        if self._limited is not None:
            tables, _ = self.layout.limit_columns(self._limited.num_costs)
            self.observation[lanes, tables] = self._limited.columns(device, limits)

    def show_shares(self, lanes: Lanes, ratios: FloatArray) -> None:
        """Show the costs by limits of the architectures on some lanes, ``float64 (m, costs)``."""
        if self._limited is not None:
            _, shares = self.layout.limit_columns(self._limited.num_costs)
            self.observation[lanes, shares] = self._limited.complete(ratios)

    def apply(self, actions: Any, lanes: Lanes | int | None = None) -> Any:
        """Change one decision on some lanes, or on all, or on one.

        Where the decision has this choice already, or its layer lies beyond the depth, nothing changes. A decision with
        two choices takes the last one for the third as well.

        Args:
            actions: ``3 * decision + choice``, ``(m,)``; a number if ``lanes`` is.
            lanes: The lanes, distinct, ``intp (m,)``; all if not given; or the number of one.

        Returns:
            Whether the episode of each lane is over, ``bool (m,)``; one ``bool`` if ``lanes`` is a number.
        """
        rows: Any = self._lanes if lanes is None else np.atleast_1d(lanes)
        decision, choice = np.divmod(np.atleast_1d(actions).astype(np.intp), NUM_ACTIONS)
        before = self.kept[rows, decision]
        exists = self.encoded[rows, decision] != NOT_SET
        after = np.where(exists, np.minimum(choice, self._last_choice[decision]), before).astype(np.int8)
        self.kept[rows, decision] = after
        self.encoded[rows] = self.space.canonical(self.kept[rows])
        self.observation[rows, NUM_ACTIONS * decision + before] = 0.0
        self.observation[rows, NUM_ACTIONS * decision + after] = 1.0
        self.steps[rows] += 1
        over = self.steps[rows] >= self.max_steps
        return over if lanes is None or isinstance(lanes, np.ndarray) else bool(over[0])

    def num_decisions_of(self, lane: int) -> int:
        """Return how many decisions a lane's architecture has."""
        return int(self.position[lane])

    def masks(self, lanes: Lanes | int | None = None) -> npt.NDArray[np.int8]:
        """Return which actions change the architecture, ``int8 (m, 3 D)``; for one lane, ``int8 (3 D,)``."""
        return self._changes(self._lanes if lanes is None else lanes).astype(np.int8)

    def bool_masks(self) -> npt.NDArray[np.bool_]:
        """Return the masks of all lanes as ``bool (n, 3 D)``."""
        return self._changes(self._lanes)

    def _changes(self, lanes: Lanes | int) -> npt.NDArray[np.bool_]:
        encoded = self.encoded[lanes][..., None]
        choices = np.arange(NUM_ACTIONS)
        changes = (encoded != NOT_SET) & (encoded != choices) & (choices <= self._last_choice[:, None])
        masks: npt.NDArray[np.bool_] = changes.reshape(*changes.shape[:-2], -1)
        return masks
