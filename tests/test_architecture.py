"""Imports run one way: agents, envs, the benchmark; the command line and the explorer see all; and no circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FLOORS = {"hwgpt_gym": 0, "hwgpt_gym.envs": 1, "hwgpt_gym.agents": 2, "hwgpt_gym.cli": 3, "hwgpt_gym.explorer": 3}
"""Who may import whom: a module imports modules of its own floor and of those below, never above."""
UPWARDS = {("hwgpt_gym", "hwgpt_gym.envs.registration")}
"""The one import that runs upwards: importing the package registers the environments with Gymnasium."""
LONG = {
    "hwgpt_gym.benchmark": "the public class: two thirds are docstrings",
    "hwgpt_gym.dataset.measurements": "the one description of the dataset's columns and its checks",
    "hwgpt_gym.dataset.upstream": "the one importer of upstream's files, which share their helpers",
    "hwgpt_gym.optimum.action_values": "tables, their cache and the public calls of one recurrence",
    "hwgpt_gym.objective": "an objective and its bound form are one definition of the reward, for every interface",
    "hwgpt_gym.search_space": "Architecture and SearchSpace encode and decode each other",
}
"""Modules of more than 300 lines, and why splitting each would hurt."""


def read_modules() -> dict[str, str]:
    """Return the source of every module by its import name; envs and agents are mapped below hwgpt_gym."""
    modules = {}
    for folder, package in {"hwgpt_gym": "hwgpt_gym", "envs": "hwgpt_gym.envs", "agents": "hwgpt_gym.agents"}.items():
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            parts = path.relative_to(REPOSITORY / folder).with_suffix("").parts
            modules[".".join([package, *(part for part in parts if part != "__init__")])] = path.read_text("utf-8")
    return modules


def imported(source: str, modules: dict[str, str]) -> set[str]:
    """Return the modules that a source imports anywhere in it: lazily and for type checking as well."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}: write the whole name"
            # `from package import x` is a module or a name of the package.
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules else str(node.module) for name in full.values()}
    return names & modules.keys()


def floor(module: str) -> int:
    return next(FLOORS[name] for name in sorted(FLOORS, reverse=True) if f"{module}.".startswith(f"{name}."))


def broken_rules(modules: dict[str, str]) -> Iterator[str]:
    graph = {module: imported(source, modules) for module, source in modules.items()}
    for module, targets in graph.items():
        for target in sorted(targets):
            if floor(target) > floor(module) and (module, target) not in UPWARDS:
                yield f"{module} imports {target}, which stands above it"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "a circle: " + " <- ".join(error.args[1])


def test_imports_run_one_way_without_circles() -> None:
    modules = read_modules()
    assert {"hwgpt_gym", "hwgpt_gym.envs.hwgpt", "hwgpt_gym.agents.ppo.agent", "hwgpt_gym.cli.app"} <= modules.keys()
    assert list(broken_rules(modules)) == []


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("hwgpt_gym.pareto", "import hwgpt_gym.envs.task", "hwgpt_gym.pareto imports hwgpt_gym.envs.task"),
        ("hwgpt_gym.pareto", "from hwgpt_gym.agents import problem", "imports hwgpt_gym.agents.problem"),
        ("hwgpt_gym.pareto", "def plot():\n    from hwgpt_gym.agents import AGENTS", "imports hwgpt_gym.agents,"),
        ("hwgpt_gym.pareto", "if TYPE_CHECKING:\n    import hwgpt_gym.cli.app", "imports hwgpt_gym.cli.app"),
        ("hwgpt_gym.envs.task", "import hwgpt_gym.agents.problem", "imports hwgpt_gym.agents.problem"),
        ("hwgpt_gym.agents.problem", "import hwgpt_gym.cli.app", "imports hwgpt_gym.cli.app"),
        ("hwgpt_gym.metrics", "def late():\n    import hwgpt_gym.pareto", "a circle: "),
        ("hwgpt_gym.metrics", "from hwgpt_gym import pareto", "a circle: "),
        ("hwgpt_gym.pareto", "from hwgpt_gym import METRICS", "a circle: "),
    ],
)
def test_the_rule_finds_what_breaks_it(module: str, source: str, message: str) -> None:
    sound = {
        "hwgpt_gym": "import hwgpt_gym.pareto\nfrom hwgpt_gym.envs.registration import register_envs",
        "hwgpt_gym.metrics": "import numpy",
        "hwgpt_gym.pareto": "from hwgpt_gym.metrics import METRICS",
        "hwgpt_gym.envs.registration": "",
        "hwgpt_gym.envs.task": "import hwgpt_gym.pareto",
        "hwgpt_gym.agents": "from hwgpt_gym.agents.problem import Problem",
        "hwgpt_gym.agents.problem": "import hwgpt_gym.envs.task",
        "hwgpt_gym.cli.app": "import hwgpt_gym.agents",
    }
    assert list(broken_rules(sound)) == []
    broken = list(broken_rules({**sound, module: sound[module] + "\n" + source}))
    assert any(message in line for line in broken), broken


def test_modules_are_short() -> None:
    lengths = {module: len(source.splitlines()) for module, source in read_modules().items()}
    # Also where a module became short again: the list holds what it must and no more.
    assert {module: length for module, length in lengths.items() if length > 300}.keys() == LONG.keys()


def test_python_in_a_checkout_finds_the_mapped_folders() -> None:
    """Where the package is installed, but not in place, the checkout's folder hides it from Python started there."""
    program = (
        "import sys\n"
        "sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in repr(finder).lower()]\n"
        "import hwgpt_gym.agents, hwgpt_gym.envs\n"
        "print(hwgpt_gym.envs.__file__, hwgpt_gym.agents.__file__, sep='\\n')"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert found.stdout.split("\n")[:2] == [str(REPOSITORY / name / "__init__.py") for name in ("envs", "agents")]


@pytest.mark.parametrize("package", ["hwgpt_gym", "hwgpt_gym.agents", "hwgpt_gym.cli.app"])
def test_imports_are_light(package: str) -> None:
    heavy = ["torch", "stable_baselines3", "pandas", "matplotlib"]
    program = f"import sys, {package}; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
