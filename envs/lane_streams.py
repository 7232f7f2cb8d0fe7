"""Random numbers for many lanes, each from its own generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from gymnasium.utils import seeding

from hwgpt_gym.envs.construction import Lanes
from hwgpt_gym.search_space import FloatArray

_BLOCK: Final = 64
GREATEST_COUNT: Final = _BLOCK
"""How many numbers a lane can be asked for at once."""


class LaneStreams:
    """Uniform random numbers: every lane has the stream that a scalar environment of its seed would have.

    Numbers are drawn in blocks: a block is the same stream as single draws, and the lanes then take their numbers
    from one array. Nothing is made before a number is asked for.

    Args:
        num_lanes: The number of lanes.
    """

    def __init__(self, num_lanes: int) -> None:
        self._seeds: list[int | None] = [None] * num_lanes
        self._generators: list[np.random.Generator | None] = [None] * num_lanes
        self._buffer: FloatArray = np.empty((0, _BLOCK))
        self._next = np.full(num_lanes, _BLOCK, dtype=np.intp)

    def seed(self, seeds: Sequence[int | None], lanes: Lanes | None = None) -> None:
        """Seed lanes.

        Args:
            seeds: The seeds of *all* lanes; one that is ``None`` leaves its lane's stream as it is.
            lanes: The lanes to seed; all if not given.
        """
        for lane in range(len(seeds)) if lanes is None else lanes.tolist():
            if seeds[lane] is not None:
                self._seeds[lane] = seeds[lane]
                self._generators[lane] = None
                self._next[lane] = _BLOCK

    def draw(self, lanes: Lanes, count: int) -> FloatArray:
        """Draw numbers on some lanes.

        Args:
            lanes: The lanes, distinct, ``intp (m,)``.
            count: How many numbers a lane, at most 64.

        Returns:
            Uniform in [0, 1), ``float64 (m, count)``.
        """
        if not len(self._buffer):
            self._buffer = np.empty((len(self._seeds), _BLOCK))
        short = lanes[self._next[lanes] + count > _BLOCK]
        for lane in short.tolist():
            self._refill(lane)
        columns = self._next[lanes][:, None] + np.arange(count)
        self._next[lanes] += count
        numbers: FloatArray = self._buffer[lanes[:, None], columns]
        return numbers

    def generator(self, lane: int) -> np.random.Generator:
        """Return the generator of a lane, at its next number: who draws from it draws the lane's numbers."""
        generator = self._generator(lane)
        # Back over what is drawn already and not used.
        generator.bit_generator.advance(int(self._next[lane]) - _BLOCK)  # type: ignore[attr-defined]  # It is a PCG64.
        self._next[lane] = _BLOCK
        return generator

    def _generator(self, lane: int) -> np.random.Generator:
        generator = self._generators[lane]
        if generator is None:
            generator = self._generators[lane] = seeding.np_random(self._seeds[lane])[0]
        return generator

    def _refill(self, lane: int) -> None:
        """Move what is left of a lane's block to its front and draw the rest anew."""
        generator = self._generator(lane)
        used = int(self._next[lane])
        row = self._buffer[lane]
        row[: _BLOCK - used] = row[used:].copy()
        row[_BLOCK - used :] = generator.random(used)
        self._next[lane] = 0
