"""What the controls of a page show."""

from __future__ import annotations

from typing import Any

from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.explorer.state import State
from hwgpt_gym.explorer.tables import write_value
from hwgpt_gym.metrics import COST_METRICS, METRICS
from hwgpt_gym.objective import Limit


def show_controls(explorer: Explorer, state: State) -> dict[str, Any]:
    """Return what every control shows, by its id; ``None`` for what keeps what it has.

    Beside controls there are ``options`` (the costs that can be along the axis), ``names`` (of the devices), ``last``
    (the position of the front's last architecture), and of each cost whether its ``row`` is hidden and its ``readout``.
    """
    first, limits = state.devices[0], dict(state.limits)
    shown: dict[str, Any] = {
        "scale": state.scale,
        "devices": list(state.devices),
        "axis": state.axis,
        "cost": state.cost,
        "limited": list(limits),
        "along": None,
        "options": [{"label": METRICS[key].label, "value": key} for key in explorer.costs(state)],
        "names": ", ".join(explorer.devices[name].label for name in state.devices),
        "last": len(explorer.front(state.scale, first, state.cost).front) - 1,
    }
    for key in COST_METRICS:
        limit = limits.get(key)
        shown[f"row-{key}"] = limit is None
        shown[f"level-{key}"] = shown[f"number-{key}"] = shown[f"readout-{key}"] = None
        if limit is not None:
            level, value = resolve_limit(explorer, state, first, key, limit)
            # As fine as the slider and as a reader want it.
            shown[f"level-{key}"], shown[f"number-{key}"] = round(2.0 * level) / 2.0, float(f"{value:.6g}")
            shown[f"readout-{key}"] = write_limit(explorer, state, key, limit)
    return shown


def resolve_limit(explorer: Explorer, state: State, device: str, metric: str, limit: Limit) -> tuple[float, float]:
    """Return a limit as a quantile in percent, and in the metric's unit."""
    if isinstance(limit, str):
        level = float(limit[1:])
        return level, float(explorer.bench(state.scale, device).quantile(metric, level / 100.0))
    return 100.0 * explorer.level(state.scale, device, metric, limit), limit


def write_limit(explorer: Explorer, state: State, metric: str, limit: Limit) -> str:
    """Write a limit as a quantile and in its unit, on every device that is shown."""
    per_device = METRICS[metric].per_device and len(state.devices) > 1
    parts = []
    for name in state.devices if per_device else state.devices[:1]:
        level, value = resolve_limit(explorer, state, name, metric, limit)
        of_device = f" on {explorer.devices[name].label}" if per_device else ""
        parts.append(f"p{level:.4g} = {write_value(metric, value)}{of_device}")
    return ", ".join(parts)
