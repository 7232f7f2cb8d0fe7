"""The names of tasks: what was searched for, on which device, by which weights.

``HWGPT-v0/s/a6000/latency_ms=p30/exact/1f0c…`` names the rules, the search space, the device, the limits, the penalty
and the fingerprint of the surrogates. Results of one name compare; those of another are of another task.
"""

from __future__ import annotations

from typing import Final

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.onboarding.devices import content_of
from hwgpt_gym.penalties import get_penalty
from hwgpt_gym.surrogates.store import load_surrogates

RULES: Final = "HWGPT-v0"
"""The environment whose rules a search obeys: a change of them makes a higher version, and other tasks."""

_DIGITS: Final = 12


def task_name(benchmark: Benchmark, objective: Objective, measured: bool = False) -> str:
    """Return the name of a task.

    Args:
        benchmark: The benchmark, of one device or none.
        objective: What is maximised.
        measured: Whether every evaluation is a measurement.

    Example:
        >>> task_name(Benchmark("s", "a6000"), Objective({"latency_ms": "p30"})).rpartition("/")[0]
        'HWGPT-v0/s/a6000/latency_ms=p30/exact'
    """
    content = content_of(benchmark.device)[:_DIGITS] if benchmark.device else ""
    device = benchmark.device.name if benchmark.device else "any"
    limits = [f"{metric}={limit}" for metric, limit in objective.constraints.items()]
    if objective.confidence is not None:
        limits.append(f"confidence={objective.confidence}")
    own = objective.weight == get_penalty(objective.penalty).default_weight
    parts = [
        RULES,
        benchmark.scale,
        f"{device}@{content}" if content else device,
        ",".join(limits) or "unlimited",
        objective.penalty if own else f"{objective.penalty}={objective.weight}",
    ]
    parts += ["measured"] * measured
    parts += [] if benchmark.world is None else [f"world{benchmark.world}"]
    # A profile's costs follow from its content; perplexity is that of the shipped surrogates.
    surrogates = load_surrogates(benchmark.scale) if content else benchmark.surrogates
    return "/".join([*parts, surrogates.fingerprint[:_DIGITS]])
