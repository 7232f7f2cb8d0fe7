"""What a leaderboard consists of: searches, grids of them, and the leaderboards that have a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hwgpt_gym.agents import AGENTS, Agent, make_agent
from hwgpt_gym.agents.problem import GREATEST_BUDGET
from hwgpt_gym.checks import check_integer, check_list, check_type, echo, suggest
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.objective import Objective
from hwgpt_gym.onboarding.devices import get_device, reference_of
from hwgpt_gym.search_space import get_search_space


@dataclass(frozen=True)
class Entry:
    """An agent with the number of evaluations it gets.

    Attributes:
        agent: The agent.
        budget: Evaluations, at least 1.
        seeds: Seeds, from 0 on.

    Raises:
        ValueError: If a number is not legal.
    """

    agent: Agent
    budget: int
    seeds: int = 5

    def __post_init__(self) -> None:
        check_type("agent", self.agent, Agent, "an Agent, as make_agent returns it")
        check_integer("budget", self.budget, 1, GREATEST_BUDGET)
        check_integer("seeds", self.seeds, 1, 10**6)


@dataclass(frozen=True)
class Grid:
    """Every entry on every device under every constraint, at one scale.

    Attributes:
        scale: The search space.
        devices: The devices.
        entries: Agents and their budgets.
        constraints: The limits of latency, each a quantile such as ``"p50"``.

    Raises:
        ValueError: If a scale, device or constraint is not legal, or something stands there twice.
    """

    scale: str
    devices: tuple[str, ...]
    entries: tuple[Entry, ...]
    constraints: tuple[str, ...] = ("p50",)

    def __post_init__(self) -> None:
        get_search_space(self.scale)
        for name in ("devices", "entries", "constraints"):
            object.__setattr__(self, name, tuple(check_list(name, getattr(self, name), "what is compared")))
        for entry in self.entries:
            check_type("entries", entry, Entry, "a list of Entry")
        # Worker processes find devices by these names and paths, whatever folder they are in.
        object.__setattr__(self, "devices", tuple(reference_of(get_device(name)) for name in self.devices))
        for constraint in self.constraints:
            Objective({"latency_ms": constraint})
        entries = [f"{entry.agent.name}={entry.budget}" for entry in self.entries]
        for what, names in (("devices", self.devices), ("constraints", self.constraints), ("entries", entries)):
            if twice := [name for name in names if list(names).count(name) > 1]:
                raise ValueError(f"{what} must differ, {twice[0]!r} stands there {len(twice)} times")


@dataclass(frozen=True)
class Suite:
    """A leaderboard.

    Attributes:
        name: Its name.
        grids: What it runs.
        description: What it is for, in a sentence.
    """

    name: str
    grids: tuple[Grid, ...]
    description: str = ""

    def cells(self) -> Iterator[Cell]:
        """Yield every search."""
        for grid in self.grids:
            for entry in grid.entries:
                for device in grid.devices:
                    for constraint in grid.constraints:
                        for seed in range(entry.seeds):
                            yield Cell(grid.scale, device, constraint, entry.agent, entry.budget, seed)


@dataclass(frozen=True)
class Cell:
    """One search.

    Attributes:
        scale: The search space.
        device: The device's name, or the absolute path of its profile.
        constraint: The limit of latency, a quantile.
        agent: The agent.
        budget: Evaluations.
        seed: The seed.
    """

    scale: str
    device: str
    constraint: str
    agent: Agent
    budget: int
    seed: int

    def path(self, folder: Path) -> Path:
        """Return the cell's file."""
        name = f"{self.agent.name}-{self.budget}-seed{self.seed}.parquet"
        return folder / self.scale / self.device_name / self.constraint / name

    @property
    def device_name(self) -> str:
        """The device's name."""
        return get_device(self.device).name


def get_suite(suite: Suite | str) -> Suite:
    """Return a suite by name, or the one given.

    Raises:
        ValueError: If there is no such suite.
    """
    if isinstance(suite, Suite):
        return suite
    if not isinstance(suite, str) or suite not in SUITES:
        raise ValueError(f"unknown suite {echo(suite)}: {suggest(suite, list(SUITES))}")
    return SUITES[suite]


def custom_suite(
    agents: Mapping[str, int] | Iterable[Entry],
    *,
    scale: str = "s",
    devices: Sequence[str] = tuple(DEVICES),
    constraints: Sequence[str] = ("p50",),
    seeds: int = 5,
    name: str = "custom",
) -> Suite:
    """Return a suite of one grid.

    Args:
        agents: Budgets by the agents' names, or entries.
        scale: The search space.
        devices: The devices.
        constraints: The limits of latency, as quantiles.
        seeds: Seeds of agents that are given by name.
        name: The suite's name.

    Raises:
        ValueError: If something is not legal.
    """
    if isinstance(agents, Mapping):
        entries = tuple(Entry(make_agent(agent), budget, seeds) for agent, budget in agents.items())
    else:
        entries = tuple(check_list("agents", agents, "Entry, or a dictionary of budgets by name"))
    check_type("name", name, str, "a text")
    return Suite(name, (Grid(scale, devices, entries, constraints),))  # type: ignore[arg-type]  # Grid makes tuples.


def _entries(seeds: int, budgets: Mapping[str, int]) -> tuple[Entry, ...]:
    return tuple(Entry(AGENTS[name](), budget, seeds) for name, budget in budgets.items())


_ALL: Final = tuple(DEVICES)
_FEW: Final = ("a6000", "v100", "cpu_amd_7513")
_ONE: Final = ("a6000",)

SUITES: Final[dict[str, Suite]] = {
    suite.name: suite
    for suite in (
        Suite(
            "smoke",
            (Grid("s", _ONE, _entries(2, {"random_search": 100, "local_search": 100, "nsga2": 100, "exact": 1})),),
            "Seconds: shows that everything works.",
        ),
        Suite(
            "quick",
            (
                Grid(
                    "s",
                    _ALL,
                    (
                        *_entries(5, {"exact": 1, "random_search": 50_000, "params_proxy": 1_000}),
                        *_entries(5, {"local_search": 50_000, "regularized_evolution": 50_000}),
                        *_entries(5, {"mo_regularized_evolution": 1_000, "nsga2": 1_000}),
                        *_entries(1, {"tpe": 200, "reinforce": 50_000, "reinforce_lstm": 20_000}),
                        *_entries(1, {"ppo": 50_000, "maskable_ppo": 50_000}),
                    ),
                ),
                *(
                    Grid(
                        scale,
                        _ONE,
                        (
                            *_entries(3, {"exact": 1, "random_search": 100_000, "params_proxy": 1_000}),
                            *_entries(3, {"local_search": 100_000, "regularized_evolution": 100_000}),
                            *_entries(3, {"mo_regularized_evolution": 1_000, "nsga2": 1_000}),
                            *_entries(1, {"ppo": 100_000}),
                        ),
                    )
                    for scale in ("m", "l")
                ),
            ),
            "Minutes: every device at scale s with one seed for what is slow, a glimpse of m and l.",
        ),
        Suite(
            "policies",
            (
                Grid(
                    "s",
                    _ALL,
                    (
                        *_entries(5, {"ppo": 50_000, "maskable_ppo": 50_000, "reinforce": 50_000}),
                        *(
                            entry
                            for budget in (1_000, 5_000, 10_000, 20_000)
                            for entry in _entries(1, {"ppo": budget, "reinforce": budget})
                        ),
                    ),
                ),
                *(
                    Grid(
                        scale,
                        _ONE,
                        (
                            *_entries(5, {"ppo": 100_000}),
                            *(entry for budget in (20_000, 50_000) for entry in _entries(1, {"ppo": budget})),
                        ),
                    )
                    for scale in ("m", "l")
                ),
            ),
            "An hour: the reinforcement learners with five seeds, and how they grow with their budget.",
        ),
        Suite(
            "models",
            (
                Grid(
                    "s",
                    _ONE,
                    (
                        *_entries(2, {"tpe": 100, "gp": 100}),
                        *_entries(2, {"mo_tpe": 100, "gp_ehvi": 100, "gp_lsbo": 100, "gp_rsbo": 100}),
                    ),
                ),
            ),
            "Minutes: the agents that learn a model of the benchmark, on one device with a small budget.",
        ),
        Suite(
            "full",
            tuple(
                Grid(
                    scale,
                    _ALL,
                    (
                        *_entries(5, {"exact": 1, "params_proxy": 10_000, "random_search": large}),
                        *_entries(5, {"local_search": large, "regularized_evolution": large}),
                        *_entries(5, {"mo_regularized_evolution": 10_000, "nsga2": 10_000}),
                        *_entries(5, {"tpe": 200, "mo_tpe": 200}),
                        *_entries(1, {"gp": 200, "gp_ehvi": 200, "gp_lsbo": 200, "gp_rsbo": 200}),
                        *_entries(5, {"reinforce": large, "reinforce_lstm": large}),
                        *_entries(5, {"ppo": large, "maskable_ppo": large}),
                    ),
                    constraints,
                )
                for scale, large, constraints in (
                    ("s", 50_000, ("p30", "p50", "p70")),
                    ("m", 100_000, ("p50",)),
                    ("l", 100_000, ("p50",)),
                )
            ),
            "Most of a day on two processors: every agent, device and scale.",
        ),
    )
}
"""The leaderboards that can be run by name."""
