"""The format of policies' files. This module loads torch.

A file is safetensors with JSON metadata: weights, their checksum, and what is needed to build the network again.
Nothing in it is executed on loading.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

from hwgpt_gym.agents.tensor_files import check_finite, digest_of, read_description
from hwgpt_gym.checks import check_integer, check_type
from hwgpt_gym.devices import get_device
from hwgpt_gym.files import replacing
from hwgpt_gym.objective import Objective
from hwgpt_gym.search_space import get_search_space

SCHEMA: Final = "hwgpt-gym policy 1"
_METADATA: Final = "hwgpt_gym"
_SECOND_LAYER: Final = "mlp_extractor.policy_net.2.weight"


@dataclass(frozen=True)
class Description:
    """What a file says beside its weights.

    Attributes:
        scale: The search space.
        masked: Whether the policy takes action masks.
        hidden_size: Width of its hidden layers.
        context_columns: The number of columns of the observation that describe the context.
        notes: What training noted: among others the objective and the device, of policies for one.
        sha256: The checksum of description and weights; files of version 0.1 have none.
        schema: That of the file.

    Raises:
        ValueError: If something is not legal.
    """

    scale: str
    masked: bool
    hidden_size: int
    context_columns: int
    notes: dict[str, Any]
    sha256: str | None = None
    schema: str = SCHEMA
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    def __post_init__(self) -> None:
        get_search_space(self.scale)
        check_integer("hidden_size", self.hidden_size, 1)
        check_integer("context_columns", self.context_columns, 0)
        # A profile need not be on the machine that reads the policy; whoever evaluates there names a device.
        if "device" in self.notes and not self.notes.get("device_content"):
            get_device(self.notes["device"])
        check_type("the note 'settings'", self.notes.get("settings", {}), dict, "a dictionary")
        if "objective" in self.notes:
            Objective.from_dict(self.notes["objective"])


def write_policy(path: str | os.PathLike[str], description: Description, weights: Mapping[str, torch.Tensor]) -> None:
    """Write a policy's file, whole or not at all."""
    from safetensors.torch import save_file

    document = json.dumps(asdict(description) | {"sha256": _digest(description, weights)})
    with replacing(path) as temporary:
        save_file(dict(weights), temporary, metadata={_METADATA: document})


def read_policy(path: str | os.PathLike[str]) -> tuple[Description, dict[str, torch.Tensor]]:
    """Read a file that :func:`write_policy` wrote.

    Raises:
        ValueError: If it is no such file, or a damaged one.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ValueError(f"{path} is no file")
    try:
        with safe_open(path, framework="pt") as file:
            description = read_description(path, (file.metadata() or {}).get(_METADATA, "{}"), Description, SCHEMA)
            # Before memory is taken for a network of the size that is claimed: the file holds its greatest layer.
            size = file.get_slice(_SECOND_LAYER).get_shape()
            if size != [description.hidden_size] * 2:
                raise ValueError(f"{path} does not fit its description: hidden_size is not {description.hidden_size}")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no policy: {error}") from None
    if description.sha256 is not None and description.sha256 != _digest(description, weights):
        raise ValueError(f"{path} is damaged: description and weights do not have their checksum")
    check_finite(path, weights)
    return description, weights


def _digest(description: Description, weights: Mapping[str, torch.Tensor]) -> str:
    return digest_of(asdict(description) | {"sha256": None}, weights)
