"""The tree-structured Parzen estimator, by optuna.

Bergstra et al. (2011), *Algorithms for Hyper-Parameter Optimization*, NeurIPS; with several objectives Ozaki et al.
(2022), *Multiobjective Tree-Structured Parzen Estimator*, JAIR.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.optuna_search import make_study, tell
from hwgpt_gym.agents.problem import SearchProblem, small_seed
from hwgpt_gym.checks import check_flag, check_integer
from hwgpt_gym.interop.optuna import suggest


@dataclass(frozen=True)
class TPE(Agent):
    """Model where good and where other architectures lie, and propose what tells them apart best.

    Attributes:
        startup_trials: Random architectures before the model is used.
        candidates: Proposals that the model chooses from.
        multivariate: Whether the model sees dependences between decisions; slower by far with many decisions.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "tpe"
    startup_trials: int = 20
    candidates: int = 24
    multivariate: bool = False

    def __post_init__(self) -> None:
        check_integer("startup_trials", self.startup_trials, 1)
        check_integer("candidates", self.candidates, 1)
        check_flag("multivariate", self.multivariate)

    def search(self, problem: SearchProblem) -> None:
        """Propose and evaluate one architecture at a time until the budget is spent."""
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=self.startup_trials,
                n_ei_candidates=self.candidates,
                multivariate=self.multivariate,
                seed=small_seed(problem.seed),
            )
        study = make_study(sampler, len(problem.trade_off) if self.multi_objective else 1)
        while problem.remaining:
            trial = study.ask()
            # A multivariate model needs the same decisions in every trial.
            encoded = suggest(problem.space, trial, conditional=not self.multivariate)
            losses = problem.evaluate_losses(encoded)[0] if self.multi_objective else -problem.evaluate(encoded)
            tell(study, trial, losses)


@dataclass(frozen=True)
class MultiObjectiveTPE(TPE):
    """As :class:`TPE`, where an architecture is good if few dominate it.

    Attributes:
        startup_trials: Random architectures before the model is used.
        candidates: Proposals that the model chooses from.
        multivariate: Whether the model sees dependences between decisions.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "mo_tpe"
    multi_objective: ClassVar[bool] = True
