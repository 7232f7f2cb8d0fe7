"""The amortised policy as a search agent: it evaluates what a beam of it finds, and stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.amortised.evaluation import MOST_BEAM, tables_of
from hwgpt_gym.agents.amortised.limits import LimitKeeper
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.agents.warm_start import check_limits
from hwgpt_gym.checks import check_integer


@dataclass(frozen=True)
class AmortisedBeam(Agent):
    """Evaluate the most probable architectures of the shipped policy, the greedy episode first.

    The policy is told what each choice costs and leaves out what cannot keep the limits; it never saw a reward of the
    problem. What it finds it finds at once, so it stops after ``beam`` evaluations.

    Attributes:
        beam: How many architectures it keeps at every decision; 1 is the greedy episode alone.

    Raises:
        ValueError: If a setting is not legal, or a problem has no or more than two limits.
    """

    name: ClassVar[str] = "amortised_beam"
    beam: int = 16

    def __post_init__(self) -> None:
        check_integer("beam", self.beam, 1, MOST_BEAM)

    def search(self, problem: SearchProblem) -> None:
        """Evaluate what the beam finds, as far as the budget goes."""
        from hwgpt_gym.agents.amortised.weights import load_pretrained

        check_limits(problem)
        policy = load_pretrained(problem.space.scale)
        keeper = LimitKeeper(problem.bound)
        keeper.check_possible()
        found = policy.beam(tables_of(problem.bound), self.beam, keeper)
        problem.evaluate(found[: problem.remaining])
