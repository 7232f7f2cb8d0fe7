r"""Training a policy for every device by the exact values of actions. This module loads torch.

The policy builds architectures for drawn problems, and in every state on its way the teacher says what each choice is
worth. Two losses: the cross-entropy to :math:`softmax(A^* / \tau)`, with :math:`A^*` a choice's value less the best
one's and :math:`\tau` falling, and the mean :math:`\sum_a \pi(a) \min(-A^*(a), 1)`, whose sum along the policy's own
episodes is its regret (the performance-difference lemma). No reward is sampled: the teacher is the exact solver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hwgpt_gym.agents.agent import WIDEST
from hwgpt_gym.agents.amortised.devices import UNSEEN, SyntheticDevices
from hwgpt_gym.agents.amortised.features import BoolArray, Features, Float32Array
from hwgpt_gym.agents.amortised.policy import CLOSED, HIDDEN, AmortisedPolicy, make_network
from hwgpt_gym.agents.amortised.teacher import Teacher
from hwgpt_gym.agents.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_integer
from hwgpt_gym.search_space import FIRST_LAYER, NOT_SET, FloatArray, get_search_space
from hwgpt_gym.synthetic_devices import check_parents

EPOCHS: Final = 2
MINIBATCH: Final = 1_024
LEARNING_RATE: Final = 1e-3
REGRET_WEIGHT: Final = 20.0
TEMPERATURES: Final = (0.02, 0.0005)
"""Of the targets, from the first iteration to that at :data:`COOLED`."""

RESUMED: Final = (0.004, 0.0005)
"""Those of a training that begins with the weights of another: what these know is not to be washed out."""

COOLED: Final = 0.7
GUIDED: Final = 0.1
"""The share of the iterations after which targets are coldest; and of those where the teacher leads half the way."""

STANDARDISED: Final = 4_096
"""Drawn problems that the features are standardised for."""

Progress = Callable[[int, float], None]
"""Called after every iteration with its number from 1 and the mean regret of its greedy episodes."""


@dataclass(frozen=True)
class AmortisedTraining:
    """How a policy is trained.

    Attributes:
        scale: The search space.
        iterations: How often episodes are built and learned from.
        problems: Problems drawn in each, of which each has a greedy and a sampled episode; as many again are seen for
            the first three decisions alone.
        seed: The seed of every random number.
        hidden: The width of both hidden layers.
        exclude: Devices that no problem is made from.

    Raises:
        ValueError: If a number is not legal.
    """

    scale: str = "s"
    iterations: int = 100
    problems: int = 256
    seed: int = 0
    hidden: int = HIDDEN
    exclude: tuple[str, ...] = UNSEEN

    def __post_init__(self) -> None:
        get_search_space(self.scale)
        for name, least in (("iterations", 1), ("problems", 1), ("seed", 0)):
            check_integer(name, getattr(self, name), least)
        check_integer("hidden", self.hidden, 1, WIDEST)
        check_parents(self.exclude)

    def train(
        self,
        folder: Path | None = None,
        progress: Progress = lambda iteration, regret: None,
        start: AmortisedPolicy | None = None,
    ) -> AmortisedPolicy:
        """Train a policy; the same settings give the same policy on one thread of the same machine.

        Args:
            folder: Where a checkpoint is kept, from which an interrupted training goes on; none by default.
            progress: Told of every iteration.
            start: A policy, of whatever scale, whose weights to begin with.

        Raises:
            ValueError: If the folder's checkpoint is that of other settings.
        """
        with one_thread():
            return self._train(folder, progress, start)

    def _train(self, folder: Path | None, progress: Progress, start: AmortisedPolicy | None) -> AmortisedPolicy:
        run = _Run(self, start)
        path = None if folder is None else folder / CHECKPOINT
        if path is not None and path.is_file():
            run.load(path)
        elif path is not None:
            # At once: it says whose folder this is.
            run.save(path)
        for iteration in range(run.iteration, self.iterations):
            progress(iteration + 1, run.iterate())
            if path is not None and (run.iteration % 5 == 0 or run.iteration == self.iterations):
                run.save(path)
        return run.policy


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, so that its sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


SHIPPED: Final = {"s": (100, 256), "m": (60, 128), "l": (80, 256)}
"""Iterations and problems of the shipped policies; those of m and l begin with the weights of that of s."""


def shipped_training(scale: str, episodes: int | None = None, seed: int = 0) -> AmortisedTraining:
    """Return how the shipped policy of a scale was trained.

    Args:
        scale: The search space.
        episodes: How many architectures to build instead, two for each problem; at least one iteration's.
        seed: Another seed than that of the shipped one, 0.

    Raises:
        ValueError: If there is no such scale, or an argument is not legal.
    """
    iterations, problems = SHIPPED[get_search_space(scale).scale]
    if episodes is not None:
        iterations = check_integer("budget", episodes, 2 * problems) // (2 * problems)
    return AmortisedTraining(scale, iterations, problems, seed)


class _Batch(NamedTuple):
    """What was seen in some states, and the values there: advantages ``float64 (n, 3)``, 0 for the best choice."""

    seen: Float32Array
    open_choices: BoolArray
    advantages: FloatArray


class _Run:
    """A training under way."""

    def __init__(self, settings: AmortisedTraining, start: AmortisedPolicy | None) -> None:
        self.settings, self.iteration = settings, 0
        self._origin = "" if start is None else start.space.scale
        bench = Benchmark(settings.scale, None)
        self._model = bench.chain_model("perplexity")
        least, greatest = (float(np.log(value)) for value in bench.extremes("perplexity"))
        self._extremes = (least, greatest)
        self._devices = SyntheticDevices(settings.scale, settings.exclude)
        self._rng = np.random.default_rng(settings.seed)
        features = Features.fit(self._model, self._devices.draw(self._rng, STANDARDISED))
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            network = make_network(settings.hidden)
        if start is not None:
            network.load_state_dict(start.network.state_dict())
        self.policy = AmortisedPolicy(features, network)
        self._parameters = list(network.parameters())
        self._optimizer = torch.optim.Adam(self._parameters, LEARNING_RATE, eps=1e-5)

    def iterate(self) -> float:
        """Build episodes and learn from them; return the mean regret of the greedy ones."""
        done = self.iteration / self.settings.iterations
        hot, cold = RESUMED if self._origin else TEMPERATURES
        temperature = hot * (cold / hot) ** min(1.0, done / COOLED)
        for group in self._optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(0.5 if self._origin else 1.0, 2.0 * (1.0 - done))
        batches, regret = self._episodes(guided=not self._origin and done < GUIDED)
        batches += list(self._beginnings())
        self._learn(_Batch(*(np.concatenate(part) for part in zip(*batches, strict=True))), temperature)
        self.iteration += 1
        return regret

    def _episodes(self, guided: bool) -> tuple[list[_Batch], float]:
        """Build a greedy and a sampled architecture for each of some drawn problems."""
        n, policy, rng = self.settings.problems, self.policy, self._rng
        drawn = self._devices.draw(rng, n)
        teacher = Teacher(self._model, self._extremes, drawn)
        problem = np.tile(np.arange(n), 2)
        greedy = np.arange(2 * n) < n
        led = guided & (rng.random(2 * n) < 0.5)
        context = policy.features.context(drawn)
        encoded = np.full((2 * n, policy.space.num_decisions), NOT_SET, dtype=np.int8)
        lanes, lost, batches = np.arange(2 * n), np.zeros(2 * n), []
        for place in range(policy.space.num_decisions):
            rows, own = encoded[lanes], problem[lanes]
            log_probability, seen, open_choices = policy.log_probabilities(rows, place, drawn.of(own), context[own])
            batches.append(_batch(seen, open_choices, teacher(rows, place, own)))
            advantages = batches[-1].advantages
            noise = np.where(greedy[lanes, None], 0.0, rng.gumbel(size=log_probability.shape))
            actions = (log_probability + noise).argmax(axis=1)
            actions = np.where(led[lanes], advantages.argmax(axis=1), actions)
            lost[lanes] -= advantages[np.arange(len(lanes)), actions]
            encoded[lanes, place] = actions
            lanes = policy.unfinished(encoded, lanes, place + 1)
            if not len(lanes):
                break
        own_way = greedy & ~led
        return batches, float(lost[own_way].mean()) if own_way.any() else float("nan")

    def _beginnings(self) -> Iterator[_Batch]:
        """Yield the first three decisions in more problems, some of which go a random way."""
        n, rng = self.settings.problems, self._rng
        drawn = self._devices.draw(rng, n)
        teacher = Teacher(self._model, self._extremes, drawn)
        context, problem = self.policy.features.context(drawn), np.arange(n)
        encoded = np.full((n, self.policy.space.num_decisions), NOT_SET, dtype=np.int8)
        for place in range(FIRST_LAYER):
            seen, open_choices = self.policy.features(encoded, place, drawn, context)
            batch = _batch(seen, open_choices, teacher(encoded, place, problem))
            yield batch
            at_random = np.where(open_choices, rng.random((n, 3)), -1.0).argmax(axis=1)
            encoded[:, place] = np.where(rng.random(n) < 0.6, batch.advantages.argmax(axis=1), at_random)

    def _learn(self, batch: _Batch, temperature: float) -> None:
        """Take gradient steps on the losses of a batch."""
        targets = np.exp(batch.advantages / temperature)
        targets /= targets.sum(axis=1, keepdims=True)
        columns = (batch.seen, targets, np.minimum(-batch.advantages, 1.0), np.where(batch.open_choices, 0.0, CLOSED))
        seen, target, loss_of, closed = (torch.from_numpy(column.astype(np.float32)) for column in columns)
        for _ in range(EPOCHS):
            order = torch.from_numpy(self._rng.permutation(len(seen)))
            for start in range(0, len(seen), MINIBATCH):
                rows = order[start : start + MINIBATCH]
                log_probability = torch.log_softmax(self.policy.network(seen[rows]) + closed[rows], dim=1)
                entropy = -(target[rows] * log_probability).sum(dim=1).mean()
                regret = (log_probability.exp() * loss_of[rows]).sum(dim=1).mean()
                loss = entropy + REGRET_WEIGHT * regret
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self._parameters, 1.0)
                self._optimizer.step()

    def save(self, path: Path) -> None:
        """Write everything that the training goes on with, whole or not at all."""
        progress = {"iteration": self.iteration, "generator": self._rng.bit_generator.state}
        save_checkpoint(path, self.policy.network, self._optimizer, self._description(), progress)

    def load(self, path: Path) -> None:
        """Go on from a file that :meth:`save` wrote."""
        progress = load_checkpoint(path, self.policy.network, self._optimizer, self._description())
        self._rng.bit_generator.state = progress["generator"]
        self.iteration = int(progress["iteration"])

    def _description(self) -> dict[str, Any]:
        return {**asdict(self.settings), "origin": self._origin}


def _batch(seen: Float32Array, open_choices: BoolArray, values: npt.NDArray[np.float64]) -> _Batch:
    """Put together what was seen and the advantages of the open choices; those of others are the least there are."""
    values = np.where(open_choices, values, -np.inf)
    advantages = values - values.max(axis=1, keepdims=True)
    return _Batch(seen, open_choices, np.maximum(advantages, -1e6))
