"""What the package promises from outside: its public names and the versions it declares."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hwgpt_gym

REPOSITORY = Path(__file__).resolve().parents[2]
USERS_EXTRAS = {"tensorboard", "multi-objective", "video"}
"""The extras that `make test-lowest` installs."""


def test_the_solver_is_loaded_when_it_is_asked_for() -> None:
    program = (
        "import sys, hwgpt_gym; print('hwgpt_gym.optimum' in sys.modules); hwgpt_gym.solve; "
        "print('hwgpt_gym.optimum' in sys.modules, 'solve' in dir(hwgpt_gym))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "True", "True"]
    with pytest.raises(AttributeError, match="no attribute 'solved'"):
        hwgpt_gym.solved  # noqa: B018


def test_every_public_name_exists_and_is_documented() -> None:
    for name in hwgpt_gym.__all__:
        value = getattr(hwgpt_gym, name)
        if callable(value):
            assert value.__doc__, name


def test_the_lowest_versions_are_those_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = list(project["dependencies"])
    for extra in USERS_EXTRAS:
        declared += project["optional-dependencies"][extra]
    lowest = dict(re.match(r"([\w-]+)>=([\d.]+)", requirement).groups() for requirement in declared)  # type: ignore[union-attr]
    del lowest["torch"]
    constraints = (REPOSITORY / "constraints-lowest.txt").read_text(encoding="utf-8")
    pinned = dict(line.split("==") for line in constraints.splitlines() if not line.startswith("#"))
    assert pinned.keys() == lowest.keys()
    for name, version in lowest.items():
        # 1.1 is declared, 1.1.0 is what there is.
        assert re.fullmatch(rf"{re.escape(version)}(\.0)*", pinned[name]), f"{name}>={version}, but {pinned[name]}"


OPTIONAL = {
    "tensorboard", "torchrl", "mo_gymnasium", "moviepy", "onnx", "onnxruntime", "dash", "flask", "werkzeug", "plotly",
    "ray", "minari", "ConfigSpace", "syne_tune", "huggingface_hub",
}  # fmt: skip
"""What extras install, as it is imported."""


@pytest.mark.parametrize("path", sorted((REPOSITORY / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_tests_of_extras_are_skipped_without_them(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    whole = skips_and_imports([node for node in tree.body if not isinstance(node, ast.FunctionDef)], set())
    for function in functions:
        skips_and_imports(function.body, whole)


def skips_and_imports(body: list[ast.stmt], skipped: set[str]) -> set[str]:
    """Check that an extra's module is imported behind a skip; return what tests are skipped without."""
    skipped = set(skipped)
    for statement in body:
        # In the order of the lines: calls are expressions of their statement, imports are statements.
        for node in sorted(ast.walk(statement), key=lambda node: getattr(node, "lineno", 0)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.importorskip", "client"):
                skipped |= {str(ast.literal_eval(node.args[0])).split(".")[0]} if is_text(node.args[0]) else set()
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in {name.split(".")[0] for name in names} & OPTIONAL:
                assert name in skipped, f"line {node.lineno} imports {name} without pytest.importorskip"
    return skipped


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
