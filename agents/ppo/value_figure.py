"""What PPO's value network says of states, against their exact values, over training.

Of every state the best reward still within reach is known (:func:`hwgpt_gym.optimum.action_values`). The value network
estimates what the *policy* earns from there, so it can be no better informed than the policy is good: both errors fall
together where the policy goes, and nobody tells the network about states where it does not go.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hwgpt_gym.agents.ppo.agent import PPO
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.envs.construction import Construction, ObservationLayout
from hwgpt_gym.optimum import action_values, solve
from hwgpt_gym.search_space import NOT_SET, Encoded, FloatArray
from hwgpt_gym.style import AMBER, BLUE, FAINT, INK, label_end, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hwgpt_gym.agents.ppo.policy import Policy

STATES: Final = 1_000
"""States looked at each time: one of every sampled episode."""

_SHARES: Final = (0.05, 0.1, 0.2, 1.0)
"""Shares of the budget at which the states of the policy's own episodes are drawn one by one."""


@dataclass(frozen=True, eq=False)
class ValueRecord:
    """The value network at one time of the training.

    Attributes:
        evaluations: Architectures evaluated so far.
        exact: The greatest reward within reach from states of the policy's own episodes, ``float64 (n,)``.
        estimated: What the network says of these, ``float64 (n,)``.
        error: The mean absolute difference of the two.
        error_elsewhere: The same on states of random architectures, always the same ones.
        regret: The mean regret of the policy's episodes.
    """

    evaluations: int
    exact: FloatArray
    estimated: FloatArray
    error: float
    error_elsewhere: float
    regret: float


def record_values(problem: SearchProblem, agent: PPO | None = None) -> list[ValueRecord]:
    """Train PPO on a problem, and look at its value network from time to time.

    Args:
        problem: The problem, fresh.
        agent: The settings; its ``checkpoints`` are how often to look, before the first and after the last update too.
    """
    from hwgpt_gym.agents.ppo.training import train

    bench, objective = problem.benchmark, problem.objective
    optimum = solve(bench, objective)
    rng = np.random.default_rng(problem.seed)
    elsewhere = cut_off(bench.space.sample(rng, STATES), rng)
    values_elsewhere = action_values(bench, objective, elsewhere).max(axis=1)
    records: list[ValueRecord] = []

    def look(policy: Policy) -> None:
        # The same numbers each time: what changes is the policy.
        episodes = policy.sample(np.random.default_rng(problem.seed), STATES)
        states = cut_off(episodes, np.random.default_rng(problem.seed))
        exact, estimated = action_values(bench, objective, states).max(axis=1), estimated_values(policy, states)
        metrics = bench.evaluate(episodes, optimum.objective.metrics)
        records.append(
            ValueRecord(
                problem.evaluations,
                exact,
                estimated,
                error=float(np.abs(estimated - exact).mean()),
                error_elsewhere=float(np.abs(estimated_values(policy, elsewhere) - values_elsewhere).mean()),
                regret=float(optimum.reward - optimum.objective.evaluate(metrics).reward.mean()),
            )
        )

    agent = agent or PPO(checkpoints=25)
    train(problem, asdict(agent.resolve(problem)), masked=agent.masked, watch=look)
    return records


def estimated_values(policy: Policy, encoded: Encoded) -> FloatArray:
    """Return what the value network of a policy without a context says of states, ``float64 (n,)``.

    Args:
        policy: The policy.
        encoded: Architectures under construction, ``int8 (n, D)``, -1 where undecided.
    """
    import torch

    construction = Construction(ObservationLayout(policy.space), len(encoded))
    construction.begin()
    for choices in encoded.T:
        lanes = np.flatnonzero(choices != NOT_SET)
        construction.apply(choices[lanes].astype(np.intp), lanes)
    with torch.no_grad():
        values: FloatArray = policy.network.predict_values(torch.as_tensor(construction.observation)).numpy()[:, 0]
    return values.astype(np.float64)


def cut_off(encoded: Encoded, rng: np.random.Generator) -> Encoded:
    """Return a state on the way to each architecture, at a decision drawn evenly, ``int8 (n, D)``."""
    position = rng.integers(0, np.count_nonzero(encoded != NOT_SET, axis=1))
    return np.where(np.arange(encoded.shape[1]) < position[:, None], encoded, np.int8(NOT_SET))


def shown_records(records: Sequence[ValueRecord]) -> list[ValueRecord]:
    """Return the records whose states the figure shows one by one."""
    last = records[-1].evaluations
    return [min(records, key=lambda record: abs(record.evaluations - share * last)) for share in _SHARES]


def save_value_figure(records: Sequence[ValueRecord], path: str | os.PathLike[str], title: str = "") -> None:
    """Draw estimated against exact values of single states, and the errors over training.

    Args:
        records: What :func:`record_values` returns.
        path: Where to, in the format of its suffix.
        title: What it is of, such as the device and the limits.
    """
    figure = new_figure(10.0, 4.4)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    states, errors = figure.subplots(1, 2)
    _draw_states(states, records)
    _draw_errors(errors, records)
    for axes in (states, errors):
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _draw_states(axes: Axes, records: Sequence[ValueRecord]) -> None:
    shown = shown_records(records)
    for record, colour in zip(shown, (FAINT, "#a9d0e8", BLUE, INK), strict=True):
        axes.plot(record.exact, record.estimated, ".", color=colour, markersize=4, alpha=0.7, markeredgewidth=0,
                  label=f"after {record.evaluations:,}")  # fmt: skip
    low = min(record.exact.min() for record in shown)
    high = max(record.exact.max() for record in shown)
    axes.plot([low, high], [low, high], color=AMBER, linewidth=1.0, zorder=0)
    axes.set(xlabel="best reward within reach, exact", ylabel="value network")
    axes.legend(frameon=False, fontsize=9, markerscale=2.0)


def _draw_errors(axes: Axes, records: Sequence[ValueRecord]) -> None:
    evaluations = [record.evaluations for record in records]
    lines = (
        ("value network,\nin random states", [record.error_elsewhere for record in records], FAINT, 1.5),
        ("value network,\nin its own episodes", [record.error for record in records], BLUE, 1.5),
        ("regret of\nthese episodes", [record.regret for record in records], INK, 2.0),
    )
    for name, values, colour, width in lines:
        axes.plot(evaluations, values, color=colour, linewidth=width)
        label_end(axes, evaluations[-1], values[-1], name, colour)
    axes.set_yscale("log")
    axes.set(xlabel="architectures evaluated", ylabel="mean, in reward")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.6)
