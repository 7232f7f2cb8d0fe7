"""morl-baselines on vector rewards: PCN, GPI-LS or Envelope, against the exact Pareto front.

    pip install hwgpt-gym morl-baselines
    python examples/morl.py --algorithm pcn --device a6000 --steps 20000

Prints the hypervolume of everything that was built, that of as many random architectures, and that of the exact front,
which no agent can pass. Takes about 17 seconds of processor time with PCN.

PCN saves its weights to the folder `weights`.
"""

import argparse
import contextlib
import io

import gymnasium as gym
import mo_gymnasium as mo_gym
import numpy as np
import torch
from morl_baselines.multi_policy.envelope.envelope import Envelope
from morl_baselines.multi_policy.gpi_pd.gpi_pd import GPILS
from morl_baselines.multi_policy.pcn.pcn import PCN

import hwgpt_gym  # noqa: F401  # registers HWGPT-MO-v0
from hwgpt_gym.pareto import Box, hypervolume_ratio

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--algorithm", choices=["pcn", "gpi-ls", "envelope"], default="pcn")
parser.add_argument("--device", default="a6000")
parser.add_argument("--steps", type=int, default=20_000, help="decisions")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
np.random.seed(arguments.seed)  # noqa: NPY002  # morl-baselines draws from it.
torch.manual_seed(arguments.seed)
torch.set_num_threads(1)


class Record(gym.Wrapper):
    """Keeps the reward vector of every architecture."""

    def __init__(self, env):
        super().__init__(env)
        self.rewards = []

    def step(self, action):
        """Step, and keep a last reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated:
            self.rewards.append(reward)
        return observation, reward, terminated, truncated, info


env = Record(mo_gym.make("HWGPT-MO-v0", device=arguments.device))
env.reset(seed=arguments.seed)
env.action_space.seed(arguments.seed)
evaluation = mo_gym.make("HWGPT-MO-v0", device=arguments.device)
low, high = env.unwrapped.reward_space.low, env.unwrapped.reward_space.high
settings = {"gamma": 1.0, "log": False, "seed": arguments.seed, "device": "cpu"}
schedule = {"total_timesteps": arguments.steps, "eval_env": evaluation, "ref_point": low}
explore = {"initial_epsilon": 1.0, "final_epsilon": 0.05, "epsilon_decay_steps": arguments.steps // 2}
small = {"net_arch": [128, 128], "batch_size": 64, "gradient_updates": 1}
few = {"num_eval_weights_for_front": 10, "num_eval_episodes_for_front": 1, "eval_freq": arguments.steps}
# morl-baselines prints a line for every few episodes.
with contextlib.redirect_stdout(io.StringIO()):
    if arguments.algorithm == "pcn":
        # The command is quality, relative latency and the decisions that are left, each brought to about 1.
        agent = PCN(env, scaling_factor=np.array([1.0, 1.0, 0.04]), **settings)
        agent.train(**schedule, max_return=high, num_er_episodes=200, max_buffer_size=200, num_step_episodes=20)
    elif arguments.algorithm == "gpi-ls":
        agent = GPILS(env, **small, **explore, **settings)
        agent.train(
            **schedule, **few, timesteps_per_iter=arguments.steps // 10, eval_mo_freq=arguments.steps, checkpoints=False
        )
    else:
        agent = Envelope(env, **small, **explore, **settings)
        agent.train(**schedule, **few)

# Rewards are to be great, losses to be small.
built = np.array(env.rewards)
box = Box(ideal=-high, reference=-low)
front = -np.array(env.unwrapped.pareto_front())
plain = Record(mo_gym.make("HWGPT-MO-v0", device=arguments.device))
plain.action_space.seed(arguments.seed)
while len(plain.rewards) < len(built):
    plain.reset(seed=None if plain.rewards else arguments.seed)
    while not plain.step(plain.action_space.sample())[2]:
        pass
ratios = [hypervolume_ratio(-np.array(rewards), front, box) for rewards in (plain.rewards, built)]
print(
    f"{len(built)} architectures: hypervolume ratio {ratios[1]:.4f}, at random {ratios[0]:.4f} (1 is the exact front)"
)
