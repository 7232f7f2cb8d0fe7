"""One policy for every device, every limit and every cost: trained by the exact solver, shipped in the wheel.

Importing this package loads no torch; its functions do when they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwgpt_gym.agents.amortised.devices import UNSEEN, SyntheticDevices
from hwgpt_gym.agents.amortised.evaluation import Evaluation, evaluate
from hwgpt_gym.agents.amortised.recommend import Choice, Recommendation, recommend

if TYPE_CHECKING:
    from hwgpt_gym.agents.amortised.policy import AmortisedPolicy

__all__ = [
    "UNSEEN",
    "Choice",
    "Evaluation",
    "Recommendation",
    "SyntheticDevices",
    "evaluate",
    "load_pretrained",
    "recommend",
]


def load_pretrained(scale: str) -> AmortisedPolicy:
    """Load the shipped policy of a scale; loaded once and shared.

    Raises:
        ValueError: If there is no such scale, or the file is damaged.
        FileNotFoundError: If the package was installed without it.
    """
    from hwgpt_gym.agents.amortised.weights import load_pretrained

    return load_pretrained(scale)
