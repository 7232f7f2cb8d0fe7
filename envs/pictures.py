"""Pictures of one architecture, as the environment draws it: text, a frame, a film of its construction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hwgpt_gym.objective import Objective
from hwgpt_gym.search_space import Architecture

if TYPE_CHECKING:
    from hwgpt_gym.envs.hwgpt import HWGPTEnv


def picture_frames(
    architecture: Architecture, device: str, objective: Objective, *, last_only: bool = True
) -> list[npt.NDArray[np.uint8]]:
    """Return pictures of an architecture as the environment draws it.

    Args:
        architecture: The architecture.
        device: The device.
        objective: Whose limits the picture shows.
        last_only: Only the complete architecture, not every decision on the way.

    Returns:
        Frames, each ``uint8 (540, 960, 3)``.
    """
    env = _make_env(architecture, device, objective, "rgb_array")
    env.reset()
    frames = [] if last_only else [env.render()]
    actions = _actions(architecture)
    for i, action in enumerate(actions):
        env.step(action)
        if not last_only or i == len(actions) - 1:
            frames.append(env.render())
    return frames


def text_of(architecture: Architecture, device: str, objective: Objective) -> str:
    """Return the text that the environment renders of an architecture."""
    env = _make_env(architecture, device, objective, "ansi")
    env.reset()
    for action in _actions(architecture):
        env.step(action)
    text: str = env.render()
    return text


def save_architecture(architecture: Architecture, device: str, objective: Objective, path: Path) -> None:
    """Draw an architecture: a picture, or with the suffix ``.gif`` a film of its construction.

    Raises:
        ValueError: If the suffix is no format of pictures.
    """
    from PIL import Image

    from hwgpt_gym.files import replacing

    if path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"a picture needs a suffix such as .png, .jpg or .gif, got {str(path)!r}")
    film = path.suffix.lower() == ".gif"
    frames = [Image.fromarray(frame) for frame in picture_frames(architecture, device, objective, last_only=not film)]
    with replacing(path) as temporary:
        if film:
            durations = [200] * (len(frames) - 1) + [3000]
            frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=durations, loop=0)
        else:
            frames[0].save(temporary)


def _make_env(architecture: Architecture, device: str, objective: Objective, render_mode: str) -> HWGPTEnv:
    from hwgpt_gym.envs.hwgpt import HWGPTEnv

    return HWGPTEnv(
        device,
        architecture.scale,
        dict(objective.constraints),
        objective.penalty,
        objective.weight,
        render_mode=render_mode,
        confidence=objective.confidence,
    )


def _actions(architecture: Architecture) -> list[int]:
    """Return the decisions that build an architecture."""
    row = architecture.encode()[0]
    return [int(choice) for choice in row if choice >= 0]
