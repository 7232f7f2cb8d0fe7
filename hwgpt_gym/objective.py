r"""Quality, constraints and penalties: metrics in, reward out.

One definition serves the environment, the agents and the exact solver. With :math:`p` the perplexity of an
architecture and :math:`p_{min}`, :math:`p_{max}` its exact extremes over the search space,

.. math:: quality = \frac{\ln p_{max} - \ln p}{\ln p_{max} - \ln p_{min}} \in [0, 1], \qquad
    reward = quality - penalty.

The penalty grows with the ratios of the constrained costs to their limits; :mod:`hwgpt_gym.penalties` has the formulas.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.metrics import COST_METRICS, METRICS, get_metric
from hwgpt_gym.penalties import Outcome, get_penalty, outcome
from hwgpt_gym.search_space import Encoded, FloatArray, Group, IntArray
from hwgpt_gym.surrogates.cautious_cost import CautiousCost, check_confidence
from hwgpt_gym.surrogates.chain_tables import cost_matrix
from hwgpt_gym.surrogates.count_model import CountModel

if TYPE_CHECKING:
    from hwgpt_gym.benchmark import Benchmark

Limit: TypeAlias = float | str
"""The bound of a cost: a number in the metric's unit, or a quantile of the search space such as ``"p30"``."""

DEFAULT_PENALTY: Final = "hinge"
"""The penalty where none is given, in every interface."""

_QUANTILE: Final = re.compile(r"p(\d+(?:\.\d+)?)")


@dataclass(frozen=True, repr=False, init=False)
class Objective:
    """What to search for: the best quality under constraints on costs.

    Args:
        constraints: For each constrained cost its limit: a positive number in the metric's unit, or a quantile of the
            search space, ``"p0"`` to ``"p100"`` (``"p50"`` is the median, decimals are allowed).
        penalty: What exceeding a limit costs, one of :data:`hwgpt_gym.penalties.PENALTIES`.
        weight: How much, positive; the penalty's own by default.
        confidence: With which each limit is to hold by itself, from 0.5 to 0.9999: the cost in its ratio is the
            predicted one times a margin (:mod:`hwgpt_gym.surrogates.cautious_cost`). ``None`` for the predicted one.
            Quantile limits are those of predictions.

    Attributes:
        constraints: The limits by cost, read-only.
        penalty: The name of the penalty.
        weight: Its weight.
        confidence: The confidence of the limits, or ``None``.

    Raises:
        ValueError: If a metric is unknown or no cost, a limit is not positive and finite nor a quantile, or
            penalty, weight or confidence are not legal.

    Example:
        >>> Objective({"latency_ms": 20.0, "params": "p50"}).to_dict()
        {'constraints': {'latency_ms': 20.0, 'params': 'p50'}, 'penalty': 'hinge', 'weight': 2.0}
    """

    constraints: Mapping[str, Limit]
    penalty: str
    weight: float
    confidence: float | None

    def __init__(
        self,
        constraints: Mapping[str, Limit] = MappingProxyType({}),
        penalty: str = DEFAULT_PENALTY,
        weight: float | None = None,
        confidence: float | None = None,
    ) -> None:
        if not isinstance(constraints, Mapping):
            raise ValueError(f"constraints must map metrics to limits, got {constraints!r}")
        limits = {metric: _check_limit(metric, limit) for metric, limit in constraints.items()}
        weight = get_penalty(penalty).default_weight if weight is None else weight
        if not _is_positive(weight):
            raise ValueError(f"weight must be a positive finite number, got {weight!r}")
        object.__setattr__(self, "constraints", MappingProxyType(limits))
        object.__setattr__(self, "penalty", penalty)
        object.__setattr__(self, "weight", float(weight))
        object.__setattr__(self, "confidence", check_confidence(confidence))

    def __repr__(self) -> str:
        confidence = "" if self.confidence is None else f", confidence={self.confidence}"
        return f"Objective({dict(self.constraints)}, penalty={self.penalty!r}, weight={self.weight}{confidence})"

    def __hash__(self) -> int:
        return hash((frozenset(self.constraints.items()), self.penalty, self.weight, self.confidence))

    def __reduce__(self) -> tuple[Any, ...]:
        # Read-only mappings cannot be pickled, and environments in other processes need objectives.
        return Objective, (dict(self.constraints), self.penalty, self.weight, self.confidence)

    def to_dict(self) -> dict[str, Any]:
        """Return a description that JSON can hold; :meth:`from_dict` reads it."""
        # Without a confidence the description is what it was before there were any.
        confidence = {} if self.confidence is None else {"confidence": self.confidence}
        return {"constraints": dict(self.constraints), "penalty": self.penalty, "weight": self.weight, **confidence}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Objective:
        """Read a description; the inverse of :meth:`to_dict`.

        Raises:
            ValueError: If it has an unknown key or an illegal value.
        """
        legal = ("constraints", "penalty", "weight", "confidence")
        unknown = set(description) - set(legal)
        if unknown:
            raise ValueError(f"unknown keys {sorted(unknown)}, legal are {', '.join(map(repr, legal))}")
        return cls(**description)

    def bind(self, bench: Benchmark) -> BoundObjective:
        """Resolve quantiles and the extremes of perplexity for a benchmark.

        Raises:
            ValueError: If a constrained metric needs a device and the benchmark has none.
        """
        for metric in self.constraints:
            if metric not in bench.metrics:
                raise ValueError(f"constraint {metric!r} depends on the device: make the benchmark with device=…")
        limits = {
            metric: bench.quantile(metric, float(limit[1:]) / 100.0) if isinstance(limit, str) else limit
            for metric, limit in self.constraints.items()
        }
        least, greatest = bench.extremes("perplexity")
        cautious = {}
        if self.confidence is not None:
            cautious = {metric: bench.cautious_cost(metric, self.confidence) for metric in self.constraints}
        return BoundObjective(self, limits, (math.log(least), math.log(greatest)), cautious)


@dataclass(frozen=True)
class BoundObjective:
    """An objective for one benchmark: every limit is a number.

    Attributes:
        objective: The objective.
        limits: The limit of each constrained cost in its unit. Of a benchmark of several devices, a quantile of a cost
            that depends on the device is ``float64 (devices,)``.
        log_perplexity_range: The least and greatest log-perplexity of the search space.
        cautious: The constrained costs with the margin of the objective's confidence; empty without one.
    """

    objective: Objective
    limits: Mapping[str, Any]
    log_perplexity_range: tuple[float, float]
    cautious: Mapping[str, CautiousCost] = field(default_factory=dict, repr=False, compare=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that :meth:`evaluate` needs."""
        return ("perplexity", *self.limits)

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

    def margins(self, encoded: Encoded, device: npt.NDArray[np.intp] | None = None) -> dict[str, FloatArray]:
        """Return the factors on constrained costs that make them hold with the objective's confidence.

        Args:
            encoded: Valid architectures, ``int8 (n, D)``.
            device: Position in the benchmark's devices of each architecture's device, ``intp (n,)``, if they are
                several.

        Returns:
            ``float64 (n,)`` for each constrained cost; nothing if the objective has no confidence.
        """
        per_device = {key: device if cost.covariance.ndim == 4 else None for key, cost in self.cautious.items()}
        return {key: cost.predict_margins(encoded, per_device[key]) for key, cost in self.cautious.items()}

    def cost_matrix(self, cost: CountModel, metric: str, group: Group, states: IntArray) -> FloatArray:
        """Return a group's costs as they go into ratios, by states of both chains, ``float64 (S, S)``.

        Args:
            cost: The cost model of a constrained metric, of one device.
            metric: The metric.
            group: The group.
            states: The counts of every state, ``int64 (S, 2)``.
        """
        return self.cautious[metric].matrix(group, states) if self.cautious else cost_matrix(cost, group, states)

    def evaluate(
        self,
        metrics: Mapping[str, FloatArray],
        limits: Mapping[str, npt.ArrayLike] | None = None,
        margins: Mapping[str, FloatArray] | None = None,
    ) -> Outcome:
        """Return what architectures earn.

        Args:
            metrics: Perplexity and the constrained costs (see :attr:`metrics`), each ``float64 (n,)``; others are
                ignored.
            limits: Limits that replace the bound ones, in the metric's unit: a number, or one for each row,
                ``float64 (n,)``.
            margins: The :meth:`margins` of the architectures; they are needed if the objective has a confidence.

        Raises:
            ValueError: If a metric is missing or not of shape ``(n,)``, a limit is not positive or not of a
                constrained metric, or margins are missing.
        """
        margins = margins or {}
        if self.cautious.keys() - margins.keys():
            raise ValueError("the objective has a confidence: evaluate needs the margins of the architectures")
        bounds = {**self.limits, **self._check_limits(limits)} if limits else self.limits
        try:
            quality = self.quality(np.asarray(metrics["perplexity"], dtype=np.float64))
            # As the solver does: first the margin, then the limit.
            costs = {key: metrics[key] * margins[key] if key in margins else metrics[key] for key in bounds}
            ratios = [costs[key] / bound for key, bound in bounds.items()]
        except KeyError as error:
            raise ValueError(f"metrics must have {list(self.metrics)}, lacks {error}") from None
        for key, ratio in zip(bounds, ratios, strict=True):
            if ratio.shape != quality.shape:
                raise ValueError(
                    f"{key!r} by its limit must have the shape {quality.shape} of the perplexity, got "
                    f"{ratio.shape}; evaluate one device at a time"
                )
            if bounds[key] is self.limits[key] and isinstance(bounds[key], np.ndarray):
                raise ValueError(f"{key!r} has a limit for every device: give the rows' own ones as limits")
        return self.outcome(quality, ratios)

    def outcome(self, quality: FloatArray, ratios: Sequence[FloatArray]) -> Outcome:
        """Return what qualities and the ratios of costs to limits earn (:func:`hwgpt_gym.penalties.outcome`)."""
        return outcome(quality, ratios, get_penalty(self.objective.penalty), self.objective.weight)

    def _check_limits(self, limits: Mapping[str, npt.ArrayLike]) -> dict[str, FloatArray]:
        arrays = {key: np.asarray(value, dtype=np.float64) for key, value in limits.items()}
        for key, array in arrays.items():
            if key not in self.limits:
                raise ValueError(f"limit for {key!r}, which is not constrained: {list(self.limits)} are")
            if not (array > 0.0).all():
                raise ValueError(f"limits[{key!r}] must be positive, got {array.min()}")
        return arrays


def _check_limit(metric: str, limit: Limit) -> Limit:
    if get_metric(metric).kind != "cost":
        raise ValueError(f"{metric!r} is a quality, not a cost: constraints bound {list(COST_METRICS)}")
    if isinstance(limit, str):
        match = _QUANTILE.fullmatch(limit)
        if match and float(match[1]) <= 100.0:
            return limit
    elif _is_positive(limit):
        return float(limit)
    unit = METRICS[metric].unit
    raise ValueError(
        f"constraints[{metric!r}] must be a positive finite number{f' of {unit}' if unit else ''} or a quantile from "
        f"'p0' to 'p100', got {limit!r}"
    )


def _is_positive(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and 0.0 < float(value) < math.inf
