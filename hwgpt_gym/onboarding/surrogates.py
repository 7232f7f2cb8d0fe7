"""Surrogates of any devices: those of shipped ones, and those that profiles hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from hwgpt_gym.devices import Device
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.onboarding.devices import ProfiledDevice
from hwgpt_gym.search_space import FloatArray
from hwgpt_gym.surrogates.cautious_cost import relative_covariance
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.noise_model import NoiseModel
from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER, Surrogates

ERRORS_FILE: Final = WEIGHTS_FOLDER / "errors.json"
"""The held-out relative errors of the shipped devices by scale, metric, device and width."""


def surrogates_of(shipped: Surrogates, devices: Sequence[Device]) -> Surrogates:
    """Return surrogates that know all of some devices.

    Args:
        shipped: The surrogates of the shipped devices.
        devices: The devices.

    Returns:
        ``shipped``, if they know all; else surrogates of just these devices, with the costs that all of them have.

    Raises:
        ValueError: If a device was not measured at the scale; the message says at which it was.
    """
    if not any(isinstance(device, ProfiledDevice) for device in devices):
        return shipped
    scale = shipped.space.scale
    for device in devices:
        if isinstance(device, ProfiledDevice) and scale not in device.metrics:
            raise ValueError(
                f"the device {device.name!r} was not measured at scale {scale!r}, but at {', '.join(device.metrics)}: "
                f"say scale={next(iter(device.metrics))!r}"
            )
    costs = {key: model for key, model in shipped.costs.items() if key not in DEVICE_METRICS}
    noise = {}
    for metric in DEVICE_METRICS:
        if all(metric in known_metrics(shipped, device) for device in devices):
            costs[metric] = _stack([_cost(shipped, device, metric) for device in devices])
            noise[metric] = _stack_noise([_noise(shipped, device, metric) for device in devices])
    return replace(shipped, costs=costs, noise=noise, devices=tuple(device.name for device in devices))


def known_metrics(shipped: Surrogates, device: Device) -> tuple[str, ...]:
    """Return the metrics that depend on the device and are known of it."""
    scale = shipped.space.scale
    return (
        device.metrics[scale] if isinstance(device, ProfiledDevice) else tuple(set(shipped.costs) & set(DEVICE_METRICS))
    )


def cost_covariance(surrogates: Surrogates, device: Device, metric: str, model: CountModel) -> FloatArray:
    """Return how well the terms of a device's cost are known, ``float64 (18, 5, 5)``.

    Of a shipped device the relative error depends on the embedding width alone: it is that on held-out architectures.

    Raises:
        ValueError: If the errors of a shipped device are not known.
    """
    if isinstance(device, ProfiledDevice):
        scale = surrogates.space.scale
        return device.profile.scales[scale].metrics[metric].posterior.term_covariance()
    errors = _errors(ERRORS_FILE).get(surrogates.space.scale, {}).get(metric, {})
    if device.name not in errors:
        raise ValueError(
            f"the held-out error of {metric} on {device.name!r} at {surrogates.space.scale!r} is not known"
        )
    return relative_covariance(model, np.array(errors[device.name]))


@lru_cache(maxsize=4)
def _errors(path: Path) -> dict[str, dict[str, dict[str, list[float]]]]:
    errors: dict[str, dict[str, dict[str, list[float]]]] = json.loads(path.read_text(encoding="utf-8"))["errors"]
    return errors


def _cost(shipped: Surrogates, device: Device, metric: str) -> CountModel:
    if isinstance(device, ProfiledDevice):
        return device.profile.scales[shipped.space.scale].metrics[metric].posterior.model
    return shipped.costs[metric][shipped.index_of(device.name)]


def _noise(shipped: Surrogates, device: Device, metric: str) -> NoiseModel:
    if isinstance(device, ProfiledDevice):
        return device.profile.scales[shipped.space.scale].metrics[metric].noise
    index, noise = shipped.index_of(device.name), shipped.noise[metric]
    return NoiseModel(noise.session[index : index + 1], noise.repeat[index : index + 1])


def _stack(models: Sequence[CountModel]) -> CountModel:
    parts = [np.stack([getattr(model, name) for model in models]) for name in CountModel.shapes()]
    return CountModel(models[0].space, *parts)


def _stack_noise(models: Sequence[NoiseModel]) -> NoiseModel:
    """Stack noise models; those that tell fewer ranks of sessions apart say the same for several."""
    ranks = int(np.lcm.reduce([model.repeat.shape[2] for model in models]))
    repeats = [np.repeat(model.repeat, ranks // model.repeat.shape[2], axis=2) for model in models]
    return NoiseModel(np.concatenate([model.session for model in models]), np.concatenate(repeats))
