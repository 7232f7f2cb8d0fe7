"""One policy for many devices and limits: the episode's context stands in the observation.

    python examples/contextual_policy.py --episodes 60000

Trains PPO on four devices and a range of limits of latency, then asks the one policy for architectures, also for a
device that it never saw. Takes about 50 seconds of processor time.
"""

import argparse

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from hwgpt_gym import Benchmark
from hwgpt_gym.envs.sb3 import make_vec_env
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--devices", nargs="+", default=["h100", "v100", "p100", "cpu_xeon_gold"], help="to train on")
parser.add_argument("--unseen", nargs="+", default=["a6000"], help="to test on only")
parser.add_argument("--episodes", type=int, default=60_000, help="architectures to build while learning")
parser.add_argument("--lanes", type=int, default=256, help="architectures that are built side by side")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
torch.set_num_threads(1)  # the networks are small: more threads only wait for one another

# Every episode draws a device and a limit between two quantiles of the search space on it. The observation describes
# the device by its cost coefficients, not by its name: that is why another device can be asked for later.
RANGE = {"latency_ms": ("p5", "p95")}
lanes = make_vec_env(arguments.lanes, device=arguments.devices, constraint=RANGE, seed=arguments.seed)
decisions = lanes.env.bench.space.num_decisions
# The limit is one column among a hundred choices: standardised, it is not overlooked.
venv = VecNormalize(lanes, norm_reward=False)


class Anneal(BaseCallback):
    """Explore much at first and nothing at the end: the entropy bonus falls to zero."""

    def _on_rollout_start(self) -> None:
        self.model.ent_coef = 0.3 * max(0.0, 1.0 - self.num_timesteps / (decisions * arguments.episodes))

    def _on_step(self) -> bool:
        return True


model = PPO(
    "MlpPolicy",
    venv,
    n_steps=decisions,
    batch_size=decisions * arguments.lanes // 4,
    n_epochs=3,
    learning_rate=lambda remaining: 2e-3 * remaining,
    gamma=1.0,
    gae_lambda=1.0,
    policy_kwargs={"net_arch": [128, 128], "activation_fn": torch.nn.ReLU},
    seed=arguments.seed,
)
model.learn(decisions * arguments.episodes, callback=Anneal())

print(f"{'device':>14} {'seen':>5} {'limit (ms)':>12} {'latency (ms)':>13} {'perplexity':>11} {'regret':>8}")
regrets: dict[bool, list[float]] = {True: [], False: []}
for device in [*arguments.devices, *arguments.unseen]:
    # A list makes the device a part of the observation even if there is only one.
    env = gym.make("hwgpt_gym:HWGPT-v0", device=[device], constraint=RANGE)
    benchmark = Benchmark("s", device)
    for level in ("p25", "p50", "p75"):
        observation, info = env.reset(seed=arguments.seed, options={"constraint": {"latency_ms": level}})
        terminated = False
        while not terminated:
            action, _ = model.predict(venv.normalize_obs(observation), deterministic=True)
            observation, reward, terminated, _, info = env.step(int(action))
        optimum = solve(benchmark, Objective({"latency_ms": level}))
        seen = device in arguments.devices
        regrets[seen].append(optimum.reward - float(reward))
        limit = optimum.objective.limits["latency_ms"]
        print(
            f"{device:>14} {'yes' if seen else 'no':>5} {limit:>12.2f} {info['latency_ms']:>13.2f} "
            f"{info['perplexity']:>11.2f} {regrets[seen][-1]:>8.4f}"
        )
for seen, values in regrets.items():
    print(f"mean greedy regret on devices {'seen' if seen else 'never seen'} in training: {np.mean(values):.4f}")
