"""Flipping bytes of a file, one at a time: each is noticed by its reader, or changes nothing that is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def flip(path: Path, read: Callable[[Path], Any], flips: int = 300) -> int:
    """Flip one byte at a time and read the file; return how often that was noticed.

    Args:
        path: The file, which is as it was in the end.
        read: Reads it, and returns all that it says as something to compare.
        flips: How many bytes to flip; the first 64, where a file says what it is, are always among them.

    Raises:
        AssertionError: If a flipped byte is read as something else, or the error does not name the file.
    """
    content = path.read_bytes()
    expected = read(path)
    rng = np.random.default_rng(int(os.environ["HWGPT_FUZZ_SEED"]))
    positions = {*range(min(64, len(content))), *rng.integers(0, len(content), flips).tolist()}
    noticed, messages = 0, dict[int, str]()
    for position in sorted(positions):
        flipped = bytearray(content)
        flipped[position] ^= int(rng.integers(1, 256))
        path.write_bytes(flipped)
        try:
            found = read(path)
        except (ValueError, OSError) as error:
            noticed += 1
            messages[position] = str(error)
        else:
            assert found == expected, f"byte {position} was {content[position]}, is {flipped[position]}: read as other"
    path.write_bytes(content)
    assert not {position: text for position, text in messages.items() if str(path) not in text}, "names no file"
    return noticed
