"""How sure an optimum is: what it earns in posterior worlds, and how much better the best of each world is.

Three things are kept apart. *Certain* is the optimum of the nominal surrogates. *Probable* is what is said here: every
world (:mod:`hwgpt_gym.surrogates.worlds`) is solved exactly, and the optimum is compared with the world's own.
*Measured* is what the surrogates were fitted to.

Regrets are paired: optimum and best are compared within a world, on the nominal scale of quality, which makes them
comparable with every other regret. The interval of the reward scales quality by each world's own extremes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.checks import check_integer, echo
from hwgpt_gym.penalties import get_penalty
from hwgpt_gym.search_space import FIRST_LAYER, GROUPS, Encoded, FloatArray, Group
from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.chain_tables import ChainTables, chain_tables, cost_matrix
from hwgpt_gym.surrogates.worlds import Worlds, load_worlds

if TYPE_CHECKING:
    from hwgpt_gym.benchmark import Benchmark
    from hwgpt_gym.objective import BoundObjective

NEAR: Final = 0.0005
"""Regrets up to this count as near the best."""

NORMAL_WIDTHS: Final = {50: 0.6744897501960817, 90: 1.6448536269514722}
"""Half the width of central intervals of a normal distribution, in standard deviations, by percent."""

_ROUNDING: Final = 1e-12
"""Regrets up to this are none: the optimum's reward is a sum in another order than the best of its world."""

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Certainty:
    """What posterior worlds say of an optimum, their deviations multiplied with a factor.

    Attributes:
        factor: The factor.
        perplexity: Central intervals of the optimum's measured perplexity, worlds and noise together, by percent (50
            and 90).
        reward: Likewise of the reward that it would earn if measured perplexity counted; quality is scaled by each
            world's own extremes.
        regrets: The best reward of each world less the optimum's in it, on the nominal scale, ``float64 (worlds,)``.
        groups: How many worlds have their best at each width, depth and bias, by these choice indices.
        agrees: Whether width, depth and bias of the optimum are those of the best in every world.
    """

    factor: float
    perplexity: Mapping[int, Interval]
    reward: Mapping[int, Interval]
    regrets: FloatArray
    groups: Mapping[Group, int]
    agrees: bool

    @property
    def expected_regret(self) -> float:
        """The mean of the regrets."""
        return float(self.regrets.mean())

    @property
    def near(self) -> float:
        """The share of worlds in which the optimum is within :data:`NEAR` of the best: a probability."""
        return float(np.mean(self.regrets <= NEAR))


def certainties(bench: Benchmark, bound: BoundObjective, encoded: Encoded, worlds: int) -> tuple[Certainty, ...]:
    """Say how sure the optimum of a benchmark is.

    Args:
        bench: The benchmark, of the nominal models.
        bound: The objective, bound to it.
        encoded: The optimum, ``int8 (1, D)``.
        worlds: How many worlds to solve: an even number, so that their mean is the nominal model.

    Returns:
        At factor 1, and at the scale's own model-form factor.

    Raises:
        ValueError: If there are not so many worlds, or the benchmark's models are not those that they deviate from.
    """
    drawn = load_worlds(bench.scale)
    if check_integer("worlds", worlds, 2) > len(drawn) or worlds % 2:
        raise ValueError(f"worlds must be an even number from 2 to {len(drawn)}, got {echo(worlds)}")
    if bench.world is not None:
        raise ValueError(f"worlds deviate from the nominal models, got the benchmark of world {bench.world}")
    drawn.check_nominal(bench.surrogates)
    problem = _Problem(bench, bound)
    return tuple(_certainty(problem, encoded, drawn, worlds, factor) for factor in (1.0, drawn.model_form_factor))


class _Problem:
    """Rewards by counts in every world: at given counts, a reward is affine in quality.

    Args:
        bench: The benchmark, of one device if a limited cost depends on the device.
        bound: The objective.
    """

    def __init__(self, bench: Benchmark, bound: BoundObjective) -> None:
        self.bench, self.bound = bench, bound
        least, greatest = bound.log_perplexity_range
        self.span = greatest - least or 1.0
        tables = chain_tables(bench.chain_model("perplexity"))
        costs = {metric: bound.cost(metric) for metric in bound.limits}
        self._parts = []
        for group in GROUPS:
            states = tables.states(group.depth)
            ratios = [cost_matrix(cost, group, states) / bound.limits[metric] for metric, cost in costs.items()]
            constant, slope = self._affine((len(states), len(states)), ratios)
            self._parts.append((constant, slope / self.span))

    def _affine(self, shape: tuple[int, ...], ratios: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Return the reward of quality 0, and what a quality of 1 adds.

        Where the optimum of the reward is to keep every limit, an architecture that does not is none of a world's best:
        the jump that keeps the nominal optimum within may be too small in a world.
        """
        least, greatest = (self.bound.outcome(np.full(shape, quality), ratios) for quality in (0.0, 1.0))
        excluded = ~least.feasible & get_penalty(self.bound.objective.penalty).constrained
        return np.where(excluded, -np.inf, least.reward), greatest.reward - least.reward

    def best(self, model: ChainModel) -> tuple[float, Group]:
        """Return the best reward by a model of log-perplexity, on the nominal scale of quality, and its group."""
        tables = ChainTables(model)
        top = -np.inf, GROUPS[0]
        for group, (constant, slope) in zip(GROUPS, self._parts, strict=True):
            rewards = tables.values(group)
            np.subtract(self.bound.log_perplexity_range[1], rewards, out=rewards)
            rewards *= slope
            rewards += constant
            top = max(top, (float(rewards.max()), group), key=lambda pair: pair[0])
        return top

    def of(self, encoded: Encoded) -> tuple[float, float]:
        """Return an architecture's reward at quality 0, and what a quality of 1 adds."""
        costs = self.bench.evaluate(encoded, list(self.bound.limits))
        for metric, margin in self.bound.margins(encoded).items():
            costs[metric] = costs[metric] * margin
        constant, slope = self._affine((1,), [costs[metric] / limit for metric, limit in self.bound.limits.items()])
        return float(constant[0]), float(slope[0])


def _certainty(problem: _Problem, encoded: Encoded, drawn: Worlds, worlds: int, factor: float) -> Certainty:
    greatest = problem.bound.log_perplexity_range[1]
    constant, slope = problem.of(encoded)
    nominal = float(drawn.nominal["perplexity"].predict(encoded)[0])
    log_perplexity = nominal + factor * drawn.deviations("perplexity", encoded)[0, :worlds]
    best = [problem.best(drawn.model("perplexity", world, factor)) for world in range(worlds)]
    rewards = constant + slope * (greatest - log_perplexity) / problem.span
    least_of, greatest_of = drawn.ranges("perplexity", factor)[:worlds].T
    own_scale = constant + slope * (greatest_of - log_perplexity) / (greatest_of - least_of)
    noise = float(drawn.noise[encoded[0, 0]])
    groups = Counter(group for _, group in best)
    regrets = np.array([reward for reward, _ in best]) - rewards
    return Certainty(
        factor=factor,
        perplexity={
            level: (float(np.exp(low)), float(np.exp(high)))
            for level, (low, high) in _intervals(nominal, np.hypot(log_perplexity.std(), noise)).items()
        },
        reward=_intervals(float(own_scale.mean()), np.hypot(own_scale.std(), slope * noise / problem.span)),
        regrets=np.where(regrets > _ROUNDING, regrets, 0.0),
        groups=dict(groups),
        agrees=set(groups) == {Group(*encoded[0, :FIRST_LAYER].tolist())},
    )


def _intervals(centre: float, deviation: float) -> dict[int, Interval]:
    """Return central intervals of a normal distribution by percent."""
    halves = {level: width * float(deviation) for level, width in NORMAL_WIDTHS.items()}
    return {level: (centre - half, centre + half) for level, half in halves.items()}
