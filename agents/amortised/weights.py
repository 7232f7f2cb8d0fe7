"""Policies in files: safetensors in half precision, with what the features are standardised by. Loads torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch

from hwgpt_gym.agents.amortised.features import CONTEXT, WIDTH, Features
from hwgpt_gym.agents.amortised.policy import AmortisedPolicy, make_network
from hwgpt_gym.agents.tensor_files import check_finite, digest_of, read_description
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.checks import check_integer
from hwgpt_gym.files import replacing
from hwgpt_gym.search_space import get_search_space

SCHEMA: Final = "hwgpt_gym.amortised_policy.v1"
FOLDER: Final = Path(__file__).parent / "weights"
_METADATA: Final = "hwgpt_gym_amortised_policy"
_CENTRE, _DEVIATION = "features.centre", "features.deviation"
_SECOND_LAYER: Final = "2.weight"


@dataclass(frozen=True)
class _Description:
    """What a file says beside its weights.

    Attributes:
        scale: The search space.
        hidden: Width of the hidden layers.
        notes: What is known of the training.
        sha256: The checksum of description and weights; of the weights alone in the first files.
        schema: That of the file.

    Raises:
        ValueError: If something is not legal.
    """

    scale: str
    hidden: int
    notes: dict[str, Any]
    sha256: str
    schema: str = SCHEMA
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    def __post_init__(self) -> None:
        get_search_space(self.scale)
        check_integer("hidden", self.hidden, 1)

    def checksum(self, tensors: Mapping[str, torch.Tensor]) -> str:
        """Return what ``sha256`` has to be."""
        return digest_of(asdict(self) | {"sha256": None}, tensors)


def shipped_path(scale: str) -> Path:
    """Return where the shipped policy of a scale is.

    Raises:
        ValueError: If there is no such scale.
    """
    return FOLDER / f"policy_{get_search_space(scale).scale}.safetensors"


def load_pretrained(scale: str) -> AmortisedPolicy:
    """Load the shipped policy of a scale; loaded once and shared.

    Raises:
        ValueError: If there is no such scale, or the file is damaged.
        FileNotFoundError: If the package was installed without it.
    """
    return _load_once(shipped_path(scale))


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
    # As a reader finds them: JSON has no tuples.
    plain = json.loads(json.dumps(dict(notes)))
    description = _Description(policy.space.scale, len(tensors[_SECOND_LAYER]), plain, "")
    document = asdict(description) | {"sha256": description.checksum(tensors)}
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
            description = read_description(path, (file.metadata() or {}).get(_METADATA, "{}"), _Description, SCHEMA)
            # Before memory is taken for a network of the size that is claimed: the file holds its greatest layer.
            if file.get_slice(_SECOND_LAYER).get_shape() != [description.hidden] * 2:
                raise ValueError(f"{path} does not fit its description: hidden is not {description.hidden}")
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no amortised policy: {error}") from None
    if description.sha256 not in (description.checksum(tensors), digest_of(None, tensors)):
        raise ValueError(f"{path} is damaged: description and weights do not have their checksum")
    check_finite(path, tensors)
    centre, deviation = (tensors.pop(name, torch.empty(0)).to(torch.float64).numpy() for name in (_CENTRE, _DEVIATION))
    if centre.shape != (CONTEXT,) or deviation.shape != (CONTEXT,):
        raise ValueError(f"{path} lacks what its {WIDTH} features are standardised by")
    model = Benchmark(description.scale, None).chain_model("perplexity")
    with torch.random.fork_rng():
        network = make_network(description.hidden)
    try:
        network.load_state_dict({name: value.to(torch.float32) for name, value in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit its description: {error}") from None
    return AmortisedPolicy(Features(model, centre, deviation), network)


_load_once = lru_cache(read_policy)
