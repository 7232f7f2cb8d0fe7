"""What a run was asked for and what came of it: typed values, and the JSON they are written as."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, TypeVar

import numpy as np
from pydantic import ConfigDict, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from hwgpt_gym.agents import SearchProblem, make_agent
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_between, check_integer, echo
from hwgpt_gym.files import SEAL, check_seal, first_problem, read_json, seal
from hwgpt_gym.objective import Objective
from hwgpt_gym.onboarding.devices import content_of, find_device, reference_of
from hwgpt_gym.search_space import Architecture, get_search_space
from hwgpt_gym.version import __version__

SCHEMA: Final = "hwgpt-gym run 2"

Verb: TypeAlias = Literal["search", "train", "demo"]
"""The command that a run belongs to."""

_STRICT: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _objective(value: Any) -> Objective:
    if isinstance(value, Objective):
        return value
    try:
        return Objective.from_dict(value)
    except (TypeError, KeyError, AttributeError):
        raise ValueError("no objective") from None


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run was asked for: enough to run it again.

    Attributes:
        verb: The command: ``demo`` ends as soon as its target is reached.
        agent: The agent.
        settings: Its settings, all of them.
        device: The device's name, or the absolute path of its profile.
        device_content: The SHA-256 of its profile, empty for a shipped device.
        scale: The search space.
        objective: The objective.
        budget: How many architectures may be evaluated.
        seed: The seed.
        target: The regret to reach, ``None`` if there is none.
        versions: Those of what the result depends on.

    Raises:
        ValueError: If a value is not legal.
    """

    verb: Verb
    agent: str
    settings: dict[str, Any]
    device: str
    scale: str
    objective: Annotated[Objective, PlainValidator(_objective), PlainSerializer(Objective.to_dict)]
    budget: int
    seed: int
    target: float | None
    device_content: str = ""
    versions: dict[str, str] = field(
        default_factory=lambda: {
            "hwgpt-gym": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
    )
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    def __post_init__(self) -> None:
        find_device(self.device, self.device_content)
        get_search_space(self.scale)
        check_integer("budget", self.budget, 1)
        check_integer("seed", self.seed, 0)
        if self.target is not None:
            check_between("target", self.target, 0.0, 1e9)
        make_agent(self.agent, **self.settings)

    @classmethod
    def of(
        cls,
        verb: Verb,
        agent: str,
        problem: SearchProblem,
        target: float | None = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> RunConfig:
        """Describe the search of a problem by an agent, with the settings that it takes there.

        Args:
            verb: The command.
            agent: The agent's name.
            problem: The problem, of one device.
            target: The regret to reach.
            settings: Those of the agent that are not its defaults.

        Raises:
            ValueError: If there is no such agent or setting, the problem has no device, or the target is not legal.
        """
        device = problem.benchmark.device
        if device is None:
            raise ValueError(f"a run needs a benchmark of one device, got {echo(problem.benchmark)}")
        resolved = make_agent(agent, **settings).resolve(problem)
        return cls(
            verb=verb,
            agent=agent,
            settings={item.name: getattr(resolved, item.name) for item in fields(resolved)},
            device=reference_of(device),
            device_content=content_of(device),
            scale=problem.benchmark.scale,
            objective=problem.objective,
            budget=problem.budget,
            seed=problem.seed,
            target=target,
        )

    @property
    def benchmark(self) -> Benchmark:
        """The benchmark."""
        return Benchmark(self.scale, find_device(self.device, self.device_content))

    @property
    def device_label(self) -> str:
        """The device's name as a person writes it."""
        return find_device(self.device, self.device_content).label

    @property
    def command(self) -> str:
        """The command line that does it again, with the settings of the shipped version."""
        options: list[tuple[str, object]] = [("device", self.device), ("scale", self.scale), ("budget", self.budget)]
        options += [("seed", self.seed)]
        if self.target is not None:
            options += [("target", self.target)]
        options += [("constraint", f"{metric}={limit}") for metric, limit in self.objective.constraints.items()]
        if not self.objective.constraints:
            options += [("constraint", "none")]
        if self.verb != "demo":
            options = [("agent", self.agent), *options]
            options += [("penalty", self.objective.penalty), ("weight", self.objective.weight)]
            if self.objective.confidence is not None:
                options += [("confidence", self.objective.confidence)]
        return shlex.join(
            ["hwgpt-gym", self.verb, *(text for name, value in options for text in (f"--{name}", str(value)))]
        )

    def to_json(self) -> str:
        """Return it as JSON; the command stands first, for people."""
        return _to_json(self, command=self.command)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An architecture, and what it costs and earns.

    Attributes:
        architecture: Its name.
        reward: Quality minus penalty.
        quality: Scaled log-perplexity.
        penalty: What exceeding the limits costs.
        feasible: Whether every limit is kept.
        regret: How far the reward is below that of the optimum.
        evaluations: How many evaluations it took to find; 0 if it was not searched for.
        metrics: All metrics.
    """

    architecture: str
    reward: float
    quality: float
    penalty: float
    feasible: bool
    regret: float
    evaluations: int
    metrics: dict[str, float]
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    def __post_init__(self) -> None:
        Architecture.from_string(self.architecture)
        check_integer("evaluations", self.evaluations, 0)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What came of a run.

    Attributes:
        target: The regret to reach, ``None`` if there was none.
        interrupted: Whether it was told to stop.
        evaluations: How many architectures it evaluated.
        seconds: How long it took.
        processor_seconds: The same in processor time, of all threads.
        limits: The limit of every constrained metric, in the metric's unit.
        found: The best architecture that it evaluated.
        greedy: What its policy builds greedily, of agents that have one.
        random: The best one of random search with as many evaluations.
        optimum: The optimum.
        optimum_title: What it is: the certified constrained optimum, or that of the penalised reward.
        constrained: The certified constrained optimum, where that is another one.
    """

    target: float | None
    interrupted: bool
    evaluations: int
    seconds: float
    processor_seconds: float
    limits: dict[str, float]
    found: Scored
    greedy: Scored | None
    random: Scored
    optimum: Scored
    optimum_title: str
    constrained: Scored | None
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    @property
    def regret(self) -> float:
        """How far the best architecture found is below the optimum, in reward."""
        return self.found.regret

    @property
    def reached(self) -> bool:
        """Whether the target was reached; without one it was."""
        return self.target is None or self.regret <= self.target

    @property
    def architectures(self) -> dict[str, Scored]:
        """What is compared, by what it is: ``found``, ``greedy`` if there is one, ``random``, ``optimum`` and so on."""
        entries = {"found": self.found, "greedy": self.greedy, "random": self.random, "optimum": self.optimum}
        entries["constrained"] = self.constrained
        return {name: entry for name, entry in entries.items() if entry is not None}

    def to_json(self) -> str:
        """Return it as JSON; regret and whether the target was reached stand first, for people."""
        return _to_json(self, regret=self.regret, reached=self.reached)


Record = TypeVar("Record", RunConfig, RunSummary)

_DERIVED: Final = ("schema", "command", "regret", "reached", SEAL)
"""Entries of the JSON that follow from the others."""


def read_record(kind: type[Record], path: Path) -> Record:
    """Read what :meth:`RunConfig.to_json` or :meth:`RunSummary.to_json` returned.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or of another version; the message names the file and the first thing that is
            wrong.
    """
    content = read_json(path, path.read_bytes())
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{path} has the schema {schema!r}, this version reads {SCHEMA!r}")
    try:
        # From JSON, which has no tuples.
        text = json.dumps({key: value for key, value in content.items() if key not in _DERIVED})
        record = TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {first_problem(error)}") from None
    check_seal(path, content)
    return record


def _to_json(record: Record, **derived: object) -> str:
    content: dict[str, Any] = TypeAdapter(type(record)).dump_python(record, mode="json")
    return json.dumps(seal({"schema": SCHEMA, **derived, **content}), indent=2, allow_nan=False) + "\n"
