"""Tianshou's PPO, with information that its buffer can hold.

    pip install hwgpt-gym 'tianshou>=2'
    python examples/tianshou_ppo.py --device a6000 --epochs 5

Takes about 30 seconds of processor time.
"""

import argparse

import gymnasium as gym
import numpy as np
import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

from hwgpt_gym import Benchmark
from hwgpt_gym.envs.wrappers import NumericInfo
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000")
parser.add_argument("--limit", default="p50", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--epochs", type=int, default=5, help="of 8 updates each")
parser.add_argument("--episodes", type=int, default=64, help="architectures before each update")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
np.random.seed(arguments.seed)  # noqa: NPY002  # Tianshou draws from it.
torch.manual_seed(arguments.seed)
torch.set_num_threads(1)

constraint = {"latency_ms": arguments.limit}


def make_env() -> gym.Env:
    # Tianshou keeps every step's information in arrays: numbers only, always of the same keys, and no NaN.
    return NumericInfo(gym.make("HWGPT-v0", device=arguments.device, constraint=constraint), before_end=0.0)


LANES = 16
envs = DummyVectorEnv([make_env for _ in range(LANES)])
envs.seed(arguments.seed)
observation_space, action_space = make_env().observation_space, make_env().action_space

hidden = [128, 128]
actor = DiscreteActor(
    preprocess_net=Net(state_shape=observation_space.shape, hidden_sizes=hidden),
    action_shape=action_space.n,
    softmax_output=False,
)
critic = DiscreteCritic(preprocess_net=Net(state_shape=observation_space.shape, hidden_sizes=hidden))
policy = DiscreteActorPolicy(
    actor=actor, action_space=action_space, observation_space=observation_space, deterministic_eval=True
)
algorithm = PPO(
    policy=policy,
    critic=critic,
    optim=AdamOptimizerFactory(lr=2e-3),
    gamma=1.0,
    gae_lambda=1.0,
    ent_coef=0.005,
    max_batchsize=4096,
)
best_regret = np.inf


class Watch(Collector):
    """Remembers the best regret of all episodes."""

    def _collect(self, *given, **options):
        global best_regret
        stats = super()._collect(*given, **options)
        regrets = self.buffer.info.regret[self.buffer.done]
        best_regret = min(best_regret, float(regrets.min()))
        return stats


collector = Watch(algorithm, envs, VectorReplayBuffer(2 * 27 * arguments.episodes, LANES))
tester = Collector(algorithm, DummyVectorEnv([make_env]))
updates = 8
result = algorithm.run_training(
    OnPolicyTrainerParams(
        training_collector=collector,
        test_collector=tester,
        max_epochs=arguments.epochs,
        epoch_num_steps=updates * arguments.episodes * 25,
        collection_step_num_env_steps=None,
        collection_step_num_episodes=arguments.episodes,
        test_step_num_episodes=1,
        update_step_num_repetitions=4,
        batch_size=512,
        show_progress=False,
        verbose=False,
    )
)
optimum = solve(Benchmark("s", arguments.device), Objective(constraint)).reward
print(
    f"{result.train_episode} architectures: the best policy's mean regret {optimum - result.best_reward:.4f}, "
    f"best {best_regret:.4f}"
)
