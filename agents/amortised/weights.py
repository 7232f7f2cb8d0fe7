"""Policies in files: safetensors in half precision, with what the features are standardised by. Loads torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from hwgpt_gym.agents.amortised.features import CONTEXT, WIDTH, Features
from hwgpt_gym.agents.amortised.policy import AmortisedPolicy, make_network
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.files import replacing
from hwgpt_gym.search_space import get_search_space

SCHEMA: Final = "hwgpt_gym.amortised_policy.v1"
FOLDER: Final = Path(__file__).parent / "weights"
_METADATA: Final = "hwgpt_gym_amortised_policy"
_CENTRE, _DEVIATION = "features.centre", "features.deviation"


def shipped_path(scale: str) -> Path:
    """Return where the shipped policy of a scale is.

    Raises:
        ValueError: If there is no such scale.
    """
    return FOLDER / f"policy_{get_search_space(scale).scale}.safetensors"


@lru_cache
def load_pretrained(scale: str) -> AmortisedPolicy:
    """Load the shipped policy of a scale; loaded once and shared.

    Raises:
        ValueError: If there is no such scale, or the file is damaged.
        FileNotFoundError: If the package was installed without it.
    """
    return read_policy(shipped_path(scale))


def save_policy(policy: AmortisedPolicy, path: str | os.PathLike[str], notes: Mapping[str, Any]) -> None:
    """Write a policy in half precision, whole or not at all; the same policy gives the same bytes.

    Args:
        policy: The policy.
        path: Where to.
        notes: What is known of its training; anything JSON can hold.
    """
    from safetensors.torch import save

    tensors = {name: value.to(torch.float16).contiguous() for name, value in policy.network.state_dict().items()}
    standard = ((_CENTRE, policy.features.centre), (_DEVIATION, policy.features.deviation))
    tensors |= {name: torch.from_numpy(values.astype(np.float32)) for name, values in standard}
    document = {
        "schema": SCHEMA,
        "scale": policy.space.scale,
        "hidden": policy.network[0].out_features,
        "notes": dict(notes),
        "sha256": _digest(tensors),
    }
    content = save(tensors, metadata={_METADATA: json.dumps(document, sort_keys=True)})
    with replacing(path, parents=True) as temporary:
        temporary.write_bytes(content)


def read_policy(path: str | os.PathLike[str]) -> AmortisedPolicy:
    """Read a policy that :func:`save_policy` wrote, checking its SHA-256.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no policy, or damaged; the message names it.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no amortised policy at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is no amortised policy: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{path} has the schema {schema!r}, this version reads {SCHEMA!r}")
    if document.get("sha256") != _digest(tensors):
        raise ValueError(f"{path} is damaged: its weights do not have their checksum")
    centre, deviation = (tensors.pop(name, torch.empty(0)).numpy().astype(np.float64) for name in (_CENTRE, _DEVIATION))
    if centre.shape != (CONTEXT,) or deviation.shape != (CONTEXT,):
        raise ValueError(f"{path} lacks what its {WIDTH} features are standardised by")
    model = Benchmark(get_search_space(document["scale"]).scale, None).chain_model("perplexity")
    with torch.random.fork_rng():
        network = make_network(int(document["hidden"]))
    try:
        network.load_state_dict({name: value.to(torch.float32) for name, value in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit its description: {error}") from None
    return AmortisedPolicy(Features(model, centre, deviation), network)


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
