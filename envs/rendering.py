"""Pictures of an episode: text, an array of pixels, a window.

The layers are blocks as wide as their MLP and as high as their attention; beside them stand the predicted costs against
their budgets, and at the end the result against the exact optimum. Matplotlib is loaded with this module, which is
loaded by the first picture.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from hwgpt_gym.envs.view import Gauge, View, view_of

__all__ = ["Window", "draw_frame", "draw_text", "view_of"]

WIDTH: Final = 960
HEIGHT: Final = 540

_PAPER, _INK, _FAINT, _TRACK = "#fbfaf7", "#1f2933", "#7b8794", "#e4e7eb"
_GOOD, _BAD, _ACCENT = "#2f9e6e", "#d64545", "#e8a33d"
_BLUES: Final = LinearSegmentedColormap.from_list("layers", ["#a9d0e8", "#3f83b7", "#14406b"])
_STAGE: Final = (44.0, 118.0, 572.0, 262.0)
"""Where the layers stand: left, bottom, width, height."""
_PANEL: Final = (668.0, 248.0)
"""Where the gauges stand: left, width."""
_FULL_SCALE: Final = 1.6
"""The multiple of its budget that a gauge shows."""


def draw_text(view: View) -> str:
    """Draw an episode as text of a few lines."""
    layers = [["·" if value is None else value for value in layer] for layer in view.layers]
    ratios, heads = zip(*layers, strict=True)
    rows = {"layer": range(1, len(layers) + 1), "mlp_ratio": ratios, "n_head": heads}
    kind = "reached" if view.complete else "predicted"
    lines = [
        f"Scale {view.space.scale} on {view.device}: {view.headline}",
        f"embed_dim {view.embed_dim}  n_layer {view.n_layer}  bias {view.bias}",
        *(f"{name:<10}" + "".join(f"{value!s:>3}" for value in values) for name, values in rows.items()),
        f"perplexity {view.perplexity:.2f} ({kind})",
        f"quality {view.result.quality:.3f}",
    ]
    if view.result_name != "quality":
        lines[-1] += f", {view.result_name} {view.result.reward:.3f}"
    for gauge in view.gauges:
        verdict = "within" if gauge.ratio <= 1.0 else "over"
        amounts = f"{_short(gauge.value)} of {_short(gauge.budget)}"
        lines.append(f"{gauge.label} {amounts}: {verdict} {view.reference} ({gauge.ratio:.0%})")
    if view.optimum is not None:
        regret = view.optimum.reward - view.result.reward
        lines.append(f"exact optimum {view.optimum.reward:.3f}, regret {regret:.3f}")
    return "\n".join(lines) + "\n"


def draw_frame(view: View) -> npt.NDArray[np.uint8]:
    """Draw an episode as pixels, ``uint8 (540, 960, 3)``."""
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor=_PAPER)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.axis("off")
    _draw_title(axes, view)
    _draw_layers(axes, view)
    _draw_panel(axes, view)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


class Window:
    """A window that shows an episode. Without a display there is none, and showing does nothing."""

    def __init__(self) -> None:
        import matplotlib.pyplot as plt

        self._figure = plt.figure("hwgpt-gym", figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
        self._interactive = self._figure.canvas.required_interactive_framework is not None
        if not self._interactive:
            logging.getLogger(__name__).warning("there is no display to show the environment on")
        axes = self._figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.axis("off")
        self._image = axes.imshow(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8), aspect="auto")

    def show(self, view: View, frames_per_second: float) -> None:
        """Draw an episode and show it for as long as a frame lasts."""
        if self._interactive:
            import matplotlib.pyplot as plt

            self._image.set_data(draw_frame(view))
            plt.pause(1.0 / frames_per_second)

    def close(self) -> None:
        """Close the window."""
        import matplotlib.pyplot as plt

        plt.close(self._figure)


def _draw_title(axes: Any, view: View) -> None:
    title = "GPT-2, complete" if view.complete else "GPT-2 under construction"
    axes.text(44, 496, title, size=17, weight="bold", color=_INK)
    axes.text(44, 470, f"{view.device}  ·  scale {view.space.scale}  ·  {view.headline}", size=10.5, color=_FAINT)
    facts = {"embedding": view.embed_dim, "layers": view.n_layer, "bias": view.bias}
    for i, (name, value) in enumerate(facts.items()):
        x = 44 + 150 * i
        axes.text(x, 428, value, size=15, weight="bold", color=_FAINT if value == "?" else _INK)
        axes.text(x, 410, name, size=9, color=_FAINT)


def _draw_layers(axes: Any, view: View) -> None:
    """Draw every layer in its slot: width is the MLP ratio, height the number of heads."""
    left, bottom, width, height = _STAGE
    space = view.space
    slot = width / space.max_layers
    widest, highest = space.mlp_ratios[-1], space.head_counts[-1]
    ghosts: list[Patch] = []
    blocks: list[Patch] = []
    colors: list[Any] = []
    for i, (mlp, heads) in enumerate(view.layers):
        middle = left + (i + 0.5) * slot
        block_width = 0.84 * slot * (mlp or widest) / widest
        block_height = (height - 30) * (heads or highest) / highest
        block = Rectangle((middle - block_width / 2, bottom), block_width, block_height)
        size = (mlp or 0) / widest * 0.8 + (heads or 0) / highest * 0.6 - 0.5
        if heads is None:
            ghosts.append(block)
        else:
            blocks.append(block)
            colors.append(_BLUES(size))
            if slot > 30:
                axes.text(middle, bottom + block_height + 5, str(heads), size=8.5, color=_FAINT, ha="center")
        if mlp is not None and slot > 30:
            color = _PAPER if size > 0.35 else _INK
            axes.text(middle, bottom + 8, f"×{mlp}", size=8.5, color=color, ha="center")
        if slot > 30 or i % 4 == 0:
            axes.text(middle, bottom - 18, str(i + 1), size=8.5, color=_FAINT, ha="center")
    axes.add_collection(
        PatchCollection(ghosts, facecolor="none", edgecolor="#cbd2d9", linestyle=(0, (3, 3)), linewidth=0.9)
    )
    axes.add_collection(PatchCollection(blocks, facecolor=colors or "none", edgecolor=_PAPER, linewidth=0.8))
    axes.plot([left, left + width], [bottom - 2] * 2, color=_INK, linewidth=1.1)
    axes.text(left, 68, "width: MLP ratio     height: attention heads     one block a layer", size=9, color=_FAINT)


def _draw_panel(axes: Any, view: View) -> None:
    """Draw quality, the costs against their budgets, and the result."""
    left, width = _PANEL
    axes.plot([left - 24] * 2, [40, 505], color=_TRACK, linewidth=1.2)
    state = "reached" if view.complete else "predicted"
    y = 470.0
    axes.text(left, y + 26, f"perplexity {view.perplexity:.2f}", size=12, weight="bold", color=_INK)
    axes.text(left + width, y + 26, state, size=9, color=_FAINT, ha="right")
    best = view.optimum.quality if view.optimum is not None else None
    _draw_bar(axes, y, view.result.quality, "#3f83b7", mark=best)
    axes.text(left, y - 18, f"quality {view.result.quality:.3f}", size=9, color=_FAINT)
    y -= 86
    for gauge in view.gauges[:3]:
        _draw_gauge(axes, gauge, view.reference, y)
        y -= 78
    _draw_result(axes, view)


def _draw_gauge(axes: Any, gauge: Gauge, reference: str, y: float) -> None:
    left, width = _PANEL
    color = _BAD if gauge.ratio > 1.0 else _GOOD
    amount = f"{reference} {_short(gauge.budget)}"
    axes.text(left, y + 24, gauge.label, size=10.5, weight="bold", color=_INK)
    axes.text(left + width, y + 24, f"{gauge.ratio:.0%} of {reference}", size=9, color=color, ha="right")
    _draw_bar(axes, y, gauge.ratio / _FULL_SCALE, color, mark=1.0 / _FULL_SCALE)
    axes.text(left, y - 18, _short(gauge.value), size=9, color=_FAINT)
    axes.text(left + width / _FULL_SCALE, y - 18, amount, size=9, color=_FAINT, ha="center")


def _draw_bar(axes: Any, y: float, share: float, color: str, mark: float | None = None) -> None:
    left, width = _PANEL
    for part, fill in ((1.0, _TRACK), (min(max(share, 0.0), 1.0), color)):
        if part > 0.02:
            style = "round,pad=0,rounding_size=5"
            axes.add_patch(FancyBboxPatch((left, y), part * width, 12, boxstyle=style, facecolor=fill, linewidth=0))
    if mark is not None:
        axes.plot([left + mark * width] * 2, [y - 4, y + 16], color=_INK, linewidth=2)


def _draw_result(axes: Any, view: View) -> None:
    left, width = _PANEL
    color = _INK if view.complete else _FAINT
    axes.text(left, 92, f"{view.result.reward:.3f}", size=22, weight="bold", color=color)
    axes.text(left, 70, view.result_name if view.complete else f"predicted {view.result_name}", size=9, color=_FAINT)
    if view.optimum is not None:
        regret = view.optimum.reward - view.result.reward
        axes.text(left + width, 92, f"{view.optimum.reward:.3f}", size=22, weight="bold", color=_ACCENT, ha="right")
        axes.text(left + width, 70, "exact optimum", size=9, color=_FAINT, ha="right")
        axes.text(left, 44, f"regret {regret:.3f}", size=12, weight="bold", color=_GOOD if regret < 0.01 else _BAD)


def _short(value: float) -> str:
    """Write a number of any size in a few characters."""
    for unit, symbol in ((1e9, " G"), (1e6, " M")):
        if value >= unit:
            return f"{value / unit:.4g}{symbol}"
    return f"{value:.4g}"
