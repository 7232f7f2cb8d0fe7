"""The documentation runs as printed, its links lead somewhere and its numbers are those that commands print."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hwgpt_gym.agents
import hwgpt_gym.envs

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run"
"""A comment right above a block that a test must not run: it takes long, or needs what a user may not have."""
NEEDS = re.compile(r"<!-- needs (\w+) -->")
"""A comment right above a block that runs where a module of an extra is installed."""


def blocks(path: Path, language: str) -> Iterator[str]:
    for match in BLOCK.finditer("\n" + path.read_text(encoding="utf-8")):
        needed = NEEDS.match(match["before"])
        there = needed is None or importlib.util.find_spec(needed[1]) is not None
        if match["language"] == language and there and not match["before"].startswith(NOT_RUN):
            yield match["code"]


def module_names() -> list[str]:
    """All modules; an editable install finds those of the mapped folders below their own packages only."""
    packages = (hwgpt_gym, hwgpt_gym.envs, hwgpt_gym.agents)
    found = {
        module.name
        for package in packages
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    }
    return sorted(found | {package.__name__ for package in packages})


def missing_modules(path: Path) -> list[str]:
    needed = NEEDS.findall(path.read_text(encoding="utf-8"))
    return [module for module in needed if importlib.util.find_spec(module) is None]


def page_name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_python_blocks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # The blocks of a page build on each other, as a reader would type them.
    namespace: dict[str, object] = {"__name__": "__main__"}
    for code in blocks(path, "python"):
        exec(compile(code, f"<{page_name(path)}>", "exec"), namespace)
    if missing := missing_modules(path):
        pytest.skip(f"all blocks ran but those that need {', '.join(missing)}")


@pytest.mark.parametrize("name", module_names())
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_module_is_looked_at_for_examples() -> None:
    modules = {"hwgpt_gym", "hwgpt_gym.envs.hwgpt", "hwgpt_gym.agents", "hwgpt_gym.surrogates.store"}
    assert modules <= set(module_names())
    assert all(
        doctest.testmod(importlib.import_module(f"hwgpt_gym.envs.{name}")).attempted for name in ("hwgpt", "sb3")
    )


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_commands_run(path: Path, tmp_path: Path) -> None:
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")])}
    for code in blocks(path, "bash"):
        for command in re.sub(r"\\\n", " ", code).splitlines():
            if command.startswith("hwgpt-gym "):
                done = subprocess.run(
                    command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{page_name(path)} links to {target}"


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("hwgpt-gym leaderboard --suite all", ["README.md", "docs/leaderboard.md", "docs/agents.md", "Makefile"]),
        ("hwgpt-gym plot front docs/", ["docs/optimum.md", "Makefile"]),
    ],
)
def test_a_page_is_written_by_one_command(command: str, files: list[str]) -> None:
    found = {}
    for name in files:
        text = (REPOSITORY / name).read_text(encoding="utf-8").replace("$$", "$").replace(" $(ARGS)", "")
        found[name] = re.findall(re.escape(command) + r"[^`\n]*", text)
    assert all(found.values())
    assert len({text for texts in found.values() for text in texts}) == 1, found


def test_the_patterns_find_blocks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n```python\na = 1\n```\n\n<!-- not run: long -->\n```python\nb = 2\n```\n", encoding="utf-8")
    assert list(blocks(page, "python")) == ["a = 1\n"]
    page.write_text(
        "<!-- needs os -->\n```python\na = 1\n```\n\n<!-- needs no_such_module -->\n```python\nb = 2\n```\n"
    )
    assert list(blocks(page, "python")) == ["a = 1\n"]
    assert missing_modules(page) == ["no_such_module"]
    assert any(blocks(REPOSITORY / "README.md", "python"))
