"""Checkpoints of trainings: a network, its optimizer, and where a training stands, in one safetensors file.

Torch is loaded by the functions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from hwgpt_gym.files import replacing

if TYPE_CHECKING:
    import torch

CHECKPOINT: Final = "checkpoint.safetensors"
"""The name of a checkpoint in the folder of its training."""

_METADATA: Final = "hwgpt_gym_training"


def save_checkpoint(
    path: str | os.PathLike[str],
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    training: Mapping[str, Any],
    progress: Mapping[str, Any],
) -> None:
    """Write everything that a training goes on with, whole or not at all.

    Args:
        path: Where to.
        network: The network.
        optimizer: Its optimizer.
        training: Which training it is, such that JSON can hold it.
        progress: Where it stands, likewise.
    """
    from safetensors.torch import save_file

    state = optimizer.state_dict()["state"]
    tensors = {f"network.{name}": value.clone().contiguous() for name, value in network.state_dict().items()}
    tensors |= {f"optimizer.{index}.{key}": value for index, own in state.items() for key, value in own.items()}
    with replacing(path, parents=True) as temporary:
        save_file(tensors, temporary, metadata={_METADATA: json.dumps({"training": training, "progress": progress})})


def load_checkpoint(
    path: str | os.PathLike[str],
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Set network and optimizer to what :func:`save_checkpoint` wrote, and return where the training stood.

    Raises:
        ValueError: If the file is no checkpoint, or that of another training.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is no checkpoint: {error}") from None
    expected, own = json.loads(json.dumps(training)), document.get("training", {})
    differing = [f"{key} {own.get(key)!r}, not {value!r}" for key, value in expected.items() if own.get(key) != value]
    if differing or own.keys() != expected.keys():
        raise ValueError(f"{path} is the checkpoint of another training: {'; '.join(differing) or list(own)}")
    weights = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    network.load_state_dict(weights)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    progress: dict[str, Any] = document["progress"]
    return progress
