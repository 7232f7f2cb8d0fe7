"""Fixtures and marks that all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
SLOW = (
    "agents/amortised",
    "agents/leaderboard",
    "agents/ppo",
    "agents/runs",
    "agents/test_agents.py",
    "clients",
    "envs/test_search_vec_env.py",
    "hwgpt_gym/cli",
    "hwgpt_gym/explorer",
    "hwgpt_gym/fitting",
    "hwgpt_gym/interop",
    "hwgpt_gym/onboarding",
    "hwgpt_gym/optimum",
    "hwgpt_gym/surrogates/test_limits.py",
    "hwgpt_gym/surrogates/test_worlds.py",
    "performance",
    "test_documentation.py",
    "test_damage.py",
    "test_examples.py",
    "test_fuzz.py",
    "test_notebook.py",
)
"""Folders and files of tests that train, search, fit or start processes; a single test takes ``pytest.mark.slow``."""
TORCH = (
    "agents/amortised",
    "agents/ppo",
    "agents/test_agents.py",
    "agents/test_result.py",
    "clients",
    "envs/test_libraries.py",
    "envs/test_sb3.py",
    "hwgpt_gym/test_compat.py",
    "hwgpt_gym/test_transformer.py",
    "test_documentation.py",
    "test_damage.py",
    "test_examples.py",
    "test_fuzz.py",
)
"""Folders and files of tests that load torch, which takes seconds."""

# `make fuzz` runs more cases of every property whose test does not say how many.
settings.register_profile("fuzz", max_examples=2_000, deadline=None, print_blob=True)
# The same cases every time, so that a change fails for what it changed; `make fuzz` draws new ones.
os.environ.setdefault("HWGPT_FUZZ_SEED", "0")
# Where Ctrl-C is ignored (a shell's background job), all processes of tests would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say what repeats the fuzzing."""
    return f"fuzzing: HWGPT_FUZZ_SEED={os.environ['HWGPT_FUZZ_SEED']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by where they are, and those that read measurements by the fixture that says where these are."""
    for item in items:
        for mark, places in (("slow", SLOW), ("torch", TORCH)):
            if any(item.path.is_relative_to(TESTS / place) for place in places):
                item.add_marker(mark)
        if "dataset_path" in getattr(item, "fixturenames", ()):
            item.add_marker("dataset")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what ``-m "... not torch"`` leaves out: importing some of it loads torch."""
    left_out = "not torch" in config.option.markexpr and collection_path in [TESTS / place for place in TORCH]
    return True if left_out else None


@pytest.fixture(scope="session")
def dataset_path() -> Path:
    """The folder of measurements: HWGPT_DATASET, else a sibling of the repository; skips where neither is there."""
    path = Path(os.environ.get("HWGPT_DATASET", REPOSITORY.parent / "shared" / "hwgptbench"))
    if not (path / "s" / "architectures.parquet").is_file():
        pytest.skip(f"needs the measurements of HW-GPT-Bench: set HWGPT_DATASET (looked in {path})")
    return path
