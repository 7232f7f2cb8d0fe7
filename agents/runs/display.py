"""What a run shows while it runs, and the table at its end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from hwgpt_gym.console import format_metric, limits_in_words, make_table, messages
from hwgpt_gym.metrics import METRICS

if TYPE_CHECKING:
    from hwgpt_gym.agents.problem import SearchProblem
    from hwgpt_gym.agents.runs.records import RunConfig, RunSummary, Scored
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
        optimum: The optimum.
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
        self._live = Live(self._frame(Text("starting …", "dim")), console=console, refresh_per_second=4)
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
            "mean reward": Text(f"{state.reward[-_RECENT:].mean():.4f}", "bold"),
            "best reward": Text(f"{state.best_reward:.6f}", "bold"),
            "optimum": Text(f"{self._optimum.reward:.6f}", "bold"),
            "regret": Text(f"{regret:.6f}", "bold green" if close else "bold yellow"),
        }
        if self._target is not None:
            numbers["target"] = Text(f"≤ {self._target:g}", "bold")
        grid = Table.grid(expand=True)
        for _ in numbers:
            grid.add_column(ratio=1, no_wrap=True)
        grid.add_row(*(Text(name, "dim") for name in numbers))
        grid.add_row(*numbers.values())
        best = Text.assemble(("best architecture  ", "dim"), (str(state.best), "bold"), overflow="fold")
        history = Text.assemble(("regret, log scale  ", "dim"), (sparkline(self._regrets), "cyan"))
        body = Group(self._progress, "", grid, "", best, history)
        return self._frame(body)

    def _frame(self, body: RenderableType) -> Panel:
        return Panel(body, title=Text(self._title, "bold"), title_align="left", border_style="dim", padding=(1, 2))


def sparkline(values: list[float], width: int = _SPARKLINE_WIDTH) -> str:
    """Draw positive numbers as a row of bars on a logarithmic scale, the last one rightmost."""
    array = np.log(np.maximum(np.asarray(values, dtype=np.float64), 1e-6))
    picked = array[np.linspace(0, len(array) - 1, min(width, len(array))).round().astype(int)]
    low, high = picked.min(), picked.max()
    levels = np.full(len(picked), len(_SPARKS) - 1) if high == low else (picked - low) / (high - low) * 7.0
    return "".join(_SPARKS[round(float(level))] for level in levels)


def title_of(config: RunConfig, optimum: Optimum) -> str:
    """Return what stands above a run."""
    limits = limits_in_words(optimum.objective.limits)
    return f"{config.agent} on {config.device_label}, scale {config.scale}, {limits}"


def summary_table(summary: RunSummary, agent: str) -> Table:
    """Return the table at the end of a run: what was found, its limits, the optimum, random search."""
    names = {"found": f"{agent}, best found", "greedy": f"{agent}, greedy", "random": "random search",
             "optimum": summary.optimum_title, "constrained": "certified constrained optimum"}  # fmt: skip
    entries = summary.architectures
    rows: list[tuple[str | Text, ...]] = [
        ("regret", *(f"{entry.regret:.6f}" for entry in entries.values()), ""),
        ("reward", *(f"{entry.reward:.6f}" for entry in entries.values()), ""),
    ]
    for key in summary.optimum.metrics:
        limit = summary.limits.get(key)
        cells = [_metric_cell(entry, key, limit) for entry in entries.values()]
        rows.append((METRICS[key].label, *cells, "" if limit is None else f"≤ {format_metric(key, limit)}"))
    if summary.limits:
        kept = (Text("yes", "green") if entry.feasible else Text("no", "red") for entry in entries.values())
        rows.append(("within the limits", *kept, ""))
    rows.append(
        ("evaluations", *(f"{entry.evaluations:,}" if entry.evaluations else "–" for entry in entries.values()), "")
    )
    columns = ("", *(names[name] for name in entries), "limit")
    return make_table("", columns, rows, right=range(1, len(columns)))


def _metric_cell(entry: Scored, key: str, limit: float | None) -> str | Text:
    text = format_metric(key, entry.metrics[key])
    return text if limit is None else Text(text, "green" if entry.metrics[key] <= limit else "red")


def verdict(summary: RunSummary) -> Text:
    """Say in a sentence how a run ended."""
    kind, style = (
        ("Reached", "bold green")
        if summary.reached
        else ("Interrupted", "bold yellow")
        if summary.interrupted
        else ("Not reached", "bold red")
    )
    text = f": regret {summary.regret:.6f} after {summary.evaluations:,} evaluations, {summary.seconds:.0f} s"
    target = "" if summary.target is None else f" (target {summary.target:g})"
    return Text.assemble((kind, style), f"{text}{target}.")
