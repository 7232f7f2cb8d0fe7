"""Moves between architectures: random mutations of a batch, and all neighbours of one."""

from __future__ import annotations

import numpy as np

from hwgpt_gym.search_space import N_LAYER, NOT_SET, Encoded, SearchSpace, layers_of


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
        column = rng.integers(0, space.lengths[children[:, N_LAYER]])
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
    layers = layers_of(repaired)
    for layer in range(space.depths[0] - 1, space.max_layers):
        missing = layers[:, layer] == NOT_SET
        layers[:, layer] = np.where(missing, layers[:, layer - 1], layers[:, layer])
    return space.canonical(repaired)


def neighbours(space: SearchSpace, encoded: Encoded) -> Encoded:
    """Return every architecture that differs from one in one decision.

    Args:
        space: The search space.
        encoded: The architecture, ``int8 (1, D)``.

    Returns:
        ``int8 (k, D)``: by decision, then by how far the choice is moved on (cyclically).
    """
    length = int(space.lengths[encoded[0, N_LAYER]])
    moves = [(column, shift) for column in range(length) for shift in range(1, space.num_choices[column])]
    columns, shifts = np.array(moves).T
    changed = np.repeat(encoded, len(moves), axis=0)
    rows = np.arange(len(moves))
    changed[rows, columns] = (changed[rows, columns] + shifts) % np.asarray(space.num_choices)[columns]
    return repair(space, changed)
