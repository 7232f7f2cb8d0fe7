"""Completion of what stands on the command line; only the catalogue that is asked for is loaded."""

from __future__ import annotations

import glob
from typing import Final

from hwgpt_gym.devices import DEVICES
from hwgpt_gym.metrics import COST_METRICS, METRICS
from hwgpt_gym.penalties import PENALTIES
from hwgpt_gym.search_space import SEARCH_SPACES

CONTEXTUAL: Final = "contextual_ppo"
"""PPO on many devices and limits at once; the other agents that train a policy are those of the registry."""

AMORTISED: Final = "amortised"
"""The policy for every device, limit and cost, taught by the exact solver."""


def complete_device(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a device, or the path of a profile."""
    from hwgpt_gym.onboarding.devices import SUFFIX, registered_devices

    shipped = [(name, device.label) for name, device in DEVICES.items() if name.startswith(incomplete.lower())]
    registered = [(name, "your own") for name in registered_devices() if name.startswith(incomplete)]
    paths = sorted(glob.glob(f"{glob.escape(incomplete)}*{SUFFIX}")) if incomplete else []
    return [*shipped, *registered, *((path, "a profile") for path in paths)]


def complete_devices(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a device, or ``all``."""
    return [*complete_device(incomplete), *([("all", "all devices")] if "all".startswith(incomplete.lower()) else [])]


def complete_scale(incomplete: str) -> list[tuple[str, str]]:
    """Complete a scale."""
    return [(scale, f"{space.size:.2e} architectures") for scale, space in SEARCH_SPACES.items() if incomplete in scale]


def complete_metric(incomplete: str) -> list[tuple[str, str]]:
    """Complete a metric."""
    return [(key, metric.description) for key, metric in METRICS.items() if key.startswith(incomplete)]


def complete_constraint(incomplete: str) -> list[str]:
    """Complete the metric of a constraint, and then a few quantiles."""
    metric, equals, _ = incomplete.partition("=")
    if equals:
        return [f"{metric}=p{level}" for level in (10, 30, 50, 70, 90) if f"{metric}=p{level}".startswith(incomplete)]
    return [f"{key}=" for key in COST_METRICS if key.startswith(metric)]


def complete_agent(incomplete: str) -> list[str]:
    """Complete the name of an agent."""
    from hwgpt_gym.agents import AGENTS

    return [name for name in AGENTS if name.startswith(incomplete)]


def trainable_agents() -> list[str]:
    """Return the names of the agents that train a policy which can be saved."""
    from hwgpt_gym.agents import AGENTS, Trainable

    return [*(name for name, kind in AGENTS.items() if issubclass(kind, Trainable)), CONTEXTUAL, AMORTISED]


def complete_trainable(incomplete: str) -> list[str]:
    """Complete the name of an agent that trains a policy which can be saved."""
    return [name for name in trainable_agents() if name.startswith(incomplete)]


def complete_suite(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a leaderboard's suite."""
    from hwgpt_gym.agents.leaderboard.suites import SUITES

    return [(name, suite.description) for name, suite in SUITES.items() if name.startswith(incomplete)]


def complete_penalty(incomplete: str) -> list[str]:
    """Complete the form of a penalty."""
    return [penalty for penalty in PENALTIES if penalty.startswith(incomplete)]
