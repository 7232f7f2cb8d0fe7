"""The arguments of the environments, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from hwgpt_gym.checks import check_integer, echo
from hwgpt_gym.devices import DEVICES, Device
from hwgpt_gym.metrics import COST_METRICS, get_metric
from hwgpt_gym.objective import DEFAULT_PENALTY, Limit, Objective
from hwgpt_gym.onboarding.devices import content_of, default_scale, get_device, reference_of
from hwgpt_gym.search_space import get_search_space

DeviceArgument: TypeAlias = str | Sequence[str]
"""A device by name or by the path of its profile, several to draw from, or ``"all"``."""

ConstraintArgument: TypeAlias = Mapping[str, Limit | Sequence[Limit]]
"""For each constrained cost its limit, or a range ``(low, high)`` to draw it from."""

DEFAULT_CONSTRAINT: Final[Mapping[str, Limit]] = MappingProxyType({"latency_ms": "p50"})
"""The constraint of an environment that is not told which: the median latency of the search space on its device."""


class LimitRange(NamedTuple):
    """The limit of a cost, or the range that it is drawn from.

    Attributes:
        metric: The cost.
        low: The low end, a number in the metric's unit or a quantile of the search space.
        high: The high end; that of a fixed limit is the low one.
    """

    metric: str
    low: Limit
    high: Limit


@dataclass(frozen=True)
class Settings:
    """What an environment's episodes are about; hashable, so that environments alike share one task.

    Attributes:
        scale: The search space.
        devices: What names the devices that episodes draw from: names, and absolute paths of profiles.
        contents: The SHA-256 of each device's profile, empty for a shipped device.
        constraint: The limits of costs.
        penalty: What exceeding a limit costs.
        weight: How much.
        noise: Whether costs are measurements instead of predictions.
        shaping: Whether steps earn the change of a potential.
        has_context: Whether device or limits vary, and stand in the observation.
        regret: Whether the end of an episode is compared with its optimum.
        world: The posterior world that answers, ``None`` for the nominal models.
        confidence: With which each limit is to hold, ``None`` without a margin.
    """

    scale: str
    devices: tuple[str, ...]
    contents: tuple[str, ...]
    constraint: tuple[LimitRange, ...]
    penalty: str
    weight: float
    noise: bool
    shaping: bool
    has_context: bool
    regret: bool
    world: int | None = None
    confidence: float | None = None

    @property
    def constrained(self) -> tuple[str, ...]:
        """The constrained costs."""
        return tuple(limit.metric for limit in self.constraint)

    @property
    def lowest(self) -> Objective:
        """The objective with the low end of every limit."""
        return self._objective({limit.metric: limit.low for limit in self.constraint})

    @property
    def highest(self) -> Objective:
        """The objective with the high end of every limit."""
        return self._objective({limit.metric: limit.high for limit in self.constraint})

    def _objective(self, limits: Mapping[str, Limit]) -> Objective:
        return Objective(limits, self.penalty, self.weight, self.confidence)


def make_settings(
    device: DeviceArgument = "a6000",
    scale: str | None = None,
    constraint: ConstraintArgument | None = DEFAULT_CONSTRAINT,
    *,
    penalty: str = DEFAULT_PENALTY,
    penalty_weight: float | None = None,
    shaping: bool = False,
    noise: bool = False,
    regret: bool | None = None,
    world: int | None = None,
    confidence: float | None = None,
) -> Settings:
    """Check the arguments of an environment; see :class:`hwgpt_gym.envs.hwgpt.HWGPTEnv`.

    Raises:
        ValueError: If one is not legal; the message names it, its value and what is.
    """
    for name, flag in (("shaping", shaping), ("noise", noise)):
        if not isinstance(flag, bool):
            raise ValueError(f"{name} must be True or False, got {echo(flag)}")
    if regret is not None and not isinstance(regret, bool):
        raise ValueError(f"regret must be True, False or None, got {echo(regret)}")
    if world is not None:
        check_integer("world", world, 0)
    devices, several = _check_devices(device)
    scale = get_search_space(default_scale(devices) if scale is None else scale).scale
    if constraint is None:
        constraint = {}
    if not isinstance(constraint, Mapping):
        raise ValueError(f"constraint must map costs to limits, got {echo(constraint)}")
    limits = tuple(_check_limit(metric, limit) for metric, limit in constraint.items())
    # Objectives check what they are made of: both ends of every range, penalty and weight.
    checked = Objective({limit.metric: limit.low for limit in limits}, penalty, penalty_weight, confidence)
    Objective({limit.metric: limit.high for limit in limits}, penalty, penalty_weight)
    has_context = several or any(_is_range(limit) for limit in constraint.values())
    return Settings(
        scale=scale,
        devices=tuple(map(reference_of, devices)),
        contents=tuple(map(content_of, devices)),
        constraint=limits,
        penalty=checked.penalty,
        weight=checked.weight,
        noise=noise,
        shaping=shaping,
        has_context=has_context,
        regret=not has_context if regret is None else regret,
        world=world,
        confidence=checked.confidence,
    )


def _check_devices(device: DeviceArgument) -> tuple[tuple[Device, ...], bool]:
    """Return the devices, and whether an episode draws one of them."""
    if isinstance(device, str):
        if device.lower() == "all":
            return tuple(DEVICES.values()), True
        return (get_device(device),), False
    if not isinstance(device, Sequence) or not device or not all(isinstance(item, str) for item in device):
        raise ValueError(
            f"device must be a name or a path, a list of at least one of them, or 'all', got {echo(device)}: "
            "arguments of an environment must be such that JSON can hold them"
        )
    devices = tuple(map(get_device, device))
    names = [item.name for item in devices]
    if len(set(names)) < len(names):
        raise ValueError(f"device must not repeat a device, got {names}")
    return devices, True


def _is_range(limit: Any) -> bool:
    return isinstance(limit, Sequence) and not isinstance(limit, str)


def _check_limit(metric: str, limit: Any) -> LimitRange:
    get_metric(metric, COST_METRICS)
    if not _is_range(limit):
        return LimitRange(metric, limit, limit)
    if len(limit) != 2:
        raise ValueError(f"constraint[{metric!r}] must be a limit or a range (low, high), got {echo(limit)}")
    return LimitRange(metric, *limit)
