"""Where a search begins that need not begin from nothing: architectures that the amortised policy samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.agents.amortised.evaluation import samples
from hwgpt_gym.search_space import Encoded
from hwgpt_gym.surrogates.cost_tables import SLOTS

if TYPE_CHECKING:
    from hwgpt_gym.agents.problem import SearchProblem

MOST_SAMPLES: Final = 10_000
"""The most architectures that a search begins with."""


def policy_samples(problem: SearchProblem, rng: np.random.Generator, count: int) -> Encoded:
    """Return distinct architectures that the shipped policy of the scale samples for a problem.

    The first one is its greedy episode, and all keep the limits. What they earn is not looked at: to evaluate them
    counts.

    Args:
        problem: The problem, of one device.
        rng: The generator to draw from.
        count: How many, at least 1.

    Returns:
        ``int8 (k, D)``, ``k`` at most ``count``: a policy that is sure of itself samples few.

    Raises:
        ValueError: If not one or two costs are limited.
    """
    from hwgpt_gym.agents.amortised.weights import load_pretrained

    check_limits(problem)
    return samples(load_pretrained(problem.space.scale), problem.bound, count, rng)


def check_limits(problem: SearchProblem) -> None:
    """Check that the amortised policy can be asked about a problem.

    Raises:
        ValueError: If not one or two costs are limited.
    """
    limited = list(problem.bound.limits)
    if not 1 <= len(limited) <= SLOTS:
        raise ValueError(f"the amortised policy needs one or two limited costs, the problem has {limited}")
