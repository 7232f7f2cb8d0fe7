"""The catalogue of metrics: key, unit, what it depends on and which direction is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from hwgpt_gym.checks import check_list, check_type, echo, suggest


@dataclass(frozen=True)
class Metric:
    """A property of an architecture.

    Attributes:
        key: Its name in every interface; carries the unit where there is one.
        label: Its name as a person writes it, with the unit.
        unit: The unit's symbol, empty for pure numbers.
        kind: ``"quality"`` of the language model, or ``"cost"`` that a constraint can bound.
        per_device: Whether it depends on the device.
        lower_is_better: Its direction.
        description: What it is, in a sentence.
    """

    key: str
    label: str
    unit: str
    kind: Literal["quality", "cost"]
    per_device: bool
    lower_is_better: bool
    description: str

    def __str__(self) -> str:
        return self.key


METRICS: Final[dict[str, Metric]] = {
    metric.key: metric
    for metric in (
        Metric("perplexity", "Perplexity", "", "quality", False, True, "Validation perplexity on OpenWebText."),
        Metric(
            "accuracy",
            "Accuracy",
            "",
            "quality",
            False,
            False,
            "Share of next tokens that are right, OpenWebText.",
        ),
        Metric("latency_ms", "Latency (ms)", "ms", "cost", True, True, "Time of one forward pass of a batch."),
        Metric("energy_j", "Energy (J)", "J", "cost", True, True, "Energy of one forward pass of a batch."),
        Metric(
            "float16_memory_mb",
            "Memory, float16 (MB)",
            "MB",
            "cost",
            False,
            True,
            "Allocated GPU memory after a forward pass of a batch in float16; 1 MB = 10^6 bytes.",
        ),
        Metric(
            "bfloat16_memory_mb",
            "Memory, bfloat16 (MB)",
            "MB",
            "cost",
            False,
            True,
            "Allocated GPU memory after a forward pass of a batch in bfloat16; 1 MB = 10^6 bytes.",
        ),
        Metric("params", "Parameters", "", "cost", False, True, "Number of parameters of the GPT-2 model."),
        Metric(
            "flops",
            "FLOPs",
            "",
            "cost",
            False,
            True,
            "Floating-point operations of one forward pass of one sequence of 1,024 tokens.",
        ),
    )
}
"""All metrics by key."""

COST_METRICS: Final = tuple(key for key, metric in METRICS.items() if metric.kind == "cost")
"""The metrics that a constraint can bound."""

DEVICE_METRICS: Final = tuple(key for key, metric in METRICS.items() if metric.per_device)
"""The metrics that depend on the device."""

MEMORY_METRICS: Final = tuple(key for key in COST_METRICS if key.endswith("_memory_mb"))
"""The memories: measured, but not on every device."""


def get_metric(key: str, legal: Iterable[str] = METRICS) -> Metric:
    """Return a metric.

    Args:
        key: Its name.
        legal: The names to admit; all by default.

    Raises:
        ValueError: If it is not among the legal ones; the message names the nearest ones.
    """
    if legal is METRICS:
        names = list(METRICS)
    else:
        names = [check_type("legal", name, str, "a list of metrics") for name in check_list("legal", legal, "metrics")]
    if not isinstance(key, str) or key not in names:
        raise ValueError(f"unknown metric {echo(key)}: {suggest(key, names)}")
    return METRICS[key]
