r"""Quality, constraints and penalties: metrics in, reward out.

One definition serves the environment, the agents and the exact solver. With :math:`p` the perplexity of an
architecture and :math:`p_{min}`, :math:`p_{max}` its exact extremes over the search space,

.. math:: quality = \frac{\ln p_{max} - \ln p}{\ln p_{max} - \ln p_{min}} \in [0, 1], \qquad
    reward = quality - penalty.

With :math:`r_i = m_i / T_i` the ratios of the constrained costs to their budgets and :math:`w > 0` the weight, the
penalty is one of

=============  ==========================================  ==================  =====================================
name           penalty                                     default :math:`w`   source
=============  ==========================================  ==================  =====================================
``hinge``      :math:`w \sum_i \max(0, r_i - 1)`           2                   the exact-penalty form of a budget
``absolute``   :math:`w \sum_i \lvert r_i - 1 \rvert`      2                   TuNAS (arXiv 2008.06120), the absolute
                                                                               reward :math:`Q + \beta |T/T_0 - 1|`
                                                                               with :math:`\beta = -w`
``power``      :math:`quality\,(1 - \prod_i r_i^{-w})`     0.07                MnasNet (arXiv 1807.11626), eq. 2 and
                                                                               3 with :math:`\alpha = \beta = -w`:
                                                                               :math:`reward = quality \prod r_i^{-w}`
``hard``       0 if all :math:`r_i \le 1`,                 1                   death penalty: an infeasible
               else :math:`quality + w`                                        architecture earns :math:`-w`
=============  ==========================================  ==================  =====================================

``absolute`` also punishes what is cheaper than the budget, and ``power`` rewards it: its penalty is then negative.
The default of ``power`` is MnasNet's. TuNAS scales its weight to accuracies that hardly differ; quality spans 0 to 1
here, so ``absolute`` takes the weight of ``hinge``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from hwgpt_gym.checks import suggest
from hwgpt_gym.metrics import COST_METRICS, METRICS, get_metric
from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    from hwgpt_gym.benchmark import Benchmark

Penalty: TypeAlias = Literal["hinge", "absolute", "power", "hard"]
Budget: TypeAlias = float | str
"""The bound of a cost: a number in the metric's unit, or a quantile of the search space such as ``"p30"``."""

PENALTIES: Final[tuple[Penalty, ...]] = get_args(Penalty)
DEFAULT_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {"hinge": 2.0, "absolute": 2.0, "power": 0.07, "hard": 1.0}
)
_QUANTILE: Final = re.compile(r"p(\d+(?:\.\d+)?)")


class Outcome(NamedTuple):
    """What architectures earn; ``reward == quality - penalty`` to the last bit.

    Attributes:
        reward: ``float64 (n,)``.
        quality: Scaled log-perplexity, from 0 (worst) to 1 (best), ``float64 (n,)``.
        penalty: ``float64 (n,)``.
        feasible: Whether every constraint is met, ``bool (n,)``.
    """

    reward: FloatArray
    quality: FloatArray
    penalty: FloatArray
    feasible: npt.NDArray[np.bool_]


@dataclass(frozen=True, repr=False)
class Objective:
    """What to search for: the best quality under constraints on costs.

    Attributes:
        constraints: For each constrained cost its budget: a positive number in the metric's unit, or a quantile of
            the search space, ``"p0"`` to ``"p100"`` (``"p50"`` is the median, decimals are allowed).
        penalty: What exceeding a budget costs: ``"hinge"``, ``"absolute"``, ``"power"`` or ``"hard"``; see
            :mod:`hwgpt_gym.objective` for the formulas.
        weight: How much, positive; by default the penalty's own of :data:`DEFAULT_WEIGHTS`.

    Raises:
        ValueError: If a metric is unknown or no cost, a budget is not positive and finite nor a quantile, or
            penalty or weight are not legal.

    Example:
        >>> Objective({"latency_ms": 20.0, "params": "p50"}).to_dict()
        {'constraints': {'latency_ms': 20.0, 'params': 'p50'}, 'penalty': 'hinge', 'weight': 2.0}
    """

    constraints: Mapping[str, Budget] = field(default_factory=dict)
    penalty: Penalty = "hinge"
    weight: float = None  # type: ignore[assignment]  # The penalty's own default; a float once constructed.

    def __post_init__(self) -> None:
        if not isinstance(self.constraints, Mapping):
            raise ValueError(f"constraints must map metrics to budgets, got {self.constraints!r}")
        budgets = {metric: _check_budget(metric, budget) for metric, budget in self.constraints.items()}
        if self.penalty not in PENALTIES:
            raise ValueError(f"unknown penalty {self.penalty!r}: {suggest(str(self.penalty), PENALTIES)}")
        weight = DEFAULT_WEIGHTS[self.penalty] if self.weight is None else self.weight
        if not _is_positive(weight):
            raise ValueError(f"weight must be a positive finite number, got {weight!r}")
        object.__setattr__(self, "constraints", MappingProxyType(budgets))
        object.__setattr__(self, "weight", float(weight))

    def __repr__(self) -> str:
        return f"Objective({dict(self.constraints)}, penalty={self.penalty!r}, weight={self.weight})"

    def __hash__(self) -> int:
        return hash((frozenset(self.constraints.items()), self.penalty, self.weight))

    def __reduce__(self) -> tuple[Any, ...]:
        # Read-only mappings cannot be pickled, and environments in other processes need objectives.
        return Objective, (dict(self.constraints), self.penalty, self.weight)

    def to_dict(self) -> dict[str, Any]:
        """Return a description that JSON can hold; :meth:`from_dict` reads it."""
        return {"constraints": dict(self.constraints), "penalty": self.penalty, "weight": self.weight}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Objective:
        """Read a description; the inverse of :meth:`to_dict`.

        Raises:
            ValueError: If it has an unknown key or an illegal value.
        """
        unknown = set(description) - {"constraints", "penalty", "weight"}
        if unknown:
            raise ValueError(f"unknown keys {sorted(unknown)}, legal are 'constraints', 'penalty' and 'weight'")
        return cls(**description)

    def bind(self, bench: Benchmark) -> BoundObjective:
        """Resolve quantiles and the extremes of perplexity for a benchmark.

        Raises:
            ValueError: If a constrained metric needs a device and the benchmark has none.
        """
        for metric in self.constraints:
            if metric not in bench.metrics:
                raise ValueError(f"constraint {metric!r} depends on the device: make the benchmark with device=…")
        thresholds = {
            metric: bench.quantile(metric, float(budget[1:]) / 100.0) if isinstance(budget, str) else budget
            for metric, budget in self.constraints.items()
        }
        least, greatest = bench.extremes("perplexity")
        return BoundObjective(self, thresholds, (math.log(least), math.log(greatest)))


@dataclass(frozen=True)
class BoundObjective:
    """An objective for one benchmark: every budget is a number.

    Attributes:
        objective: The objective.
        thresholds: The budget of each constrained cost in its unit. Of a benchmark of several devices, a quantile
            of a cost that depends on the device is ``float64 (devices,)``.
        log_perplexity_range: The least and greatest log-perplexity of the search space.
    """

    objective: Objective
    thresholds: Mapping[str, Any]
    log_perplexity_range: tuple[float, float]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that :meth:`evaluate` needs."""
        return ("perplexity", *self.thresholds)

    def quality(self, perplexity: FloatArray) -> FloatArray:
        """Return the quality of perplexities, ``float64`` of the same shape."""
        return self.quality_of_log(np.log(perplexity))

    def quality_of_log(self, log_perplexity: FloatArray) -> FloatArray:
        """Return the quality of log-perplexities, ``float64`` of the same shape."""
        least, greatest = self.log_perplexity_range
        # Where all perplexities are equal there is nothing to gain.
        quality = (greatest - log_perplexity) / (greatest - least or 1.0)
        # The extremes come back from a logarithm of an exponential: keep their last bit within the range.
        np.minimum(quality, 1.0, out=quality)
        return np.maximum(quality, 0.0, out=quality)

    def evaluate(
        self, metrics: Mapping[str, FloatArray], thresholds: Mapping[str, npt.ArrayLike] | None = None
    ) -> Outcome:
        """Return what architectures earn.

        Args:
            metrics: Perplexity and the constrained costs (see :attr:`metrics`), each ``float64 (n,)``; others are
                ignored.
            thresholds: Budgets that replace the bound ones, in the metric's unit: a number, or one for each row,
                ``float64 (n,)``.

        Raises:
            ValueError: If a metric is missing or not of shape ``(n,)``, or a threshold is not positive or not of a
                constrained metric.
        """
        budgets = {**self.thresholds, **self._check_thresholds(thresholds)} if thresholds else self.thresholds
        try:
            quality = self.quality(np.asarray(metrics["perplexity"], dtype=np.float64))
            ratios = [metrics[key] / budget for key, budget in budgets.items()]
        except KeyError as error:
            raise ValueError(f"metrics must have {list(self.metrics)}, lacks {error}") from None
        for key, ratio in zip(budgets, ratios, strict=True):
            if ratio.shape != quality.shape:
                raise ValueError(
                    f"{key!r} by its threshold must have the shape {quality.shape} of the perplexity, got "
                    f"{ratio.shape}; evaluate one device at a time"
                )
            if budgets[key] is self.thresholds[key] and isinstance(budgets[key], np.ndarray):
                raise ValueError(f"{key!r} has a threshold for every device: give the rows' own ones as thresholds")
        return outcome_of(quality, ratios, self.objective.penalty, self.objective.weight)

    def _check_thresholds(self, thresholds: Mapping[str, npt.ArrayLike]) -> dict[str, FloatArray]:
        arrays = {key: np.asarray(value, dtype=np.float64) for key, value in thresholds.items()}
        for key, array in arrays.items():
            if key not in self.thresholds:
                raise ValueError(f"threshold for {key!r}, which is not constrained: {list(self.thresholds)} are")
            if not (array > 0.0).all():
                raise ValueError(f"thresholds[{key!r}] must be positive, got {array.min()}")
        return arrays


def outcome(quality: FloatArray, ratios: FloatArray, penalty: Penalty, weight: float) -> Outcome:
    """Return what architectures earn, from their quality and the ratios of their costs to the budgets.

    Args:
        quality: ``float64 (n,)``, within 0 and 1.
        ratios: Cost by budget of every constraint, ``float64 (n, constraints)``, positive.
        penalty: The form of the penalty.
        weight: The weight of the penalty, positive.

    Raises:
        ValueError: If the penalty is unknown.
    """
    return outcome_of(quality, np.moveaxis(ratios, -1, 0), penalty, weight)


def outcome_of(quality: FloatArray, ratios: Iterable[FloatArray], penalty: Penalty, weight: float) -> Outcome:
    """As :func:`outcome`, with one array of ratios a constraint, each of the shape of ``quality``."""
    feasible = np.ones(quality.shape, dtype=np.bool_)
    total = np.ones_like(quality) if penalty == "power" else np.zeros_like(quality)
    for ratio in ratios:
        feasible &= ratio <= 1.0
        if penalty == "hinge":
            total += np.maximum(ratio - 1.0, 0.0)
        elif penalty == "absolute":
            total += np.abs(ratio - 1.0)
        elif penalty == "power":
            total *= ratio
    if penalty in ("hinge", "absolute"):
        total *= weight
    elif penalty == "power":
        # One power of the product: prod r^-w = (prod r)^-w.
        total = quality * (1.0 - total**-weight)
    elif penalty == "hard":
        total = np.where(feasible, 0.0, quality + weight)
    else:
        raise ValueError(f"unknown penalty {penalty!r}: {suggest(str(penalty), PENALTIES)}")
    return Outcome(quality - total, quality, total, feasible)


def _check_budget(metric: str, budget: Budget) -> Budget:
    if get_metric(metric).kind != "cost":
        raise ValueError(f"{metric!r} is a quality, not a cost: constraints bound {list(COST_METRICS)}")
    if isinstance(budget, str):
        match = _QUANTILE.fullmatch(budget)
        if match and float(match[1]) <= 100.0:
            return budget
    elif _is_positive(budget):
        return float(budget)
    unit = METRICS[metric].unit
    raise ValueError(
        f"constraints[{metric!r}] must be a positive finite number{f' of {unit}' if unit else ''} or a quantile from "
        f"'p0' to 'p100', got {budget!r}"
    )


def _is_positive(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and 0.0 < float(value) < math.inf
