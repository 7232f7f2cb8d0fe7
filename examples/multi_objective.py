"""Multi-objective: vector rewards through MO-Gymnasium, and the exact Pareto front to compare with.

    pip install 'hwgpt-gym[multi-objective]'
    python examples/multi_objective.py --device a6000 --weights 7 --episodes 4000

Trains one small policy a weighting of quality against latency, and compares everything that was visited with the
front that no agent can pass. Takes about 9 seconds of processor time.
"""

import argparse

import mo_gymnasium as mo_gym
import numpy as np
from mo_gymnasium.wrappers import LinearReward

import hwgpt_gym  # noqa: F401  # registers HWGPT-MO-v0
from hwgpt_gym.pareto import Box, hypervolume, hypervolume_ratio, non_dominated

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000")
parser.add_argument("--weights", type=int, default=7, help="weightings between latency alone and quality alone")
parser.add_argument("--episodes", type=int, default=4000, help="episodes a weighting")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
rng = np.random.default_rng(arguments.seed)


def train(weight: np.ndarray) -> np.ndarray:
    """Train a policy for one weighting with REINFORCE; return the reward vectors of all episodes.

    The policy is the simplest there is: for every decision a softmax over its choices, whatever was chosen before.
    """
    # LinearReward makes the vector a number; the vector stays in info["vector_reward"].
    env = LinearReward(mo_gym.make("HWGPT-MO-v0", device=arguments.device), weight=weight)
    decisions = env.unwrapped.bench.space.num_decisions
    logits = np.zeros((decisions, 3))
    visited = []
    baseline, spread = None, 1.0
    for episode in range(arguments.episodes):
        env.reset(seed=arguments.seed if episode == 0 else None)
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        actions = (probabilities.cumsum(axis=1)[:, :2] < rng.random((decisions, 1))).sum(axis=1)
        taken = 0
        terminated = False
        while not terminated:
            _, reward, terminated, _, info = env.step(actions[taken])
            taken += 1
        visited.append(info["vector_reward"])
        baseline = reward if baseline is None else 0.95 * baseline + 0.05 * reward
        spread = 0.95 * spread + 0.05 * abs(reward - baseline)
        gradient = np.eye(3)[actions[:taken]] - probabilities[:taken]
        logits[:taken] += 0.03 * (reward - baseline) / (spread + 1e-3) * gradient
    env.close()
    return np.array(visited)


visited = []
for share in np.linspace(0.1, 0.9, arguments.weights):
    visited.append(train(np.array([share, 1.0 - share])))
    quality, cost = visited[-1][-100:].mean(axis=0) * (1.0, -1.0)
    print(f"weight of quality {share:.2f}: at the end quality {quality:.3f}, latency {cost:.3f} of the median")
rewards = np.concatenate(visited)

# MO-Gymnasium's convention: the environment knows its Pareto front. Here it is exact, over all 1.9e12 architectures.
env = mo_gym.make("HWGPT-MO-v0", device=arguments.device)
front = np.array(env.unwrapped.pareto_front())
# Rewards are to be great, losses to be small.
found = rewards[non_dominated(-rewards)]
box = Box(ideal=-env.unwrapped.reward_space.high, reference=-env.unwrapped.reward_space.low)
print(f"{len(rewards):,} architectures visited, {len(found)} of them not dominated by another one")
print(f"exact front: {len(front)} architectures, hypervolume {hypervolume(-front, box):.4f}")
print(f"hypervolume ratio: {hypervolume_ratio(-found, -front, box):.4f} (1 is the exact front)")
