"""Storing and loading surrogates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hwgpt_gym.surrogates import load_surrogates
from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER, read_surrogates, save_surrogates

SCALES = ("s", "m", "l")


@pytest.mark.parametrize("scale", SCALES)
def test_surrogates_round_trip_to_the_byte(scale: str, tmp_path: Path) -> None:
    surrogates = load_surrogates(scale)
    save_surrogates(surrogates, tmp_path / "first" / "weights.safetensors")
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["weights.safetensors"]
    again = read_surrogates(tmp_path / "first" / "weights.safetensors")
    assert (tmp_path / "first" / "weights.safetensors").read_bytes() == (
        WEIGHTS_FOLDER / f"{scale}.safetensors"
    ).read_bytes()
    encoded = surrogates.space.sample(np.random.default_rng(0), 100)
    np.testing.assert_array_equal(again.perplexity.predict(encoded), surrogates.perplexity.predict(encoded))
    assert again.ranges == surrogates.ranges


def test_the_shipped_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS_FOLDER.glob("*.safetensors")) <= 3_000_000


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(FileNotFoundError, match="no surrogate weights at"):
        read_surrogates(path)
    content = (WEIGHTS_FOLDER / "s.safetensors").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="no readable safetensors file"):
        read_surrogates(path)
    tensors = load_file(WEIGHTS_FOLDER / "s.safetensors")
    save_file(tensors, path)
    with pytest.raises(ValueError, match="schema version None"):
        read_surrogates(path)
    del tensors["perplexity.mlp"]
    save_file(tensors, path, metadata={"hwgpt_gym": '{"schema_version": 1, "scale": "s", "ranges": {}}'})
    with pytest.raises(ValueError, match="lacks an array or has one too many"):
        read_surrogates(path)
