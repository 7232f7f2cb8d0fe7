"""TorchRL's PPO on the native vector environment, until the policy's mean regret is small.

    pip install 'hwgpt-gym[torchrl]'
    python examples/torchrl_ppo.py --device a6000 --regret 0.02

Takes about 7 seconds of processor time.
"""

import argparse
import time

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from hwgpt_gym import Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000")
parser.add_argument("--limit", default="p50", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--regret", type=float, default=0.02, help="stop when a batch's mean regret is this small")
parser.add_argument("--batches", type=int, default=100, help="at most")
parser.add_argument("--lanes", type=int, default=64, help="architectures that are built side by side")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--minibatches", type=int, default=4)
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


def make_network(outputs: int) -> nn.Sequential:
    width = env.observation_spec["observation"].shape[-1]
    return nn.Sequential(nn.Linear(width, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, outputs))


policy = ProbabilisticActor(
    TensorDictModule(make_network(3), in_keys=["observation"], out_keys=["logits"]),
    in_keys=["logits"],
    distribution_class=torch.distributions.Categorical,
    return_log_prob=True,
    spec=env.action_spec,
)
value = ValueOperator(make_network(1), in_keys=["observation"])
# An episode has one reward, at its end: neither discount nor bias, so every decision learns from it alike.
advantage = GAE(gamma=1.0, lmbda=1.0, value_network=value, average_gae=True)
loss = ClipPPOLoss(policy, value, clip_epsilon=0.2, entropy_coeff=0.003)
optimizer = torch.optim.Adam(loss.parameters(), lr=2e-3)

# Two whole architectures a lane and batch, of at most 27 decisions each.
frames = 54 * arguments.lanes
collector = Collector(env, policy, frames_per_batch=frames, total_frames=frames * arguments.batches)
optimum = solve(Benchmark("s", arguments.device), Objective(constraint)).reward
best_regret, architectures, started = float("inf"), 0, time.perf_counter()

for number, data in enumerate(collector, start=1):
    # data is a TensorDict (lanes, decisions): observation, action, and under "next" what followed.
    regrets = optimum - data["next", "reward"][data["next", "done"]]
    best_regret, architectures = min(best_regret, float(regrets.min())), architectures + len(regrets)
    if number % 10 == 0:
        print(f"batch {number:>3}: {architectures} architectures, mean regret {regrets.mean():.4f}")
    if regrets.mean() <= arguments.regret:
        break
    with torch.no_grad():
        advantage(data)
    rows = data.reshape(-1)
    for _ in range(arguments.epochs):
        for chosen in torch.randperm(len(rows)).chunk(arguments.minibatches):
            losses = loss(rows[chosen])
            total = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
            optimizer.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
            optimizer.step()
collector.shutdown()
print(
    f"{architectures} architectures in {time.perf_counter() - started:.0f} s: "
    f"mean regret {regrets.mean():.4f}, best {best_regret:.4f}"
)
