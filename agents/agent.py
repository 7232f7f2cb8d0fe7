"""The protocol of a search agent: settings as fields, one method that searches."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, runtime_checkable

from hwgpt_gym.agents.problem import Callback, SearchProblem, check_problem
from hwgpt_gym.checks import echo

if TYPE_CHECKING:
    from hwgpt_gym.agents.ppo.policy import Policy
    from hwgpt_gym.agents.result import SearchResult


WIDEST: Final = 8_192
"""The most units of a hidden layer."""


@dataclass(frozen=True)
class Agent(ABC):
    """A search method. Its fields are its settings; a new agent implements :meth:`search`.

    Attributes:
        name: Its name in the registry.
        multi_objective: Whether it searches for the whole trade-off instead of the greatest reward.
        has_policy: Whether it has a policy, whose greedy architecture it records.
    """

    name: ClassVar[str]
    multi_objective: ClassVar[bool] = False
    has_policy: ClassVar[bool] = False

    @abstractmethod
    def search(self, problem: SearchProblem) -> None:
        """Evaluate architectures of the problem until its budget is spent, or there is nothing left to do."""

    def run(self, problem: SearchProblem, callback: Callback | None = None) -> SearchResult:
        """Search, and return everything that was evaluated.

        Args:
            problem: The problem; fresh, nothing of it evaluated yet.
            callback: Called with the problem after every batch of evaluations.

        Raises:
            ValueError: If something of the problem was evaluated already, or the agent cannot handle it.
        """
        check_problem(problem)
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be a function of the problem, got {echo(callback)}")
        agent = self.resolve(problem)
        return run_search(agent, agent.search, problem, callback)

    def resolve(self, problem: SearchProblem) -> Agent:
        """Return this agent with every setting that depends on the problem filled in; by default there is none."""
        return self


@runtime_checkable
class Trainable(Protocol):
    """What an agent is, besides, that trains a policy which can be saved."""

    def train(
        self, problem: SearchProblem, callback: Callback | None = None, tensorboard: Path | str | None = None
    ) -> tuple[SearchResult, Policy]:
        """Search as :meth:`Agent.run` does, and return the trained policy too.

        Args:
            problem: The problem, fresh.
            callback: Called with the problem after every batch of evaluations.
            tensorboard: A folder to write TensorBoard's events to.
        """
        ...


def run_search(
    agent: Agent, search: Callable[[SearchProblem], None], problem: SearchProblem, callback: Callback | None
) -> SearchResult:
    """Time a search on a fresh problem, and return everything that was evaluated.

    Args:
        agent: The agent that searches, its settings resolved.
        search: What it does.
        problem: The problem.
        callback: Called with the problem after every batch of evaluations.

    Raises:
        ValueError: If something of the problem was evaluated already.
    """
    if problem.evaluations:
        raise ValueError(f"problem must be fresh, {problem.evaluations} evaluations of it were made already")
    problem.progress = callback
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        search(problem)
    finally:
        problem.progress = None
    return problem.result(agent.name, asdict(agent), time.perf_counter() - wall, time.process_time() - cpu)
