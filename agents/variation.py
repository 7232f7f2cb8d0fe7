"""Moves between architectures: random mutations of a batch, and all neighbours of one."""

from __future__ import annotations

import numpy as np

from hwgpt_gym.search_space import FIRST_LAYER, N_LAYER, NOT_SET, Encoded, SearchSpace


def mutate(space: SearchSpace, rng: np.random.Generator, parents: Encoded, decisions: int = 1) -> Encoded:
    """Change random decisions of every architecture to another choice.

    A layer that comes into being repeats the layer before it.

    Args:
        space: The search space.
        rng: The generator to draw from.
        parents: ``int8 (n, D)``.
        decisions: How many decisions to change, one after the other (the same one may be drawn again).

    Returns:
        The children, ``int8 (n, D)``.
    """
    children = parents.copy()
    num_choices = np.asarray(space.num_choices)
    rows = np.arange(len(children))
    for _ in range(decisions):
        lengths = FIRST_LAYER + 2 * space.n_layer(children)
        column = rng.integers(0, lengths)
        shift = rng.integers(1, num_choices[column])
        children[rows, column] = (children[rows, column] + shift) % num_choices[column]
        children = repair(space, children)
    return children


def repair(space: SearchSpace, encoded: Encoded) -> Encoded:
    """Make layers agree with the depth: layers beyond it go, missing ones repeat the last that is there.

    Args:
        space: The search space.
        encoded: ``int8 (n, D)``, complete but for its layers; at least one layer is set.

    Returns:
        Valid architectures, ``int8 (n, D)``.
    """
    repaired = encoded.copy()
    for layer in range(space.depths[0] - 1, space.max_layers):
        column = FIRST_LAYER + 2 * layer
        exists = np.asarray(space.depths)[repaired[:, N_LAYER]] > layer
        for kind in (column, column + 1):
            missing = exists & (repaired[:, kind] == NOT_SET)
            repaired[missing, kind] = repaired[missing, kind - 2]
            repaired[~exists, kind] = NOT_SET
    return repaired


def neighbours(space: SearchSpace, encoded: Encoded) -> Encoded:
    """Return every architecture that differs from one in one decision.

    Args:
        space: The search space.
        encoded: The architecture, ``int8 (1, D)``.

    Returns:
        ``int8 (k, D)``: by decision, then by how far the choice is moved on (cyclically).
    """
    length = FIRST_LAYER + 2 * int(space.n_layer(encoded)[0])
    moves = [(column, shift) for column in range(length) for shift in range(1, space.num_choices[column])]
    columns, shifts = np.array(moves).T
    changed = np.repeat(encoded, len(moves), axis=0)
    rows = np.arange(len(moves))
    changed[rows, columns] = (changed[rows, columns] + shifts) % np.asarray(space.num_choices)[columns]
    return repair(space, changed)
