"""The rows of a fit of the chain model, their features, and what coefficients of these are as a chain model.

What :mod:`hwgpt_gym.fitting.chain_fit` fits, :mod:`hwgpt_gym.fitting.posterior` draws worlds of, and
:mod:`hwgpt_gym.fitting.richer_process` adds to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgpt_gym.fitting.ridge import choose_strengths
from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    HEAD_COLUMNS,
    MLP_COLUMNS,
    N_LAYER,
    NOT_SET,
    Encoded,
    FloatArray,
    SearchSpace,
)
from hwgpt_gym.surrogates.centred import CENTRE, Arrays, expand
from hwgpt_gym.surrogates.chain_model import ChainModel

POOLED_BELOW: Final = 1500
"""With fewer measured rows than this, the embedding widths share effects."""

STRENGTH_ROWS: Final = 600
"""How many rows the strengths are chosen on, evenly spaced over those of the fit."""

_COLUMNS: Final = {"e": EMBED_DIM, "d": N_LAYER, "b": BIAS}


class Term(NamedTuple):
    """A group of features with a strength of its own.

    Attributes:
        feature: The features: an array of the chain model, ``"mlp_curve"``, ``"head_curve"`` or ``"teacher"``.
        by: What has coefficients of its own: any of ``"e"`` (width), ``"d"`` (depth) and ``"b"`` (bias).
    """

    feature: str
    by: str = ""


TERMS: Final = (
    Term("intercept", "db"),
    *(Term(chain, by) for by in ("", "d", "b") for chain in ("mlp", "head")),
    *(Term(f"{chain}_{kind}") for kind in ("pair", "skip", "curve") for chain in ("mlp", "head")),
    Term("cross"),
    Term("teacher"),
)
"""The terms of a fit to one embedding width."""

POOLED_TERMS: Final = (
    *(Term("intercept", by) for by in ("e", "ed", "eb")),
    *(Term(chain, by) for by in ("", "e") for chain in ("mlp", "head")),
    Term("teacher"),
)
"""The terms of a fit to all embedding widths at once."""


class Block(NamedTuple):
    """Rows that are fitted together, in units of the standard deviation within each embedding width.

    Attributes:
        encoded: The architectures, ``int8 (n, D)``.
        targets: What is to be predicted, ``float64 (n,)``.
        centre: What the targets are less by, by width, ``float64 (3,)``.
        spread: What they are divided by, by width, ``float64 (3,)``.
        lesson_centre: Likewise of the teacher's predictions; 0 without a teacher.
        lesson_spread: Likewise; 1 without a teacher.
        features: The features by name, ``float64 (n, number)``.
        terms: The groups of features that the fit has.
    """

    encoded: Encoded
    targets: FloatArray
    centre: FloatArray
    spread: FloatArray
    lesson_centre: FloatArray
    lesson_spread: FloatArray
    features: Arrays
    terms: tuple[Term, ...]

    def take(self, rows: npt.NDArray[np.int64]) -> Block:
        """Return some of the rows alone."""
        features = {name: feature[rows] for name, feature in self.features.items()}
        return self._replace(encoded=self.encoded[rows], targets=self.targets[rows], features=features)

    @property
    def widths(self) -> npt.NDArray[np.int8]:
        """The embedding widths that occur, ``int8 (k,)``."""
        return np.unique(self.encoded[:, EMBED_DIM])


def make_blocks(
    space: SearchSpace, encoded: Encoded, values: FloatArray, teacher: ChainModel | None
) -> Iterator[Block]:
    """Make what is fitted together out of measured rows: each embedding width, or all where little is measured."""
    measured = ~np.isnan(values)
    encoded, values = encoded[measured], values[measured]
    pooled = len(values) < POOLED_BELOW
    terms = tuple(t for t in (POOLED_TERMS if pooled else TERMS) if teacher or t.feature != "teacher")
    for block in [[0, 1, 2]] if pooled else [[0], [1], [2]]:
        rows = np.isin(encoded[:, EMBED_DIM], block)
        own, width = encoded[rows], encoded[rows, EMBED_DIM]
        centre, spread = _moments(values[rows], width)
        lesson_centre, lesson_spread = np.zeros(3), np.ones(3)
        features = layer_features(space, own)
        if teacher is not None:
            lessons = teacher.predict(own)
            lesson_centre, lesson_spread = _moments(lessons, width)
            features["teacher"] = ((lessons - lesson_centre[width]) / lesson_spread[width])[:, None]
        targets = (values[rows] - centre[width]) / spread[width]
        yield Block(own, targets, centre, spread, lesson_centre, lesson_spread, features, terms)


def some_rows(block: Block) -> Block:
    """Return the rows that strengths are chosen on: :data:`STRENGTH_ROWS` of them, evenly spaced."""
    return block.take(np.linspace(0, len(block.targets) - 1, min(STRENGTH_ROWS, len(block.targets))).astype(np.int64))


def block_strengths(block: Block) -> FloatArray:
    """Choose the strengths of a block's terms, ``float64 (terms,)``."""
    some = some_rows(block)
    return choose_strengths(np.stack([term_gram(term, some) for term in block.terms]), some.targets)


def term_gram(term: Term, block: Block, other: Block | None = None) -> FloatArray:
    """Return the Gram matrix of a term between a block's rows and another's (or its own), ``float64 (n, m)``."""
    other = other or block
    gram: FloatArray = block.features[term.feature] @ other.features[term.feature].T
    for by in term.by:
        gram *= block.encoded[:, _COLUMNS[by], None] == other.encoded[:, _COLUMNS[by]]
    return gram


def block_coefficients(block: Block, strengths: FloatArray, dual: FloatArray) -> list[FloatArray]:
    """Return the coefficients that dual coefficients stand for.

    Args:
        block: The rows.
        strengths: The strengths of the terms, ``float64 (terms,)``.
        dual: The dual coefficients of ``k`` fits, ``float64 (n, k)``.

    Returns:
        For each term ``float64 (k, 3, 3, 2, p)``, with ones for the axes that it does not depend on.
    """
    parts = []
    for strength, term in zip(strengths, block.terms, strict=True):
        feature = block.features[term.feature]
        part = np.zeros((dual.shape[1], *term_groups(term), feature.shape[1]))
        for group in np.ndindex(*term_groups(term)):
            rows = in_group(term, block, group)
            part[:, *group] = strength * (dual[rows].T @ feature[rows])
        parts.append(part)
    return parts


def term_groups(term: Term) -> tuple[int, ...]:
    """Return how many groups of rows by width, depth and bias have coefficients of their own."""
    return tuple(size if by in term.by else 1 for by, size in zip("edb", (3, 3, 2), strict=True))


def in_group(term: Term, block: Block, group: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return which rows a group's coefficients are for, ``bool (n,)``."""
    columns = [block.encoded[:, _COLUMNS[by]] == group["edb".index(by)] for by in term.by]
    return np.all(columns, axis=0) if columns else np.ones(len(block.targets), dtype=np.bool_)


def block_arrays(
    space: SearchSpace, block: Block, coefficients: Sequence[FloatArray], teacher: ChainModel | None
) -> Arrays:
    """Return what coefficients of a block's terms are as chain models, in the unit of the values.

    Returns:
        Each array for ``k`` models, ``float64 (k, 3, 3, 2, …)``; only the widths of the block have a meaning.
    """
    scale = block.spread[:, None, None, None]
    features: Arrays = {}
    for term, part in zip(block.terms, coefficients, strict=True):
        features[term.feature] = features.get(term.feature, 0.0) + scale * part
    slopes = features.pop("teacher", None)
    arrays = expand(space, features)
    arrays["intercept"] += block.centre[:, None, None]
    if teacher is not None and slopes is not None:
        slope = slopes[..., 0] / block.lesson_spread[:, None, None]
        arrays["intercept"] -= slope * block.lesson_centre[:, None, None]
        for name, array in arrays.items():
            array += slope.reshape(*slope.shape, *[1] * (array.ndim - 4)) * getattr(teacher, name)
    return arrays


def _moments(values: FloatArray, width: npt.NDArray[np.int8]) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation by embedding width; 0 and 1 where there is nothing (to spread)."""
    groups = [values[width == e] for e in range(3)]
    centre = np.array([group.mean() if len(group) else 0.0 for group in groups])
    spread = np.array([group.std() if len(group) else 0.0 for group in groups])
    return centre, np.where(spread > 0.0, spread, 1.0)


def layer_features(space: SearchSpace, encoded: Encoded) -> Arrays:
    """Return the features by name, ``float64 (n, number)``: one-hot choices and counts, centred, and their products.

    Centred, since then no group of features can explain what another one stands for.
    """
    n = len(encoded)
    features: Arrays = {"intercept": np.ones((n, 1))}
    shares = {}
    for chain, choices in (("mlp", encoded[:, MLP_COLUMNS]), ("head", encoded[:, HEAD_COLUMNS])):
        active = choices != NOT_SET
        hot = ((choices[:, :, None] == np.arange(3)) - CENTRE) * active[:, :, None]
        share = hot[:, :, 1:].sum(axis=1) / space.n_layer(encoded)[:, None]
        features[chain] = hot.reshape(n, -1)
        for distance, name in ((1, "pair"), (2, "skip")):
            product = hot[:, :-distance, :, None] * hot[:, distance:, None, :]
            features[f"{chain}_{name}"] = product.reshape(n, -1)
        features[f"{chain}_curve"] = np.stack([share[:, i] * share[:, j] for i, j in ((0, 0), (0, 1), (1, 1))], axis=1)
        shares[chain] = share
    features["cross"] = (shares["mlp"][:, :, None] * shares["head"][:, None, :]).reshape(n, -1)
    return features
