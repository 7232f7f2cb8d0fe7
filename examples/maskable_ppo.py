"""MaskablePPO of sb3-contrib: the policy never spends probability on an action that is no choice of its own.

    python examples/maskable_ppo.py --device h100 --episodes 30000

The bias has two choices where other decisions have three. What this shows is that masks reach the algorithm without
glue. Takes about 14 seconds of processor time.
"""

import argparse

import gymnasium as gym
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback

from hwgpt_gym import Benchmark
from hwgpt_gym.envs.sb3 import make_vec_env
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="h100")
parser.add_argument("--limit", default="p50", help="energy: a quantile of the search space, such as p30")
parser.add_argument("--episodes", type=int, default=30_000, help="architectures to build while learning")
parser.add_argument("--lanes", type=int, default=256, help="architectures that are built side by side")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
torch.set_num_threads(1)  # the networks are small: more threads only wait for one another

constraint = {"energy_j": arguments.limit}
venv = make_vec_env(arguments.lanes, device=arguments.device, constraint=constraint, seed=arguments.seed)
decisions = venv.env.bench.space.num_decisions


class Anneal(BaseCallback):
    """Explore much at first and nothing at the end: the entropy bonus falls to zero."""

    def _on_rollout_start(self) -> None:
        self.model.ent_coef = 0.25 * max(0.0, 1.0 - self.num_timesteps / (decisions * arguments.episodes))

    def _on_step(self) -> bool:
        return True


# The reward comes at the end of an episode, so nothing is discounted (gamma) and nothing is guessed (gae_lambda).
model = MaskablePPO(
    "MlpPolicy",
    venv,
    n_steps=decisions,
    batch_size=decisions * arguments.lanes // 4,
    n_epochs=3,
    learning_rate=lambda remaining: 2e-3 * remaining,
    gamma=1.0,
    gae_lambda=1.0,
    policy_kwargs={"net_arch": [64, 64], "activation_fn": torch.nn.ReLU},
    seed=arguments.seed,
)
# The algorithm asks the environment for its masks by itself: venv.env_method("action_masks").
model.learn(decisions * arguments.episodes, callback=Anneal())

# One greedy episode of the scalar environment, with the masks it gives.
env = gym.make("hwgpt_gym:HWGPT-v0", device=arguments.device, constraint=constraint)
observation, info = env.reset(seed=arguments.seed)
terminated = False
while not terminated:
    action, _ = model.predict(observation, action_masks=env.unwrapped.action_masks(), deterministic=True)
    observation, reward, terminated, _, info = env.step(int(action))

optimum = solve(Benchmark("s", arguments.device), Objective(constraint))
print(f"greedy architecture: {info['architecture']}")
print(f"  perplexity {info['perplexity']:.2f}, energy {info['energy_j']:.4f} J, feasible: {info['feasible']}")
print(f"certified optimum:   {optimum.architecture}")
print(f"  perplexity {optimum.metrics['perplexity']:.2f}, energy {optimum.metrics['energy_j']:.4f} J")
print(f"regret: {optimum.reward - reward:.4f}")
