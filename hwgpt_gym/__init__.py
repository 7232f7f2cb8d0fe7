"""A Gymnasium environment over HW-GPT-Bench, with certified optima.

Importing this package registers the environments. It loads neither torch, Stable-Baselines3, pandas nor
matplotlib: what needs them imports them when it is called.
"""

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.devices import DEVICES, Device, get_device
from hwgpt_gym.envs.registration import register_envs
from hwgpt_gym.metrics import METRICS, Metric, get_metric
from hwgpt_gym.search_space import SEARCH_SPACES, Architecture, SearchSpace, get_search_space
from hwgpt_gym.version import __version__

__all__ = [
    "DEVICES",
    "METRICS",
    "SEARCH_SPACES",
    "Architecture",
    "Benchmark",
    "Device",
    "Metric",
    "SearchSpace",
    "__version__",
    "get_device",
    "get_metric",
    "get_search_space",
]

register_envs()
