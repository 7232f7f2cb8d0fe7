"""Every example runs, with small settings, from another folder than the repository's."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

SMALL = {
    "build_in_torch.py": ["--tokens", "16", "--steps", "1"],
    "contextual_policy.py": ["--episodes", "600", "--lanes", "64", "--devices", "h100", "v100"],
    "custom_agent.py": [],
    "existing_rl_nas_loop.py": ["--steps", "20"],
    "maskable_ppo.py": ["--episodes", "400", "--lanes", "64"],
    "morl.py": ["--steps", "6000"],
    "multi_objective.py": ["--weights", "2", "--episodes", "200"],
    "quickstart.py": ["--episodes", "100"],
    "ray_tune.py": ["--trials", "1", "--budget", "100", "--seeds", "1", "--processors", "1"],
    "reinforce.py": ["--updates", "4", "--lanes", "32"],
    "rllib_ppo.py": ["--iterations", "1", "--decisions", "500", "--runners", "1"],
    "rl_zoo3_train.py": ["--algo", "ppo", "-n", "2000"],
    "sb3_ppo.py": ["--episodes", "400", "--lanes", "64"],
    "tianshou_ppo.py": ["--epochs", "1", "--episodes", "16"],
    "torchrl_collector.py": ["--batches", "3", "--lanes", "16"],
    "torchrl_ppo.py": ["--batches", "2", "--lanes", "8"],
}
NEEDS = {
    "ray_tune.py": "ray",
    "rl_zoo3_train.py": "rl_zoo3",
    "rllib_ppo.py": "ray",
    "tianshou_ppo.py": "tianshou",
    "morl.py": "morl_baselines",
    "multi_objective.py": "mo_gymnasium",
    "torchrl_collector.py": "torchrl",
    "torchrl_ppo.py": "torchrl",
}
NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_example_runs(name, tmp_path):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", str(EXAMPLES / name), *SMALL[name]]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert any(character.isdigit() for character in last)


@pytest.mark.parametrize("name", NAMES)
def test_example_says_how_to_run_it(name):
    documentation = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8")))
    assert documentation is not None
    assert f"python examples/{name}" in documentation


def test_an_example_takes_as_long_as_its_page_says():
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    seconds = dict(re.findall(r"^\| \[`(\w+\.py)`\].*\| ([\d.]+) \|$", page, re.MULTILINE))
    assert sorted(seconds) == NAMES
    for name, number in seconds.items():
        about = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8")))
        assert re.findall(r"Takes about ([\d.]+) seconds? of\s+processor time", about) == [number], name


def test_every_example_has_small_settings():
    assert set(NAMES) <= set(SMALL)
