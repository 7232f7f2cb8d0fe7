"""What the site has beside the pages of this folder: the README, the changelog, the examples, and every public name.

MkDocs calls the functions named ``on_...``. The pages stay plain Markdown that a forge shows as well: on the site, a
link to a source file leads to the page of that file.
"""

from __future__ import annotations

import ast
import base64
import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import zlib
from html import unescape
from pathlib import Path, PurePosixPath
from typing import Any, Final

from latex2mathml.converter import convert as mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

logger = logging.getLogger("mkdocs.hooks.site")

REPOSITORY: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = REPOSITORY / "build" / "site-source"
"""The package as it is installed: envs and agents inside hwgpt_gym. ``mkdocs.yml`` names this folder too."""
TEXTS: Final = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples": "examples.md",
    "examples/first_ten_minutes.ipynb": "first_ten_minutes.md",
}
"""Pages of the site by what they are in the repository, where they are not in docs."""
FRONTS: Final = "fronts"
"""The folder of the site that holds the explorer's page, which needs no server."""
FRONTS_PAGE: Final = f"""# Exact fronts

The exact fronts of three devices against every cost, with optima under limits, as `hwgpt-gym explore --export` writes
them. `hwgpt-gym explore` is the live page, with limits and decisions.

<p><a href="../{FRONTS}/index.html">Open it in the whole window</a></p>
<iframe src="../{FRONTS}/index.html" title="Exact fronts" style="width: 100%; height: 80vh; border: 0"></iframe>
"""
LINK: Final = re.compile(r"^```.*?^```$|\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)", re.M | re.S)
ROLE: Final = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?([^<]*)</code>")
"""A reference of a docstring, as Markdown renders it."""
FORMULA: Final = re.compile(r'<(div|span) class="arithmatex">\\[\[(](?P<formula>.*?)\\[\])]</\1>', re.S)


def can_explore() -> bool:
    """Whether the explorer and what it needs are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("hwgpt_gym.explorer", "dash", "plotly"))


def modules() -> dict[str, str]:
    """Return every module's import name by its file in the repository."""
    found = {}
    for folder, package in (("hwgpt_gym", "hwgpt_gym"), ("envs", "hwgpt_gym.envs"), ("agents", "hwgpt_gym.agents")):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            parts = path.relative_to(REPOSITORY / folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[path.relative_to(REPOSITORY).as_posix()] = name
    return found


def examples() -> list[Path]:
    """Return the files of the examples."""
    return sorted((REPOSITORY / "examples").glob("*.py"))


def page_of(path: str) -> str | None:
    """Return the page of the site that shows a file or folder of the repository, or None."""
    if path in TEXTS:
        return TEXTS[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/") if (REPOSITORY / path).is_file() else None
    if path.startswith("examples/"):
        return f"examples/{PurePosixPath(path).stem}.md" if REPOSITORY / path in examples() else None
    return reference_page(path) if path in modules() else None


def reference_page(path: str) -> str:
    """Return the page of a module by its file; a package's is the index of its section."""
    name = modules()[path]
    return f"reference/{name}/index.md" if path.endswith("__init__.py") else f"reference/{name}.md"


def relink(markdown: str, source: str, page: str) -> str:
    """Let the links of a page, which lead from a file of the repository to others, lead from page to page.

    Args:
        markdown: The text.
        source: The file it is from, relative to the repository.
        page: The page of the site it goes to.
    """

    def replaced(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or "://" in target:
            return match[0]
        path = os.path.normpath(os.path.join(os.path.dirname(source), target))
        if not (REPOSITORY / path).exists():
            return match[0]  # and MkDocs complains
        to = page_of(path)
        if to is None:
            return match["text"]
        return f"[{match['text']}]({os.path.relpath(to, os.path.dirname(page) or '.')}{match['anchor'] or ''})"

    return LINK.sub(replaced, markdown)


def notebook_page(source: str, page: str) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as a page, and its pictures by name: what was written, typed, printed and drawn.

    Args:
        source: The notebook, relative to the repository.
        page: The page of the site it becomes.
    """
    parts, pictures = [], {}
    for cell in json.loads((REPOSITORY / source).read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(relink(text, source, page) if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        outputs = cell.get("outputs", [])
        printed = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
        if printed:
            parts.append(f"```text\n{printed.rstrip()}\n```")
        for output in outputs:
            if "image/png" in output.get("data", {}):
                name = f"{PurePosixPath(page).stem}_{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(output["data"]["image/png"]))
                parts.append(f"![what the cell above draws]({name})")
    return "\n\n".join(parts) + "\n", pictures


def tutorial(path: Path) -> str:
    """Return an example as a page: its first line, and the program."""
    program = path.read_text(encoding="utf-8")
    headline = (ast.get_docstring(ast.parse(program)) or "").partition("\n")[0]
    return f"# {path.name}\n\n{headline}\n\n```python\n{program}```\n"


def on_startup(**_: Any) -> None:
    """Lay the package out as it is installed, where mkdocstrings reads it; it looks for the folder when it starts."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for folder, package in (("hwgpt_gym", "."), ("envs", "envs"), ("agents", "agents")):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(REPOSITORY / folder, SOURCE / "hwgpt_gym" / package, ignore=ignored, dirs_exist_ok=True)


def on_config(config: MkDocsConfig) -> None:
    """Put the examples, the modules and the fronts into the navigation."""
    if config.nav and can_explore():
        leaderboard = next(i for i, section in enumerate(config.nav) if "Leaderboard" in section)
        config.nav.insert(leaderboard + 1, {"Fronts": "exact_fronts.md"})
    for section in config.nav or []:
        if "Examples" in section:
            section["Examples"] += [{path.name: f"examples/{path.stem}.md"} for path in examples()]
        elif "Reference" in section:
            section["Reference"][-1]["Python"] = _tree()


def _tree() -> list[Any]:
    """Return the navigation of modules: a package is a section that begins with its own page."""
    sections: dict[str, list[Any]] = {"": []}
    for path, name in sorted(modules().items(), key=lambda item: item[1]):
        parent, _, last = name.rpartition(".")
        entry: Any = reference_page(path)
        if path.endswith("__init__.py"):
            entry = sections[name] = [entry]
        sections[parent].append({last: entry})
    return sections[""]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made: dict[str, str | bytes] = {}
    for source, page in TEXTS.items():
        if source.endswith(".ipynb"):
            made[page], pictures = notebook_page(source, page)
            made |= pictures
        if source.endswith(".md") and (REPOSITORY / source).exists():
            made[page] = relink((REPOSITORY / source).read_text(encoding="utf-8"), source, page)
    if can_explore():
        made["exact_fronts.md"] = FRONTS_PAGE
    made |= {f"examples/{path.stem}.md": tutorial(path) for path in examples()}
    made |= {reference_page(path): f"::: {name}\n" for path, name in modules().items()}
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Relink the pages of this folder."""
    if page.file.generated_by is not None:
        return markdown
    return relink(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show the references of docstrings as code, and formulas as MathML, which browsers draw without a script."""
    html = FORMULA.sub(
        lambda match: mathml(unescape(match["formula"]), "block" if match[1] == "div" else "inline"), html
    )
    return ROLE.sub(r"<code>\1</code>", html)


def on_post_build(config: MkDocsConfig) -> None:
    """Write the explorer's page; warn, which fails a strict build, of public names that no page describes."""
    if can_explore():
        devices = ("--device", "a6000", "--device", "h100", "--device", "cpu_xeon_gold")
        command = "from hwgpt_gym.cli.app import main; main()"
        folder = str(Path(config.site_dir) / FRONTS)
        subprocess.run(
            [sys.executable, "-c", command, "explore", *devices, "--export", folder], check=True, timeout=600
        )
    inventory = (Path(config.site_dir) / "objects.inv").read_bytes().split(b"\n", 4)[4]
    described = {line.partition(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()}
    for path, module in modules().items():
        for name in sorted(public_names((REPOSITORY / path).read_text(encoding="utf-8"))):
            if f"{module}.{name}" not in described:
                logger.warning("no page describes %s.%s", module, name)


def public_names(source: str) -> set[str]:
    """Return the public names that a module defines: its functions, classes and constants."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return {name for name in names if not name.startswith("_")}
