"""Draw posterior worlds of a fit of the chain model: other models that the same measurements could have come from.

Ridge regression is the posterior mean of a Gaussian process: coefficients ``w ~ N(0, s sigma^2)`` with ``s`` their
term's strength, and noise of variance ``sigma^2``. Matheron's rule turns a draw from the prior into one from the
posterior: with ``F = Phi w`` its values at the measured rows, ``eps`` noise and ``A = s Phi Phi' + 1``,

    ``w + s Phi' A^-1 (y - F - eps)``

(Wilson et al., *Pathwise Conditioning of Gaussian Processes*, JMLR 22, 2021). ``sigma^2`` is the value under which
leave-one-out errors, each by its own predicted deviation, have variance 1 (Rasmussen & Williams, 2006, eq. 5.12).

Where a width has a fit of its own, each draw of log-perplexity chooses its strengths anew, on a random part of the
rows: which terms matter is not certain either. Draws come in pairs: what one adds to the fit, its partner takes off, so
the mean of all worlds is the fit, and half of the numbers need not be stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.fitting.chain_block import (
    POOLED_TERMS,
    STRENGTH_ROWS,
    Block,
    block_coefficients,
    block_strengths,
    in_group,
    make_blocks,
    term_gram,
    term_groups,
)
from hwgpt_gym.fitting.chain_fit import fit_chain
from hwgpt_gym.fitting.ridge import choose_strengths
from hwgpt_gym.search_space import EMBED_DIM, Encoded, FloatArray, SearchSpace
from hwgpt_gym.surrogates.centred import expand, pack
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.worlds import SETTINGS, WORLDS, Worlds

REDRAW_SHARE: Final = 0.6
"""How many rows a draw chooses its strengths on, as a share of those that the fit does (:data:`STRENGTH_ROWS`)."""

Tensors: TypeAlias = dict[str, npt.NDArray[np.floating]]


def draw_worlds(
    space: SearchSpace,
    encoded: Encoded,
    perplexity: FloatArray,
    rng: np.random.Generator,
    teacher: ChainModel | None = None,
    accuracy: FloatArray | None = None,
    pairs: int = WORLDS // 2,
) -> Worlds:
    """Draw posterior worlds of the fits of log-perplexity and accuracy to the same measurements.

    Accuracy is drawn in the same world as log-perplexity, which is its teacher.

    Args:
        space: The search space.
        encoded: The architectures, ``int8 (n, D)``.
        perplexity: Measured perplexity, NaN where not measured, ``float64 (n,)``.
        rng: The generator to draw from.
        teacher: The teacher of log-perplexity (:func:`~hwgpt_gym.fitting.chain_fit.fit_teacher`).
        accuracy: Measured accuracy, alike; the worlds have none without it.
        pairs: How many pairs of worlds to draw.
    """
    nominal = {"perplexity": fit_chain(space, encoded, np.log(perplexity), teacher)}
    deviations = draw_deviations(space, encoded, np.log(perplexity), pairs, rng, teacher)
    tensors = {f"perplexity.{name}": _stored(name, part) for name, part in deviations.items()}
    if teacher is not None:
        scale = deviations["lesson_spread"]
        arrays = {name: getattr(teacher, name) for name in ChainModel.shapes(space)}
        arrays["intercept"] = arrays["intercept"] - deviations["lesson_centre"][:, None, None]
        scaled = {name: (array / scale.reshape(3, *[1] * (array.ndim - 1)))[None] for name, array in arrays.items()}
        tensors |= {f"teacher.{name}": _stored(name, part) for name, part in pack(scaled).items()}
    worlds = Worlds(space, nominal, tensors, {})
    if accuracy is None:
        return worlds
    drawn = [worlds.model("perplexity", 2 * pair) for pair in range(pairs)]
    deviations = draw_deviations(space, encoded, accuracy, pairs, rng, nominal["perplexity"], drawn)
    tensors = tensors | {f"accuracy.{name}": _stored(name, part) for name, part in deviations.items()}
    nominal = nominal | {"accuracy": fit_chain(space, encoded, accuracy, nominal["perplexity"])}
    return Worlds(space, nominal, tensors, {})


def _stored(name: str, part: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return a tensor in the precision that it is stored in: deviations in half."""
    return part if name in SETTINGS else part.astype(np.float16)


def draw_deviations(
    space: SearchSpace,
    encoded: Encoded,
    values: FloatArray,
    pairs: int,
    rng: np.random.Generator,
    teacher: ChainModel | None = None,
    drawn_teachers: Sequence[ChainModel] = (),
) -> Tensors:
    """Draw what worlds add to :func:`~hwgpt_gym.fitting.chain_fit.fit_chain` of the same measurements.

    Args:
        space: The search space.
        encoded: The architectures, ``int8 (n, D)``.
        values: What was measured, NaN where not, ``float64 (n,)``.
        pairs: How many to draw; each stands for two worlds.
        rng: The generator to draw from.
        teacher: The teacher of the fit.
        drawn_teachers: The teacher in each world, if it differs.

    Returns:
        Tensors as :class:`hwgpt_gym.surrogates.worlds.Worlds` has them for a metric: the deviations packed and in
        units of ``spread``; ``spread``, ``noise`` (in the unit of the values), ``lesson_centre``, ``lesson_spread`` and
        ``gain`` (what the fit gives to the teacher), ``float64 (3,)`` by width; ``slope``, what each world adds to
        ``gain``, ``(pairs, 3)``.
    """
    tensors: Tensors = {name: np.zeros(3) for name in ("spread", "noise", "lesson_centre", "lesson_spread", "gain")}
    tensors["slope"] = np.zeros((pairs, 3))
    for block in make_blocks(space, encoded, values, teacher):
        grams = np.stack([term_gram(term, block) for term in block.terms])
        strengths = block_strengths(block)
        posterior = Posterior(block, grams, strengths)
        nominal = block_coefficients(block, strengths, posterior.dual[:, None])
        drawn = _draw(block, grams, posterior, pairs, rng, drawn_teachers)
        features: dict[str, FloatArray] = {}
        for term, part, mean in zip(block.terms, drawn, nominal, strict=True):
            features[term.feature] = features.get(term.feature, 0.0) + part - mean
        widths = block.widths
        if "teacher" in features:
            tensors["slope"][:, widths] = features.pop("teacher")[:, :, 0, 0, 0]
            tensors["gain"][widths] = nominal[-1][0, :, 0, 0, 0]
        for name in ("spread", "lesson_centre", "lesson_spread"):
            tensors[name][widths] = getattr(block, name)[widths]
        tensors["noise"][widths] = (posterior.noise * block.spread)[widths]
        for name, packed in pack(expand(space, features)).items():
            tensors.setdefault(name, np.zeros_like(packed))[:, widths] = packed[:, widths]
    return tensors


class Posterior:
    """The posterior of a block's coefficients under given strengths.

    Args:
        block: The rows.
        grams: The Gram matrices of its terms, ``float64 (terms, n, n)``.
        strengths: The strengths of its terms, ``float64 (terms,)``.
        nominal: The posterior under the strengths of the fit, if these are others: the variance of the noise then
            follows from its by the ratio of what maximises the marginal likelihood, ``y' A^-1 y / n``, which takes no
            inverse.

    Attributes:
        strengths: The strengths.
        dual: The dual coefficients of the mean, ``float64 (n,)``.
        deviation: The standard deviation of the noise over all widths, in units of the targets.
    """

    def __init__(
        self, block: Block, grams: FloatArray, strengths: FloatArray, nominal: Posterior | None = None
    ) -> None:
        from scipy.linalg import cho_factor, cho_solve

        noisy: FloatArray = (strengths @ grams.reshape(len(grams), -1)).reshape(grams.shape[1:])
        noisy[np.diag_indices(len(noisy))] += 1.0
        self._block, self.strengths = block, strengths
        self._factor = cho_factor(noisy, lower=True, overwrite_a=True)
        self.dual: FloatArray = cho_solve(self._factor, block.targets)
        if nominal is None:
            self.deviation = float(np.sqrt(self._noise_variance.mean()))
        else:
            likelier = float(block.targets @ self.dual) / float(nominal._block.targets @ nominal.dual)
            self.deviation = nominal.deviation * float(np.sqrt(likelier))

    @cached_property
    def _noise_variance(self) -> FloatArray:
        """Squared leave-one-out errors by their deviations in units of the noise's, ``float64 (n,)``."""
        from scipy.linalg.lapack import dtrtri

        precision = np.square(np.tril(dtrtri(self._factor[0], lower=1)[0])).sum(axis=0)
        variance: FloatArray = np.square(self.dual) / precision
        return variance

    @property
    def noise(self) -> FloatArray:
        """The standard deviation of the noise by width, ``float64 (3,)``; NaN for widths that do not occur."""
        by_width = [self._noise_variance[self._block.encoded[:, EMBED_DIM] == width] for width in range(3)]
        return np.array([np.sqrt(part.mean()) if len(part) else np.nan for part in by_width])

    def sample(self, number: int, rng: np.random.Generator) -> list[FloatArray]:
        """Draw coefficients: for each term ``float64 (number, 3, 3, 2, p)``, as :func:`block_coefficients`."""
        from scipy.linalg import cho_solve

        block, prior = self._block, []
        noisy_values = self.deviation * rng.standard_normal((len(block.targets), number))
        for strength, term in zip(self.strengths, block.terms, strict=True):
            feature = block.features[term.feature]
            part = rng.standard_normal((number, *term_groups(term), feature.shape[1]))
            part *= np.sqrt(strength) * self.deviation
            for group in np.ndindex(*term_groups(term)):
                rows = in_group(term, block, group)
                noisy_values[rows] += feature[rows] @ part[:, *group].T
            prior.append(part)
        dual = cho_solve(self._factor, block.targets[:, None] - noisy_values)
        return [part + add for part, add in zip(prior, block_coefficients(block, self.strengths, dual), strict=True)]


def _draw(
    block: Block,
    grams: FloatArray,
    nominal: Posterior,
    pairs: int,
    rng: np.random.Generator,
    teachers: Sequence[ChainModel],
) -> list[FloatArray]:
    """Draw coefficients of all terms, each ``float64 (pairs, 3, 3, 2, p)``."""
    draws = []
    if teachers:
        for teacher in teachers:
            own = _learn_from(block, teacher)
            grams[-1] = term_gram(own.terms[-1], own)
            draws.append(Posterior(own, grams, nominal.strengths, nominal).sample(1, rng))
    elif set(block.terms) <= set(POOLED_TERMS):
        draws.append(nominal.sample(pairs, rng))
    else:
        for _ in range(pairs):
            strengths = _redrawn_strengths(block, grams, rng)
            draws.append(Posterior(block, grams, strengths, nominal).sample(1, rng))
    return [np.concatenate(parts) for parts in zip(*draws, strict=True)]


def _learn_from(block: Block, teacher: ChainModel) -> Block:
    """Return the block with another teacher's predictions, in the units of its own teacher's."""
    width = block.encoded[:, EMBED_DIM]
    lessons = (teacher.predict(block.encoded) - block.lesson_centre[width]) / block.lesson_spread[width]
    return block._replace(features={**block.features, "teacher": lessons[:, None]})


def _redrawn_strengths(block: Block, grams: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Choose the strengths on a random part of the rows, ``float64 (terms,)``."""
    n = len(block.targets)
    some = np.sort(rng.choice(n, size=int(REDRAW_SHARE * min(STRENGTH_ROWS, n)), replace=False))
    return choose_strengths(grams[:, some[:, None], some], block.targets[some])
