"""What a run shows while it runs, and the table at its end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from hwgpt_gym.console import format_metric, make_table, messages
from hwgpt_gym.metrics import METRICS

if TYPE_CHECKING:
    from hwgpt_gym.agents.problem import SearchProblem
    from hwgpt_gym.optimum import Optimum

_SECONDS_BETWEEN: Final = 0.25
_RECENT: Final = 512
_SPARKS: Final = "▁▂▃▄▅▆▇█"
_SPARKLINE_WIDTH: Final = 48


class RunDisplay:
    """Progress of a search: mean reward, best architecture, regret. A callback of agents, to be entered with ``with``.

    On a terminal it is redrawn in place; elsewhere it prints a line at every tenth of the budget.

    Args:
        title: What stands above it.
        optimum: The certified optimum.
        budget: How many evaluations there are.
        target: The regret to reach, if the search ends there.
        console: Where to draw.
    """

    def __init__(
        self, title: str, optimum: Optimum, budget: int, target: float | None = None, console: Console = messages
    ) -> None:
        self._title = title
        self._optimum = optimum
        self._target = target
        self._console = console
        self._progress = Progress(
            TextColumn("[bold]architectures evaluated"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]at most[/dim]"),
            TimeRemainingColumn(),
            expand=True,
        )
        self._task = self._progress.add_task("", total=budget)
        self._budget = budget
        self._live = Live(self._frame("[dim]starting …[/dim]"), console=console, refresh_per_second=4)
        self._drawn = 0.0
        self._tenths = 0
        self._regrets: list[float] = []

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        else:
            self._console.print(self._title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, problem: SearchProblem) -> None:
        """Show where the search stands."""
        over = problem.remaining == 0
        if self._console.is_terminal:
            now = time.monotonic()
            if over or now - self._drawn >= _SECONDS_BETWEEN:
                self._drawn = now
                self._live.update(self._draw(problem))
        elif over or problem.evaluations * 10 // self._budget > self._tenths:
            self._tenths = problem.evaluations * 10 // self._budget
            regret = self._optimum.reward - problem.best_reward
            self._console.print(f"{problem.evaluations:>9,} architectures, best regret {regret:.6f}")

    def _draw(self, problem: SearchProblem) -> Panel:
        state = problem.result("", {}, 0.0, 0.0)
        regret = self._optimum.reward - state.best_reward
        self._regrets.append(regret)
        self._progress.update(self._task, completed=problem.evaluations)
        close = self._target is not None and regret <= self._target
        numbers = {
            "mean reward": f"{state.reward[-_RECENT:].mean():.4f}",
            "best reward": f"{state.best_reward:.6f}",
            "optimum": f"{self._optimum.reward:.6f}",
            "regret": f"[{'green' if close else 'yellow'}]{regret:.6f}[/]",
        }
        if self._target is not None:
            numbers["target"] = f"≤ {self._target:g}"
        grid = Table.grid(expand=True)
        for _ in numbers:
            grid.add_column(ratio=1, no_wrap=True)
        grid.add_row(*(f"[dim]{name}[/dim]" for name in numbers))
        grid.add_row(*(f"[bold]{value}[/bold]" for value in numbers.values()))
        best = Text.assemble(("best architecture  ", "dim"), (str(state.best), "bold"), overflow="fold")
        history = Text.assemble(("regret, log scale  ", "dim"), (sparkline(self._regrets), "cyan"))
        body = Group(self._progress, "", grid, "", best, history)
        return self._frame(body)

    def _frame(self, body: RenderableType) -> Panel:
        return Panel(body, title=f"[bold]{self._title}", title_align="left", border_style="dim", padding=(1, 2))


def sparkline(values: list[float], width: int = _SPARKLINE_WIDTH) -> str:
    """Draw positive numbers as a row of bars on a logarithmic scale, the last one rightmost."""
    array = np.log(np.maximum(np.asarray(values, dtype=np.float64), 1e-6))
    picked = array[np.linspace(0, len(array) - 1, min(width, len(array))).round().astype(int)]
    low, high = picked.min(), picked.max()
    levels = np.full(len(picked), len(_SPARKS) - 1) if high == low else (picked - low) / (high - low) * 7.0
    return "".join(_SPARKS[round(float(level))] for level in levels)


def summary_table(summary: dict[str, Any], agent: str) -> Table:
    """Return the table at the end of a run: what was found, its budgets, the optimum, random search."""
    names = {"found": f"{agent}, best found", "greedy": f"{agent}, greedy", "random": "random search",
             "optimum": "certified optimum"}  # fmt: skip
    entries = summary["architectures"]
    shown = [name for name in names if name in entries]
    rows = [("regret", *(f"{entries[name]['regret']:.6f}" for name in shown), "")]
    rows.append(("reward", *(f"{entries[name]['reward']:.6f}" for name in shown), ""))
    for key in entries["optimum"]["metrics"]:
        budget = summary["budgets"].get(key)
        cells = [_metric_cell(entries[name], key, budget) for name in shown]
        rows.append((METRICS[key].label, *cells, "" if budget is None else f"≤ {format_metric(key, budget)}"))
    found = [entries[name]["evaluations"] for name in shown]
    rows.append(("evaluations", *(f"{number:,}" if number else "–" for number in found), ""))
    columns = ("", *(names[name] for name in shown), "budget")
    return make_table("", columns, rows, right=range(1, len(columns)))


def _metric_cell(entry: dict[str, Any], key: str, budget: float | None) -> str:
    text = format_metric(key, entry["metrics"][key])
    if budget is None:
        return text
    return f"[green]{text}[/green]" if entry["metrics"][key] <= budget else f"[red]{text}[/red]"
