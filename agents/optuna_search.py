"""What the agents on optuna have in common: a study that minimises, and telling it what was evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    import optuna


def make_study(sampler: optuna.samplers.BaseSampler, objectives: int) -> optuna.Study:
    """Return a study in memory that minimises, without optuna's messages."""
    import optuna

    # A setting of the whole process, which is not ours.
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)
    finally:
        optuna.logging.set_verbosity(verbosity)


def tell(study: optuna.Study, trial: optuna.trial.Trial, losses: FloatArray) -> None:
    """Tell a study the losses of a trial, ``float64 (objectives,)``."""
    study.tell(trial, losses.tolist())
