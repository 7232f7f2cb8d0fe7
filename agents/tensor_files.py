"""What files of weights share: a checksum of all they say, and a description that is read through a schema.

Torch is loaded by whoever has tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from hwgpt_gym.checks import echo
from hwgpt_gym.files import first_problem

if TYPE_CHECKING:
    import torch

Described = TypeVar("Described")


def digest_of(description: Mapping[str, Any] | None, tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of a description that JSON can hold, if there is one, and of tensors of any type."""
    import torch

    digest = hashlib.sha256(b"" if description is None else json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        # As bytes: numpy does not have all types that a file may hold.
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_finite(path: object, tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that weights that were read are numbers.

    Raises:
        ValueError: If not.
    """
    import torch

    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise ValueError(f"{path} is damaged: not all of its weights are finite")


def read_description(path: object, text: str, kind: type[Described], schema: str) -> Described:
    """Return what a file's description says.

    Args:
        path: The file, for the message.
        text: The description, JSON.
        kind: A dataclass with the entries; pydantic reads it.
        schema: The version that its entry ``"schema"`` has to have.

    Raises:
        ValueError: If it is of another version, or an entry is missing, unknown or not legal.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    version = content.get("schema") if isinstance(content, dict) else None
    if version != schema:
        raise ValueError(f"{path} has the schema {echo(version)}, this version reads {schema!r}")
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {first_problem(error)}") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: its notes hold {error}") from None
