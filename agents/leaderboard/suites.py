"""The leaderboards: grids of searches, those that have a name, and those of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hwgpt_gym.agents import make_agent
from hwgpt_gym.agents.amortised.agent import AmortisedBeam
from hwgpt_gym.agents.leaderboard.grids import Cell, Entry, Grid
from hwgpt_gym.agents.leaderboard.tasks import make_tasks
from hwgpt_gym.agents.local_search import LocalSearch
from hwgpt_gym.agents.regularized_evolution import RegularizedEvolution
from hwgpt_gym.checks import check_list, check_type, echo, suggest
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.onboarding.devices import get_device, reference_of


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
                for number in range(entry.seeds):
                    for task in grid.tasks:
                        yield Cell(task, entry.agent, entry.budget, number, entry.label)

    def on(self, devices: Sequence[str]) -> Suite:
        """Return the part of it that is of some devices.

        Raises:
            ValueError: If it has no such part.
        """
        names = {get_device(device).name for device in devices}
        grids = []
        for grid in self.grids:
            tasks = tuple(task for task in grid.tasks if task.device_name in names)
            grids += [replace(grid, tasks=tasks)] if tasks else []
        if not grids:
            raise ValueError(f"suite {self.name!r} has no search on {', '.join(sorted(names))}")
        return replace(self, grids=tuple(grids))


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
        seeds: Runs of agents that are given by name.
        name: The suite's name.

    Raises:
        ValueError: If something is not legal.
    """
    if isinstance(agents, Mapping):
        entries = tuple(Entry(make_agent(agent), budget, seeds) for agent, budget in agents.items())
    else:
        entries = tuple(check_list("agents", agents, "Entry, or a dictionary of budgets by name"))
    check_type("name", name, str, "a text")
    devices = [reference_of(get_device(device)) for device in check_list("devices", devices, "names of devices")]
    limits = [{"latency_ms": limit} for limit in check_list("constraints", constraints, "quantiles")]
    return Suite(name, (Grid(make_tasks([scale], devices, limits), entries),))


def _entries(seeds: int, budget: int, *names: str) -> tuple[Entry, ...]:
    return tuple(Entry(make_agent(name), budget, seeds) for name in names)


def _latency(*quantiles: str) -> list[dict[str, str]]:
    return [{"latency_ms": quantile} for quantile in quantiles]


_ALL: Final = tuple(DEVICES)
_ONE: Final = ("a6000",)
_BUDGET: Final = 20_000
"""What every agent gets that takes less than a millisecond an evaluation, so that all compare at every checkpoint."""

_SHORT: Final = 10_000
"""What they get in the suites beside the core."""

_FEW: Final = 1_000
"""What those get that begin with the amortised policy."""

_SEARCHERS: Final = ("random_search", "regularized_evolution", "stratified_evolution", "local_search")
_SWAPS: Final = LocalSearch(swaps=True)
_CORE: Final = (
    *_entries(5, _BUDGET, *_SEARCHERS),
    Entry(_SWAPS, _BUDGET, 5, "local_search_swaps"),
    *_entries(2, _BUDGET, "ppo", "reinforce"),
    *_entries(1, _BUDGET, "amortised_beam"),
)
_BESIDE: Final = (
    *_entries(3, _SHORT, *_SEARCHERS),
    *_entries(1, _SHORT, "ppo", "reinforce", "amortised_beam"),
)
_FROM_POLICY: Final = (
    Entry(AmortisedBeam(beam=1), _BUDGET, 1, "amortised_greedy"),
    *_entries(1, _BUDGET, "amortised_beam"),
    *_entries(1, _FEW, "finetuned_ppo"),
    Entry(RegularizedEvolution(warm_start=50), _FEW, 3, "regularized_evolution_warm"),
    Entry(LocalSearch(swaps=True, warm_start=50), _FEW, 3, "local_search_swaps_warm"),
    # As in the core: what starts from nothing.
    *_entries(5, _BUDGET, "regularized_evolution"),
    Entry(_SWAPS, _BUDGET, 5, "local_search_swaps"),
)

SUITES: Final[dict[str, Suite]] = {
    suite.name: suite
    for suite in (
        Suite(
            "smoke",
            (Grid(make_tasks("s", _ONE, _latency("p50")), _entries(2, 100, "random_search", "local_search")),),
            "shows in seconds that everything works",
        ),
        Suite(
            "core",
            (Grid(make_tasks("s", _ALL, _latency("p10", "p30", "p50", "p70", "p90")), _CORE),),
            "scale s, every device, five limits of latency",
        ),
        Suite(
            "energy",
            (
                Grid(
                    make_tasks("s", _ALL, [{"energy_j": limit} for limit in ("p10", "p30", "p50", "p70", "p90")]),
                    _BESIDE,
                ),
            ),
            "the same limits of energy",
        ),
        Suite(
            "two",
            (
                Grid(
                    make_tasks(
                        "s",
                        _ALL,
                        [
                            {"latency_ms": latency, "float16_memory_mb": memory}
                            for latency, memory in (("p30", "p50"), ("p50", "p30"), ("p50", "p50"))
                        ],
                    ),
                    _BESIDE,
                ),
            ),
            "latency and memory limited at once",
        ),
        Suite(
            "scale",
            (
                Grid(
                    make_tasks("ml", _ALL, _latency("p30", "p70")),
                    _BESIDE,
                ),
            ),
            "scales m and l",
        ),
        Suite(
            "noise",
            (
                Grid(
                    make_tasks("s", _ALL, _latency("p10", "p30", "p50"), "measured"),
                    _BESIDE,
                ),
            ),
            "every evaluation is one measurement, regret is that of what seems best, in truth",
        ),
        Suite(
            "amortised",
            (Grid(make_tasks("s", _ALL, _latency("p10", "p30", "p50", "p70", "p90")), _FROM_POLICY),),
            "agents that begin with a policy that was taught on other problems, beside two that begin with nothing",
        ),
        Suite(
            "onboarded",
            (
                Grid(
                    make_tasks("s", _ALL, _latency("p10", "p30", "p50", "p70", "p90"), "onboarded"),
                    (*_entries(1, _SHORT, "exact"), *_BESIDE),
                ),
            ),
            "devices known through twenty measurements, regret in truth",
        ),
        Suite(
            "edit",
            (
                Grid(
                    make_tasks("s", _ONE, _latency("p10", "p30", "p50", "p70", "p90")),
                    (*_entries(2, _BUDGET, "edit_ppo", "ppo"), *_entries(5, _BUDGET, "local_search", "random_search")),
                ),
            ),
            "agents that change complete architectures one decision at a time, beside one that builds them",
        ),
    )
}
"""The leaderboards that can be run by name."""

PUBLISHED: Final = tuple(name for name in SUITES if name != "smoke")
"""The suites of the published page."""
