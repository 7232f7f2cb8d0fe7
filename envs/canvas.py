"""A canvas to draw frames on: Matplotlib's shapes without its figure, and text that is set by Pillow.

A figure lays out and renders every text anew, which takes most of a frame's time. Here shapes go straight to
Matplotlib's renderer, and texts onto its pixels, in Matplotlib's own font. The methods are those of Matplotlib's
``Axes`` that frames need, with one unit a pixel and the origin at the lower left.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw, ImageFont

_DPI: Final = 100.0
_POINT: Final = _DPI / 72.0
_ANCHORS: Final = {"left": "ls", "center": "ms", "right": "rs"}


class Canvas:
    """A picture of given size and ground.

    Args:
        width: In pixels.
        height: In pixels.
        ground: The colour of the ground.
    """

    def __init__(self, width: int, height: int, ground: str) -> None:
        self._height = height
        self._renderer: Any = RendererAgg(width, height, _DPI)  # type: ignore[no-untyped-call]
        np.asarray(self._renderer.buffer_rgba())[:] = (*_pixel(ground), 255)  # type: ignore[no-untyped-call]
        # Nothing is drawn on it: artists ask it how large the picture is.
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        self._shapes: list[Artist] = []
        self._texts: list[tuple[tuple[float, float], str, dict[str, Any]]] = []

    def text(
        self, x: float, y: float, text: str, *, size: float, color: str, weight: str = "normal", ha: str = "left"
    ) -> None:
        """Write a line of text on a base line; it covers all shapes."""
        style = {"fill": _pixel(color), "font": _font(size, weight), "anchor": _ANCHORS[ha]}
        self._texts.append(((x, self._height - y), text, style))

    def plot(self, x: list[float], y: list[float], *, color: str, linewidth: float) -> None:
        """Draw a line."""
        self._shapes.append(Line2D(x, y, color=color, linewidth=linewidth))

    def add_patch(self, patch: Artist) -> None:
        """Draw a shape."""
        self._shapes.append(patch)

    def add_collection(self, collection: Artist) -> None:
        """Draw shapes of one kind."""
        self._shapes.append(collection)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Return the picture, ``uint8 (height, width, 3)``."""
        # As in a figure, lines cover surfaces.
        for shape in sorted(self._shapes, key=lambda shape: shape.get_zorder()):
            shape.set_figure(self._figure)
            shape.set_transform(Affine2D())
            shape.draw(self._renderer)
        image = Image.fromarray(np.asarray(self._renderer.buffer_rgba())[..., :3].copy())
        draw = ImageDraw.Draw(image)
        for place, text, style in self._texts:
            draw.text(place, text, **style)
        return np.array(image)


@lru_cache
def _font(size: float, weight: str) -> ImageFont.FreeTypeFont:
    """Return Matplotlib's font of a size in points."""
    path = findfont(FontProperties(family="DejaVu Sans", weight=weight))
    return ImageFont.truetype(path, size * _POINT, layout_engine=ImageFont.Layout.BASIC)


@lru_cache
def _pixel(color: str) -> tuple[int, ...]:
    return tuple(round(255.0 * part) for part in to_rgb(color))
