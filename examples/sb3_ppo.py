"""PPO of Stable-Baselines3 on the native vector environment.

    python examples/sb3_ppo.py --device a6000 --episodes 30000

Takes about 13 seconds of processor time.
"""

import argparse

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from hwgpt_gym import Benchmark
from hwgpt_gym.envs.sb3 import make_vec_env
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000")
parser.add_argument("--limit", default="p50", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--episodes", type=int, default=30_000, help="architectures to build while learning")
parser.add_argument("--lanes", type=int, default=256, help="architectures that are built side by side")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
torch.set_num_threads(1)  # the networks are small: more threads only wait for one another

# make_vec_env is a Stable-Baselines3 VecEnv over one batched state: no subprocesses, no loop over environments.
constraint = {"latency_ms": arguments.limit}
venv = make_vec_env(arguments.lanes, device=arguments.device, constraint=constraint, seed=arguments.seed)
optimum = solve(Benchmark("s", arguments.device), Objective(constraint))
decisions = venv.env.bench.space.num_decisions  # 27 at scale s, of which shallower architectures take fewer


class Anneal(BaseCallback):
    """Explore much at first and nothing at the end: the entropy bonus falls to zero. And keep the best reward."""

    best_reward, best_name, finished = -np.inf, "", 0

    def _on_rollout_start(self) -> None:
        self.model.ent_coef = 0.25 * max(0.0, 1.0 - self.finished / arguments.episodes)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:  # of a finished architecture; the metrics and the name are there as well
                self.finished += 1
                reward = info["quality"] - info["penalty"]
                if reward > self.best_reward:
                    self.best_reward, self.best_name = reward, info["architecture"]
                if self.finished % max(1, arguments.episodes // 10) == 0:
                    regret = optimum.reward - self.best_reward
                    print(f"{self.finished:>7,} architectures: best so far {self.best_reward:.5f}, regret {regret:.5f}")
        return self.finished < arguments.episodes


# The reward comes at the end of an episode, so nothing is discounted (gamma) and nothing is guessed (gae_lambda).
model = PPO(
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
callback = Anneal()
model.learn(decisions * arguments.episodes, callback=callback)

# The greedy episode: what the policy has learned, without the luck of sampling.
observations, finished = venv.reset(), np.array([False])
while not finished[0]:
    actions, _ = model.predict(observations, deterministic=True)
    observations, _, finished, infos = venv.step(actions)

regret = optimum.reward - (infos[0]["quality"] - infos[0]["penalty"])
print(f"best of all episodes: {callback.best_name}")
print(f"greedy episode:       {infos[0]['architecture']}, regret {regret:.5f}")
print(f"certified optimum:    {optimum.architecture}")
