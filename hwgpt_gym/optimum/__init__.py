"""What is optimal, exactly: the best architecture, the whole Pareto front, and what every decision is worth."""

from hwgpt_gym.optimum.action_values import ActionValues, action_values, best_completion, episode_regret
from hwgpt_gym.optimum.completions import Problem
from hwgpt_gym.optimum.front import ParetoFront, pareto_front
from hwgpt_gym.optimum.solver import Optimum, extremes, nearest_to_limit, runner_up, solve, worst
from hwgpt_gym.optimum.worlds import Certainty
from hwgpt_gym.surrogates.chain_extremes import Extremes, chain_extremes

__all__ = [
    "ActionValues",
    "Certainty",
    "Extremes",
    "Optimum",
    "ParetoFront",
    "Problem",
    "action_values",
    "best_completion",
    "chain_extremes",
    "episode_regret",
    "extremes",
    "nearest_to_limit",
    "pareto_front",
    "runner_up",
    "solve",
    "worst",
]
