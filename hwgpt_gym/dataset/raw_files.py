"""Finding and reading HW-GPT-Bench's raw pickles; see :mod:`hwgpt_gym.dataset.upstream`."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgpt_gym.dataset.plain_pickle import load_plain_pickle
from hwgpt_gym.search_space import get_search_space

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Block:
    """A raw file: the results of the profiling job over a range of the sequence."""

    file: Path
    start: int
    end: int


@dataclass(frozen=True)
class RawEntry:
    """What one raw file says about one architecture.

    Attributes:
        order: The position in the profiling sequence, if the file is complete and in its order.
        values: The dictionary of the raw file.
        file: The raw file.
    """

    order: int
    values: dict[str, Any]
    file: Path


def find_blocks(folder: Path, prefix: str) -> list[Block]:
    """Find the files ``{prefix}_{start}_{end}.pkl`` of a folder, by ascending start.

    A file whose range contains that of another is left out: the remains of a job that was split and run again.
    """
    pattern = re.compile(rf"{re.escape(prefix)}_(\d+)_(\d+)\.pkl", re.ASCII)
    matches = ((file, pattern.fullmatch(file.name)) for file in folder.glob("*.pkl"))
    blocks = [Block(file, int(match[1]), int(match[2])) for file, match in matches if match]
    kept = [block for block in blocks if not any(_contains(block, other) for other in blocks)]
    return sorted(kept, key=lambda block: (block.start, block.end))


def read_blocks(folder: Path, prefix: str, scale: str) -> dict[str, RawEntry]:
    """Read the files ``{prefix}_{start}_{end}.pkl`` of a folder.

    Args:
        folder: The folder.
        prefix: How the names of the files begin.
        scale: The scale of the architectures; those of another scale are dropped.

    Returns:
        The entries by the architectures' names. Of an architecture that was measured twice, the first.

    Raises:
        ValueError: If a file is damaged, or is no list of dictionaries with an architecture.
        UnsafePickleError: If a file holds anything but plain data.
    """
    entries: dict[str, RawEntry] = {}
    for block in find_blocks(folder, prefix):
        position = block.start
        for values in _load_list(block.file):
            name = _architecture_name(values, scale, block.file)
            if name is None:
                continue
            if name in entries:
                logger.warning("%s: %s is in %s already, kept that", block.file, name, entries[name].file)
                continue
            entries[name] = RawEntry(position, values, block.file)
            position += 1
    return entries


def _load_list(file: Path) -> list[Any]:
    content = load_plain_pickle(file)
    if not isinstance(content, list):
        raise ValueError(f"{file}: must hold a list of dictionaries, got {type(content).__name__}")
    return content


def _architecture_name(values: Any, scale: str, file: Path) -> str | None:
    """Return upstream's name of an entry's architecture, ``None`` if it is of another scale."""
    try:
        arch = values["arch"]
        n_layer, embed_dim = arch["sample_n_layer"], arch["sample_embed_dim"]
        layers = [*arch["sample_mlp_ratio"][:n_layer], *arch["sample_n_head"][:n_layer]]
        bias = arch["sample_bias"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: an entry is no dictionary with an architecture: {error!r}") from error
    if embed_dim not in get_search_space(scale).embed_dims:
        logger.info("%s: dropped an architecture that is not of scale %s", file, scale)
        return None
    return "-".join(str(part) for part in ("gpt", scale, n_layer, embed_dim, *layers, bias))


def _contains(block: Block, other: Block) -> bool:
    ranges = ((block.start, block.end), (other.start, other.end))
    return ranges[0] != ranges[1] and block.start <= other.start and other.end <= block.end
