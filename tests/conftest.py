"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def dataset_path() -> Path:
    """The folder of measurements: HWGPT_DATASET, else a sibling of the repository; skips where neither is there."""
    path = Path(os.environ.get("HWGPT_DATASET", REPOSITORY.parent / "shared" / "hwgptbench"))
    if not (path / "s" / "architectures.parquet").is_file():
        pytest.skip(f"needs the measurements of HW-GPT-Bench: set HWGPT_DATASET (looked in {path})")
    return path
