"""REINFORCE (Williams, 1992) on whole architectures, with two policies, in torch.

The gradient of the expected reward is estimated from batches of architectures drawn from the policy, with a moving
average of rewards as baseline and a bonus on the policy's entropy, as in neural architecture search since Zoph and Le
(2017, arXiv 1611.01578).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from hwgpt_gym.agents.agent import WIDEST, Agent
from hwgpt_gym.agents.problem import SearchProblem, small_seed
from hwgpt_gym.checks import check_between, check_integer
from hwgpt_gym.search_space import FloatArray

if TYPE_CHECKING:
    from hwgpt_gym.agents.controllers import Controller
    from hwgpt_gym.search_space import SearchSpace


class Baseline(NamedTuple):
    """Moving averages of the rewards.

    Attributes:
        mean: Of the reward.
        deviation: Of the standard deviation within a batch.
    """

    mean: float
    deviation: float


@dataclass(frozen=True)
class _Reinforce(Agent):
    has_policy: ClassVar[bool] = True
    batch_size: int = 50
    learning_rate: float = 0.05
    entropy_start: float = 0.1
    entropy_end: float = 0.0
    baseline_decay: float = 0.9
    checkpoints: int = 50

    def __post_init__(self) -> None:
        check_integer("batch_size", self.batch_size, 2)
        check_between("learning_rate", self.learning_rate, 0.0, 10.0, open_low=True)
        check_between("entropy_start", self.entropy_start, 0.0, 100.0)
        check_between("entropy_end", self.entropy_end, 0.0, 100.0)
        check_between("baseline_decay", self.baseline_decay, 0.0, 1.0)
        check_integer("checkpoints", self.checkpoints, 1)

    @abstractmethod
    def _controller(self, space: SearchSpace) -> Controller:
        """Return a new policy, its weights drawn from torch's generator."""

    def search(self, problem: SearchProblem) -> None:
        """Draw, evaluate and learn in batches until the budget is spent; record the greedy architecture."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(small_seed(problem.seed))
            self._learn(problem, self._controller(problem.space))

    def _learn(self, problem: SearchProblem, controller: Controller) -> None:
        import torch

        optimizer = torch.optim.Adam(controller.parameters(), lr=self.learning_rate)
        batches = -(-problem.budget // self.batch_size)
        recorded = {round(batches * (i + 1) / self.checkpoints) for i in range(self.checkpoints)} | {batches}
        baseline: Baseline | None = None
        for batch in range(1, batches + 1):
            done = problem.evaluations / problem.budget
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1.0 - done)
            entropy_weight = self.entropy_start + (self.entropy_end - self.entropy_start) * done
            encoded, log_probability, entropy = controller.sample(min(self.batch_size, problem.remaining))
            rewards = problem.evaluate(encoded)
            baseline = self._update(baseline, rewards)
            advantage = torch.as_tensor((rewards - baseline.mean) / baseline.deviation, dtype=torch.float32)
            loss = -(advantage * log_probability).mean() - entropy_weight * entropy.mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(controller.parameters(), 1.0)
            optimizer.step()
            if batch in recorded:
                problem.record_greedy(controller.greedy())

    def _update(self, baseline: Baseline | None, rewards: FloatArray) -> Baseline:
        mean, deviation = float(rewards.mean()), max(float(rewards.std()), 1e-3)
        if baseline is None:
            return Baseline(mean, deviation)
        decay = self.baseline_decay
        return Baseline(
            decay * baseline.mean + (1.0 - decay) * mean, decay * baseline.deviation + (1.0 - decay) * deviation
        )


@dataclass(frozen=True)
class Reinforce(_Reinforce):
    """A softmax over each decision by itself, as the controller of TuNAS (Bender et al., 2020, arXiv 2008.06120).

    Attributes:
        batch_size: Architectures in a step, at least 2.
        learning_rate: Adam's at the start; it falls linearly to zero.
        entropy_start: Weight of the policy's entropy (in nats, summed over decisions) at the start; rewards are scaled
            to standard deviation 1.
        entropy_end: The same at the end; linear in between.
        baseline_decay: Of the moving averages that rewards are compared with, from 0 to 1.
        checkpoints: How many times the greedy architecture is recorded.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "reinforce"

    def _controller(self, space: SearchSpace) -> Controller:
        from hwgpt_gym.agents.controllers import FactorizedController

        return FactorizedController(space)


@dataclass(frozen=True)
class ReinforceLSTM(_Reinforce):
    """An LSTM that takes one decision after the other, as the controllers of Zoph and Le (2017) and ENAS (2018).

    Attributes:
        batch_size: Architectures in a step, at least 2.
        learning_rate: Adam's at the start; it falls linearly to zero.
        entropy_start: Weight of the policy's entropy (in nats, summed over decisions) at the start; rewards are scaled
            to standard deviation 1.
        entropy_end: The same at the end; linear in between.
        baseline_decay: Of the moving averages that rewards are compared with, from 0 to 1.
        checkpoints: How many times the greedy architecture is recorded.
        hidden_size: Width of the LSTM.

    Raises:
        ValueError: If a setting is not legal.
    """

    name: ClassVar[str] = "reinforce_lstm"
    learning_rate: float = 0.003
    hidden_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("hidden_size", self.hidden_size, 1, WIDEST)

    def _controller(self, space: SearchSpace) -> Controller:
        from hwgpt_gym.agents.controllers import LSTMController

        return LSTMController(space, self.hidden_size)
