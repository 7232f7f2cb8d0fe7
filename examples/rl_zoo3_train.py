"""rl-zoo3 with MaskablePPO beside its own algorithms.

    pip install hwgpt-gym rl-zoo3
    python examples/rl_zoo3_train.py --algo ppo_mask --conf-file examples/rl_zoo3/ppo_mask.yml

Takes rl-zoo3's options. Its own algorithms need no script, only the files of settings in `examples/rl_zoo3/`; this one
also prints the regret of what was built. Takes about a minute on 2 cores.
"""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
from rl_zoo3 import ALGOS
from rl_zoo3.train import train
from sb3_contrib import MaskablePPO
from stable_baselines3.common.monitor import load_results

import hwgpt_gym  # noqa: F401  # registers the environments
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

# rl-zoo3's list of algorithms is a dictionary that may be added to. Masks come from the environment.
ALGOS["ppo_mask"] = MaskablePPO
defaults = {"--env": "HWGPT-v0", "--log-folder": "logs", "--eval-freq": "-1", "--verbose": "0"}
for name, value in defaults.items():
    if name not in sys.argv:
        sys.argv += [name, value]
train()

# The newest run's episodes, as rl-zoo3's Monitor files keep them.
log_folder = Path(sys.argv[sys.argv.index("--log-folder") + 1])
newest = max(log_folder.rglob("*.monitor.csv"), key=lambda path: path.stat().st_mtime).parent
returns = load_results(str(newest))["r"].to_numpy()
bench = gym.make("HWGPT-v0").unwrapped.bench
optimum = solve(bench, Objective({"latency_ms": "p50"})).reward
last = np.mean(optimum - returns[-100:])
print(f"{len(returns)} architectures: mean regret of the last hundred {last:.4f}, best {optimum - returns.max():.4f}")
