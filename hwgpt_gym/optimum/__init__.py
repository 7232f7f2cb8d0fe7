"""What is optimal, exactly: the best architecture under an objective, and the whole Pareto front."""

from hwgpt_gym.optimum.front import ParetoFront, pareto_front
from hwgpt_gym.optimum.solver import Optimum, extremes, nearest_to_limit, runner_up, solve, worst
from hwgpt_gym.surrogates.chain_extremes import Extremes, chain_extremes

__all__ = [
    "Extremes",
    "Optimum",
    "ParetoFront",
    "chain_extremes",
    "extremes",
    "nearest_to_limit",
    "pareto_front",
    "runner_up",
    "solve",
    "worst",
]
