"""Checkpoints of trainings: a network, its optimizer, and where a training stands, in one safetensors file.

Torch is loaded by the functions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from hwgpt_gym.agents.tensor_files import digest_of
from hwgpt_gym.checks import echo
from hwgpt_gym.files import SEAL, read_json, replacing

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
    # As a reader finds it: JSON has no tuples.
    document = json.loads(json.dumps({"training": training, "progress": progress}))
    document[SEAL] = digest_of(document, tensors)
    with replacing(path, parents=True) as temporary:
        save_file(tensors, temporary, metadata={_METADATA: json.dumps(document)})


def load_checkpoint(
    path: str | os.PathLike[str],
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Set network and optimizer to what :func:`save_checkpoint` wrote, and return where the training stood.

    Raises:
        ValueError: If the file is no checkpoint, a damaged one, or that of another training.
    """
    document, tensors = _read(path)
    expected, own = json.loads(json.dumps(training)), document["training"]
    differing = [
        f"{key} {echo(own.get(key))}, not {echo(value)}" for key, value in expected.items() if own.get(key) != value
    ]
    if differing or own.keys() != expected.keys():
        raise ValueError(f"{path} is the checkpoint of another training: {'; '.join(differing) or echo(list(own))}")
    weights = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    state: dict[int, dict[str, torch.Tensor]] = {}
    try:
        network.load_state_dict(weights)
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is the checkpoint of another network: {error}") from None
    progress: dict[str, Any] = document["progress"]
    return progress


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return what a checkpoint says and its tensors; the first ones have no checksum."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            document = read_json(path, (file.metadata() or {}).get(_METADATA, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no checkpoint: {error}") from None
    parts = [document.get(key) for key in ("training", "progress")] if isinstance(document, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError(f"{path} is no checkpoint: it does not say of which training")
    if document.pop(SEAL, None) not in (None, digest_of(document, tensors)):
        raise ValueError(f"{path} is damaged: description and weights do not have their checksum")
    return document, tensors
