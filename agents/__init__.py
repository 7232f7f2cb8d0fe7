"""Search agents: one protocol, one registry, from random search to PPO.

Importing this package loads neither torch, Stable-Baselines3, optuna nor pymoo: each agent loads what it needs when
it runs.

Example:
    >>> from hwgpt_gym import Benchmark
    >>> from hwgpt_gym.agents import SearchProblem, make_agent
    >>> from hwgpt_gym.objective import Objective
    >>> from hwgpt_gym.optimum import solve
    >>> benchmark, objective = Benchmark("s", "a6000"), Objective({"latency_ms": "p50"})
    >>> result = make_agent("local_search").run(SearchProblem(benchmark, objective, budget=1_000))
    >>> bool(result.regret(solve(benchmark, objective))[-1] < 0.05)
    True
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from hwgpt_gym.agents.agent import Agent, Trainable
from hwgpt_gym.agents.amortised.agent import AmortisedBeam
from hwgpt_gym.agents.exact import Exact
from hwgpt_gym.agents.finetuned_ppo import FinetunedPPO
from hwgpt_gym.agents.gp import (
    ExpectedHypervolumeImprovement,
    GaussianProcess,
    LinearScalarization,
    RandomScalarization,
)
from hwgpt_gym.agents.local_search import LocalSearch
from hwgpt_gym.agents.nsga2 import NSGA2
from hwgpt_gym.agents.params_proxy import ParamsProxy
from hwgpt_gym.agents.ppo.agent import PPO, MaskablePPO
from hwgpt_gym.agents.ppo.edit import EditPPO
from hwgpt_gym.agents.problem import BudgetExceededError, Callback, SearchProblem
from hwgpt_gym.agents.random_search import RandomSearch
from hwgpt_gym.agents.regularized_evolution import MultiObjectiveRegularizedEvolution, RegularizedEvolution
from hwgpt_gym.agents.reinforce import Reinforce, ReinforceLSTM
from hwgpt_gym.agents.result import SearchResult
from hwgpt_gym.agents.stratified_evolution import StratifiedEvolution
from hwgpt_gym.agents.tpe import TPE, MultiObjectiveTPE
from hwgpt_gym.agents.validation import validate_result
from hwgpt_gym.checks import echo, suggest

AGENTS: Final[dict[str, type[Agent]]] = {
    agent.name: agent
    for agent in (
        RandomSearch,
        LocalSearch,
        RegularizedEvolution,
        StratifiedEvolution,
        ParamsProxy,
        TPE,
        GaussianProcess,
        Reinforce,
        ReinforceLSTM,
        PPO,
        MaskablePPO,
        EditPPO,
        AmortisedBeam,
        FinetunedPPO,
        Exact,
        MultiObjectiveRegularizedEvolution,
        NSGA2,
        MultiObjectiveTPE,
        ExpectedHypervolumeImprovement,
        LinearScalarization,
        RandomScalarization,
    )
}
"""All agents by name. Adding a class to it makes an agent of one's own available everywhere."""


def make_agent(name: str, **settings: Any) -> Agent:
    """Return an agent.

    Args:
        name: Its name in :data:`AGENTS`.
        **settings: Its settings; see the agent's class.

    Raises:
        ValueError: If there is no such agent or setting, or a setting is not legal.
    """
    if not isinstance(name, str) or name not in AGENTS:
        raise ValueError(f"unknown agent {echo(name)}: {suggest(name, list(AGENTS))}")
    known = [field.name for field in fields(AGENTS[name])]
    for setting in settings:
        if setting not in known:
            raise ValueError(f"agent {name!r} has no setting {setting!r}, it has {known}")
    return AGENTS[name](**settings)


__all__ = [
    "AGENTS",
    "Agent",
    "BudgetExceededError",
    "Callback",
    "SearchProblem",
    "SearchResult",
    "Trainable",
    "make_agent",
    "validate_result",
]
