"""Fit the chain models of perplexity and accuracy.

A model is a ridge regression on groups of features (:data:`~hwgpt_gym.fitting.chain_block.TERMS`): effects that depths
and biases share, the deviations of each depth and of each bias from them, layers next to each other and two apart, and
counts. Each group has a strength of its own, chosen by leave-one-out cross-validation
(:mod:`hwgpt_gym.fitting.ridge`).

Where many rows are not measured, a chain model of a *teacher*'s predictions for all of them is a feature too. Where few
are measured, the widths share what is left to learn (:data:`~hwgpt_gym.fitting.chain_block.POOLED_TERMS`), in units of
their standard deviations. ``docs/surrogates.md`` says what that is worth.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hwgpt_gym.fitting.chain_block import block_arrays, block_coefficients, block_strengths, make_blocks, term_gram
from hwgpt_gym.fitting.ridge import solve_dual
from hwgpt_gym.search_space import EMBED_DIM, Encoded, FloatArray, SearchSpace
from hwgpt_gym.surrogates.chain_model import ChainModel

TEACHER_BELOW: Final = 2 / 3
"""The teacher is used where a smaller share of the rows than this is measured."""

_DECIMALS: Final = 7
"""Of the coefficients: far finer than any error, and too coarse to show how the linear algebra library rounds."""


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
    arrays = {name: np.zeros(shape) for name, shape in ChainModel.shapes(space).items()}
    for block in make_blocks(space, encoded, values, teacher):
        strengths = block_strengths(block)
        gram = np.zeros((len(block.targets), len(block.targets)))
        for strength, term in zip(strengths, block.terms, strict=True):
            gram += strength * term_gram(term, block)
        coefficients = block_coefficients(block, strengths, solve_dual(gram, block.targets)[:, None])
        fitted = block_arrays(space, block, coefficients, teacher)
        for name, array in arrays.items():
            array[block.widths] = fitted[name][0, block.widths]
    return ChainModel(space, **{name: np.round(array, _DECIMALS) for name, array in arrays.items()})
