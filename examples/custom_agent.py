"""Add a search agent of your own, and see where it stands.

    python examples/custom_agent.py

The agent is a simulated annealer (Kirkpatrick et al., 1983). It runs beside two others on one problem, is scored by its
regret to the certified optimum, and its result is written to a file that anyone can check. Takes about 1 second of
processor time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np

from hwgpt_gym import Benchmark
from hwgpt_gym.agents import AGENTS, Agent, SearchProblem, make_agent, validate_result
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve


@dataclass(frozen=True)
class SimulatedAnnealing(Agent):
    """Move to a mutant if it is better, or with a probability that falls with the temperature.

    Attributes:
        temperature: In units of reward, at the start; it falls geometrically to a thousandth.
    """

    name: ClassVar[str] = "simulated_annealing"
    temperature: float = 0.05

    def __post_init__(self) -> None:
        """Check the settings: a setting that is not legal is a ``ValueError`` that says what is."""
        if not self.temperature > 0.0:
            raise ValueError(f"temperature must be positive, got {self.temperature!r}")

    def search(self, problem: SearchProblem) -> None:
        """Anneal until the budget is spent. All randomness comes from the problem's seed."""
        rng = np.random.default_rng(problem.seed)
        current = problem.space.sample(rng, 1)
        reward = problem.evaluate(current)[0]
        while problem.remaining:
            temperature = self.temperature * 0.001 ** (problem.evaluations / problem.budget)
            mutant = problem.space.mutate(current, rng)
            mutant_reward = problem.evaluate(mutant)[0]
            if rng.random() < np.exp(min(0.0, mutant_reward - reward) / temperature):
                current, reward = mutant, mutant_reward


AGENTS[SimulatedAnnealing.name] = SimulatedAnnealing  # Now everything that takes an agent's name takes this one.


def main() -> None:
    benchmark, objective = Benchmark("s", "a6000"), Objective({"latency_ms": "p50"})
    optimum = solve(benchmark, objective)
    with TemporaryDirectory() as folder:
        for name in ("random_search", "regularized_evolution", "simulated_annealing"):
            result = make_agent(name).run(SearchProblem(benchmark, objective, budget=1_000, seed=0))
            path = result.save(Path(folder) / f"{name}.parquet", optimum)
            checked = validate_result(path)  # Evaluates everything again and solves for the optimum again.
            print(f"{name:22s} regret after 1,000 evaluations {checked.claims['regret']:.5f}  {checked.best}")


if __name__ == "__main__":
    main()
