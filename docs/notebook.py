"""Execute the notebook of the first ten minutes in place: ``make notebook``."""

from pathlib import Path
from typing import Final

import nbformat
from nbclient import NotebookClient

NOTEBOOK: Final = Path(__file__).resolve().parent.parent / "examples" / "first_ten_minutes.ipynb"


def main() -> None:
    """Run every cell in a fresh kernel and keep what it shows, without times and versions."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, record_timing=False).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop("image/jpeg", None)  # the same as the PNG beside it
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
