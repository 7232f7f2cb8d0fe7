"""What every decision on the way to an architecture is worth, and an architecture with one decision changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgpt_gym.checks import echo
from hwgpt_gym.envs.view import Gauge, Result, View
from hwgpt_gym.explorer.model import Explorer, Judged
from hwgpt_gym.explorer.state import State
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.optimum import action_values, best_completion
from hwgpt_gym.search_space import FIRST_LAYER, N_LAYER, NOT_SET, Architecture, FloatArray, SearchSpace


@dataclass(frozen=True, eq=False)
class Decisions:
    """The exact values of all decisions along an architecture.

    Attributes:
        space: The search space.
        columns: The decisions that exist, as columns of the encoding.
        chosen: The choice of each, ``int8 (n,)``.
        losses: By how much each choice lowers the best reward that is still within reach, ``float64 (n, 3)``; NaN for
            what is no choice.
    """

    space: SearchSpace
    columns: tuple[int, ...]
    chosen: FloatArray
    losses: FloatArray

    @property
    def lost(self) -> FloatArray:
        """What the choices that were taken lost, ``float64 (n,)``; they add up to the regret."""
        taken: FloatArray = self.losses[np.arange(len(self.columns)), self.chosen.astype(np.intp)]
        return taken


def value_decisions(explorer: Explorer, state: State, device: str, architecture: Architecture) -> Decisions:
    """Return what every decision along an architecture is worth on a device, under a page's limits.

    Raises:
        ValueError: As :meth:`Explorer.limits`.
    """
    bench = explorer.bench(state.scale, device)
    row = bench.space.encode([architecture])[0]
    columns = np.flatnonzero(row != NOT_SET)
    prefixes = np.full((len(columns), len(row)), NOT_SET, dtype=np.int8)
    for prefix, column in zip(prefixes, columns, strict=True):
        prefix[:column] = row[:column]
    values = action_values(bench, state.objective, prefixes)
    losses = values.max(axis=1, keepdims=True) - values
    losses[np.isinf(losses)] = np.nan
    # A sum in another order: what is less than rounding is nothing.
    losses[losses < 1e-12] = 0.0
    return Decisions(bench.space, tuple(columns.tolist()), row[columns], losses)


def choices_of(space: SearchSpace, column: int) -> list[str]:
    """Return what can be chosen in a decision, as people write it."""
    if column == N_LAYER:
        return [f"{depth} layers" for depth in space.depths]
    if column < FIRST_LAYER:
        return [f"width {width}" for width in space.embed_dims] if column == 0 else ["no bias", "bias"]
    if (column - FIRST_LAYER) % 2:
        return [f"{heads} heads" for heads in space.head_counts]
    return [f"MLP ×{ratio}" for ratio in space.mlp_ratios]


def name_of(column: int) -> str:
    """Return what a decision is called in a picture."""
    if column < FIRST_LAYER:
        return ("width", "layers", "bias")[column]
    layer, chain = divmod(column - FIRST_LAYER, 2)
    return f"{'heads' if chain else 'MLP'} {layer + 1}"


def flip(
    explorer: Explorer, state: State, device: str, architecture: Architecture, decision: tuple[int, int]
) -> Architecture:
    """Return an architecture with one decision changed; layers that this adds are the best that can follow.

    Args:
        explorer: The explorer.
        state: Under whose limits added layers are the best.
        device: The device.
        architecture: The architecture.
        decision: The column of the encoding, and the choice.

    Raises:
        ValueError: If there is no such decision or choice, or as :meth:`Explorer.limits`.
    """
    bench = explorer.bench(state.scale, device)
    space, (column, choice) = bench.space, decision
    row = space.encode([architecture])
    if (
        not (0 <= column < row.shape[1])
        or row[0, column] == NOT_SET
        or not 0 <= choice < len(choices_of(space, column))
    ):
        raise ValueError(f"the architecture has no decision and choice {echo(decision)}")
    row[0, column] = choice
    end = FIRST_LAYER + 2 * space.depths[int(row[0, N_LAYER])]
    row[0, end:] = NOT_SET
    if (row[0, :end] == NOT_SET).any():
        row = best_completion(bench, state.objective, row)
    return space.decode(row)[0]


def view_of(judged: Judged, optimum: Judged, label: str, decisions: Decisions) -> View:
    """Return what the environment's picture of an architecture shows.

    Args:
        judged: The architecture.
        optimum: The optimum of the same device and limits.
        label: The device's name as a person writes it.
        decisions: The values of its decisions.
    """
    row = judged.encoded[0]
    lost = np.zeros(len(row))
    lost[list(decisions.columns)] = decisions.lost
    gauges = [
        Gauge(METRICS[key].label, METRICS[key].unit, judged.metrics[key], limit) for key, limit in judged.limits.items()
    ]
    count = len(decisions.columns)
    return View(
        space=decisions.space,
        device=label,
        choices=tuple(row.tolist()),
        position=count,
        num_decisions=count,
        perplexity=judged.metrics["perplexity"],
        result=Result(judged.reward, judged.quality),
        gauges=tuple(gauges),
        optimum=Result(optimum.reward, optimum.quality),
        lost=tuple(lost.tolist()),
    )
