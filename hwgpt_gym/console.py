"""What is printed: results and messages apart, tables, JSON, metrics for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hwgpt_gym.metrics import METRICS

NARROW: Final = 120
"""Columns where there is no terminal to ask; rich would take 80, which folds the tables."""


_WIDE: Final = 10_000
"""Columns that hold any row; a table takes what it needs of them."""


output = Console(
    highlight=False, markup=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else NARROW
)
"""Where results go. What is printed may be a name that somebody chose, so brackets in it mean nothing: use Text."""


messages = Console(stderr=True, highlight=False, markup=False)
"""Where progress and remarks go, so that results can be piped."""


@contextmanager
def show_progress(what: str, total: int, lines: int) -> Iterator[Callable[[int, str], None]]:
    """Show how far a long work is: a bar on a terminal, and lines elsewhere.

    Args:
        what: What is counted.
        total: How many there will be.
        lines: How many lines to print at most, where there is no terminal.

    Yields:
        A function to be called with how many are done, and a remark.
    """
    if messages.is_terminal:
        from rich.progress import Progress

        with Progress(console=messages) as progress:
            bar = progress.add_task(what, total=total)
            yield lambda done, remark: progress.update(bar, completed=done, description=f"{what}, {remark}")
        return
    printed = 0

    def show(done: int, remark: str) -> None:
        nonlocal printed
        if done * lines >= (printed + 1) * total:
            printed = done * lines // total
            messages.print(f"{done:,} of {total:,} {what}: {remark}")

    yield show


def warn(message: str) -> None:
    """Print a warning line, apart from the results."""
    messages.print(Text.assemble(("warning: ", "bold yellow"), message), soft_wrap=True)


def format_metric(key: str, value: float) -> str:
    """Write a metric for people; its unit stands in the metric's label."""
    if key == "flops":
        return f"{value / 1e9:,.2f} G"
    if key == "params":
        return f"{value:,.0f}"
    return f"{value:,.4f}" if key == "accuracy" else f"{value:,.3f}"


def limits_in_words(limits: Mapping[str, float]) -> str:
    """Write limits for people, as titles of tables and figures do."""
    return (
        ", ".join(f"{METRICS[key].label} ≤ {format_metric(key, limit)}" for key, limit in limits.items()) or "no limit"
    )


def print_json(value: object) -> None:
    """Print a value as JSON, whatever the width of the terminal."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def make_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Sequence[int] = ()
) -> Table:
    """Make a table; the columns at the positions ``right`` hold numbers."""
    # A title may be wider than its table.
    heading = Text(title, "bold", no_wrap=True, overflow="ignore")
    table = Table(title=heading, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(
            column, justify="right" if position in right else "left", overflow="fold", no_wrap=position == 0
        )
    for row in rows:
        table.add_row(*row)
    return table


def print_wide(table: Table) -> None:
    """Print a table whose last column holds names that are to be copied: it is as wide as they are, and not folded."""
    Console(highlight=False, markup=False, width=_WIDE).print(table)


def floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return metrics of one architecture as plain numbers, from values or from arrays of one."""
    return {key: float(value.item() if hasattr(value, "item") else value) for key, value in metrics.items()}
