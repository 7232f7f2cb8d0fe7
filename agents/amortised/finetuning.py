"""PPO on one problem from the weights of the policy for all. This module loads torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import nn

from hwgpt_gym.agents.amortised.evaluation import tables_of
from hwgpt_gym.agents.amortised.limits import LimitKeeper
from hwgpt_gym.agents.amortised.policy import CLOSED, AmortisedPolicy
from hwgpt_gym.agents.amortised.training import one_thread
from hwgpt_gym.agents.amortised.weights import load_pretrained
from hwgpt_gym.agents.problem import SearchProblem
from hwgpt_gym.search_space import NOT_SET, Encoded, FloatArray

LEAST_DEVIATION: Final = 1e-6
"""Below which deviation of a batch's rewards nothing is learned from it: it holds one architecture."""


class _Decisions(NamedTuple):
    """Decisions of a batch of episodes: which episode each belongs to, what was seen, what is closed, what was done."""

    lane: torch.Tensor
    seen: torch.Tensor
    closed: torch.Tensor
    action: torch.Tensor
    log_probability: torch.Tensor


def finetune(problem: SearchProblem, settings: Mapping[str, Any]) -> AmortisedPolicy:
    """Train a copy of the shipped policy on a problem until its budget is spent, and return it.

    Args:
        problem: The problem, with one or two limits.
        settings: Those of :class:`hwgpt_gym.agents.finetuned_ppo.FinetunedPPO`.

    Raises:
        ValueError: If no architecture keeps the limits.
    """
    with one_thread():
        run = _Finetuning(problem, settings)
        while problem.remaining:
            run.iterate()
        problem.record_greedy(run.greedy())
        return run.policy


class _Finetuning:
    """A training under way."""

    def __init__(self, problem: SearchProblem, settings: Mapping[str, Any]) -> None:
        self._problem, self._settings = problem, settings
        self._keeper = LimitKeeper(problem.bound)
        self._keeper.check_possible()
        shipped = load_pretrained(problem.space.scale)
        self.policy = AmortisedPolicy(shipped.features, copy.deepcopy(shipped.network))
        self._rng = np.random.default_rng(problem.seed)
        self._costs = tables_of(problem.bound)
        self._context = self.policy.features.context(self._costs)
        self._parameters = list(self.policy.network.parameters())
        self._optimizer = torch.optim.Adam(self._parameters, settings["learning_rate"], eps=1e-5)
        problem.record_greedy(self.greedy())
        if settings["beam"]:
            beam = self.policy.beam(self._costs, min(settings["beam"], problem.remaining), self._keeper)
            problem.evaluate(beam)

    def greedy(self) -> Encoded:
        """Return the architecture of the most probable choices, ``int8 (1, D)``."""
        return self.policy.build(self._costs, mask=self._keeper)

    def iterate(self) -> None:
        """Build a batch of architectures, evaluate them and learn from their rewards."""
        remaining = self._problem.remaining / self._problem.budget
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings["learning_rate"] * remaining
        encoded, decisions = self._sample(min(self._settings["batch_size"], self._problem.remaining))
        rewards = self._problem.evaluate(encoded)
        if rewards.std() > LEAST_DEVIATION:
            self._learn(decisions, (rewards - rewards.mean()) / rewards.std())
        self._problem.record_greedy(self.greedy())

    def _sample(self, n: int) -> tuple[Encoded, _Decisions]:
        space, parts = self._problem.space, []
        encoded, lanes = np.full((n, space.num_decisions), NOT_SET, dtype=np.int8), np.arange(n)
        for place in range(space.num_decisions):
            rows = np.zeros(len(lanes), dtype=np.intp)
            found = self.policy.log_probabilities(encoded[lanes], place, self._costs.of(rows), self._context[rows])
            log_probability, seen, _ = found
            # What the features take for closed by rounding may be open, and is then very unlikely.
            open_choices = self._keeper(encoded[lanes], place, rows)
            noisy = np.where(open_choices, log_probability + self._rng.gumbel(size=log_probability.shape), -np.inf)
            action = noisy.argmax(axis=1)
            encoded[lanes, place] = action
            parts.append((lanes, seen, np.where(open_choices, np.float32(0.0), np.float32(CLOSED)), action))
            lanes = self.policy.unfinished(encoded, lanes, place + 1)
            if not len(lanes):
                break
        lane, observed, closed, action = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))
        with torch.inference_mode():
            before = self._log_probabilities(observed, closed).gather(1, action[:, None])[:, 0]
        return encoded, _Decisions(lane, observed, closed, action, before)

    def _log_probabilities(self, seen: torch.Tensor, closed: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(self.policy.network(seen) + closed, dim=1)

    def _learn(self, decisions: _Decisions, advantages: FloatArray) -> None:
        """Take the gradient steps of an update."""
        size, clip = self._settings["minibatch_size"], self._settings["clip_range"]
        gains = torch.from_numpy(advantages.astype(np.float32))[decisions.lane]
        for _ in range(self._settings["n_epochs"]):
            order = torch.from_numpy(self._rng.permutation(len(gains)))
            for rows in torch.split(order, size):
                log_probability = self._log_probabilities(decisions.seen[rows], decisions.closed[rows])
                taken = log_probability.gather(1, decisions.action[rows, None])[:, 0]
                ratio = (taken - decisions.log_probability[rows]).exp()
                clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
                gained = torch.minimum(ratio * gains[rows], clipped * gains[rows]).mean()
                entropy = -(log_probability.exp() * log_probability).sum(dim=1).mean()
                loss = -gained - self._settings["entropy_weight"] * entropy
                self._optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self._parameters, 1.0)
                self._optimizer.step()
