"""A search space as codebases of RL for architecture search ask for it: one architecture at a time, as a list.

An architecture is a list of *operations*, one a decision and each from the same few, so that an environment can have
the action space ``MultiDiscrete([decisions, operations])`` and edit a list in place. It has a number, scores by name
and a latency on every device. Methods and arguments have the names of the search-space interface of
https://github.com/fracapuano/sim-is-more, so that environments written for it can take this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_array, check_flag, check_integer, check_list, echo, is_integer, suggest
from hwgpt_gym.devices import get_device
from hwgpt_gym.encoding import MOST_ROWS
from hwgpt_gym.metrics import DEVICE_METRICS, METRICS
from hwgpt_gym.search_space import NOT_SET, Architecture, Encoded, IntArray

SAMPLE_SIZE: Final = 10_000
"""Architectures that means and deviations are estimated from."""


class _Numbers:
    """A mapping of joined lists to numbers: too many to store."""

    def __init__(self, interface: ListInterface) -> None:
        self._interface = interface

    def __getitem__(self, joined: str) -> int:
        return self._interface.list_to_index(joined.split("/"))


class ListInterface:
    """Lists, names and numbers of architectures, and their scores.

    A list has an operation for every decision, those of layers beyond the depth included, which mean nothing: an
    editor may keep them for the time when the depth grows. A decision of two choices takes the last one for any
    higher operation, so every list is an architecture.

    A score is a metric that depends on no device (``"perplexity"``, ``"params"``, …), or a device and what it costs
    there: ``"a6000_latency"``, ms, or ``"a6000_energy"``, J.

    Args:
        scale: The search space, ``"s"``, ``"m"`` or ``"l"``.
        target_device: The device whose latency and energy ``"latency"`` and ``"energy"`` mean.
        seed: Seeds :meth:`generate_random_samples` and the estimates of :meth:`get_score_mean_and_std`.

    Attributes:
        space: The search space.
        benchmark: The benchmark of all devices.
        target_device: The device's name.

    Raises:
        ValueError: If the scale or the device is unknown.

    Example:
        >>> interface = ListInterface("s", target_device="a6000")
        >>> names, numbers = interface.generate_random_samples(3)
        >>> operations = interface.architecture_to_list(names[0])
        >>> interface.list_to_architecture(operations) == names[0] == interface[numbers[0]]
        True
        >>> interface.list_to_score(operations, "a6000_latency") == interface.list_to_score(operations, "latency")
        True
    """

    def __init__(self, scale: str = "s", target_device: str = "a6000", seed: int = 0) -> None:
        self.benchmark = Benchmark(scale, "all")
        self.space = self.benchmark.space
        self.target_device = get_device(target_device).name
        self._devices = [device.name for device in self.benchmark.devices]
        self._seed = check_integer("seed", seed, 0)
        self._rng = np.random.default_rng(self._seed)
        self._scores = self._name_scores()
        self._moments: dict[str, tuple[float, float]] = {}

    @property
    def name(self) -> str:
        """The name of the search space."""
        return f"hwgpt-{self.space.scale}"

    @property
    def all_ops(self) -> list[str]:
        """The operations: the choice indices, as strings."""
        return [str(choice) for choice in range(max(self.space.num_choices))]

    @property
    def architecture_len(self) -> int:
        """The length of a list, ``D``."""
        return self.space.num_decisions

    @property
    def size(self) -> int:
        """The number of architectures; beyond scale s too great for ``len``."""
        return self.space.size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> str:
        """Return the name of the architecture of a number.

        Raises:
            IndexError: If there is no such number.
        """
        if not is_integer(index):
            raise TypeError(f"index must be an integer, got {echo(index)}")
        if not 0 <= index < self.size:
            raise IndexError(f"index must be from 0 to {self.size - 1}, got {echo(index)}")
        return self._name(self.space.from_index([index]))

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(self.size))

    def contains(self, architecture_list: Sequence[str]) -> bool:
        """Return whether a list is an architecture."""
        operations = check_list("architecture_list", architecture_list, "operations")
        legal = all(isinstance(operation, str) and operation in self.all_ops for operation in operations)
        return legal and len(operations) == self.architecture_len

    def list_to_index(self, architecture_list: Sequence[str]) -> int:
        """Return the number of an architecture.

        Raises:
            ValueError: If the list is no architecture.
        """
        index: int = self.space.index(self._encode(architecture_list))[0]
        return index

    @property
    def architecture_to_index(self) -> _Numbers:
        """The numbers by lists that are joined by ``"/"``, as a mapping that is computed when it is read."""
        return _Numbers(self)

    def index_to_list(self, architecture_index: int) -> list[str]:
        """Return the architecture of a number, with the first operation in layers beyond the depth.

        Raises:
            IndexError: If there is no such number.
        """
        return self.architecture_to_list(self[architecture_index])

    def list_to_architecture(self, input_list: Sequence[str]) -> str:
        """Return the name of an architecture, as HW-GPT-Bench writes it.

        Raises:
            ValueError: If the list is no architecture.
        """
        return self._name(self._encode(input_list))

    def architecture_to_list(self, architecture_string: str) -> list[str]:
        """Return the architecture of a name, with the first operation in layers beyond the depth.

        Raises:
            ValueError: If there is no such architecture in the space.
        """
        encoded = self.space.encode([Architecture.from_string(architecture_string)])
        return [str(choice) for choice in np.where(encoded[0] == NOT_SET, 0, encoded[0]).tolist()]

    def encode_architecture(self, architecture_string: str, onehot: bool = False) -> npt.NDArray[Any]:
        """Return the operations of a name as numbers, ``int64 (D,)``, or one-hot, ``float64 (D, operations)``."""
        check_flag("onehot", onehot)
        operations: IntArray = np.array(self.architecture_to_list(architecture_string), dtype=np.int64)
        return np.eye(len(self.all_ops))[operations] if onehot else operations

    def decode_architecture(self, architecture_encoded: npt.NDArray[Any], onehot: bool = False) -> str:
        """Return the name of operations; the inverse of :meth:`encode_architecture`.

        Raises:
            ValueError: If they are no architecture.
        """
        dimensions, kinds = (2, "iuf") if check_flag("onehot", onehot) else (1, "iu")
        operations = check_array("architecture_encoded", architecture_encoded, kinds, "a row of operations")
        if operations.ndim != dimensions or not operations.size:
            raise ValueError(f"architecture_encoded must have {dimensions} dimensions, got {operations.shape}")
        operations = operations.argmax(axis=1) if onehot else operations
        return self.list_to_architecture([str(int(operation)) for operation in operations])

    def generate_random_samples(self, n_samples: int = 10) -> tuple[list[str], list[int]]:
        """Draw architectures, every choice uniform; return their names and numbers."""
        encoded = self.space.sample(self._rng, n_samples)
        return [item.to_string() for item in self.space.decode(encoded)], self.space.index(encoded).tolist()

    def list_to_accuracy(self, input_list: Sequence[str]) -> float:
        """Return the share of next tokens that an architecture gets right.

        Raises:
            ValueError: If the list is no architecture.
        """
        return self.list_to_score(input_list, "accuracy")

    def architecture_to_accuracy(self, architecture_string: str) -> float:
        """As :meth:`list_to_accuracy`, of a name."""
        return self.architecture_to_score(architecture_string, "accuracy")

    def list_to_score(self, input_list: Sequence[str], score: str) -> float:
        """Return a score of an architecture.

        Raises:
            ValueError: If the list is no architecture or the score is unknown.
        """
        return float(self.scores(self._encode(input_list), score)[0])

    def architecture_to_score(self, architecture_string: str, score: str) -> float:
        """As :meth:`list_to_score`, of a name."""
        return self.list_to_score(self.architecture_to_list(architecture_string), score)

    def compute_score(self, score_name: str, index: int) -> float:
        """As :meth:`list_to_score`, of a number."""
        return self.architecture_to_score(self[index], score_name)

    def scores(self, encoded: npt.ArrayLike, score: str) -> npt.NDArray[np.float64]:
        """Return a score of many architectures at once, ``float64 (n,)``.

        Args:
            encoded: The architectures, integers ``(n, D)``.
            score: The score.

        Raises:
            ValueError: If an architecture is not valid or the score is unknown.
        """
        metric, device = self._score(score)
        values = self.benchmark.evaluate(encoded, [metric])[metric]
        return values if device is None else values[:, device]

    def get_score_mean_and_std(self, score_name: str, sample_size: int | None = None) -> tuple[float, float]:
        """Return the mean and the standard deviation of a score over random architectures.

        Args:
            score_name: The score.
            sample_size: How many architectures, :data:`SAMPLE_SIZE` by default. The same ones every time.

        Raises:
            ValueError: If the score is unknown or the sample is empty.
        """
        number = check_integer("sample_size", SAMPLE_SIZE if sample_size is None else sample_size, 1, MOST_ROWS)
        self._score(score_name)
        key = f"{score_name} {number}"
        if key not in self._moments:
            values = self.scores(self.space.sample(np.random.default_rng(self._seed), number), score_name)
            self._moments[key] = float(values.mean()), float(values.std())
        return self._moments[key]

    def get_score_min_and_max(self, score_name: str) -> tuple[float, float]:
        """Return the least and the greatest value of a score over the whole space, exactly.

        Raises:
            ValueError: If the score is unknown.
        """
        metric, device = self._score(score_name)
        least, greatest = self.benchmark.extremes(metric)
        return (least, greatest) if device is None else (float(least[device]), float(greatest[device]))

    def latencies(self, architecture_list: Sequence[str], devices: Sequence[str] | None = None) -> dict[str, float]:
        """Return the latency of an architecture on several devices, ms; on all of them by default.

        Raises:
            ValueError: If the list is no architecture or a device is unknown.
        """
        values = self.benchmark.evaluate(self._encode(architecture_list), ["latency_ms"])["latency_ms"][0]
        of_device = dict(zip(self._devices, values.tolist(), strict=True))
        names = self._devices if devices is None else check_list("devices", devices, "names")
        for device in names:
            if not isinstance(device, str) or device not in of_device:
                raise ValueError(f"unknown device {echo(device)}: {suggest(device, self._devices)}")
        return {device: of_device[device] for device in names}

    def _encode(self, architecture_list: Sequence[str]) -> Encoded:
        architecture_list = check_list("architecture_list", architecture_list, "operations")
        if not self.contains(architecture_list):
            raise ValueError(
                f"architecture_list must have {self.architecture_len} entries of {self.all_ops}, "
                f"got {len(architecture_list)}: {echo(architecture_list)}"
            )
        choices = np.minimum([int(operation) for operation in architecture_list], np.array(self.space.num_choices) - 1)
        return self.space.canonical(choices[None])

    def _name(self, encoded: Encoded) -> str:
        return self.space.decode(encoded)[0].to_string()

    def _score(self, name: str) -> tuple[str, int | None]:
        """Return the metric of a score, and the position of its device if it depends on one."""
        if not isinstance(name, str) or name not in self._scores:
            raise ValueError(f"unknown score {echo(name)}: {suggest(name, self._scores)}")
        return self._scores[name]

    def _name_scores(self) -> dict[str, tuple[str, int | None]]:
        scores: dict[str, tuple[str, int | None]] = {key: (key, None) for key in METRICS if key not in DEVICE_METRICS}
        for metric, cost in zip(DEVICE_METRICS, ("latency", "energy"), strict=True):
            scores[cost] = (metric, self._devices.index(self.target_device))
            scores |= {f"{device}_{cost}": (metric, i) for i, device in enumerate(self._devices)}
        return scores
