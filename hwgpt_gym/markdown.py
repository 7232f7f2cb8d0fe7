"""Pages that are written in part by a command: tables, and what stands between two markers."""

from __future__ import annotations

import re
from collections.abc import Sequence


def replace_section(text: str, name: str, content: str) -> str:
    """Replace what stands between a section's two markers, ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Raises:
        ValueError: If the text does not have both markers, once each.
    """
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    replaced, found = pattern.subn(lambda match: f"{match[1]}{content}\n{match[2]}", text)
    if found != 1:
        raise ValueError(f"the page must have '<!-- begin {name} -->' and '<!-- end {name} -->' once, found {found}")
    return replaced


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table, numbers to the right."""
    rule = ["---" if column == 0 else "---:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
