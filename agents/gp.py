"""Bayesian optimisation with a Gaussian process, by optuna's ``GPSampler``.

It takes about a second an evaluation, more as evaluations pile up: for budgets of a few hundred.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.optuna_search import make_study, tell
from hwgpt_gym.agents.problem import SearchProblem, small_seed
from hwgpt_gym.checks import check_integer
from hwgpt_gym.interop.optuna import suggest
from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class GaussianProcess(Agent):
    """Maximise the reward by expected improvement under a Gaussian process.

    Attributes:
        startup_trials: Random architectures before the model is used.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "gp"
    startup_trials: int = 20

    def __post_init__(self) -> None:
        check_integer("startup_trials", self.startup_trials, 1)

    def search(self, problem: SearchProblem) -> None:
        """Propose and evaluate one architecture at a time until the budget is spent."""
        study = make_study(
            self._sampler(small_seed(problem.seed)), len(problem.trade_off) if self.multi_objective else 1
        )
        while problem.remaining:
            trial = study.ask()
            encoded = suggest(problem.space, trial, conditional=False)
            losses = problem.evaluate_losses(encoded)[0] if self.multi_objective else -problem.evaluate(encoded)
            tell(study, trial, losses)

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.GPSampler(
                n_startup_trials=self.startup_trials, seed=seed, deterministic_objective=True
            )


@dataclass(frozen=True)
class ExpectedHypervolumeImprovement(GaussianProcess):
    """EHVI (Emmerich et al., 2006), a baseline of HW-GPT-Bench: one process a metric, the expected gain in hypervolume.

    Attributes:
        startup_trials: Random architectures before the model is used.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "gp_ehvi"
    multi_objective: ClassVar[bool] = True


@dataclass(frozen=True)
class LinearScalarization(GaussianProcess):
    """LSBO, a baseline of HW-GPT-Bench: a Gaussian process on the mean of the metrics, each scaled to its range so far.

    Attributes:
        startup_trials: Random architectures before the model is used.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "gp_lsbo"
    multi_objective: ClassVar[bool] = True

    def search(self, problem: SearchProblem) -> None:
        """Propose and evaluate one architecture at a time until the budget is spent."""
        rng = np.random.default_rng(problem.seed)
        sampler = self._sampler(small_seed(problem.seed))
        trials: list[optuna.trial.FrozenTrial] = []
        losses = np.zeros((0, len(problem.trade_off)))
        while problem.remaining:
            # The scale moves with the range and the weights may be drawn anew: all that is known is told again.
            study = make_study(sampler, 1)
            values = scalarize(losses, self._weights(rng, len(problem.trade_off)))
            for known, value in zip(trials, values, strict=True):
                known.value = float(value)
            study.add_trials(trials)
            trial = study.ask()
            encoded = suggest(problem.space, trial, conditional=False)
            losses = np.concatenate([losses, problem.evaluate_losses(encoded)])
            tell(study, trial, np.zeros(1))
            trials.append(study.get_trials(deepcopy=True)[-1])

    def _weights(self, rng: np.random.Generator, objectives: int) -> FloatArray:
        """Return the weights of the metrics for the next proposal."""
        return np.full(objectives, 1.0 / objectives)


@dataclass(frozen=True)
class RandomScalarization(LinearScalarization):
    """RSBO (Paria et al., 2020), a baseline of HW-GPT-Bench: as LSBO, with new random weights for every proposal.

    Attributes:
        startup_trials: Random architectures before the model is used.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "gp_rsbo"

    def _weights(self, rng: np.random.Generator, objectives: int) -> FloatArray:
        weights: FloatArray = rng.dirichlet(np.ones(objectives))
        return weights


def scalarize(losses: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted sum of losses scaled to their ranges, ``float64 (n,)``.

    Args:
        losses: ``float64 (n, objectives)``.
        weights: ``float64 (objectives,)``.
    """
    if not len(losses):
        return np.zeros(0)
    least, greatest = losses.min(axis=0), losses.max(axis=0)
    scaled: FloatArray = (losses - least) / np.where(greatest > least, greatest - least, 1.0)
    return scaled @ weights
