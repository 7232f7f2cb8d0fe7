"""Architectures as configurations: each decision's value by its name, as libraries of other fields write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_list, check_type, echo
from hwgpt_gym.search_space import NOT_SET, Encoded, SearchSpace, check_space

Value: TypeAlias = int | bool
"""What a decision is about: a width, a depth, a number of heads, an MLP ratio, or whether there are biases."""


def decision_values(space: SearchSpace) -> dict[str, tuple[Value, ...]]:
    """Return the values that every decision chooses from, by name and in the order of the choices, ``D`` entries."""
    check_space(space)
    whole = (space.embed_dims, space.depths, space.biases)
    layers = (space.mlp_ratios, space.head_counts) * space.max_layers
    return dict(zip(space.decision_names, (*whole, *layers), strict=True))


def to_configurations(space: SearchSpace, encoded: npt.ArrayLike) -> list[dict[str, Value]]:
    """Return architectures as configurations, without the layers beyond the depth.

    Args:
        space: The search space.
        encoded: The architectures, integers ``(n, D)``.

    Returns:
        ``n`` dictionaries of values by decision, plain Python numbers and bools.

    Raises:
        ValueError: If an architecture is not valid.
    """
    decisions = list(decision_values(space).items())
    lengths = space.active(rows := space.validate(encoded)).sum(axis=1).tolist()
    return [
        {name: legal[choice] for (name, legal), choice in zip(decisions[:length], choices, strict=False)}
        for length, choices in zip(lengths, rows.tolist(), strict=True)
    ]


def from_configurations(space: SearchSpace, configurations: Iterable[Mapping[str, Any]]) -> Encoded:
    """Encode configurations; the inverse of :func:`to_configurations`.

    Args:
        space: The search space.
        configurations: Values by decision. Layers beyond the depth may have values, which mean nothing; names that
            are no decisions are not looked at.

    Returns:
        ``int8 (n, D)``.

    Raises:
        ValueError: If a decision that the architecture has is missing, or its value is not one to choose from.
    """
    check_space(space)
    rows = check_list("configurations", configurations, "dictionaries")
    for row in rows:
        check_type("configurations", row, Mapping, "a list of dictionaries")
    encoded = np.full((len(rows), space.num_decisions), NOT_SET, dtype=np.int8)
    decisions = list(decision_values(space).items())
    for column, (name, legal) in enumerate(decisions):
        choice_of: dict[Any, int] = {value: choice for choice, value in enumerate(legal)}
        encoded[:, column] = [_choice(choice_of, row.get(name)) for row in rows]
    wrong = space.active(encoded) & (encoded == NOT_SET)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        name, legal = decisions[column]
        raise ValueError(
            f"configurations[{row}][{name!r}] must be one of {list(legal)}, got {echo(rows[row].get(name, 'nothing'))}"
        )
    return space.canonical(encoded)


def _choice(choice_of: Mapping[Any, int], value: object) -> int:
    """Return the choice of a value, which may be of any kind."""
    try:
        return choice_of.get(value, NOT_SET)
    except TypeError:  # Lists have no hash.
        return NOT_SET
