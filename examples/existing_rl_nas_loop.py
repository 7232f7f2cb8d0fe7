"""Plug the benchmark into an RL-NAS loop that you have: one that asks for `sample` and `evaluate`.

    python examples/existing_rl_nas_loop.py --device rtx3080 --steps 400

Many search codes own their controller and only want a search space and an evaluator. The adapter below is all it
takes; the loop under it stands for yours and knows nothing of this package. Takes about 0.5 seconds of processor time.
"""

import argparse
from typing import Any

import numpy as np

from hwgpt_gym import Architecture, Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve


class Adapter:
    """What the loop expects: the number of choices of every decision, and a score for lists of choices."""

    def __init__(self, device: str, constraints: dict[str, float | str]) -> None:
        self.benchmark = Benchmark("s", device)
        self.space = self.benchmark.space
        self.objective = Objective(constraints).bind(self.benchmark)
        self.num_choices = self.space.num_choices

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return random architectures as choice indices, (n, decisions)."""
        return self.space.sample(rng, n)

    def evaluate(self, choices: np.ndarray) -> np.ndarray:
        """Return the rewards of a batch of choice indices, (n,)."""
        choices = np.array(choices, dtype=np.int8)
        # A controller decides all layers; those beyond the depth it chose do not exist, which the encoding says as -1.
        for row, depth in zip(choices, self.space.n_layer(choices), strict=True):
            row[3 + 2 * depth :] = -1
        return self.objective.evaluate(self.benchmark.evaluate(choices)).reward

    def describe(self, choices: np.ndarray) -> dict[str, Any]:
        """Return the architecture and its metrics."""
        row = np.array(choices, dtype=np.int8)[None]
        row[0, 3 + 2 * self.space.n_layer(row)[0] :] = -1
        architecture = Architecture.decode(row, "s")
        return {"architecture": str(architecture), **self.benchmark.query(architecture)}


def cross_entropy_search(
    space: Adapter, rng: np.random.Generator, steps: int, batch: int = 64
) -> tuple[float, np.ndarray]:
    """Search as your code might: keep a distribution over choices, and move it towards the best of each batch."""
    probabilities = [np.full(number, 1.0 / number) for number in space.num_choices]
    best_reward, best = -np.inf, np.zeros(len(probabilities), dtype=np.int8)
    for _ in range(steps):
        choices = np.stack([rng.choice(len(p), size=batch, p=p) for p in probabilities], axis=1)
        rewards = space.evaluate(choices)
        if rewards.max() > best_reward:
            best_reward, best = float(rewards.max()), choices[rewards.argmax()]
        elite = choices[np.argsort(rewards)[-batch // 8 :]]
        for position, p in enumerate(probabilities):
            share = np.bincount(elite[:, position], minlength=len(p)) / len(elite)
            p[:] = 0.95 * p + 0.05 * share
            p[:] = 0.99 * p + 0.01 / len(p)  # never stop exploring
    return best_reward, best


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="rtx3080")
parser.add_argument("--limit", default="p50", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

constraints: dict[str, float | str] = {"latency_ms": arguments.limit}
adapter = Adapter(arguments.device, constraints)
rng = np.random.default_rng(arguments.seed)
print(f"best of 1,000 random ones: reward {adapter.evaluate(adapter.sample(rng, 1000)).max():.4f}")
reward, choices = cross_entropy_search(adapter, rng, arguments.steps)
found = adapter.describe(choices)
optimum = solve(adapter.benchmark, Objective(constraints))
print(f"found by the loop:         reward {reward:.4f}, {found['architecture']}")
print(f"certified optimum:         reward {optimum.reward:.4f}, {optimum.architecture}")
print(
    f"perplexity {found['perplexity']:.2f}, latency {found['latency_ms']:.2f} ms, regret {optimum.reward - reward:.4f}"
)
