"""An objective for Optuna's studies (Akiba et al., 2019): a trial chooses an architecture decision by decision.

Nothing here imports Optuna: a trial is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_flag, check_list, echo
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.objective import Limit, Objective, as_objective
from hwgpt_gym.search_space import N_LAYER, NOT_SET, Encoded, SearchSpace, check_space

if TYPE_CHECKING:
    import optuna


def suggest(space: SearchSpace, trial: optuna.trial.BaseTrial, *, conditional: bool = True) -> Encoded:
    """Let a trial choose an architecture, ``int8 (1, D)``.

    Choices of widths, ratios and counts are ordered, so they are suggested as integers, the choice indices.

    Args:
        space: The search space.
        trial: The trial; its parameters have the decisions' names.
        conditional: Whether layers beyond the depth are left out of the trial; otherwise they are chosen in vain, so
            that all trials have the same parameters.
    """
    check_space(space)
    if not hasattr(trial, "suggest_int"):
        raise TypeError(f"trial must be one of Optuna's trials, got {echo(trial)}")
    choices = np.full((1, space.num_decisions), NOT_SET, dtype=np.int8)
    length = space.num_decisions
    for column, (name, number) in enumerate(zip(space.decision_names, space.num_choices, strict=True)):
        if column < length:
            choices[0, column] = trial.suggest_int(name, 0, number - 1)
        if column == N_LAYER and conditional:
            length = int(space.lengths[choices[0, N_LAYER]])
    return space.canonical(choices)


class OptunaObjective:
    """What ``study.optimize`` takes: the reward of an objective, or several metrics.

    Every trial gets the user attributes ``architecture``, its name, and every metric that was asked for.

    Args:
        benchmark: The benchmark, of one device if a metric that is needed depends on the device.
        objective: What to maximise, or just the constraints; none by default.
        metrics: The metrics to trade off instead of the reward.
        conditional: As for :func:`suggest`.

    Attributes:
        directions: ``"maximize"`` or ``"minimize"`` for every value, for ``optuna.create_study(directions=…)``.

    Raises:
        ValueError: If both an objective and metrics are given, a metric is unknown, or one depends on the device and
            the benchmark is not of one.

    Example:
        >>> import optuna
        >>> from hwgpt_gym import Benchmark
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> objective = OptunaObjective(Benchmark("s", "a6000"), metrics=["perplexity", "latency_ms"])
        >>> study = optuna.create_study(directions=objective.directions)
        >>> study.optimize(objective, n_trials=3)
        >>> len(study.trials)
        3
    """

    def __init__(
        self,
        benchmark: Benchmark,
        objective: Objective | Mapping[str, Limit] | None = None,
        metrics: Sequence[str] | None = None,
        *,
        conditional: bool = True,
    ) -> None:
        if objective is not None and metrics is not None:
            both = f"{echo(objective)} and {echo(metrics)}"
            raise ValueError(f"give an objective or metrics to trade off, not both: {both}")
        self.benchmark = check_benchmark(benchmark, "benchmark")
        self.conditional = check_flag("conditional", conditional)
        sought = as_objective({} if objective is None else objective)
        self.bound = sought.bind(benchmark) if metrics is None else None
        self.metrics = self.bound.metrics if self.bound else tuple(check_list("metrics", metrics or (), "metrics"))
        benchmark.check_one_device(self.metrics)
        self.directions = (
            ["maximize"]
            if self.bound
            else ["minimize" if METRICS[key].lower_is_better else "maximize" for key in self.metrics]
        )

    def __call__(self, trial: optuna.trial.BaseTrial) -> float | tuple[float, ...]:
        """Evaluate the architecture that a trial chooses."""
        encoded = suggest(self.benchmark.space, trial, conditional=self.conditional)
        values = self.benchmark.evaluate(encoded, self.metrics)
        trial.set_user_attr("architecture", str(self.benchmark.space.decode(encoded)[0]))
        for key in self.metrics:
            trial.set_user_attr(key, float(values[key][0]))
        if self.bound:
            return float(self.bound.evaluate(values, margins=self.bound.margins(encoded)).reward[0])
        return tuple(float(values[key][0]) for key in self.metrics)
