"""A Gymnasium environment over HW-GPT-Bench, with certified optima.

Importing this package registers the environments. It loads neither torch, Stable-Baselines3, pandas nor
matplotlib: what needs them imports them when it is called.
"""

from importlib.util import find_spec
from os.path import dirname
from typing import TYPE_CHECKING

if find_spec(f"{__name__}.envs") is None:
    # Python was started in a checkout and takes this folder for the installed package: envs/ and agents/ lie beside it.
    __path__.append(dirname(dirname(__file__)))

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.devices import DEVICES, Device
from hwgpt_gym.envs.registration import register_envs
from hwgpt_gym.metrics import METRICS, Metric, get_metric
from hwgpt_gym.objective import Objective
from hwgpt_gym.onboarding.devices import get_device, load_device, register_device
from hwgpt_gym.search_space import SEARCH_SPACES, Architecture, SearchSpace, get_search_space
from hwgpt_gym.version import __version__

if TYPE_CHECKING:
    from hwgpt_gym.optimum import pareto_front, solve

__all__ = [
    "DEVICES",
    "METRICS",
    "SEARCH_SPACES",
    "Architecture",
    "Benchmark",
    "Device",
    "Metric",
    "Objective",
    "SearchSpace",
    "__version__",
    "get_device",
    "get_metric",
    "get_search_space",
    "load_device",
    "pareto_front",
    "register_device",
    "solve",
]

_LAZY = {"pareto_front": "hwgpt_gym.optimum", "solve": "hwgpt_gym.optimum"}


def __getattr__(name: str) -> object:
    """Load what few need when it is asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


register_envs()
