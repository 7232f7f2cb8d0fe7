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
from hwgpt_gym.onboarding.devices import DEFAULT_SCALE, content_of, default_scale, get_device, reference_of
from hwgpt_gym.search_space import get_search_space
from hwgpt_gym.surrogates.cost_tables import SLOTS
from hwgpt_gym.synthetic_devices import POOL, check_parents, pool_names

DeviceArgument: TypeAlias = str | Sequence[str]
"""A device by name or by the path of its profile, several to draw from, ``"all"``, or ``"random"``: made-up ones."""

RANDOM: Final = "random"

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


class Pool(NamedTuple):
    """What makes a pool of devices that do not exist (:func:`hwgpt_gym.synthetic_devices.make_pool`).

    Attributes:
        seed: The seed.
        exclude: Shipped devices that are parents of none.
    """

    seed: int
    exclude: tuple[str, ...]


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
        pool: What the devices are made from if they do not exist, ``None`` if they do.
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
    pool: Pool | None = None

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
    pool: int | None = None,
    exclude: Sequence[str] | None = None,
    pool_seed: int | None = None,
    limited: bool = True,
) -> Settings:
    """Check the arguments of an environment; see :class:`hwgpt_gym.envs.hwgpt.HWGPTEnv`.

    ``limited`` says whether the constraint is one; otherwise costs are compared to its limits and nothing more, and may
    be as many as there are.

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
    if isinstance(device, str) and device.lower() == RANDOM:
        for name, value in (("noise", noise), ("confidence", confidence)):
            if value:
                raise ValueError(f"{name} must be left out with device='random': no such device was ever measured")
        references, several, default = pool_names(POOL if pool is None else pool), True, DEFAULT_SCALE
        contents, made = ("",) * len(references), _check_pool(exclude or (), pool_seed or 0)
    else:
        for name, item in (("pool", pool), ("exclude", exclude), ("pool_seed", pool_seed)):
            if item is not None:
                raise ValueError(f"{name} is for device='random', got {name}={echo(item)} with device={echo(device)}")
        devices, several = _check_devices(device)
        references, contents = tuple(map(reference_of, devices)), tuple(map(content_of, devices))
        default, made = default_scale(devices), None
    scale = get_search_space(default if scale is None else scale).scale
    if constraint is None:
        constraint = {}
    if not isinstance(constraint, Mapping):
        raise ValueError(f"constraint must map costs to limits, got {echo(constraint)}")
    limits = tuple(_check_limit(metric, limit) for metric, limit in constraint.items())
    # Objectives check what they are made of: both ends of every range, penalty and weight.
    checked = Objective({limit.metric: limit.low for limit in limits}, penalty, penalty_weight, confidence)
    Objective({limit.metric: limit.high for limit in limits}, penalty, penalty_weight)
    has_context = several or any(_is_range(limit) for limit in constraint.values())
    if has_context and limited and len(limits) > SLOTS:
        raise ValueError(
            f"constraint must limit at most {SLOTS} costs where devices or limits vary, as the observation has so many "
            f"slots for them, got {list(constraint)}"
        )
    return Settings(
        scale=scale,
        devices=references,
        contents=contents,
        constraint=limits,
        penalty=checked.penalty,
        weight=checked.weight,
        noise=noise,
        shaping=shaping,
        has_context=has_context,
        regret=not has_context if regret is None else regret,
        world=world,
        confidence=checked.confidence,
        pool=made,
    )


def _check_devices(device: DeviceArgument) -> tuple[tuple[Device, ...], bool]:
    """Return the devices, and whether an episode draws one of them."""
    if isinstance(device, str):
        if device.lower() == "all":
            return tuple(DEVICES.values()), True
        return (get_device(device),), False
    if not isinstance(device, Sequence) or not device or not all(isinstance(item, str) for item in device):
        raise ValueError(
            f"device must be a name or a path, a list of at least one of them, 'all' or 'random', got {echo(device)}: "
            "arguments of an environment must be such that JSON can hold them"
        )
    devices = tuple(map(get_device, device))
    names = [item.name for item in devices]
    if len(set(names)) < len(names):
        raise ValueError(f"device must not repeat a device, got {names}")
    return devices, True


def _check_pool(exclude: Sequence[str], seed: int) -> Pool:
    """Return what a pool is made from."""
    check_parents(exclude)
    return Pool(check_integer("pool_seed", seed, 0), tuple(exclude))


def _is_range(limit: Any) -> bool:
    return isinstance(limit, Sequence) and not isinstance(limit, str)


def _check_limit(metric: str, limit: Any) -> LimitRange:
    get_metric(metric, COST_METRICS)
    if not _is_range(limit):
        return LimitRange(metric, limit, limit)
    if len(limit) != 2:
        raise ValueError(f"constraint[{metric!r}] must be a limit or a range (low, high), got {echo(limit)}")
    return LimitRange(metric, *limit)
