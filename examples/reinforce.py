"""REINFORCE in plain torch, one file: a network, a loss, a loop.

    python examples/reinforce.py --device a6000 --updates 300

Takes about 10 seconds of processor time.
"""

import argparse

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

from hwgpt_gym import Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000")
parser.add_argument("--limit", default="p50", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--updates", type=int, default=300)
parser.add_argument("--lanes", type=int, default=128, help="architectures in one update")
parser.add_argument("--learning-rate", type=float, default=2e-3)
parser.add_argument("--entropy", type=float, default=0.25, help="weight of the entropy bonus, decays to zero")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
torch.manual_seed(arguments.seed)
torch.set_num_threads(1)

constraint = {"latency_ms": arguments.limit}
optimum = solve(Benchmark("s", arguments.device), Objective(constraint))
envs = gym.make_vec("hwgpt_gym:HWGPT-v0", num_envs=arguments.lanes, device=arguments.device, constraint=constraint)

policy = nn.Sequential(
    nn.Linear(envs.single_observation_space.shape[0], 128),
    nn.Tanh(),
    nn.Linear(128, 128),
    nn.Tanh(),
    nn.Linear(128, 3),
)
optimizer = torch.optim.Adam(policy.parameters(), lr=arguments.learning_rate)
baseline = 0.0
best_reward, best_name = -np.inf, ""

for update in range(1, arguments.updates + 1):
    # Build one architecture on every lane. Depths differ: a lane that is done early begins another architecture by
    # itself, which does not count.
    observations, infos = envs.reset(seed=arguments.seed if update == 1 else None)
    active = np.ones(arguments.lanes, dtype=bool)
    rewards = np.zeros(arguments.lanes)
    names = np.full(arguments.lanes, "", dtype=object)
    log_probabilities = torch.zeros(arguments.lanes)
    entropies = torch.zeros(arguments.lanes)
    while active.any():
        mask = torch.from_numpy(infos["action_mask"].astype(bool))
        logits = policy(torch.from_numpy(observations)).masked_fill(~mask, -1e9)
        distribution = Categorical(logits=logits)
        actions = distribution.sample()
        alive = torch.from_numpy(active.astype(np.float32))
        log_probabilities = log_probabilities + alive * distribution.log_prob(actions)
        entropies = entropies + alive * distribution.entropy()
        observations, step_rewards, terminations, _, infos = envs.step(actions.numpy())
        ended = active & terminations
        if ended.any():
            rewards[ended] = step_rewards[ended]
            names[ended] = infos["architecture"][ended]
        active &= ~ended

    # The policy gradient with a moving baseline (Williams, 1992), and a bonus for entropy.
    baseline = rewards.mean() if update == 1 else 0.9 * baseline + 0.1 * rewards.mean()
    advantages = torch.from_numpy((rewards - baseline) / (rewards.std() + 1e-8)).float()
    weight = arguments.entropy * (1.0 - update / arguments.updates)
    loss = -(advantages * log_probabilities).mean() - weight * entropies.mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()

    if rewards.max() > best_reward:
        best_reward, best_name = rewards.max(), names[rewards.argmax()]
    if update % max(1, arguments.updates // 10) == 0:
        print(
            f"update {update:>4}: mean reward {rewards.mean():.4f}, regret of the mean "
            f"{optimum.reward - rewards.mean():.4f}, of the best so far {optimum.reward - best_reward:.5f}"
        )

print(f"best architecture: {best_name}")
print(f"certified optimum: {optimum.architecture}")
