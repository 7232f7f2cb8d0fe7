"""What the agents on optuna have in common: a study over the decisions, and telling it what was evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hwgpt_gym.search_space import N_LAYER, NOT_SET, Encoded, FloatArray, SearchSpace

if TYPE_CHECKING:
    import optuna


def make_study(sampler: optuna.samplers.BaseSampler, objectives: int) -> optuna.Study:
    """Return a study in memory that minimises, without optuna's messages."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)


def suggest(space: SearchSpace, trial: optuna.trial.Trial, *, conditional: bool) -> Encoded:
    """Let a trial choose an architecture, ``int8 (1, D)``.

    Choices of widths, ratios and counts are ordered, so they are suggested as integers.

    Args:
        space: The search space.
        trial: The trial.
        conditional: Whether layers beyond the depth are left out of the trial; otherwise they are chosen in vain.
    """
    encoded = np.full((1, space.num_decisions), NOT_SET, dtype=np.int8)
    for column, (name, choices) in enumerate(zip(space.decision_names, space.num_choices, strict=True)):
        end = space.lengths[encoded[0, N_LAYER]] if column > N_LAYER else space.num_decisions
        if column < end or not conditional:
            choice = trial.suggest_int(name, 0, choices - 1)
            encoded[0, column] = choice if column < end else NOT_SET
    return encoded


def tell(study: optuna.Study, trial: optuna.trial.Trial, losses: FloatArray) -> None:
    """Tell a study the losses of a trial, ``float64 (objectives,)``."""
    study.tell(trial, losses.tolist())
