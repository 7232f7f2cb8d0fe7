"""Pictures of an episode: text, an array of pixels, a window.

The layers are blocks as wide as their MLP and as high as their attention; beside them stand the predicted costs against
their limits, and at the end the result against the exact optimum. Matplotlib is loaded with this module, which is
loaded by the first picture.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from hwgpt_gym.envs.canvas import Canvas
from hwgpt_gym.envs.view import Gauge, View
from hwgpt_gym.search_space import FIRST_LAYER
from hwgpt_gym.style import AMBER, BLUE, FAINT, GREEN, INK, RED

WIDTH: Final = 960
HEIGHT: Final = 540

PAPER: Final = "#fbfaf7"
_TRACK: Final = "#e4e7eb"
_BLUES: Final = LinearSegmentedColormap.from_list("layers", ["#a9d0e8", BLUE, "#14406b"])
_STAGE: Final = (44.0, 118.0, 572.0, 262.0)
"""Where the layers stand: left, bottom, width, height."""
_LOSSES: Final = (30.0, 36.0)
"""The ground of the bars of what decisions lost, and the height of the greatest."""
_LEAST_SCALE: Final = 1e-3
"""The loss that fills the height at least: a smaller one looks small."""
_PANEL: Final = (668.0, 248.0)
"""Where quality, gauges and result stand: left, width."""
_GAUGES: Final = (388.0, 142.0, 78.0)
"""The first gauge's bar, the last one's at the lowest, the greatest distance of two."""
_TIGHT: Final = 60.0
"""The distance of two gauges below which their texts move closer."""
_FULL_SCALE: Final = 1.6
"""The multiple of its limit that a gauge shows."""


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
        lines.append(f"{gauge.label} {_amounts(gauge)}: {_verdict(gauge, view.reference)} ({gauge.ratio:.0%})")
    if view.optimum is not None:
        regret = view.optimum.reward - view.result.reward
        lines.append(f"exact optimum {view.optimum.reward:.3f}, regret {regret:.3f}")
        lines.append(_losses(view))
    return "\n".join(lines) + "\n"


def draw_frame(view: View) -> npt.NDArray[np.uint8]:
    """Draw an episode as pixels, ``uint8 (540, 960, 3)``."""
    canvas = Canvas(WIDTH, HEIGHT, PAPER)
    draw_view(canvas, view)
    return canvas.pixels()


def draw_view(axes: Any, view: View) -> None:
    """Draw an episode on a :class:`Canvas`, or on Matplotlib's ``Axes`` of as many units as a frame has pixels."""
    _draw_title(axes, view)
    _draw_layers(axes, view)
    if view.optimum is not None:
        _draw_losses(axes, view)
    _draw_panel(axes, view)


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
    axes.text(44, 496, title, size=17, weight="bold", color=INK)
    axes.text(44, 470, f"{view.device}  ·  scale {view.space.scale}  ·  {view.headline}", size=10.5, color=FAINT)
    facts = {"embedding": view.embed_dim, "layers": view.n_layer, "bias": view.bias}
    for i, (name, value) in enumerate(facts.items()):
        x = 44 + 150 * i
        axes.text(x, 428, value, size=15, weight="bold", color=FAINT if value == "?" else INK)
        axes.text(x, 410, name, size=9, color=FAINT)


def _draw_layers(axes: Any, view: View) -> None:
    """Draw every layer in its slot: width is the MLP ratio, height the number of heads."""
    left, bottom, width, height = _STAGE
    space = view.space
    slot = width / space.max_layers
    widest, highest = space.mlp_ratios[-1], space.head_counts[-1]
    ghosts: list[Patch] = []
    blocks: list[Patch] = []
    colors: list[Any] = []
    label_size = min(8.5, 2.2 + 0.3 * slot)
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
            axes.text(middle, bottom + block_height + 5, str(heads), size=label_size, color=FAINT, ha="center")
        if mlp is not None:
            color = PAPER if size > 0.35 else INK
            axes.text(middle, bottom + 8, str(mlp), size=label_size, color=color, ha="center")
        axes.text(middle, bottom - 16, str(i + 1), size=label_size, color=FAINT, ha="center")
    axes.add_collection(
        PatchCollection(ghosts, facecolor="none", edgecolor="#cbd2d9", linestyle=(0, (3, 3)), linewidth=0.9)
    )
    axes.add_collection(PatchCollection(blocks, facecolor=colors or "none", edgecolor=PAPER, linewidth=0.8))
    axes.plot([left, left + width], [bottom - 2] * 2, color=INK, linewidth=1.1)
    legend = "one block a layer; width and lower number: MLP ratio; height and upper number: heads"
    axes.text(left, 80, legend, size=9, color=FAINT)


def _draw_losses(axes: Any, view: View) -> None:
    """Draw a bar for what each decision lost: beside the facts, and below each layer one for its MLP and its heads.

    The layers set the scale. What a fact lost beyond it has a bar that is broken near its top.
    """
    left, _, width, _ = _STAGE
    slot = width / view.space.max_layers
    scale = _LOSSES[1] / max(_LEAST_SCALE, *view.lost[FIRST_LAYER:])
    bars: list[Patch] = []
    for column, lost in enumerate(view.lost):
        if column < FIRST_LAYER:
            x, height = left + 150 * column - 10, min(scale * lost, _LOSSES[1])
            bars.append(Rectangle((x, 408), 5, height if height == scale * lost else height - 8))
            if height < scale * lost:
                bars.append(Rectangle((x, 408 + height - 5), 5, 5))
        else:
            layer, chain = divmod(column - FIRST_LAYER, 2)
            middle = left + (layer + 0.5) * slot
            bars.append(Rectangle((middle - 0.3 * slot * (1 - chain), _LOSSES[0]), 0.27 * slot, scale * lost))
    axes.add_collection(PatchCollection(bars, facecolor=RED, linewidth=0))
    axes.plot([left, left + width], [_LOSSES[0] - 1] * 2, color=_TRACK, linewidth=1.0)
    axes.text(left, _LOSSES[0] - 17, _losses(view), size=9, color=FAINT)


def _losses(view: View) -> str:
    """Say which decisions lost most."""
    named = [f"{name} {lost:.3f}" for name, lost in view.losses[:3]]
    return f"lost most by {', '.join(named)}" if named else "no decision lost as much as 0.001"


def _draw_panel(axes: Any, view: View) -> None:
    """Draw quality, every cost against its limit, and the result."""
    left, width = _PANEL
    axes.plot([left - 24] * 2, [40, 505], color=_TRACK, linewidth=1.2)
    state = "reached" if view.complete else "predicted"
    y = 470.0
    axes.text(left, y + 26, f"perplexity {view.perplexity:.2f}", size=12, weight="bold", color=INK)
    axes.text(left + width, y + 26, state, size=9, color=FAINT, ha="right")
    best = view.optimum.quality if view.optimum is not None else None
    _draw_bar(axes, y, view.result.quality, BLUE, best)
    axes.text(left, y - 18, f"quality {view.result.quality:.3f}", size=9, color=FAINT)
    y, lowest, greatest = _GAUGES
    distance = min((y - lowest) / max(len(view.gauges) - 1, 1), greatest)
    for gauge in view.gauges:
        _draw_gauge(axes, gauge, view.reference, y, tight=distance < _TIGHT)
        y -= distance
    _draw_result(axes, view)


def _draw_gauge(axes: Any, gauge: Gauge, reference: str, y: float, tight: bool) -> None:
    """Draw a cost against its limit: over and within differ by word, sign and hatching, not by colour alone."""
    left, width = _PANEL
    color = GREEN if gauge.within else RED
    above, below, overhang = (16, 14, 2) if tight else (24, 18, 4)
    axes.text(left, y + above, gauge.label, size=10.5, weight="bold", color=INK)
    axes.text(left + width, y + above, f"{gauge.ratio:.0%}", size=9, color=color, ha="right")
    _draw_bar(axes, y, gauge.ratio / _FULL_SCALE, color, 1.0 / _FULL_SCALE, overhang)
    if not gauge.within:
        start, end = width / _FULL_SCALE, width * min(gauge.ratio / _FULL_SCALE, 1.0)
        axes.add_patch(
            Rectangle((left + start, y), end - start, 12, facecolor="none", edgecolor=PAPER, hatch="////", linewidth=0)
        )
    sign = "✓" if gauge.within else "▲"
    axes.text(left, y - below, f"{sign} {_verdict(gauge, reference)}", size=9, color=color)
    axes.text(left + width, y - below, _amounts(gauge), size=9, color=FAINT, ha="right")


def _draw_bar(axes: Any, y: float, share: float, color: str, mark: float | None, overhang: int = 4) -> None:
    left, width = _PANEL
    for part, fill in ((1.0, _TRACK), (min(max(share, 0.0), 1.0), color)):
        if part > 0.02:
            style = "round,pad=0,rounding_size=5"
            axes.add_patch(FancyBboxPatch((left, y), part * width, 12, boxstyle=style, facecolor=fill, linewidth=0))
    if mark is not None:
        axes.plot([left + mark * width] * 2, [y - overhang, y + 12 + overhang], color=INK, linewidth=2)


def _draw_result(axes: Any, view: View) -> None:
    left, width = _PANEL
    color = INK if view.complete else FAINT
    size = 22 if view.result.reward > -1.0 else 18
    axes.text(left, 92, f"{view.result.reward:.3f}", size=size, weight="bold", color=color)
    axes.text(left, 70, view.result_name if view.complete else f"predicted {view.result_name}", size=9, color=FAINT)
    if view.optimum is not None:
        regret = view.optimum.reward - view.result.reward
        axes.text(left + width, 92, f"{view.optimum.reward:.3f}", size=size, weight="bold", color=AMBER, ha="right")
        axes.text(left + width, 70, "exact optimum", size=9, color=FAINT, ha="right")
        axes.text(left, 44, f"regret {regret:.3f}", size=12, weight="bold", color=GREEN if regret < 0.01 else RED)


def _verdict(gauge: Gauge, reference: str) -> str:
    """Say whether a cost keeps its limit."""
    return f"{'within' if gauge.within else 'over'} {reference}"


def _amounts(gauge: Gauge) -> str:
    """Write a cost and its limit."""
    return f"{_short(gauge.value)} of {_short(gauge.limit)}"


def _short(value: float) -> str:
    """Write a number of any size in a few characters."""
    for unit, symbol in ((1e9, " G"), (1e6, " M")):
        if value >= unit:
            return f"{value / unit:.4g}{symbol}"
    return f"{value:.4g}"
