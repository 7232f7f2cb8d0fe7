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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark, check_benchmark
from hwgpt_gym.checks import check_array, check_between, check_list, check_type, echo, is_number
from hwgpt_gym.metrics import COST_METRICS, METRICS, get_metric
from hwgpt_gym.penalties import JUMP_MARGIN, Outcome, get_penalty, outcome
from hwgpt_gym.search_space import Encoded, FloatArray
from hwgpt_gym.surrogates.cautious_cost import CautiousCost, Cost, check_confidence
from hwgpt_gym.surrogates.chain_tables import chain_tables
from hwgpt_gym.surrogates.limits import JumpTable, least_jump, unmeetable

Limit: TypeAlias = float | str
"""The bound of a cost: a number in the metric's unit, or a quantile of the search space such as ``"p30"``."""

DEFAULT_PENALTY: Final = "exact"
"""The penalty where none is given, in every interface."""

LIMIT_SPAN: Final = (1e-3, 1e3)
"""A limit is at least so many times the least cost, and at most so many times the greatest, of all devices."""

_GREATEST_REWARD: Final = 1e30
"""Rewards are handed out in single precision too, which ends at 3e38."""

WEIGHT_SPAN: Final = (1e-6, 1e4)
"""The least and the greatest weight."""

_QUANTILE: Final = re.compile(r"p([0-9]{1,3}(?:\.[0-9]{1,20})?)")


@dataclass(frozen=True, repr=False, init=False)
class Objective:
    """What to search for: the best quality under constraints on costs.

    Args:
        constraints: For each constrained cost its limit: a positive number in the metric's unit, or a quantile of the
            search space, ``"p0"`` to ``"p100"`` (``"p50"`` is the median, decimals are allowed).
        penalty: What exceeding a limit costs, one of :data:`hwgpt_gym.penalties.PENALTIES`.
        weight: How much, from 1e-6 to 1e4; the penalty's own by default.
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
        {'constraints': {'latency_ms': 20.0, 'params': 'p50'}, 'penalty': 'exact', 'weight': 2.0}
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
            raise ValueError(f"constraints must map metrics to limits, got {echo(constraints)}")
        limits = {metric: _check_limit(metric, limit) for metric, limit in constraints.items()}
        weight = get_penalty(penalty).default_weight if weight is None else weight
        check_between("weight", weight, *WEIGHT_SPAN)
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
        check_type("description", description, Mapping, "a dictionary as Objective.to_dict returns it")
        legal = ("constraints", "penalty", "weight", "confidence")
        unknown = set(description) - set(legal)
        if unknown:
            raise ValueError(f"unknown keys {echo(list(unknown))}, legal are {', '.join(map(repr, legal))}")
        return cls(**description)

    def bind(self, bench: Benchmark) -> BoundObjective:
        """Resolve quantiles and the extremes of perplexity for a benchmark.

        Raises:
            ValueError: If a constrained metric is not known of the benchmark's devices, a limit or the weight lies
                beyond what makes sense, or the penalty is one whose optimum keeps all limits and they cannot be kept;
                the message says what can.
        """
        check_benchmark(bench)
        limits = {
            metric: bench.quantile(metric, float(limit[1:]) / 100.0) if isinstance(limit, str) else limit
            for metric, limit in self.constraints.items()
        }
        least, greatest = bench.extremes("perplexity")
        cautious = {}
        if self.confidence is not None:
            cautious = {metric: bench.cautious_cost(metric, self.confidence) for metric in self.constraints}
        bound = BoundObjective(self, bench, limits, (math.log(least), math.log(greatest)), cautious)
        bound.check_spans()
        if get_penalty(self.penalty).constrained and bound.unmeetable:
            kept = f"penalty {self.penalty!r} needs limits that can be kept (penalty='hinge' takes any)"
            raise ValueError(f"{kept}: {bound.unmeetable}")
        return bound


@dataclass(frozen=True)
class BoundObjective:
    """An objective for one benchmark: every limit is a number.

    Attributes:
        objective: The objective.
        bench: The benchmark.
        limits: The limit of each constrained cost in its unit. Of a benchmark of several devices, a quantile of a cost
            that depends on the device is ``float64 (devices,)``.
        log_perplexity_range: The least and greatest log-perplexity of the search space.
        cautious: The constrained costs with the margin of the objective's confidence; empty without one.
    """

    objective: Objective
    bench: Benchmark = field(repr=False)
    limits: Mapping[str, Any]
    log_perplexity_range: tuple[float, float]
    cautious: Mapping[str, CautiousCost] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def jump(self) -> float:
        """The jump of the penalty, the margin included; 0 if it needs none. Found when it is first asked for.

        Raises:
            ValueError: If it needs one and the benchmark is of several devices, on which it differs.
        """
        if not self.limits or not get_penalty(self.objective.penalty).needs_jump:
            return 0.0
        costs = [self.cost(metric) for metric in self.limits]
        tables = chain_tables(self.bench.chain_model("perplexity"))
        return least_jump(tables, costs, list(self.limits.values()), self._earn) + JUMP_MARGIN

    def jump_table(self, highest: Mapping[str, float]) -> Callable[[FloatArray], FloatArray]:
        """Return the function from limits to jumps, for limits that vary; making it takes longer than many look-ups.

        Args:
            highest: The greatest limits, in the metric's unit; those of this objective are the least.

        Returns:
            A function of limits, ``float64 (m, constraints)``, that can be kept: the jumps, the margin included,
            ``float64 (m,)``. It is the least with one constraint; with several one that suffices.

        Raises:
            ValueError: If a constraint depends on the device and the benchmark is not of one.
        """
        costs = [self.cost(metric) for metric in self.limits]
        low, high = (np.array([bounds[metric] for metric in self.limits]) for bounds in (self.limits, highest))
        tables = chain_tables(self.bench.chain_model("perplexity"))
        table = JumpTable(tables, costs, low, high, self._earn, self.objective.weight)
        return lambda limits: table(limits) + JUMP_MARGIN

    @cached_property
    def unmeetable(self) -> str | None:
        """What can be met instead, in a sentence, if no architecture keeps all limits; otherwise ``None``."""
        benches = [self.bench.on(device) for device in self.bench.devices] or [self.bench]
        for position, bench in enumerate(benches):
            limits = {
                metric: float(limit[position] if isinstance(limit, np.ndarray) else limit)
                for metric, limit in self.limits.items()
            }
            reason = unmeetable({metric: self._cost_on(bench, metric) for metric in limits}, limits)
            if reason:
                return f"no architecture of scale {bench.scale!r} on {bench.device or 'any device'} {reason}"
        return None

    def cost(self, metric: str) -> Cost:
        """Return a constrained cost as it goes into ratios: with the margin of the confidence, if there is one.

        Raises:
            ValueError: If it depends on the device and the benchmark is not of one.
        """
        return self._cost_on(self.bench, metric)

    def limited_costs(self) -> tuple[list[Cost], list[float]]:
        """Return the :meth:`cost` of every constraint, and its limit; of a benchmark of one device.

        Raises:
            ValueError: If a constraint depends on the device and the benchmark is not of one.
        """
        return [self.cost(metric) for metric in self.limits], [float(limit) for limit in self.limits.values()]

    def _cost_on(self, bench: Benchmark, metric: str) -> Cost:
        model, confidence = bench.count_model(metric), self.objective.confidence
        if confidence is None:
            return model
        return self.cautious[metric] if bench is self.bench else bench.cautious_cost(metric, confidence)

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

    def check_spans(self) -> None:
        """Check that limits and weight make sense, and that every reward is finite in single precision.

        Raises:
            ValueError: If they do not; the message says what does.
        """
        ends = []
        for metric, limit in self.limits.items():
            least, greatest = self.bench.extremes(metric)
            low, high = LIMIT_SPAN[0] * np.min(least), LIMIT_SPAN[1] * np.max(greatest)
            if np.any((limit < low) | (limit > high)):
                raise ValueError(
                    f"the limit of {metric!r} must be from {low:.3g} to {high:.3g} ({LIMIT_SPAN[0]:g} of the least to "
                    f"{LIMIT_SPAN[1]:g} of the greatest cost), got {echo(limit)}"
                )
            ends.append([np.min(least / limit), np.max(greatest / limit)])
        penalty, weight = get_penalty(self.objective.penalty), self.objective.weight
        with np.errstate(over="ignore", invalid="ignore"):
            corners = outcome(np.array([0.0, 0.0, 1.0, 1.0]), [np.tile(end, 2) for end in ends], penalty, weight)
        if not np.all(np.abs(corners.reward) < _GREATEST_REWARD):
            raise ValueError(
                f"weight must be less than {weight!r} under these limits: with penalty {penalty.name!r} a reward would "
                f"be {corners.reward[np.argmax(np.abs(np.nan_to_num(corners.reward, nan=np.inf)))]:.3g}"
            )

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

    def evaluate(
        self,
        metrics: Mapping[str, FloatArray],
        limits: Mapping[str, npt.ArrayLike] | None = None,
        jump: FloatArray | float | None = None,
        margins: Mapping[str, FloatArray] | None = None,
    ) -> Outcome:
        """Return what architectures earn.

        Args:
            metrics: Perplexity and the constrained costs (see :attr:`metrics`), each ``float64 (n,)``; others are
                ignored.
            limits: Limits that replace the bound ones, in the metric's unit: a number, or one for each row,
                ``float64 (n,)``.
            jump: The jump at these limits, the margin included (:meth:`jump_table`), a number or ``float64 (n,)``; what
                needs one has to be given it.
            margins: The :meth:`margins` of the architectures; they are needed if the objective has a confidence.

        Raises:
            ValueError: If a metric is missing or not of shape ``(n,)``, a limit is not positive or not of a constrained
                metric, other limits need their jump, or margins are missing.
        """
        margins = {} if margins is None else margins
        legal = "a dictionary of arrays by metric"
        check_type("metrics", metrics, Mapping, f"{legal}, as Benchmark.evaluate returns it")
        check_type("margins", margins, Mapping, legal)
        if limits is not None:
            check_type("limits", limits, Mapping, f"{legal}, or None")
        if self.cautious.keys() - margins.keys():
            raise ValueError("the objective has a confidence: evaluate needs the margins of the architectures")
        bounds = {**self.limits, **self._check_limits(limits)} if limits else self.limits
        try:
            perplexity = _numbers("perplexity", metrics["perplexity"])
            costs = {key: _numbers(key, metrics[key]) for key in bounds}
        except KeyError as error:
            raise ValueError(f"metrics must have {list(self.metrics)}, lacks {error}") from None
        # As the solver does: first the margin, then the limit.
        costs |= {key: costs[key] * _numbers(f"margins[{key!r}]", margins[key]) for key in margins if key in costs}
        if jump is not None:
            jump = _numbers("jump", jump)
        shapes = [perplexity.shape] + ([] if jump is None else [np.shape(jump)])
        if perplexity.ndim != 1 or any(shape not in ((), perplexity.shape) for shape in shapes):
            raise ValueError(f"perplexity and jump must have shape (n,), got {', '.join(map(str, shapes))}")
        quality = self.quality(perplexity)
        for key, bound in bounds.items():
            if bound is self.limits[key] and isinstance(bound, np.ndarray):
                raise ValueError(f"{key!r} has a limit for every device: give the rows' own ones as limits")
            if costs[key].shape != quality.shape or np.shape(bound) not in ((), quality.shape):
                raise ValueError(
                    f"{key!r} and its limit must have the shape {quality.shape} of the perplexity, got "
                    f"{costs[key].shape} and {np.shape(bound)}; evaluate one device at a time"
                )
        ratios = [costs[key] / bound for key, bound in bounds.items()]
        if limits and jump is None and get_penalty(self.objective.penalty).needs_jump:
            raise ValueError(f"penalty {self.objective.penalty!r} needs the jump at other limits: give it as jump")
        return self.outcome(quality, ratios, jump)

    def outcome(
        self, quality: FloatArray, ratios: Sequence[FloatArray], jump: FloatArray | float | None = None
    ) -> Outcome:
        """Return what qualities and the ratios of costs to limits earn (:func:`hwgpt_gym.penalties.outcome`).

        Args:
            quality: ``float64`` of any shape.
            ratios: Cost by limit of every constraint, each of the shape of ``quality``.
            jump: The jump, the margin included; by default that at the bound limits.
        """
        penalty = get_penalty(self.objective.penalty)
        return outcome(quality, ratios, penalty, self.objective.weight, self.jump if jump is None else jump)

    def rewards(self, quality: FloatArray, ratios: Sequence[FloatArray]) -> FloatArray:
        """Return the rewards of :meth:`outcome` at the bound limits alone, for whoever screens millions."""
        _check_ratios(quality, ratios)
        combine = get_penalty(self.objective.penalty).combine
        rewards: FloatArray = quality - combine(quality, ratios, self.objective.weight, self.jump)
        return rewards

    def _earn(self, log_perplexity: FloatArray, ratios: Sequence[FloatArray]) -> Outcome:
        """Return what log-perplexities and ratios earn without the jump."""
        return self.outcome(self.quality_of_log(log_perplexity), ratios, 0.0)

    def _check_limits(self, limits: Mapping[str, npt.ArrayLike]) -> dict[str, FloatArray]:
        arrays = {key: _numbers(f"limits[{key!r}]", value) for key, value in limits.items()}
        for key, array in arrays.items():
            if key not in self.limits:
                raise ValueError(f"limit for {key!r}, which is not constrained: {list(self.limits)} are")
            if not (array > 0.0).all():
                raise ValueError(f"limits[{key!r}] must be positive, got {array.min()}")
        return arrays


def _numbers(name: str, values: npt.ArrayLike) -> FloatArray:
    """Return an argument as an array of numbers."""
    return check_array(name, values, "iuf", "numbers").astype(np.float64, copy=False)


def _check_limit(metric: str, limit: Limit) -> Limit:
    if get_metric(metric).kind != "cost":
        raise ValueError(f"{metric!r} is a quality, not a cost: constraints bound {list(COST_METRICS)}")
    if isinstance(limit, str):
        match = _QUANTILE.fullmatch(limit)
        if match and float(match[1]) <= 100.0:
            return limit
    elif is_number(limit) and 0.0 < float(limit) < math.inf:
        return float(limit)
    unit = METRICS[metric].unit
    raise ValueError(
        f"constraints[{metric!r}] must be a positive finite number{f' of {unit}' if unit else ''} or a quantile from "
        f"'p0' to 'p100', got {echo(limit)}"
    )


def as_objective(objective: Objective | Mapping[str, Limit]) -> Objective:
    """Return an objective; constraints alone are one.

    Raises:
        TypeError: If it is neither.
        ValueError: As :class:`Objective`.
    """
    legal = "an Objective, or just the constraints, such as {'latency_ms': 'p50'}"
    check_type("objective", objective, Objective | Mapping, legal)
    return objective if isinstance(objective, Objective) else Objective(objective)


def _check_ratios(quality: Any, ratios: Any) -> None:
    """Check that qualities are an array, and that there are as many ratios of every constraint."""
    if not isinstance(quality, np.ndarray):
        raise TypeError(f"quality must be an array of numbers, got {echo(quality)}")
    for ratio in check_list("ratios", ratios, "arrays"):
        if not isinstance(ratio, np.ndarray) or ratio.shape != quality.shape:
            raise ValueError(f"ratios must be arrays of the shape {quality.shape} of quality, got {echo(ratio)}")
