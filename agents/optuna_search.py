"""What the agents on optuna have in common: a study that minimises, and telling it what was evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    import optuna


def make_study(sampler: optuna.samplers.BaseSampler, objectives: int) -> optuna.Study:
    """Return a study in memory that minimises, without optuna's messages."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)


def tell(study: optuna.Study, trial: optuna.trial.Trial, losses: FloatArray) -> None:
    """Tell a study the losses of a trial, ``float64 (objectives,)``."""
    study.tell(trial, losses.tolist())
