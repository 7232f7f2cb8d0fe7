"""What a leaderboard consists of: agents with budgets, on tasks, and the searches that follow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hwgpt_gym.agents import Agent
from hwgpt_gym.agents.leaderboard.tasks import Task
from hwgpt_gym.agents.result import GREATEST_BUDGET
from hwgpt_gym.checks import check_integer, check_list, check_type


@dataclass(frozen=True)
class Entry:
    """An agent with the number of evaluations it gets.

    Attributes:
        agent: The agent.
        budget: Evaluations, at least 1.
        seeds: How many runs; each has a seed of its own on every task.
        label: What it is called, if it differs from the agent's name: as the same agent with other settings.

    Raises:
        ValueError: If something is not legal.
    """

    agent: Agent
    budget: int
    seeds: int = 5
    label: str = ""

    def __post_init__(self) -> None:
        check_type("agent", self.agent, Agent, "an Agent, as make_agent returns it")
        check_integer("budget", self.budget, 1, GREATEST_BUDGET)
        check_integer("seeds", self.seeds, 1, 10**6)
        check_type("label", self.label, str, "a text")
        object.__setattr__(self, "label", self.label or self.agent.name)


@dataclass(frozen=True)
class Grid:
    """Every entry on every task.

    Attributes:
        tasks: The tasks.
        entries: Agents and their budgets.

    Raises:
        ValueError: If something stands there twice.
    """

    tasks: tuple[Task, ...]
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        for name, kind in (("tasks", Task), ("entries", Entry)):
            object.__setattr__(self, name, tuple(check_list(name, getattr(self, name), "what is compared")))
            for item in getattr(self, name):
                check_type(name, item, kind, f"a list of {kind.__name__}")
        entries = [f"{entry.label}={entry.budget}" for entry in self.entries]
        for what, names in (("tasks", [task.folder for task in self.tasks]), ("entries", entries)):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{what} must differ, {twice[0]!r} stands there {len(twice)} times")


@dataclass(frozen=True)
class Cell:
    """One search.

    Attributes:
        task: The task.
        agent: The agent.
        budget: Evaluations.
        number: The number of the run, from 0 on, which the seed follows from.
        label: What the agent is called.
    """

    task: Task
    agent: Agent
    budget: int
    number: int
    label: str

    @property
    def seed(self) -> int:
        """The seed."""
        return self.task.seed(self.number)

    def path(self, folder: Path) -> Path:
        """Return the cell's file."""
        return folder / self.task.folder / f"{self.label}-{self.budget}-run{self.number}.parquet"
