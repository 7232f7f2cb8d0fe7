"""Other libraries' spaces and problems over the same architectures.

Every bridge is a module of its own that imports its library; a name of this package imports the module behind it when
it is first asked for, so that importing ``hwgpt_gym.interop`` needs none of the libraries.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hwgpt_gym.interop.configspace import configspace_configurations, from_configspace, to_configspace
    from hwgpt_gym.interop.configurations import decision_values, from_configurations, to_configurations
    from hwgpt_gym.interop.dataframe import to_dataframe, write_parquet
    from hwgpt_gym.interop.lists import ListInterface
    from hwgpt_gym.interop.optuna import OptunaObjective, suggest
    from hwgpt_gym.interop.pymoo import ArchitectureProblem, operators
    from hwgpt_gym.interop.syne_tune import ArchitectureBlackbox, CrowdedRanks, blackboxes

__all__ = [
    "ArchitectureBlackbox",
    "ArchitectureProblem",
    "CrowdedRanks",
    "ListInterface",
    "OptunaObjective",
    "blackboxes",
    "configspace_configurations",
    "decision_values",
    "from_configspace",
    "from_configurations",
    "operators",
    "suggest",
    "to_configspace",
    "to_configurations",
    "to_dataframe",
    "write_parquet",
]

_MODULES: Final = {
    "configspace": ("configspace_configurations", "from_configspace", "to_configspace"),
    "configurations": ("decision_values", "from_configurations", "to_configurations"),
    "dataframe": ("to_dataframe", "write_parquet"),
    "lists": ("ListInterface",),
    "optuna": ("OptunaObjective", "suggest"),
    "pymoo": ("ArchitectureProblem", "operators"),
    "syne_tune": ("ArchitectureBlackbox", "CrowdedRanks", "blackboxes"),
}
"""The names of each module."""

_EXTRAS: Final = {"configspace": "configspace", "syne_tune": "syne-tune"}
"""The extra of hwgpt-gym that brings a module's library, where it is not installed anyway."""


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            try:
                return getattr(import_module(f"{__name__}.{module}"), name)
            except ModuleNotFoundError as error:
                if module not in _EXTRAS:
                    raise
                hint = f"{error}: {name} needs it, pip install 'hwgpt-gym[{_EXTRAS[module]}]'"
                raise ModuleNotFoundError(hint, name=error.name) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
