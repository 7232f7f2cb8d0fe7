"""rl-zoo3 with MaskablePPO beside its own algorithms.

    pip install hwgpt-gym rl-zoo3
    python examples/rl_zoo3_train.py --algo ppo_mask

Takes rl-zoo3's options. Its own algorithms need no script, only the files of settings in `examples/rl_zoo3/`; this one
takes these by itself, and prints the regret of what was built. Takes about 17 seconds of processor time.
"""

import sys
from pathlib import Path

from rl_zoo3 import ALGOS
from rl_zoo3.train import train
from sb3_contrib import MaskablePPO
from stable_baselines3.common.monitor import load_results

# rl-zoo3's list of algorithms is a dictionary that may be added to. Masks come from the environment.
ALGOS["ppo_mask"] = MaskablePPO
algorithm = sys.argv[sys.argv.index("--algo") + 1] if "--algo" in sys.argv else "ppo"
defaults = {
    "--env": "HWGPT-v0",
    "--gym-packages": "hwgpt_gym",
    "--conf-file": str(Path(__file__).parent / "rl_zoo3" / f"{algorithm}.yml"),
    "--log-folder": "logs",
    "--eval-freq": "-1",
    "--verbose": "0",
}
for name, value in defaults.items():
    if name not in sys.argv:
        sys.argv += [name, value]
train()

# The newest run's episodes, as rl-zoo3's Monitor files keep them.
log_folder = Path(sys.argv[sys.argv.index("--log-folder") + 1])
newest = max(log_folder.rglob("*.monitor.csv"), key=lambda path: path.stat().st_mtime).parent
regrets = load_results(str(newest))["regret"].to_numpy()
print(f"{len(regrets)} architectures: mean regret {regrets[-100:].mean():.4f} in the end, best {regrets.min():.4f}")
