"""RLlib's PPO with action masks over the native vector environment, on several workers.

    pip install 'hwgpt-gym[ray]'
    python examples/rllib_ppo.py --device a6000 --iterations 15

Takes about 28 seconds of processor time.
"""

import argparse

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
from ray.tune.registry import register_env

from hwgpt_gym import Benchmark
from hwgpt_gym.envs.rllib import env_creator
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000")
parser.add_argument("--limit", default="p50", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--iterations", type=int, default=15)
parser.add_argument("--decisions", type=int, default=4000, help="before each update")
parser.add_argument("--runners", type=int, default=2, help="processes that build architectures")
parser.add_argument("--lanes", type=int, default=8, help="architectures that a process builds side by side")
parser.add_argument("--scalar", action="store_true", help="scalar environments, one a lane")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

constraint = {"latency_ms": arguments.limit}
register_env("hwgpt", env_creator)
ray.init(num_cpus=arguments.runners + 1, include_dashboard=False, log_to_driver=False)
config = (
    PPOConfig()
    .environment("hwgpt", env_config={"device": arguments.device, "constraint": constraint, "masks": True})
    .env_runners(
        num_env_runners=arguments.runners,
        num_envs_per_env_runner=arguments.lanes,
        gym_env_vectorize_mode="sync" if arguments.scalar else "vector_entry_point",
    )
    .rl_module(
        rl_module_spec=RLModuleSpec(
            module_class=ActionMaskingTorchRLModule,
            model_config={"fcnet_hiddens": [128, 128], "head_fcnet_hiddens": []},
        )
    )
    .training(lr=1e-3, gamma=1.0, lambda_=1.0, train_batch_size=arguments.decisions, num_epochs=8)
    .training(minibatch_size=min(500, arguments.decisions))
    .debugging(seed=arguments.seed)
)
algorithm = config.build_algo()
optimum = solve(Benchmark("s", arguments.device), Objective(constraint)).reward
best, architectures = -float("inf"), 0
for _ in range(arguments.iterations):
    results = algorithm.train()["env_runners"]
    best, architectures = max(best, results["episode_return_max"]), results["num_episodes_lifetime"]
print(
    f"{architectures} architectures: mean regret {optimum - results['episode_return_mean']:.4f}, "
    f"best {optimum - best:.4f}"
)
algorithm.stop()
ray.shutdown()
