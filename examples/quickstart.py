"""The plain Gymnasium loop: build GPT-2s at random, and see how far from the certified optimum the best one is.

    python examples/quickstart.py --device a6000 --limit p50 --episodes 1000

Takes about 0.5 seconds of processor time.
"""

import argparse

import gymnasium as gym

import hwgpt_gym  # registers HWGPT-v0
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000")
parser.add_argument("--limit", default="p50", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--episodes", type=int, default=1000)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

# One episode builds one architecture: embedding width, depth, bias, then MLP ratio and heads of every layer.
# The reward comes at the end: quality (scaled log-perplexity) minus a penalty for exceeding the limit of latency.
constraint = {"latency_ms": arguments.limit}
env = gym.make("HWGPT-v0", device=arguments.device, constraint=constraint)
env.action_space.seed(arguments.seed)

best_reward, best = float("-inf"), {}
for episode in range(arguments.episodes):
    observation, info = env.reset(seed=arguments.seed if episode == 0 else None)
    finished = False
    while not finished:
        action = env.action_space.sample()  # your policy goes here; info["action_mask"] says which actions differ
        observation, reward, terminated, truncated, info = env.step(action)
        finished = terminated or truncated
    if reward > best_reward:
        best_reward, best = reward, info

print(f"best of {arguments.episodes} random architectures: {best['architecture']}")
print(f"  perplexity {best['perplexity']:.2f}, latency {best['latency_ms']:.2f} ms, feasible: {best['feasible']}")

# The whole space has 1.9e12 architectures, yet its best one is known exactly: regret is the distance to it.
optimum = solve(hwgpt_gym.Benchmark("s", arguments.device), Objective(constraint))
print(f"certified optimum: {optimum.architecture}")
print(f"  perplexity {optimum.metrics['perplexity']:.2f}, latency {optimum.metrics['latency_ms']:.2f} ms")
print(f"regret: {optimum.reward - best_reward:.4f} = {optimum.reward:.4f} - {best_reward:.4f}")
