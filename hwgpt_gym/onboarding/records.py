"""What measuring writes down: the conditions, and the lines of a log.

A log is a file of JSON lines that is only ever appended to. Each line is written when what it says is over, so that a
run that is killed loses nothing that was finished, and the same command goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwgpt_gym.checks import echo
from hwgpt_gym.files import first_problem
from hwgpt_gym.onboarding.plan import Plan
from hwgpt_gym.search_space import Architecture

Clock: TypeAlias = Literal["wall", "cpu", "cuda", "kernels"]
"""``"wall"``: elapsed time; ``"cpu"``: processor time of the thread that runs the model, where one thread does;
``"cuda"``: time between CUDA events; ``"kernels"``: what the CUDA kernels took together, not what lies between them."""

Milliseconds: TypeAlias = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Timing: TypeAlias = dict[Clock, Milliseconds]
"""What each clock showed of one run."""


class Record(BaseModel):
    """What is read from a file: types are checked, nothing is converted, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Conditions(Record):
    """Under which conditions a device was measured; numbers of different ones do not compare.

    Attributes:
        workload: ``"prefill"``, a forward pass over all tokens, or ``"decode"``, a further token's, with the keys and
            values of ``sequence_length`` tokens cached.
        batch_size: Sequences in the batch.
        sequence_length: Tokens in a sequence.
        precision: The arithmetic.
        threads: Threads that compute, 0 if not known.
        backend: What ran the models.
        backend_version: Its version.
        compiled: Whether they were compiled.
        mlp: The MLP of the models, ``"gated"`` or ``"gpt2"``.
        target: What they ran on, such as ``"cpu"`` or ``"cuda"``.
        processor: Its name, or the host's.
    """

    workload: Literal["prefill", "decode"] = "prefill"
    batch_size: int = Field(default=1, ge=1, le=65_536)
    sequence_length: int = Field(default=128, ge=1, le=1024)
    precision: str = "float32"
    threads: int = Field(default=0, ge=0, le=1024)
    backend: str = "table"
    backend_version: str = ""
    compiled: bool = False
    mlp: Literal["gated", "gpt2"] = "gated"
    target: str = ""
    processor: str = ""

    def __str__(self) -> str:
        unit = "1 token after" if self.workload == "decode" else "forward pass of"
        backend = f"{self.backend} {self.backend_version}".strip() + (", compiled" if self.compiled else "")
        threads = f", {self.threads} threads" if self.threads > 1 else ", 1 thread" if self.threads else ""
        where = " on " + " ".join(filter(None, (self.target, self.processor))) if self.target or self.processor else ""
        return (
            f"{unit} batch {self.batch_size} × {self.sequence_length} tokens, {self.precision}, {self.mlp} MLP, "
            f"{backend}{threads}{where}"
        )


def make_conditions(**values: Any) -> Conditions:
    """Return the conditions of some values, those of an argument or an option.

    Raises:
        ValueError: If one is not legal; the message names it.
    """
    try:
        return Conditions.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"of the conditions, {explain(error)}") from None


class Header(Record):
    """The first line of every run: whose plan is measured, and under which conditions."""

    plan: str
    conditions: Conditions
    time: float


class Visit(Record):
    """A measurement of an architecture between two runs of the reference of its width."""

    visit: str
    before: Timing
    runs: list[Timing] = Field(min_length=1)
    after: Timing
    time: float


class Pass(Record):
    """The times of the parts of one forward pass: embedding, each layer, norm and output."""

    layers: str
    parts: dict[Clock, list[Milliseconds]]
    time: float


class Failure(Record):
    """An architecture that could not be measured."""

    failed: str
    error: str
    time: float


@dataclass
class Log:
    """What a log says.

    Attributes:
        conditions: Those of the measurements, ``None`` as long as there are none.
        visits: The measurements of whole models.
        passes: The measurements of layers.
        failures: What could not be measured.
        remarks: Lines that had to be left out, and why.
    """

    conditions: Conditions | None = None
    visits: list[Visit] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


_KINDS: Mapping[str, type[Header | Visit | Pass | Failure]] = {
    "plan": Header,
    "visit": Visit,
    "layers": Pass,
    "failed": Failure,
}


def append(path: str | os.PathLike[str], record: Record) -> None:
    """Append a line to a log, onto the disk; after a truncated one it begins a new line."""
    with open(path, "a+b") as file:
        file.seek(0, os.SEEK_END)
        whole = file.tell() == 0
        if not whole:
            file.seek(-1, os.SEEK_END)
            whole = file.read(1) == b"\n"
        file.write((b"" if whole else b"\n") + record.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def begin(path: str | os.PathLike[str], plan: Plan, conditions: Conditions) -> Log:
    """Read a log that is to be continued, and note whose plan and conditions follow if it is new.

    Raises:
        ValueError: If the log is of another plan, or of other conditions.
    """
    log = read_log(path, plan) if Path(path).exists() else Log()
    if log.conditions is None:
        append(path, Header(plan=plan.identity, conditions=conditions, time=time.time()))
        log.conditions = conditions
    _check_same(path, log.conditions, conditions, "these are")
    return log


def read_log(path: str | os.PathLike[str], plan: Plan) -> Log:
    """Read a log; lines that are damaged are left out, with a remark.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the log is of another plan, or holds measurements of two conditions.
    """
    log = Log()
    lines = Path(path).read_bytes().split(b"\n")
    first: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = _parse(line, plan)
            # The time is part of a line: what stands there twice was measured once.
            if first.setdefault(line, number) != number and not isinstance(record, Header):
                raise ValueError(f"{line[:60].decode()}… is line {first[line]} again")
        except ValueError as error:
            log.remarks.append(f"{path}, line {number}: {error}; left out")
            continue
        if isinstance(record, Header):
            if record.plan != plan.identity:
                raise ValueError(f"{path} is the log of another plan: {record.plan}, this one is {plan.identity}")
            _check_same(path, log.conditions or record.conditions, record.conditions, f"those of line {number} are")
            log.conditions = record.conditions
        elif log.conditions is None:
            raise ValueError(f"{path}, line {number}: there are measurements before anything says of which plan")
        elif isinstance(record, Visit):
            log.visits.append(record)
        elif isinstance(record, Pass):
            log.passes.append(record)
        else:
            log.failures.append(record)
    return log


def best_clock(log: Log) -> Clock:
    """Return the clock that is disturbed the least of those that were read throughout."""
    read = [set(timing) for visit in log.visits for timing in (visit.before, *visit.runs, visit.after)]
    read += [set(item.parts) for item in log.passes]
    everywhere = read[0].intersection(*read)
    clocks: tuple[Clock, ...] = ("cpu", "cuda", "wall")
    return next(clock for clock in clocks if clock in everywhere)


def _parse(line: bytes, plan: Plan) -> Header | Visit | Pass | Failure:
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is truncated or no JSON") from None
    kind = next((key for key in _KINDS if isinstance(document, dict) and key in document), None)
    if kind is None:
        raise ValueError(f"it is none of {list(_KINDS)}")
    try:
        record = _KINDS[kind].model_validate(document)
    except ValidationError as error:
        raise ValueError(f"{echo(document[kind])}: {explain(error)}") from None
    if kind != "plan":
        architecture = Architecture.from_string(document[kind])
        if architecture.scale != plan.scale:
            raise ValueError(f"{architecture} is of scale {architecture.scale!r}, the plan is of scale {plan.scale!r}")
    return record


def explain(error: ValidationError) -> str:
    """Say in a line what is wrong with a document."""
    return f"{first_problem(error)}, got {echo(error.errors()[0]['input'])}"


def _check_same(path: str | os.PathLike[str], known: Conditions, new: Conditions, whose: str) -> None:
    if known != new:
        other = {key: value for key, value in new.model_dump().items() if value != getattr(known, key)}
        was = {key: getattr(known, key) for key in other}
        raise ValueError(f"{path} holds measurements under {was}, {whose} {other}: use a log for each")
