"""Calibration is drawn as what it misses, the worst device by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwgpt_gym.devices import DEVICES
from hwgpt_gym.fitting import figures


def test_calibration_is_the_deviation_from_nominal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def coverages(measurements: object, device: str, metric: str, levels: np.ndarray) -> np.ndarray:
        return levels + (0.03 if (device, metric) == ("v100", "energy_j") else 0.001)

    monkeypatch.setattr(figures, "_coverages", coverages)
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.append(figure))
    figures.draw_calibration({"s": None, "l": None}, tmp_path / "calibration.png")  # type: ignore[dict-item]
    panels = drawn[0].axes
    assert [panel.get_title() for panel in panels] == [
        f"{metric}, scale {scale}, 13 devices" for metric in ("Latency", "Energy") for scale in "sl"
    ]
    for panel, greatest, worst in ((panels[0], 0.1, next(iter(DEVICES))), (panels[3], 3.0, "v100")):
        zero, *devices, mean = panel.lines
        assert set(zero.get_ydata()) == {0.0}
        heights = np.array([line.get_ydata() for line in devices])
        assert heights.shape == (13, 6)
        assert heights.max() == pytest.approx(greatest)
        np.testing.assert_allclose(mean.get_ydata(), heights.mean(axis=0))
        assert {text.get_text() for text in panel.texts} == {"mean", worst}
