r"""Penalties as values: what exceeding limits costs, one registry that everything else reads.

With :math:`q` the quality of an architecture, :math:`r_i = m_i / T_i` the ratios of its constrained costs to their
limits, :math:`w` the weight and :math:`c` the jump, an architecture earns :math:`q - penalty`.

A penalty is a function of these alone, and the reward may not fall when quality rises at fixed costs: this is what the
exact solver relies on (``docs/optimum.md``). A new one is an entry of :data:`PENALTIES`: help, tables and tests read it
from there.

The jump of ``exact`` is the least one under which the best reward is that of the best architecture that keeps every
limit, plus :data:`JUMP_MARGIN` (:meth:`hwgpt_gym.objective.BoundObjective.jump`).
``absolute`` also punishes what is cheaper than the limit, and ``power`` rewards it: its penalty is then negative. The
default of ``power`` is MnasNet's. TuNAS scales its weight to accuracies that hardly differ; quality spans 0 to 1 here,
so ``absolute`` takes the weight of ``hinge``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import check_type, echo, suggest
from hwgpt_gym.search_space import FloatArray

JUMP_MARGIN: Final = 0.005
"""What a jump is more than the least one, in reward: always, so that it is never lost in rounding."""

Combine: TypeAlias = Callable[[FloatArray, Sequence[FloatArray], float, FloatArray | float], FloatArray]
"""From quality, the ratios of each constraint (arrays of its shape), weight and jump to the penalty, a new array."""


class Outcome(NamedTuple):
    """What architectures earn; ``reward == quality - penalty`` to the last bit.

    Attributes:
        reward: ``float64 (n,)``.
        quality: Scaled log-perplexity, from 0 (worst) to 1 (best), ``float64 (n,)``.
        penalty: ``float64 (n,)``.
        feasible: Whether every limit is kept, ``bool (n,)``.
    """

    reward: FloatArray
    quality: FloatArray
    penalty: FloatArray
    feasible: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Penalty:
    """What exceeding limits costs.

    Attributes:
        name: Its name in every interface.
        default_weight: The weight where none is given.
        formula: The penalty in terms of ``quality``, the array ``r`` of ratios, the weight ``w`` and the jump ``c``.
        source: Where it comes from.
        combine: What computes it.
        needs_jump: Whether it needs a jump, which depends on the problem.
        constrained: Whether the optimum of its reward is the best architecture that keeps every limit. It then needs
            limits that can be kept.
    """

    name: str
    default_weight: float
    formula: str
    source: str
    combine: Combine
    needs_jump: bool = False
    constrained: bool = False


def _hinge(
    quality: FloatArray, ratios: Sequence[FloatArray], weight: float, jump: FloatArray | float = 0.0
) -> FloatArray:
    total = np.zeros_like(quality)
    for ratio in ratios:
        excess = ratio - 1.0
        total += np.maximum(excess, 0.0, out=excess)
    total *= weight
    return total


def _exact(quality: FloatArray, ratios: Sequence[FloatArray], weight: float, jump: FloatArray | float) -> FloatArray:
    total = _hinge(quality, ratios, weight)
    if len(ratios):
        total += np.where(keeps(quality, ratios), 0.0, jump)
    return total


def _absolute(quality: FloatArray, ratios: Sequence[FloatArray], weight: float, jump: FloatArray | float) -> FloatArray:
    total = np.zeros_like(quality)
    for ratio in ratios:
        excess = ratio - 1.0
        total += np.abs(excess, out=excess)
    total *= weight
    return total


def _power(quality: FloatArray, ratios: Sequence[FloatArray], weight: float, jump: FloatArray | float) -> FloatArray:
    logarithm = np.zeros_like(quality)
    for ratio in ratios:
        logarithm += np.log(ratio)
    # In logarithms, where no product of ratios overflows: 1 - prod r^-w = 1 - exp(-w sum ln r).
    penalty: FloatArray = quality * -np.expm1(-weight * logarithm)
    return penalty


def _hard(quality: FloatArray, ratios: Sequence[FloatArray], weight: float, jump: FloatArray | float) -> FloatArray:
    return np.where(keeps(quality, ratios), 0.0, quality + weight)


PENALTIES: Final[Mapping[str, Penalty]] = MappingProxyType(
    {
        penalty.name: penalty
        for penalty in (
            Penalty(
                "exact",
                2.0,
                "w * sum(max(0, r - 1)) + c * any(r > 1)",
                "Exact penalty, least jump c",
                _exact,
                needs_jump=True,
                constrained=True,
            ),
            Penalty("hinge", 2.0, "w * sum(max(0, r - 1))", "Linear penalty", _hinge),
            Penalty("absolute", 2.0, "w * sum(abs(r - 1))", "TuNAS, arXiv 2008.06120, beta = -w", _absolute),
            Penalty("power", 0.07, "quality * (1 - prod(r ** -w))", "MnasNet, arXiv 1807.11626, eq. 2, 3", _power),
            Penalty("hard", 1.0, "(quality + w) * any(r > 1)", "Death penalty", _hard, constrained=True),
        )
    }
)
"""All penalties by name."""


def get_penalty(name: str) -> Penalty:
    """Return a penalty.

    Raises:
        ValueError: If there is none of this name; the message says what is legal.
    """
    if not isinstance(name, str) or name not in PENALTIES:
        raise ValueError(f"unknown penalty {echo(name)}: {suggest(name, PENALTIES)}")
    return PENALTIES[name]


def keeps(quality: FloatArray, ratios: Sequence[FloatArray]) -> npt.NDArray[np.bool_]:
    """Return whether every limit is kept, ``bool`` of the shape of ``quality``.

    A cost divided by its limit is at most 1 exactly if the cost is at most the limit: rounding does not change that.
    """
    kept = np.ones(quality.shape, dtype=np.bool_)
    for ratio in ratios:
        kept &= ratio <= 1.0
    return kept


def outcome(
    quality: FloatArray,
    ratios: Sequence[FloatArray],
    penalty: Penalty,
    weight: float,
    jump: FloatArray | float = 0.0,
) -> Outcome:
    """Return what architectures earn, from their quality and the ratios of their costs to the limits.

    Args:
        quality: Within 0 and 1, ``float64`` of any shape.
        ratios: Cost by limit of every constraint, positive, each of the shape of ``quality``.
        penalty: The penalty.
        weight: Its weight, positive.
        jump: Its jump, the margin included, a number or one for each entry; only what needs one reads it.
    """
    total = penalty.combine(quality, ratios, weight, jump)
    return Outcome(quality - total, quality, total, keeps(quality, ratios))


def penalty_table(indent: str = "") -> str:
    """Return the penalties as a Markdown table, each line indented."""
    check_type("indent", indent, str, "blanks")
    head = ("`penalty`", "Formula", "Default `w`", "Source")
    rows = [(f"`{p.name}`", f"`{p.formula}`", f"{p.default_weight:g}", p.source) for p in PENALTIES.values()]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, rule, *rows)]
    return "\n".join(f"{indent}| {' | '.join(line)} |" for line in lines)


__doc__ = f"{__doc__}\n{penalty_table()}\n"
