"""The arguments of the environments, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from hwgpt_gym.checks import check_integer
from hwgpt_gym.devices import DEVICES, get_device
from hwgpt_gym.metrics import COST_METRICS, get_metric
from hwgpt_gym.objective import Limit, Objective
from hwgpt_gym.search_space import get_search_space

DeviceArgument: TypeAlias = str | Sequence[str]
"""A device by name, several to draw from, or ``"all"``."""

ConstraintArgument: TypeAlias = Mapping[str, Limit | Sequence[Limit]]
"""For each constrained cost its budget, or a range ``(low, high)`` to draw it from."""

DEFAULT_CONSTRAINT: Final[Mapping[str, Limit]] = {"latency_ms": "p50"}
"""The constraint of an environment that is given none: the median latency of the search space on its device."""


@dataclass(frozen=True)
class Settings:
    """What an environment's episodes are about; hashable, so that environments alike share one task.

    Attributes:
        scale: The search space.
        devices: The devices that episodes draw from.
        constraint: For each constrained cost the range of its budget; a fixed one has equal ends.
        penalty: What exceeding a budget costs.
        weight: How much.
        noise: Whether costs are measurements instead of predictions.
        shaping: Whether steps earn the change of a potential.
        has_context: Whether device or budgets vary, and stand in the observation.
        world: The posterior world that answers, ``None`` for the nominal models.
    """

    scale: str
    devices: tuple[str, ...]
    constraint: tuple[tuple[str, Limit, Limit], ...]
    penalty: str
    weight: float
    noise: bool
    shaping: bool
    has_context: bool
    world: int | None = None

    @property
    def lowest(self) -> Objective:
        """The objective with the low end of every budget."""
        return Objective({metric: low for metric, low, _ in self.constraint}, self.penalty, self.weight)

    @property
    def highest(self) -> Objective:
        """The objective with the high end of every budget."""
        return Objective({metric: high for metric, _, high in self.constraint}, self.penalty, self.weight)


def make_settings(
    device: DeviceArgument,
    scale: str,
    constraint: ConstraintArgument | None,
    penalty: str,
    penalty_weight: float | None,
    shaping: bool,
    noise: bool,
    world: int | None = None,
) -> Settings:
    """Check the arguments of an environment; see :class:`hwgpt_gym.envs.hwgpt.HWGPTEnv`.

    Raises:
        ValueError: If one is not legal; the message names it, its value and what is.
    """
    get_search_space(scale)
    for name, flag in (("shaping", shaping), ("noise", noise)):
        if not isinstance(flag, bool):
            raise ValueError(f"{name} must be True or False, got {flag!r}")
    if world is not None:
        check_integer("world", world, 0)
    devices, several = _check_devices(device)
    if constraint is None:
        constraint = DEFAULT_CONSTRAINT
    if not isinstance(constraint, Mapping):
        raise ValueError(f"constraint must map costs to budgets, got {constraint!r}")
    ranges = {metric: _check_range(metric, budget) for metric, budget in constraint.items()}
    settings = Settings(
        scale=scale,
        devices=devices,
        constraint=tuple((metric, *ends) for metric, ends in ranges.items()),
        penalty=penalty,
        weight=penalty_weight,  # type: ignore[arg-type]
        noise=noise,
        shaping=shaping,
        has_context=several or any(_is_range(budget) for budget in constraint.values()),
        world=world,
    )
    checked = settings.lowest
    _ = settings.highest
    object.__setattr__(settings, "weight", checked.weight)
    return settings


def _check_devices(device: DeviceArgument) -> tuple[tuple[str, ...], bool]:
    """Return the names of the devices, and whether an episode draws one of them."""
    if isinstance(device, str):
        if device.lower() == "all":
            return tuple(DEVICES), True
        return (get_device(device).name,), False
    if not isinstance(device, Sequence) or not device:
        raise ValueError(f"device must be a name, a list of at least one name, or 'all', got {device!r}")
    names = tuple(get_device(name).name for name in device)
    if len(set(names)) < len(names):
        raise ValueError(f"device must not repeat a device, got {list(names)}")
    return names, True


def _is_range(budget: Any) -> bool:
    return isinstance(budget, Sequence) and not isinstance(budget, str)


def _check_range(metric: str, budget: Any) -> tuple[Limit, Limit]:
    get_metric(metric, COST_METRICS)
    if not _is_range(budget):
        return budget, budget
    if len(budget) != 2:
        raise ValueError(f"constraint[{metric!r}] must be a budget or a range (low, high), got {budget!r}")
    low, high = budget
    return low, high
