"""How sure an optimum is: what it earns in posterior worlds, and how much better the best of each world is.

Three things are kept apart. *Certain* is the optimum of the nominal surrogates. *Probable* is what is said here: every
world (:mod:`hwgpt_gym.surrogates.worlds`) is solved exactly, and the optimum is compared with the world's own. *Measured*
is what a surrogate was fitted to.

Regrets are paired: optimum and best are compared within a world, on the nominal scale of quality, which makes them
comparable with every other regret. The interval of the reward scales quality by each world's own extremes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.checks import check_integer
from hwgpt_gym.search_space import FIRST_LAYER, GROUPS, Encoded, FloatArray
from hwgpt_gym.surrogates.chain_tables import ChainTables, chain_tables, cost_matrix
from hwgpt_gym.surrogates.worlds import Worlds, load_worlds

if TYPE_CHECKING:
    from hwgpt_gym.benchmark import Benchmark
    from hwgpt_gym.objective import BoundObjective

NEAR: Final = 0.0005
"""Regrets up to this count as near the best."""

_QUANTILES: Final = {50: 0.6744897501960817, 90: 1.6448536269514722}
"""Half the width of central intervals of a normal distribution, in standard deviations, by percent."""

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
    perplexity: dict[int, Interval]
    reward: dict[int, Interval]
    regrets: FloatArray
    groups: dict[tuple[int, int, int], int]
    agrees: bool

    @property
    def expected_regret(self) -> float:
        """The mean of the regrets."""
        return float(self.regrets.mean())

    @property
    def near(self) -> float:
        """The share of worlds in which the optimum is within :data:`NEAR` of the best: a probability."""
        return float(np.mean(self.regrets <= NEAR))


def certainties(
    bench: Benchmark, bound: BoundObjective, encoded: Encoded, worlds: int, tables: ChainTables | None = None
) -> tuple[Certainty, ...]:
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
        raise ValueError(f"worlds must be an even number from 2 to {len(drawn)}, got {worlds!r}")
    if bench.world is not None:
        raise ValueError(f"worlds deviate from the nominal models, got a benchmark of world {bench.world}")
    drawn.check_nominal(bench.surrogates)
    ratios = _ratios(bench, bound)
    return tuple(_certainty(bench, bound, encoded, drawn, worlds, factor, ratios) for factor in _factors(drawn))


def _factors(worlds: Worlds) -> tuple[float, ...]:
    return 1.0, worlds.model_form_factor
