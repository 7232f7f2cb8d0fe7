"""TorchRL: a collector over the native vector environment, feeding a policy-gradient loop.

    pip install 'hwgpt-gym[torchrl]'
    python examples/torchrl_collector.py --device a6000 --batches 60

Takes about 11 seconds of processor time.
"""

import argparse

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor

from hwgpt_gym import Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000")
parser.add_argument("--limit", default="p50", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--batches", type=int, default=60)
parser.add_argument("--lanes", type=int, default=128, help="architectures that are built side by side")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
torch.manual_seed(arguments.seed)
torch.set_num_threads(1)

# TorchRL resets finished lanes itself, so autoreset is disabled.
constraint = {"latency_ms": arguments.limit}
vector_env = gym.make_vec(
    "hwgpt_gym:HWGPT-v0",
    num_envs=arguments.lanes,
    device=arguments.device,
    constraint=constraint,
    autoreset_mode=AutoresetMode.DISABLED,
)
env = GymWrapper(vector_env, categorical_action_encoding=True)
env.set_seed(arguments.seed)

width = env.observation_spec["observation"].shape[-1]
network = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 3))
policy = ProbabilisticActor(
    TensorDictModule(network, in_keys=["observation"], out_keys=["logits"]),
    in_keys=["logits"],
    distribution_class=torch.distributions.Categorical,
    spec=env.action_spec,
)
optimizer = torch.optim.Adam(policy.parameters(), lr=2e-3)

# Two whole architectures a lane and batch, of at most 27 decisions each.
frames = 54 * arguments.lanes
collector = Collector(env, policy, frames_per_batch=frames, total_frames=frames * arguments.batches)
optimum = solve(Benchmark("s", arguments.device), Objective(constraint))
best_reward = -float("inf")

for number, data in enumerate(collector, start=1):
    # data is a TensorDict (lanes, decisions): observation, action, and under "next" what followed.
    rewards, done = data["next", "reward"].squeeze(-1), data["next", "done"].squeeze(-1)
    finished = rewards[done]
    best_reward = max(best_reward, float(finished.max()))

    # An episode has one reward, at its end: it is the return of every decision that led there.
    returns = torch.zeros_like(rewards)
    known = torch.zeros_like(done)
    following, ahead = torch.zeros(arguments.lanes), torch.zeros(arguments.lanes, dtype=torch.bool)
    for step in reversed(range(rewards.shape[1])):
        following = torch.where(done[:, step], rewards[:, step], following)
        ahead = ahead | done[:, step]
        returns[:, step], known[:, step] = following, ahead  # episodes that go on beyond the batch are left out

    distribution = torch.distributions.Categorical(logits=network(data["observation"]))
    advantages = (returns - finished.mean()) / (finished.std() + 1e-6)
    entropy = 0.1 * (1.0 - number / arguments.batches) * distribution.entropy()
    loss = -((advantages * distribution.log_prob(data["action"]) + entropy)[known]).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

    if number % max(1, arguments.batches // 6) == 0:
        print(
            f"batch {number:>3}: {len(finished)} architectures, mean reward {finished.mean():.4f}, "
            f"best regret so far {optimum.reward - best_reward:.4f}"
        )
collector.shutdown()
