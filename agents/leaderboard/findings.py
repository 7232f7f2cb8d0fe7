"""What the suite ``core`` says, in sentences whose numbers are computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hwgpt_gym.agents.leaderboard.figures import format_regret
from hwgpt_gym.agents.leaderboard.rows import TARGETS, regret_at
from hwgpt_gym.agents.leaderboard.statistics import comparable, median, never

if TYPE_CHECKING:
    import pandas

FEW: Final = 1_000
MANY: Final = 20_000

INFORMED: Final = ("amortised_beam",)
"""Agents that know more than the rewards they are told."""


_WHY: Final = {
    "regularized_evolution": (FEW, "evolution improves from its first generation on"),
    "ppo": (MANY, "a policy needs thousands of rewards to know what to build, and then builds it whole"),
    "local_search_swaps": (
        MANY,
        "what layers swap leaves the costs as they are, so that a search can go along its limit",
    ),
}
"""Why an agent wins after so many evaluations."""


def findings(rows: pandas.DataFrame, line: float) -> str:
    """Return what was learned: who wins at which budget and limit, and why.

    Args:
        rows: Searches of the suite ``core``.
        line: The regret below which reality cannot tell agents apart.
    """
    return "\n".join(f"{place}. {text}" for place, text in enumerate(_sentences(_Core(rows), line), 1))


class _Core:
    """Medians and shares of the suite by agent and limit."""

    def __init__(self, rows: pandas.DataFrame) -> None:
        self.rows = comparable(rows)
        self.agents = list(dict.fromkeys(self.rows["agent"]))
        self.limits = list(dict.fromkeys(self.rows["limits"]))
        # A submission may have had fewer evaluations: of it nothing is known after MANY.
        whole = [agent for agent in self.agents if self.part(agent)[regret_at(MANY)].notna().all()]
        self.from_nothing = [agent for agent in whole if agent not in INFORMED]

    def part(self, agent: str, limits: str | None = None) -> pandas.DataFrame:
        part = self.rows[self.rows["agent"] == agent]
        return part if limits is None else part[part["limits"] == limits]

    def regret(self, agent: str, limits: str, evaluations: int) -> float:
        return float(median(self.part(agent, limits)[regret_at(evaluations)]))

    def best(self, limits: str, evaluations: int) -> tuple[float, str]:
        return min((self.regret(agent, limits, evaluations), agent) for agent in self.from_nothing)

    def elsewhere(self, agent: str, limits: str) -> float:
        return 1.0 - float(self.part(agent, limits)["optimal_width"].mean())


def _sentences(core: _Core, line: float) -> list[str]:
    if not core.from_nothing:
        return []
    return [
        _winners(core),
        *_wrong_width(core),
        *_knowledge(core),
        *_reach(core),
        *_reality(core, line),
    ]


def _winners(core: _Core) -> str:
    first, last = (sorted({core.best(limit, count)[1] for limit in core.limits}) for count in (FEW, MANY))
    once = len({*first, *last}) == 1
    what = f"**`{first[0]}` wins at every limit**" if once else "**Who wins depends on limit and budget**"
    why = [text for agent, (winners, text) in _WHY.items() if agent in {FEW: first, MANY: last}[winners]]
    return (
        f"{what}: of the agents that start from nothing, after {FEW:,} evaluations {_who_wins(core, FEW)} and after "
        f"{MANY:,} {_who_wins(core, MANY)} {'has' if once else 'have'} the least median regret"
        f"{': ' if why else ''}{'; '.join(why)}."
    )


def _who_wins(core: _Core, evaluations: int) -> str:
    winners: dict[str, list[str]] = {}
    for limit in core.limits:
        value, agent = core.best(limit, evaluations)
        winners.setdefault(agent, []).append(f"{_short(limit)} {format_regret(value)}")
    return _listed([f"`{agent}` ({', '.join(where)})" for agent, where in winners.items()])


def _wrong_width(core: _Core) -> list[str]:
    agent = "regularized_evolution"
    if agent not in core.agents:
        return []
    shares = {limit: core.elsewhere(agent, limit) for limit in core.limits}
    low = [limit for limit, share in shares.items() if share > 0.0]
    if not low:
        return []
    stuck = core.part(agent)[~core.part(agent)["optimal_width"]]
    where = " at low limits" if set(low) <= set(core.limits[: len(core.limits) // 2]) else ""
    text = (
        f"**Evolution sits in the wrong embedding width{where}**: "
        f"{_listed([f'{_percent(shares[limit])} at {_short(limit)}' for limit in low])} of the runs of `{agent}` end "
        f"there, with a median regret of {format_regret(float(median(stuck[regret_at(MANY)])))} "
        f"(on {', '.join(sorted(set(stuck['device'])))}): after a few hundred evaluations its population has left all "
        "widths but the one that looks best so far, and to come back every layer would have to change at once"
    )
    others = {
        "stratified_evolution": "with a population for each width",
        "local_search": "which begins anew anywhere",
        "ppo": "which samples all widths for long",
    }
    for other, what in others.items():
        if other in core.agents:
            most = max(core.elsewhere(other, limit) for limit in low)
            text += f"; `{other}`, {what}, " + (f"ends there in at most {_percent(most)}" if most else "never does")
    return [text + "."]


def _knowledge(core: _Core) -> list[str]:
    agent = INFORMED[0]
    if agent not in core.agents:
        return []
    worst = max(core.regret(agent, limit, 20) for limit in core.limits)
    best = {limit: core.best(limit, FEW)[0] for limit in core.limits}
    return [
        f"**A policy that was taught by the solver on other problems needs no search**: after 16 evaluations `{agent}` "
        f"has a median regret of at most {format_regret(worst)} at every limit, where the best of the others have "
        f"{format_regret(min(best.values()))} to {format_regret(max(best.values()))} after {FEW:,}; it is told what "
        "the choices cost, which they are not."
    ]


def _reach(core: _Core) -> list[str]:
    target = TARGETS[1]
    shares = sorted((never(core.part(agent), target), agent) for agent in core.from_nothing)
    always = [f"`{agent}`" for share, agent in shares if share == 0.0]
    what = f"Only {_listed(always)} always arrive{'s' * (len(always) == 1)}" if always else "Nobody always arrives"
    if len(always) == len(shares):
        return [f"**All arrive**: every run reaches a regret of {target:g} within {MANY:,} evaluations."]
    return [
        f"**{what}**: within {MANY:,} evaluations a regret of {target:g} is never reached by "
        + _listed([f"{_percent(share)} of the runs of `{agent}`" for share, agent in shares if share > 0.0])
        + "."
    ]


def _reality(core: _Core, line: float) -> list[str]:
    below = {
        limit: [agent for agent in core.from_nothing if core.regret(agent, limit, MANY) <= line]
        for limit in core.limits
    }
    alike = [
        f"{_listed([f'`{agent}`' for agent in agents])} at {_short(limit)}" for limit, agents in below.items() if agents
    ]
    if not alike:
        return []
    return [
        f"**Below {line:.0e} reality cannot tell**: after {MANY:,} evaluations the median runs of "
        f"{_listed(alike, '; ')} are as good as the optimum, for all that is known."
    ]


def _short(limit: str) -> str:
    return limit.rpartition("=")[2]


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def _listed(items: Sequence[str], separator: str = ", ") -> str:
    return items[0] if len(items) == 1 else f"{separator.join(items[:-1])} and {items[-1]}"
