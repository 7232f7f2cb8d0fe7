"""What a search found: every evaluation in order, its regret, and files that can be checked independently."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.files import replacing
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.objective import Objective
from hwgpt_gym.onboarding.devices import content_of, find_device
from hwgpt_gym.search_space import Architecture, Encoded, FloatArray, SearchSpace, get_search_space
from hwgpt_gym.version import __version__

if TYPE_CHECKING:
    import pyarrow

    from hwgpt_gym.benchmark import Benchmark
    from hwgpt_gym.optimum import Optimum

SCHEMA: Final = "hwgpt-gym search result 1"
_METADATA_KEY: Final = b"hwgpt_gym"
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Everything an agent evaluated, in order.

    Attributes:
        agent: The agent's name.
        settings: Its settings.
        scale: The search space.
        device: The device, ``None`` if no metric depends on one.
        objective: What was maximised.
        budget: How many evaluations were allowed.
        seed: The seed.
        trade_off: The metrics that multi-objective agents trade off.
        encoded: The architectures, ``int8 (n, D)``.
        metrics: Each metric that was evaluated, ``float64 (n,)``.
        reward: ``float64 (n,)``.
        greedy_evaluations: After how many evaluations the policy's greedy architecture was recorded, ``int64 (k,)``.
        greedy_encoded: These architectures, ``int8 (k, D)``.
        greedy_reward: Their rewards, ``float64 (k,)``.
        wall_time: Seconds.
        cpu_time: Seconds of processor time, of all threads.
        claims: What the file claims about regret, by :meth:`save`; empty before.
        device_content: The SHA-256 of the device's profile, empty for a shipped device.

    Raises:
        ValueError: If lengths do not agree or there is more than the budget.
    """

    agent: str
    settings: Mapping[str, Any]
    scale: str
    device: str | None
    objective: Objective
    budget: int
    seed: int
    trade_off: tuple[str, ...]
    encoded: Encoded
    metrics: Mapping[str, FloatArray]
    reward: FloatArray
    greedy_evaluations: npt.NDArray[np.int64]
    greedy_encoded: Encoded
    greedy_reward: FloatArray
    wall_time: float
    cpu_time: float
    claims: Mapping[str, Any] = field(default_factory=dict)
    device_content: str = ""

    def __post_init__(self) -> None:
        if len(self.encoded) > self.budget:
            raise ValueError(f"{len(self.encoded)} evaluations exceed the budget of {self.budget}")
        lengths = {len(self.encoded), len(self.reward), *(len(values) for values in self.metrics.values())}
        greedy = {len(self.greedy_evaluations), len(self.greedy_encoded), len(self.greedy_reward)}
        if len(lengths) > 1 or len(greedy) > 1:
            raise ValueError(f"lengths of encoded, reward and metrics differ: {sorted(lengths)}, {sorted(greedy)}")

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return get_search_space(self.scale)

    @property
    def best_index(self) -> int:
        """The position of the first evaluation of the greatest reward.

        Raises:
            ValueError: If nothing was evaluated.
        """
        if not len(self):
            raise ValueError("nothing was evaluated")
        return int(np.argmax(self.reward))

    @property
    def best(self) -> Architecture:
        """The first architecture of the greatest reward."""
        return self.space.decode(self.encoded[self.best_index][None])[0]

    @property
    def best_reward(self) -> float:
        """The greatest reward."""
        return float(self.reward[self.best_index])

    @cached_property
    def best_so_far(self) -> FloatArray:
        """The greatest reward after each evaluation, ``float64 (n,)``."""
        return np.maximum.accumulate(self.reward)

    def regret(self, optimum: Optimum | float) -> FloatArray:
        """Return how far the best so far is below the optimum after each evaluation, ``float64 (n,)``.

        Args:
            optimum: The certified optimum of the same benchmark and objective, or its reward.
        """
        return _reward_of(optimum) - self.best_so_far

    def greedy_regret(self, optimum: Optimum | float) -> FloatArray:
        """Return how far each recorded greedy architecture is below the optimum, ``float64 (k,)``."""
        return _reward_of(optimum) - self.greedy_reward

    def save(self, path: str | os.PathLike[str], optimum: Optimum | float | None = None) -> Path:
        """Write a Parquet file, whole or not at all: a row per evaluation, the rest as JSON in its metadata.

        Args:
            path: Where to.
            optimum: If given, the file claims its regret, which :func:`validate_result` checks.
        """
        import pyarrow.parquet

        path = Path(path)
        claims = dict(self.claims)
        if len(self):
            claims |= {"best_reward": self.best_reward, "best_architecture": self.best.to_string()}
        if optimum is not None and len(self):
            claims |= {"optimum_reward": _reward_of(optimum), "regret": float(self.regret(optimum)[-1])}
            if len(self.greedy_reward):
                claims["greedy_regret"] = float(self.greedy_regret(optimum)[-1])
        metadata = {_METADATA_KEY: json.dumps(self._description() | {"claims": claims}).encode()}
        columns: dict[str, Any] = dict(zip(self.space.decision_names, self.encoded.T, strict=True))
        table = pyarrow.table(columns | {"reward": self.reward} | dict(self.metrics)).replace_schema_metadata(metadata)
        with replacing(path) as temporary:
            pyarrow.parquet.write_table(table, temporary, compression="zstd")
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SearchResult:
        """Read a file that :meth:`save` wrote.

        Raises:
            ValueError: If it is not such a file, or what it holds is not valid.
        """
        import pyarrow
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.read_table(path)
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{path} is no Parquet file: {error}") from None
        description = _parse_description(path, table.schema)
        try:
            return cls._from_table(table, description)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no valid search result: {error}") from error

    def _description(self) -> dict[str, Any]:
        greedy = self.space.decode(self.greedy_encoded)
        return {
            "schema": SCHEMA,
            "version": __version__,
            "agent": self.agent,
            "settings": dict(self.settings),
            "scale": self.scale,
            "device": self.device,
            **({"device_content": self.device_content} if self.device_content else {}),
            "objective": self.objective.to_dict(),
            "budget": self.budget,
            "seed": self.seed,
            "trade_off": list(self.trade_off),
            "wall_time": self.wall_time,
            "cpu_time": self.cpu_time,
            "greedy": [
                {"evaluations": int(at), "architecture": architecture.to_string(), "reward": float(reward)}
                for at, architecture, reward in zip(self.greedy_evaluations, greedy, self.greedy_reward, strict=True)
            ],
        }

    @classmethod
    def _from_table(cls, table: pyarrow.Table, description: Mapping[str, Any]) -> SearchResult:
        space = get_search_space(description["scale"])
        names = [*space.decision_names, "reward"]
        keys = [key for key in table.column_names if key not in names]
        if missing := set(names) - set(table.column_names):
            raise ValueError(f"columns {sorted(missing)} are missing")
        if unknown := set(keys) - set(METRICS):
            raise ValueError(f"unknown columns {sorted(unknown)}")
        columns = {name: table[name].to_numpy() for name in table.column_names}
        for key in (*keys, "reward"):
            if columns[key].dtype != np.float64 or not np.isfinite(columns[key]).all():
                raise ValueError(f"column {key!r} must hold finite float64")
        greedy = description["greedy"]
        encoded = np.stack([columns[name] for name in space.decision_names], axis=1)
        return cls(
            **{name: description[name] for name in _COPIED},
            objective=Objective.from_dict(description["objective"]),
            trade_off=tuple(description["trade_off"]),
            encoded=space.validate(encoded),
            metrics={key: columns[key] for key in keys},
            reward=columns["reward"],
            greedy_evaluations=np.array([entry["evaluations"] for entry in greedy], dtype=np.int64),
            greedy_encoded=space.encode(Architecture.from_string(entry["architecture"]) for entry in greedy),
            greedy_reward=np.array([entry["reward"] for entry in greedy], dtype=np.float64),
            device_content=str(description.get("device_content", "")),
        )


_COPIED: Final = ("agent", "settings", "scale", "device", "budget", "seed", "wall_time", "cpu_time", "claims")


def read_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a result file says of itself, without its evaluations: agent, settings, claims and so on.

    Raises:
        ValueError: If it is no such file.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from None
    return _parse_description(path, schema)


def validate_result(path: str | os.PathLike[str], benchmark: Benchmark | None = None) -> SearchResult:
    """Check a result file independently of who wrote it.

    Every architecture is evaluated again, all rewards are computed anew and so is the certified optimum; the claimed
    best, regret and greedy regret have to follow from them.

    Args:
        path: The file.
        benchmark: What to evaluate with; by default that of the file's scale and device, which has to be shipped,
            registered, or loaded before.

    Returns:
        The result, if all of it is right.

    Raises:
        ValueError: If anything is not; the message names the first thing that is wrong, what is claimed and what is
            true.
    """
    from hwgpt_gym.benchmark import Benchmark
    from hwgpt_gym.optimum import solve

    result = SearchResult.load(path)
    if benchmark is None:
        device = None if result.device is None else find_device(result.device, result.device_content)
        benchmark = Benchmark(result.scale, device)
    elif benchmark.device is not None and content_of(benchmark.device) != result.device_content:
        raise ValueError(f"{path} is of another device of the name {result.device!r} than the benchmark")
    bound = result.objective.bind(benchmark)
    metrics = benchmark.evaluate(result.encoded, dict.fromkeys((*bound.metrics, *result.metrics)))
    for key, claimed in result.metrics.items():
        _compare(path, key, claimed, metrics[key])
    _compare(path, "reward", result.reward, bound.evaluate(metrics, margins=bound.margins(result.encoded)).reward)
    greedy_metrics = benchmark.evaluate(result.greedy_encoded, bound.metrics)
    greedy = bound.evaluate(greedy_metrics, margins=bound.margins(result.greedy_encoded)).reward
    _compare(path, "greedy reward", result.greedy_reward, greedy)
    claims = result.claims
    if len(result) and "best_architecture" in claims and claims["best_architecture"] != result.best.to_string():
        raise ValueError(f"{path}: best architecture is {result.best}, claimed is {claims['best_architecture']}")
    true: dict[str, float] = {"best_reward": result.best_reward} if len(result) else {}
    if {"optimum_reward", "regret", "greedy_regret"} & set(claims):
        optimum = solve(benchmark, result.objective)
        true |= {"optimum_reward": optimum.reward, "regret": float(result.regret(optimum)[-1])}
        if len(result.greedy_reward):
            true["greedy_regret"] = float(result.greedy_regret(optimum)[-1])
    for key in set(claims) - {"best_architecture"}:
        if key not in true:
            raise ValueError(f"{path}: claims {key!r}, for which the file has no evidence")
        _compare(path, key, np.array([claims[key]], dtype=np.float64), np.array([true[key]]))
    return result


def _compare(path: object, name: str, claimed: FloatArray, true: FloatArray) -> None:
    wrong = np.flatnonzero(~np.isclose(claimed, true, rtol=_TOLERANCE, atol=_TOLERANCE))
    if len(wrong):
        row = wrong[0]
        raise ValueError(
            f"{path}: {name} of entry {row} is {true[row]:.12g}, claimed is {claimed[row]:.12g} "
            f"({len(wrong)} of {len(true)} entries are wrong)"
        )


def _reward_of(optimum: Optimum | float) -> float:
    return float(optimum) if isinstance(optimum, int | float | np.floating) else optimum.reward


def _parse_description(path: object, schema: pyarrow.Schema) -> dict[str, Any]:
    try:
        description = json.loads((schema.metadata or {})[_METADATA_KEY])
    except (KeyError, ValueError):
        raise ValueError(f"{path} is no search result: its metadata lack {_METADATA_KEY.decode()!r}") from None
    if not isinstance(description, dict) or description.get("schema") != SCHEMA:
        found = description.get("schema") if isinstance(description, dict) else description
        raise ValueError(f"{path} has the schema {found!r}, this version reads {SCHEMA!r}")
    return description
