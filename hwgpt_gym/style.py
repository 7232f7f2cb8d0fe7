"""How every picture of the package looks: one palette, figures that belong to no window, files written whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hwgpt_gym.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK: Final = "#1f2933"
FAINT: Final = "#7b8794"
BLUE: Final = "#3f83b7"
AMBER: Final = "#e8a33d"
RED: Final = "#d64545"
GREEN: Final = "#2f9e6e"


def new_figure(width: float = 7.0, height: float = 4.5) -> Figure:
    """Return an empty figure that belongs to no window; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def label_end(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Write a line's name right of its last point, in its colour: no legend to look up."""
    axes.annotate(text, (x, y), (5, 0), textcoords="offset points", color=colour, fontsize=8, va="center")


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure in the format of the path's suffix, under a temporary name that is then renamed."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
