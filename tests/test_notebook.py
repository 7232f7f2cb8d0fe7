"""The notebook of the first ten minutes runs, and shows what is stored in it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "first_ten_minutes.ipynb"


def printed(cell: Any) -> str:
    """Return what a cell printed; how it is cut into pieces depends on when it was flushed."""
    return "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")


def drawn(cell: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell["outputs"])


def test_notebook_shows_what_it_prints(tmp_path: Path) -> None:
    missing = [module for module in ("nbclient", "ipykernel") if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: pip install '.[dev]'")
    import nbformat
    from nbclient import NotebookClient

    stored = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=60, startup_timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [(old, new) for old, new in zip(stored, notebook.cells, strict=True) if old["cell_type"] == "code"]
    for old, new in cells:
        assert printed(new) == printed(old)
        assert drawn(new) == drawn(old)
        assert printed(new) or drawn(new)
    assert len(cells) >= 8
    assert sum(drawn(new) for _, new in cells) == 2
