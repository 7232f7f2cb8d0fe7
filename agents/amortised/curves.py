"""How many evaluations the package's own search agents need to match the policy: regret over evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.agents.amortised.devices import UNSEEN
from hwgpt_gym.agents.amortised.evaluation import LEVELS
from hwgpt_gym.benchmark import AnyDevice, Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve
from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIVALS: Final = ("random_search", "regularized_evolution", "local_search")
"""The agents that are compared where nothing else is asked for."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Regrets of searches that start from nothing.

    Attributes:
        regret: By agent, of the best architecture so far after each evaluation, ``float64 (cells, seeds, budget)``; a
            cell is a device under a limit. Budgets and seeds may differ between agents.
    """

    regret: Mapping[str, FloatArray]

    def mean(self, agent: str) -> FloatArray:
        """Return the mean regret after each evaluation, ``float64 (budget,)``."""
        mean: FloatArray = self.regret[agent].mean(axis=(0, 1))
        return mean

    def evaluations_to(self, agent: str, regret: float) -> int | None:
        """Return after how many evaluations the mean regret is at most some; ``None`` if never within the budget."""
        reached = np.flatnonzero(self.mean(agent) <= regret)
        return int(reached[0]) + 1 if len(reached) else None

    def median_evaluations_to(self, agent: str, regrets: FloatArray) -> float:
        """Return the median over cells and seeds of the evaluations that match each cell's own regret.

        Args:
            agent: The agent.
            regrets: What is to be matched in every cell, ``float64 (cells,)``.

        Returns:
            Infinite if fewer than half match it within the budget.
        """
        matched = self.regret[agent] <= np.maximum(regrets, 1e-9)[:, None, None]
        hits = np.where(matched.any(axis=2), matched.argmax(axis=2) + 1.0, np.inf)
        return float(np.median(hits))


def search_curves(
    scale: str,
    agents: Mapping[str, tuple[int, int]],
    devices: Sequence[AnyDevice] = UNSEEN,
    levels: Sequence[int] = LEVELS,
    folder: Path | None = None,
) -> Curves:
    """Run agents on devices under latency limits.

    Args:
        scale: The search space.
        agents: By agent, how many evaluations each search has, and how many searches there are in every cell; their
            seeds are 0, 1, ….
        devices: The devices.
        levels: The quantiles of the limits, in per cent.
        folder: Where the result of every search is kept, so that an interrupted comparison goes on; none by default.

    Raises:
        ValueError: If the folder holds a file that is not of its search.
    """
    from hwgpt_gym.agents import SearchProblem, SearchResult, make_agent

    cells = [(device, level) for device in devices for level in levels]
    regret = {agent: np.empty((len(cells), seeds, budget)) for agent, (budget, seeds) in agents.items()}
    for cell, (device, level) in enumerate(cells):
        bench, objective = Benchmark(scale, device), Objective({"latency_ms": f"p{level}"})
        optimum = solve(bench, objective)
        for agent, (budget, seeds) in agents.items():
            for seed in range(seeds):
                name = f"{scale}-{bench.devices[0].name}-p{level}-{agent}-{budget}-{seed}.parquet"
                path = None if folder is None else folder / name
                problem = SearchProblem(bench, objective, budget, seed)
                if path is not None and path.is_file():
                    result = SearchResult.load(path)
                    if (result.task, result.agent, result.budget, result.seed) != (problem.task, agent, budget, seed):
                        raise ValueError(f"{path} is of another search, or of other surrogates: delete it")
                else:
                    result = make_agent(agent).run(problem)
                    if path is not None:
                        result.save(path)
                own = result.regret(optimum)
                regret[agent][cell, seed, : len(own)] = own
                # A search that ended by itself keeps what it found.
                regret[agent][cell, seed, len(own) :] = own[-1]
    return Curves(regret)


def draw_curves(curves: Curves, policy: Mapping[int, float], title: str) -> Figure:
    """Draw mean regret over evaluations, with the policy's points.

    Args:
        curves: The searches.
        policy: The policy's mean regret by the architectures that it evaluates.
        title: The title.
    """
    from hwgpt_gym.style import AMBER, BLUE, FAINT, GREEN, INK, RED, new_figure

    figure = new_figure()
    axes = figure.add_subplot()
    means = {agent: curves.mean(agent) for agent in curves.regret}
    for (agent, mean), colour in zip(means.items(), cycle((FAINT, BLUE, AMBER, GREEN, RED)), strict=False):
        axes.plot(np.arange(1, len(mean) + 1), mean, color=colour)
        # What ends a little above another has its name higher up.
        close = any(other[-1] < mean[-1] < 1.3 * other[-1] for other in means.values())
        axes.annotate(agent.replace("_", " "), (len(mean), mean[-1]), (4, 8 * close), textcoords="offset points",
                      color=colour, fontsize=9, va="center")  # fmt: skip
    axes.plot(list(policy), list(policy.values()), "o-", color=INK)
    first = min(policy)
    axes.annotate("amortised policy:\ngreedy and beams", (first, policy[first]), (8, 4), textcoords="offset points",
                  color=INK, fontsize=9)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("evaluations")
    axes.set_ylabel("mean regret of the best so far")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    longest = max(map(len, means.values()), default=max(policy))
    axes.set_xlim(right=8.0 * longest)  # Room for the names.
    return figure
