"""Fit the chain models of perplexity and accuracy.

A model is a ridge regression on groups of features (:data:`TERMS`): effects that depths and biases share, the
deviations of each depth and of each bias from them, layers next to each other and two apart, and counts. Each group
has a strength of its own, chosen by leave-one-out cross-validation (:mod:`hwgpt_gym.fitting.ridge`).

Where many rows are not measured, a chain model of a *teacher*'s predictions for all of them is a feature too. Where few
are measured, the widths share what is left to learn (:data:`POOLED_TERMS`), in units of their standard deviations.
``docs/surrogates.md`` says what that is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.fitting.ridge import choose_strengths, solve_dual
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
from hwgpt_gym.surrogates.chain_model import ChainModel

POOLED_BELOW: Final = 1500
"""With fewer measured rows than this, the embedding widths share effects."""

TEACHER_BELOW: Final = 2 / 3
"""The teacher is used where a smaller share of the rows than this is measured."""

STRENGTH_ROWS: Final = 600
"""How many rows the strengths are chosen on, evenly spaced over those of the fit."""

_COLUMNS: Final = {"e": EMBED_DIM, "d": N_LAYER, "b": BIAS}
_CENTRE: Final = 1.0 / 3.0
_DECIMALS: Final = 7
"""Of the coefficients: far finer than any error, and too coarse to show how the linear algebra library rounds."""

Arrays: TypeAlias = dict[str, FloatArray]


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


def fit_perplexity(
    space: SearchSpace, encoded: Encoded, perplexity: FloatArray, teacher: FloatArray | None = None
) -> ChainModel:
    """Fit log-perplexity.

    Args:
        space: The search space.
        encoded: The architectures, ``int8 (n, D)``.
        perplexity: Measured perplexity, NaN where not measured, ``float64 (n,)``.
        teacher: Somebody's predictions of perplexity, NaN where there are none, ``float64 (n,)``. They are used if
            less than :data:`TEACHER_BELOW` of the rows are measured.

    Returns:
        The model of *log*-perplexity.

    Raises:
        ValueError: If shapes disagree, a value is not positive, or an embedding width has fewer than two values.
    """
    _check(space, encoded, perplexity, "perplexity")
    lessons = None if teacher is None else fit_teacher(space, encoded, perplexity, teacher)
    return fit_chain(space, encoded, np.log(perplexity), lessons)


def fit_teacher(space: SearchSpace, encoded: Encoded, perplexity: FloatArray, teacher: FloatArray) -> ChainModel | None:
    """Fit a chain model to a teacher's log-perplexity, if it has anything to teach; as :func:`fit_perplexity`.

    Returns:
        The model, or ``None`` if enough is measured or there are no predictions.

    Raises:
        ValueError: As :func:`fit_perplexity`.
    """
    if teacher.shape != perplexity.shape:
        raise ValueError(f"teacher must have shape {perplexity.shape}, got {teacher.shape}")
    if np.isnan(teacher).all() or np.isfinite(perplexity).mean() >= TEACHER_BELOW:
        return None
    _check(space, encoded, teacher, "teacher")
    return fit_chain(space, encoded, np.log(teacher))


def fit_accuracy(
    space: SearchSpace, encoded: Encoded, accuracy: FloatArray, log_perplexity: ChainModel | None = None
) -> ChainModel:
    """Fit accuracy.

    Args:
        space: The search space.
        encoded: The architectures, ``int8 (n, D)``.
        accuracy: Measured accuracy, NaN where not measured, ``float64 (n,)``.
        log_perplexity: The fitted model of log-perplexity, the teacher: accuracy is measured with more noise.

    Returns:
        The model of accuracy.

    Raises:
        ValueError: As :func:`fit_perplexity`.
    """
    _check(space, encoded, accuracy, "accuracy")
    return fit_chain(space, encoded, accuracy, log_perplexity)


def _check(space: SearchSpace, encoded: Encoded, values: FloatArray, name: str) -> None:
    space.validate(encoded)
    if values.shape != (len(encoded),):
        raise ValueError(f"{name} must have shape ({len(encoded)},), got {values.shape}")
    present = ~np.isnan(values)
    wrong = present & ~((values > 0) & np.isfinite(values))
    if wrong.any():
        raise ValueError(f"{name} must be positive and finite, or NaN where not measured, got {values[wrong][0]}")
    rows = np.bincount(encoded[present, EMBED_DIM], minlength=len(space.embed_dims))
    if rows.min() < 2:
        width = space.embed_dims[int(rows.argmin())]
        raise ValueError(f"{name} must have at least 2 values of every embedding width, got {rows.min()} of {width}")


def fit_chain(
    space: SearchSpace, encoded: Encoded, values: FloatArray, teacher: ChainModel | None = None
) -> ChainModel:
    """Fit a chain model to values as they are, NaN where not measured; ``teacher``'s predictions are a feature."""
    measured = ~np.isnan(values)
    encoded, values = encoded[measured], values[measured]
    arrays = {name: np.zeros(shape) for name, shape in ChainModel.shapes(space).items()}
    widths = range(len(space.embed_dims))
    pooled = len(values) < POOLED_BELOW
    for block in [list(widths)] if pooled else [[width] for width in widths]:
        rows = np.isin(encoded[:, EMBED_DIM], block)
        terms = [t for t in (POOLED_TERMS if pooled else TERMS) if teacher or t.feature != "teacher"]
        _fit_block(space, encoded[rows], values[rows], teacher, terms, arrays)
    return ChainModel(space, **{name: np.round(array, _DECIMALS) for name, array in arrays.items()})


def _fit_block(
    space: SearchSpace,
    encoded: Encoded,
    values: FloatArray,
    teacher: ChainModel | None,
    terms: Sequence[Term],
    arrays: Arrays,
) -> None:
    """Fit the embedding widths that occur in ``encoded``, and write their coefficients into ``arrays``."""
    width = encoded[:, EMBED_DIM]
    centre, spread = _moments(values, width)
    targets = (values - centre[width]) / spread[width]
    features = _features(space, encoded)
    if teacher is not None:
        lessons = teacher.predict(encoded)
        teacher_centre, teacher_spread = _moments(lessons, width)
        features["teacher"] = ((lessons - teacher_centre[width]) / teacher_spread[width])[:, None]
    some = np.linspace(0, len(values) - 1, min(STRENGTH_ROWS, len(values))).astype(np.int64)
    grams = np.stack([_gram(term, {term.feature: features[term.feature][some]}, encoded[some]) for term in terms])
    strengths = choose_strengths(grams, targets[some])
    gram = np.zeros((len(values), len(values)))
    for strength, term in zip(strengths, terms, strict=True):
        gram += strength * _gram(term, features, encoded)
    dual = solve_dual(gram, targets)
    for group in np.ndindex(3, 3, 2):
        e = group[0]
        if not (width == e).any():
            continue
        coefficients: Arrays = {}
        for strength, term in zip(strengths, terms, strict=True):
            same = np.all([encoded[:, _COLUMNS[by]] == group["edb".index(by)] for by in term.by], axis=0)
            part = strength * spread[e] * (features[term.feature].T @ (dual * same))
            coefficients[term.feature] = coefficients.get(term.feature, 0.0) + part
        _write(space, group, coefficients, arrays)
        arrays["intercept"][group] += centre[e]
        if teacher is not None:
            slope = coefficients["teacher"][0] / teacher_spread[e]
            arrays["intercept"][group] -= slope * teacher_centre[e]
            for name, array in arrays.items():
                array[group] += slope * getattr(teacher, name)[group]


def _moments(values: FloatArray, width: npt.NDArray[np.int8]) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation by embedding width; 0 and 1 where there is nothing (to spread)."""
    groups = [values[width == e] for e in range(3)]
    centre = np.array([group.mean() if len(group) else 0.0 for group in groups])
    spread = np.array([group.std() if len(group) else 0.0 for group in groups])
    return centre, np.where(spread > 0.0, spread, 1.0)


def _features(space: SearchSpace, encoded: Encoded) -> Arrays:
    """Return the features by name, ``float64 (n, number)``: one-hot choices and counts, centred, and their products.

    Centred, since then no group of features can explain what another one stands for.
    """
    n = len(encoded)
    features: Arrays = {"intercept": np.ones((n, 1))}
    shares = {}
    for chain, choices in (("mlp", encoded[:, MLP_COLUMNS]), ("head", encoded[:, HEAD_COLUMNS])):
        active = choices != NOT_SET
        hot = ((choices[:, :, None] == np.arange(3)) - _CENTRE) * active[:, :, None]
        share = hot[:, :, 1:].sum(axis=1) / space.n_layer(encoded)[:, None]
        features[chain] = hot.reshape(n, -1)
        for distance, name in ((1, "pair"), (2, "skip")):
            product = hot[:, :-distance, :, None] * hot[:, distance:, None, :]
            features[f"{chain}_{name}"] = product.reshape(n, -1)
        features[f"{chain}_curve"] = np.stack([share[:, i] * share[:, j] for i, j in ((0, 0), (0, 1), (1, 1))], axis=1)
        shares[chain] = share
    features["cross"] = (shares["mlp"][:, :, None] * shares["head"][:, None, :]).reshape(n, -1)
    return features


def _gram(term: Term, features: Arrays, encoded: Encoded) -> FloatArray:
    """Return the Gram matrix of a term, ``float64 (n, n)``."""
    feature = features[term.feature]
    gram: FloatArray = feature @ feature.T
    for by in term.by:
        column = encoded[:, _COLUMNS[by]]
        gram *= column[:, None] == column
    return gram


def _write(space: SearchSpace, group: tuple[int, ...], coefficients: Arrays, arrays: Arrays) -> None:
    """Add the coefficients of centred features to those of the chain model."""
    n_layer = space.depths[group[1]]
    arrays["intercept"][group] += coefficients["intercept"][0]
    for chain in ("mlp", "head"):
        for distance, suffix in enumerate(("", "_pair", "_skip")):
            name = chain + suffix
            if name in coefficients:
                table = coefficients[name].reshape(arrays[name][group].shape)[: n_layer - distance]
                for axis in range(1, table.ndim):
                    table = table - table.mean(axis=axis, keepdims=True)
                arrays[name][group][: n_layer - distance] += table
        if f"{chain}_curve" in coefficients:
            second, mixed, third = coefficients[f"{chain}_curve"]
            slopes = -_CENTRE * np.array([2.0 * second + mixed, 2.0 * third + mixed])
            arrays[f"{chain}_count"][group] += [*slopes, second, mixed, third]
            arrays["intercept"][group] += _CENTRE**2 * (second + mixed + third)
    if "cross" in coefficients:
        cross = coefficients["cross"].reshape(2, 2)
        arrays["cross"][group][:2, :2] += cross
        arrays["mlp_count"][group][:2] -= _CENTRE * cross.sum(axis=1)
        arrays["head_count"][group][:2] -= _CENTRE * cross.sum(axis=0)
        arrays["intercept"][group] += _CENTRE**2 * cross.sum()
