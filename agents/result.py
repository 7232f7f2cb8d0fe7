"""What a search found: every evaluation in order, and its regret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.agents.result_file import Description, Greedy, read_file, write_csv, write_file
from hwgpt_gym.checks import check_between, check_integer, check_list, check_type, echo
from hwgpt_gym.metrics import METRICS, get_metric
from hwgpt_gym.objective import Objective
from hwgpt_gym.search_space import Architecture, Encoded, FloatArray, SearchSpace, get_search_space

if TYPE_CHECKING:
    from hwgpt_gym.optimum import Optimum


GREATEST_BUDGET: Final = 10**9
"""All that is evaluated is kept: at scale s about 100 GB for so many."""


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
        task: The name of the task (:func:`hwgpt_gym.agents.task_name.task_name`); empty in files of 0.1.
        measured: Whether metrics and rewards are those of measurements. The best of these is not the best in truth,
            and has no regret: :func:`hwgpt_gym.agents.leaderboard.rows.make_row` computes what is true.

    Raises:
        ValueError: If lengths do not agree, there is more than the budget, or a number is not legal.
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
    task: str = ""
    measured: bool = False

    def __post_init__(self) -> None:
        check_integer("budget", self.budget, 1, GREATEST_BUDGET)
        check_integer("seed", self.seed, 0)
        for metric in check_list("trade_off", self.trade_off, "names of metrics"):
            get_metric(metric)
        for name in ("wall_time", "cpu_time"):
            check_between(name, getattr(self, name), 0.0, 1e12)
        check_type("metrics", self.metrics, Mapping, "a dictionary of arrays by metric")
        arrays = {name: getattr(self, name) for name in ("encoded", "reward", "greedy_encoded", "greedy_evaluations")}
        for name, array in {**arrays, "greedy_reward": self.greedy_reward, **self.metrics}.items():
            if check_type(name, array, np.ndarray, "an array").ndim == 0:
                raise ValueError(f"{name} must have a row for each evaluation, got {echo(array)}")
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
            path: Where to. With the suffix ``.csv`` architectures and metrics are written as text, which cannot be
                loaded.
            optimum: If given, the file claims its regret, which :func:`hwgpt_gym.agents.validate_result` checks.

        Raises:
            ValueError: If a regret is to be claimed of measurements.
        """
        if optimum is not None and self.measured:
            raise ValueError("optimum must not be given: rewards of measurements have no regret")
        claims = dict(self.claims)
        if len(self):
            claims |= {"best_reward": self.best_reward, "best_architecture": self.best.to_string()}
        if optimum is not None and len(self):
            claims |= {"optimum_reward": _reward_of(optimum), "regret": float(self.regret(optimum)[-1])}
            if len(self.greedy_reward):
                claims["greedy_regret"] = float(self.greedy_regret(optimum)[-1])
        values = {"reward": self.reward, **self.metrics}
        if Path(path).suffix.lower() == ".csv":
            write_csv(path, [str(architecture) for architecture in self.space.decode(self.encoded)], values)
        else:
            choices = dict(zip(self.space.decision_names, self.encoded.T, strict=True))
            write_file(path, self._describe(claims), choices, values)
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SearchResult:
        """Read a file that :meth:`save` wrote.

        Raises:
            OSError: If it cannot be opened.
            ValueError: If it is not such a file, or what it holds is not valid.
        """
        description, columns = read_file(path)
        try:
            return cls._of(description, columns)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is no valid search result: {error}") from error

    def _describe(self, claims: dict[str, Any]) -> Description:
        greedy = zip(self.greedy_evaluations, self.space.decode(self.greedy_encoded), self.greedy_reward, strict=True)
        return Description(
            **{name: getattr(self, name) for name in _AS_IT_IS},
            settings=dict(self.settings),
            objective=self.objective.to_dict(),
            trade_off=list(self.trade_off),
            greedy=[Greedy(int(at), str(architecture), float(reward)) for at, architecture, reward in greedy],
            claims=claims,
        )

    @classmethod
    def _of(cls, description: Description, columns: Mapping[str, npt.NDArray[Any]]) -> SearchResult:
        space = get_search_space(description.scale)
        names = [*space.decision_names, "reward"]
        keys = [key for key in columns if key not in names]
        if missing := set(names) - set(columns):
            raise ValueError(f"columns {sorted(missing)} are missing")
        if unknown := set(keys) - set(METRICS):
            raise ValueError(f"unknown columns {sorted(unknown)}")
        for key in (*keys, "reward"):
            if columns[key].dtype != np.float64 or not np.isfinite(columns[key]).all():
                raise ValueError(f"column {key!r} must hold finite float64")
        greedy = description.greedy
        return cls(
            **{name: getattr(description, name) for name in (*_AS_IT_IS, "settings", "claims")},
            objective=Objective.from_dict(description.objective),
            trade_off=tuple(description.trade_off),
            encoded=space.validate(np.stack([columns[name] for name in space.decision_names], axis=1)),
            metrics={key: columns[key] for key in keys},
            reward=columns["reward"],
            greedy_evaluations=np.array([entry.evaluations for entry in greedy], dtype=np.int64),
            greedy_encoded=space.encode(Architecture.from_string(entry.architecture) for entry in greedy),
            greedy_reward=np.array([entry.reward for entry in greedy], dtype=np.float64),
        )


_AS_IT_IS: Final = (
    *("agent", "scale", "device", "device_content", "budget", "seed", "wall_time", "cpu_time", "task", "measured"),
)
"""What a file says as a result does."""


def _reward_of(optimum: Optimum | float) -> float:
    return float(optimum) if isinstance(optimum, int | float | np.floating) else optimum.reward
