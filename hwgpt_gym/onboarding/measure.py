"""Measuring a plan: interleaved rounds, each visit between two runs of a reference of the same width.

The machine's state drifts while it is measured, and a reference of the same width drifts alike. So a visit runs, in
this order, a warm-up of the reference, the reference, a warm-up of the architecture, the architecture twice, the
reference again. Rounds go through the architectures in random order, so that what drift is left hits all alike. After
two rounds, each round visits the half of the architectures where a further visit takes most off the mean posterior
variance a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from hwgpt_gym.checks import check_between, check_choice, check_integer
from hwgpt_gym.onboarding.backends import Backend, LayerBackend, Run
from hwgpt_gym.onboarding.coordinates import encoded_coordinates, log_costs
from hwgpt_gym.onboarding.plan import EVERYWHERE, Plan
from hwgpt_gym.onboarding.prior import LEVEL, Prior, make_prior
from hwgpt_gym.onboarding.records import Conditions, Failure, Log, Pass, Visit, append, begin
from hwgpt_gym.search_space import Architecture, FloatArray

Protocol: TypeAlias = Literal["auto", "models", "layers", "both"]
"""What is timed: whole models, the layers of the probes, or both; ``"auto"``: both where the backend can on a CPU."""

FULL_ROUNDS: Final = 2
"""Rounds that visit all."""

MOST_MINUTES: Final = 1e6

MAX_FAILURES: Final = 3
"""Failures in a row after which an architecture is left out."""

VISIT_SIGMA: Final = 0.05
"""Relative spread of one visit that the choice of further visits reckons with."""

WIDTH_FAILED: Final = "no architecture of embedding width {} can be measured: its reference {} keeps failing ({})"


@dataclass
class Progress:
    """How far measuring is, for those who watch.

    Attributes:
        log: All that was measured so far, by this run and earlier ones.
        current: What is being measured.
        visits: How often each architecture was visited.
        skipped: What is left out because it keeps failing, and the last error.
        started, ends: Seconds of :func:`time.monotonic`.
    """

    log: Log
    current: str = ""
    visits: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    started: float = 0.0
    ends: float = 0.0


def default_protocol(conditions: Conditions, backend: Backend) -> Protocol:
    """Return what is timed by default: layers too where one can read clocks between them."""
    on_cpu = conditions.target == "cpu" and conditions.workload == "prefill" and not conditions.compiled
    return "both" if on_cpu and isinstance(backend, LayerBackend) else "models"


def measure(
    plan: Plan,
    path: str,
    backend: Backend,
    minutes: float,
    protocol: Protocol = "auto",
    seed: int = 0,
    watch: Callable[[Progress], None] | None = None,
) -> Progress:
    """Measure a plan, and append to a log.

    Everything that was finished is in the log, whenever the run ends and however. The same call goes on.

    Args:
        plan: What to measure.
        path: The log.
        backend: What runs architectures.
        minutes: How long; what has begun is finished.
        protocol: What to time.
        seed: Of the order; a run that goes on goes on with another order.
        watch: Called before and after everything that is measured.

    Returns:
        How far it came.

    Raises:
        ValueError: If the log is of another plan or of other conditions, an argument is not legal, or no architecture
            of a width can be measured.
    """
    check_between("minutes", minutes, 0.0, MOST_MINUTES, open_low=True)
    check_choice("protocol", protocol, get_args(Protocol))
    check_integer("seed", seed, 0)
    what = default_protocol(backend.conditions, backend) if protocol == "auto" else protocol
    if what in ("layers", "both") and not isinstance(backend, LayerBackend):
        raise ValueError(f"the backend {backend.conditions.backend!r} cannot time layers: use the protocol 'models'")
    log = begin(path, plan, backend.conditions)
    progress = Progress(log, started=time.monotonic(), ends=time.monotonic() + 60.0 * minutes)
    for visit in log.visits:
        progress.visits[visit.visit] = progress.visits.get(visit.visit, 0) + 1
    session = _Session(plan, path, backend, progress, watch or (lambda _: None))
    rng = np.random.default_rng([seed, len(log.visits), len(log.passes)])
    while time.monotonic() < progress.ends and session.left():
        for name, layers in _round(plan, progress, what, session, rng):
            if time.monotonic() >= progress.ends:
                break
            session.take(name, layers)
    return progress


def _round(
    plan: Plan, progress: Progress, what: Protocol, session: _Session, rng: np.random.Generator
) -> Iterator[tuple[str, bool]]:
    """Yield what to measure next, and whether its layers are."""
    probes = plan.probes if what != "models" else ()
    names = [name for name in plan.measured if name not in progress.skipped] if what != "layers" else []
    if names and min(progress.visits.get(name, 0) for name in names) >= FULL_ROUNDS:
        pays = session.payoff(names)
        names = [names[index] for index in np.argsort(-pays)[: max(1, len(names) // 2)]]
    items = [(name, True) for name in probes] + [(name, False) for name in names]
    for index in rng.permutation(len(items)):
        yield items[index]


class _Session:
    """One run: what was prepared, how long visits take, what failed."""

    def __init__(
        self, plan: Plan, path: str, backend: Backend, progress: Progress, watch: Callable[[Progress], None]
    ) -> None:
        self._plan, self._path, self._backend, self._progress, self._watch = plan, path, backend, progress, watch
        self._references: dict[str, Run] = {}
        self._failures: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._design = _Design(plan, make_prior("latency_ms", plan.scale))

    def left(self) -> bool:
        """Whether anything is left to measure."""
        return any(name not in self._progress.skipped for name in (*self._plan.measured, *self._plan.probes))

    def take(self, name: str, layers: bool) -> None:
        """Measure an architecture, or its layers; an error of the backend is noted, and the run goes on."""
        if name in self._progress.skipped:
            return
        self._progress.current = name
        self._watch(self._progress)
        began = time.monotonic()
        try:
            if layers:
                self._pass(name)
            else:
                self._visit(name)
        except Exception as error:  # Whatever a backend raises, what was measured stays and the others go on.
            self._fail(name, error)
        else:
            self._failures[name] = 0
            self._seconds[name] = time.monotonic() - began
        self._watch(self._progress)

    def payoff(self, names: list[str]) -> FloatArray:
        """Return by how much a further visit of each lowers the mean posterior variance a second, ``float64 (n,)``.

        Architectures that are kept out of the fit are worth as much as the median of those that are in it.
        """
        visits = self._progress.visits
        if not self._plan.architectures:
            return -np.array([float(visits.get(name, 0)) for name in names])
        gains: FloatArray = self._design.gains(visits, names)
        inside = np.array([name in self._plan.architectures for name in names])
        if inside.any():
            typical = max(np.median([visits.get(name, 0) for name in self._plan.architectures]), 1.0)
            own = np.array([visits.get(name, 0) for name in names])
            gains[~inside] = np.median(gains[inside]) * (typical / np.maximum(own[~inside], 1)) ** 2
        # A visit that failed has no time: it is taken to last as long as others.
        usual = float(np.median(list(self._seconds.values()))) if self._seconds else 1.0
        gains /= np.array([max(self._seconds.get(name, usual), 1e-9) for name in names])
        return gains

    def _visit(self, name: str) -> None:
        reference = self._reference(self._plan.reference_of(name))
        run = self._backend.prepare(name)
        if self._backend.warms_up:
            reference()
        before = reference()[-1]
        if self._backend.warms_up:
            run()
        runs = [*run(), *run()] if self._backend.warms_up else run()
        after = reference()[0]
        record = Visit(visit=name, before=before, runs=runs, after=after, time=time.time())
        append(self._path, record)
        self._progress.log.visits.append(record)
        self._progress.visits[name] = self._progress.visits.get(name, 0) + 1

    def _pass(self, name: str) -> None:
        assert isinstance(self._backend, LayerBackend)
        run = self._backend.prepare_layers(name)
        run()
        for _ in range(2):
            record = Pass.model_validate({"layers": name, "parts": run(), "time": time.time()})
            append(self._path, record)
            self._progress.log.passes.append(record)

    def _reference(self, name: str) -> Run:
        if name not in self._references:
            try:
                self._references[name] = self._backend.prepare(name)
                self._references[name]()
            except Exception as error:
                self._references.pop(name, None)
                raise _ReferenceError(name, error) from error
        return self._references[name]

    def _fail(self, name: str, error: Exception) -> None:
        record = Failure(failed=name, error=f"{type(error).__name__}: {error}", time=time.time())
        append(self._path, record)
        self._progress.log.failures.append(record)
        culprit = error.name if isinstance(error, _ReferenceError) else name
        self._failures[culprit] = self._failures.get(culprit, 0) + 1
        if self._failures[culprit] < MAX_FAILURES:
            return
        if culprit != name:
            width = Architecture.from_string(culprit).embed_dim
            raise ValueError(WIDTH_FAILED.format(width, culprit, error)) from error
        self._progress.skipped[name] = record.error


class _ReferenceError(RuntimeError):
    """A reference could not be run."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(f"the reference {name}: {error}")
        self.name = name


class _Design:
    """What a further visit of an architecture is worth, under the prior."""

    def __init__(self, plan: Plan, prior: Prior) -> None:
        space = plan.space
        self._rows = {name: row for row, name in enumerate(plan.measured)}
        encoded = space.encode([Architecture.from_string(name) for name in plan.measured])
        everywhere = space.sample(np.random.default_rng(1), EVERYWHERE)
        self._derivative = log_costs(prior.mean, *encoded_coordinates(space, encoded))[1]
        over_space = log_costs(prior.mean, *encoded_coordinates(space, everywhere))[1]
        self._mean_square = over_space.T @ over_space / len(over_space)
        self._precision = np.linalg.inv(prior.covariance + np.outer(LEVEL, LEVEL))
        self._fitted = [self._rows[name] for name in plan.architectures]

    def gains(self, visits: dict[str, int], names: list[str]) -> FloatArray:
        """Return what one more visit takes off the mean posterior variance, for each name."""
        numbers = np.zeros(len(self._rows))
        for name, row in self._rows.items():
            numbers[row] = visits.get(name, 0)
        own = self._derivative[self._fitted]
        weights = numbers[self._fitted] / VISIT_SIGMA**2
        covariance = np.linalg.inv(self._precision + own.T @ (own * weights[:, None]))
        projected = self._derivative @ covariance
        gains: FloatArray = np.einsum("ij,ij->i", projected @ self._mean_square, projected)
        gains /= VISIT_SIGMA**2 + np.einsum("ij,ij->i", projected, self._derivative)
        return gains.take([self._rows[name] for name in names])


def describe(plan: Plan, progress: Progress) -> str:
    """Say in a line how noisy the measurements are, and what a fit to them knows by now."""
    from hwgpt_gym.onboarding.check import expected_error
    from hwgpt_gym.onboarding.fit import fit_log

    try:
        metric = fit_log(plan, progress.log).metrics["latency_ms"]
    except ValueError as error:
        return f"too little as yet: {error}"
    errors = "/".join(f"{100.0 * value:.1f}" for value in expected_error(metric.posterior))
    return f"noise {100.0 * metric.posterior.sigma:.1f} %, expected error by width {errors} %"
