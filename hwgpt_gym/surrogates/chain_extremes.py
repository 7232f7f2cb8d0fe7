"""The best architecture of a chain model under any score of counts, and the extremes of the model itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from hwgpt_gym.checks import check_type
from hwgpt_gym.search_space import GROUPS, Encoded, FloatArray, Group
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.chain_tables import ChainTables, chain_tables

TOLERANCE: Final = 1e-9
"""How far below the best screened score (relative, where it exceeds 1) an architecture is still evaluated exactly."""


_MAX_CANDIDATES: Final = 4096
"""Architectures evaluated exactly per group. More only tie where a score is flat, as that of infeasible ones is."""


Score: TypeAlias = Callable[[Group], FloatArray]


Keys: TypeAlias = Callable[[Encoded], Sequence[FloatArray]]


class Extremes(NamedTuple):
    """The least and the greatest value of a metric, or prediction of a chain model, over a search space.

    Attributes:
        least: In the metric's unit; of a chain model of perplexity, log-perplexity.
        greatest: Likewise.
        least_encoded: An architecture that has the least value, ``int8 (1, D)``.
        greatest_encoded: An architecture that has the greatest value, ``int8 (1, D)``.
    """

    least: float
    greatest: float
    least_encoded: Encoded
    greatest_encoded: Encoded


def chain_extremes(model: ChainModel) -> Extremes:
    """Find the least and the greatest prediction of a chain model over its search space."""
    check_type("model", model, ChainModel, "a ChainModel, such as bench.chain_model('perplexity')")
    least = best(
        chain_tables(model), lambda group: -chain_tables(model).values(group), lambda encoded: (model.predict(encoded),)
    )
    tables = chain_tables(model, greatest=True)
    greatest = best(tables, tables.values, lambda encoded: (-model.predict(encoded),))
    return Extremes(float(model.predict(least)[0]), float(model.predict(greatest)[0]), least, greatest)


def best(tables: ChainTables, score: Score, keys: Keys) -> Encoded:
    """Find the architecture of the greatest score.

    Args:
        tables: The best architectures by counts.
        score: A group's scores, up to rounding, ``float64 (S, S)``.
        keys: What to minimise exactly among architectures within rounding of the greatest score, first key first.

    Returns:
        A batch of one, ``int8 (1, D)``.
    """
    tops = [float(score(group).max()) for group in GROUPS]
    bound = max(tops) - TOLERANCE * max(1.0, abs(max(tops)))
    candidates = []
    for group, top in zip(GROUPS, tops, strict=True):
        if top >= bound:
            states = np.flatnonzero(score(group) >= bound)
            if len(states) > _MAX_CANDIDATES:
                values = tables.values(group).take(states)
                order = np.argsort(-values if tables.greatest else values, kind="stable")
                states = np.sort(states[order[:_MAX_CANDIDATES]])
            candidates.append(tables.decode(group, states))
    encoded = np.concatenate(candidates)
    # The last key of lexsort is its first; it is stable, so the first state wins what is left.
    first = np.lexsort(tuple(keys(encoded))[::-1])[:1]
    return encoded[first]
