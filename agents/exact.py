"""The exact solver as an agent: the ceiling that every other one is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import SearchProblem


@dataclass(frozen=True)
class Exact(Agent):
    """Evaluate the certified optimum, and nothing else.

    It reads the surrogates (:func:`hwgpt_gym.optimum.solve`), which no other agent may, so one evaluation is enough.
    """

    name: ClassVar[str] = "exact"

    def search(self, problem: SearchProblem) -> None:
        """Evaluate the optimum."""
        from hwgpt_gym.optimum import solve

        problem.evaluate(solve(problem.benchmark, problem.objective).encoded)
