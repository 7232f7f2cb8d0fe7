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
_Stamp = tuple[npt.NDArray[np.float32], int, int]
"""The ink of a text, ``float32 (height, width, 1)`` in [0, 1], and where its left and top lie from the text's place."""
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
        self._texts: list[tuple[tuple[int, int], _Stamp, tuple[int, ...]]] = []

    def text(
        self, x: float, y: float, text: str, *, size: float, color: str, weight: str = "normal", ha: str = "left"
    ) -> None:
        """Write a line of text on a base line; it covers all shapes."""
        stamp = _stamp(text, size, weight, _ANCHORS[ha])
        self._texts.append(((round(x), round(self._height - y)), stamp, _pixel(color)))

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
        pixels = np.asarray(self._renderer.buffer_rgba())[..., :3].copy()
        for (x, y), (alpha, left, top), ink in self._texts:
            # What lies outside is cut off.
            above, beside = max(0, -(y + top)), max(0, -(x + left))
            ground = pixels[y + top + above :, x + left + beside :][: len(alpha) - above, : alpha.shape[1] - beside]
            share = alpha[above:, beside:][: len(ground), : ground.shape[1]]
            ground[:] = np.rint(ground + (np.array(ink) - ground) * share)
        return pixels


@lru_cache(maxsize=4096)
def _stamp(text: str, size: float, weight: str, anchor: str) -> _Stamp:
    """Return the ink of a text: frames repeat most of theirs."""
    font = _font(size, weight)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text, anchor=anchor))
    image = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=font, anchor=anchor)
    return np.asarray(image, dtype=np.float32)[..., None] / 255.0, left, top


@lru_cache
def _font(size: float, weight: str) -> ImageFont.FreeTypeFont:
    """Return Matplotlib's font of a size in points."""
    path = findfont(FontProperties(family="DejaVu Sans", weight=weight))
    return ImageFont.truetype(path, size * _POINT, layout_engine=ImageFont.Layout.BASIC)


@lru_cache
def _pixel(color: str) -> tuple[int, ...]:
    return tuple(round(255.0 * part) for part in to_rgb(color))
