"""Registering the environments with Gymnasium."""

from __future__ import annotations

from typing import Final

ENV_IDS: Final = ("HWGPT-v0", "HWGPT-MO-v0", "HWGPT-Edit-v0")
"""The identifiers of the environments."""


def register_envs() -> None:
    """Register the environments; ``import hwgpt_gym`` does it, and doing it again changes nothing.

    The entry points are strings, so that registering loads no environment. The registered specifications are
    Gymnasium's: a process that has not imported this package makes ``"hwgpt_gym:HWGPT-v0"``.
    """
    from gymnasium.envs.registration import register, registry

    if "HWGPT-v0" not in registry:
        register(
            id="HWGPT-v0",
            entry_point="hwgpt_gym.envs.hwgpt:HWGPTEnv",
            vector_entry_point="hwgpt_gym.envs.vector:HWGPTVectorEnv",
        )
    if "HWGPT-MO-v0" not in registry:
        # Gymnasium's passive checker knows scalar rewards only.
        register(
            id="HWGPT-MO-v0",
            entry_point="hwgpt_gym.envs.multi_objective:HWGPTMultiObjectiveEnv",
            vector_entry_point="hwgpt_gym.envs.multi_objective:HWGPTMultiObjectiveVectorEnv",
            disable_env_checker=True,
        )
    if "HWGPT-Edit-v0" not in registry:
        register(
            id="HWGPT-Edit-v0",
            entry_point="hwgpt_gym.envs.edit:HWGPTEditEnv",
            vector_entry_point="hwgpt_gym.envs.edit:HWGPTEditVectorEnv",
        )
