"""A run: an agent searches, and leaves a folder that says what it did.

``search``, ``train`` and ``demo`` go the same way: a :class:`RunConfig` says what is asked for, :func:`perform` does
it, :meth:`Run.summarize` says what came of it, and :func:`save_run` fills the folder that :func:`run_folder` claimed:

=======================  ==========================================================================
``config.json``          what was asked for: agent and settings, device, objective, budget, seed, versions
``summary.json``         what came out, beside the optimum and random search
``result.parquet``       every evaluation in order, which ``hwgpt-gym validate`` checks
``random.parquet``       the same of random search with the same number of evaluations
``policy.safetensors``   the trained policy, of agents that have one: ``hwgpt-gym evaluate`` scores it
``learning_curve.png``   regret over evaluations
``pareto.png``           the exact front, and what was visited
``architecture.png``     the best architecture found
``optimum.png``          the optimum
``report.html``          all of it on one page that needs no network
=======================  ==========================================================================
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from hwgpt_gym.agents import make_agent
from hwgpt_gym.agents.agent import Agent, Trainable
from hwgpt_gym.agents.problem import Callback, SearchProblem
from hwgpt_gym.agents.random_search import RandomSearch
from hwgpt_gym.agents.result import SearchResult
from hwgpt_gym.agents.runs.display import RunDisplay, summary_table, title_of, verdict
from hwgpt_gym.agents.runs.interrupts import Interrupts
from hwgpt_gym.agents.runs.records import RunConfig, RunSummary, Scored
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.console import warn
from hwgpt_gym.files import new_folder, take_folder, write_text
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import Optimum, solve
from hwgpt_gym.search_space import Encoded

if TYPE_CHECKING:
    from hwgpt_gym.agents.ppo.policy import Policy

RUNS: Final = Path("runs")
CONFIG: Final = "config.json"
SUMMARY: Final = "summary.json"
POLICY: Final = "policy.safetensors"


class StoppableProblem(SearchProblem):
    """A search problem that ends early: at a reward that is good enough, or when it is told to.

    What remains of the budget is then nothing. What is under way when it is told to stop is still evaluated, so a stop
    is an end like that of the budget, wherever it falls. Schedules that follow the budget are those of the whole one.

    Args:
        benchmark: As for :class:`SearchProblem`, as are the others up to ``seed``.
        objective: The objective.
        budget: How many architectures may be evaluated.
        seed: The seed.
        enough: The reward at which the search may end; none by default.
    """

    def __init__(
        self, benchmark: Benchmark, objective: Objective, budget: int, seed: int, enough: float = float("inf")
    ) -> None:
        self.enough = enough
        self.stopped = False
        super().__init__(benchmark, objective, budget, seed)

    def stop(self) -> None:
        """End the search."""
        self.stopped = True

    @property
    def remaining(self) -> int:
        """How many architectures may still be evaluated."""
        return 0 if self.stopped or self.best_reward >= self.enough else super().remaining


@dataclass(frozen=True, eq=False)
class Run:
    """What an agent did.

    Attributes:
        config: What was asked for.
        result: Everything it evaluated.
        policy: What it trained, of agents that train a policy.
        optimum: The optimum.
        random: Random search with the same number of evaluations.
        interrupted: Whether it was told to stop.
    """

    config: RunConfig
    result: SearchResult
    policy: Policy | None
    optimum: Optimum
    random: SearchResult
    interrupted: bool

    def summarize(self) -> RunSummary:
        """Return what came of it."""
        result, best = self.result, self.optimum.constrained
        greedy = self._score(result.greedy_encoded[-1:], len(result)) if len(result.greedy_encoded) else None
        return RunSummary(
            target=self.config.target,
            interrupted=self.interrupted,
            evaluations=len(result),
            seconds=result.wall_time,
            processor_seconds=result.cpu_time,
            limits={key: float(value) for key, value in self.optimum.objective.limits.items()},
            found=self._score(result.encoded[result.best_index][None], len(result)),
            greedy=greedy,
            random=self._score(self.random.encoded[self.random.best_index][None], len(self.random)),
            optimum=self._score(self.optimum.encoded, 0),
            optimum_title=self.optimum.title,
            constrained=None if best is None or best is self.optimum else self._score(best.encoded, 0),
        )

    def _score(self, encoded: Encoded, evaluations: int) -> Scored:
        benchmark, bound = self.config.benchmark, self.optimum.objective
        metrics = benchmark.evaluate(encoded)
        outcome = bound.evaluate({key: metrics[key] for key in bound.metrics}, margins=bound.margins(encoded))
        return Scored(
            architecture=str(benchmark.space.decode(encoded)[0]),
            reward=float(outcome.reward[0]),
            quality=float(outcome.quality[0]),
            penalty=float(outcome.penalty[0]),
            feasible=bool(outcome.feasible[0]),
            regret=self.optimum.reward - float(outcome.reward[0]),
            evaluations=evaluations,
            metrics={key: float(value[0]) for key, value in metrics.items()},
        )


@contextmanager
def perform(config: RunConfig, console: Console, tensorboard: Path | None = None) -> Iterator[Run]:
    """Let an agent search, its progress on show; the block is for what is to be kept of it.

    The first Ctrl-C ends the search and keeps what was evaluated. One that comes later, when the block may be writing
    files, raises at the end of the block; the second one raises at once.

    Args:
        config: What is asked for; a ``demo`` ends as soon as its target is reached.
        console: Where to show it.
        tensorboard: A folder for TensorBoard's events, of agents that train a policy.

    Raises:
        KeyboardInterrupt: If Ctrl-C came before anything was evaluated, after the search, or twice.
    """
    benchmark = config.benchmark
    optimum = solve(benchmark, config.objective)
    if optimum.objective.unmeetable:
        warn(optimum.objective.unmeetable)
    ends = config.verb == "demo" and config.target is not None
    enough = optimum.reward - config.target if ends and config.target is not None else float("inf")
    problem = StoppableProblem(benchmark, config.objective, config.budget, config.seed, enough)
    agent = make_agent(config.agent, **config.settings)
    title = title_of(config, optimum)
    with Interrupts() as interrupts:
        with RunDisplay(title, optimum, config.budget, config.target, console) as display:
            result, policy, interrupted = _search(agent, problem, display, tensorboard, interrupts)
        if not len(result):
            raise KeyboardInterrupt
        random = RandomSearch().run(SearchProblem(benchmark, config.objective, len(result), config.seed))
        yield Run(config, result, policy, optimum, random, interrupted)


def _search(
    agent: Agent, problem: StoppableProblem, callback: Callback, tensorboard: Path | None, interrupts: Interrupts
) -> tuple[SearchResult, Policy | None, bool]:
    """Return what was evaluated, what was trained, and whether Ctrl-C ended it; hold later ones back."""
    if isinstance(agent, Trainable):
        interrupts.stop = problem.stop
        result, policy = agent.train(problem, callback, tensorboard)
        interrupts.stop = None
        return result, policy, problem.stopped
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        result = agent.run(problem, callback)
        interrupts.stop = None
        return result, None, False
    except KeyboardInterrupt:
        elapsed = time.perf_counter() - wall, time.process_time() - cpu
        return problem.result(agent.name, asdict(agent), *elapsed), None, True


@contextmanager
def run_folder(kind: str, config: str, folder: Path | None = None) -> Iterator[Path]:
    """Claim a run folder with ``config.json`` in it; if the block raises before more is written, it is removed again.

    Args:
        kind: What the folder's name begins with.
        config: The text of ``config.json``.
        folder: The folder, new or empty; by default a new one in ``runs``, named by the time.

    Raises:
        ValueError: If the folder is not empty, or cannot be made.
    """
    path = None
    try:
        with Interrupts(None):  # One that came in between would leave a folder that nobody removes.
            path, made = _claim(kind, config, folder)
        yield path
    except BaseException:
        if path is not None and [item.name for item in path.iterdir()] == [CONFIG]:
            (path / CONFIG).unlink()
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()
        raise


def _claim(kind: str, config: str, folder: Path | None) -> tuple[Path, list[Path]]:
    """Return a run folder, and which folders were made for it, the innermost first."""
    made = [path for path in ((folder or RUNS), *(folder or RUNS).parents) if not path.exists()]
    if folder is None:
        path = new_folder(RUNS, f"{kind}-{datetime.now():%Y%m%d-%H%M%S}")
        made = [path, *made]
    else:
        path = take_folder(folder, name="--output")
    try:
        # Exclusively: of two runs that found the same folder empty, one has it.
        with (path / CONFIG).open("x", encoding="utf-8") as file:
            file.write(config)
    except FileExistsError:
        raise ValueError(f"--output must be a new or an empty folder, {str(path)!r} holds a run") from None
    return path, made


def perform_into_folder(
    config: RunConfig, folder: Path | None, console: Console, tensorboard: Path | None = None
) -> RunSummary:
    """Perform a run, print what came of it, and leave a run folder.

    Args:
        config: What is asked for.
        folder: The run folder; by default a new one in ``runs``.
        console: Where to show all of it.
        tensorboard: A folder for TensorBoard's events, of agents that train a policy.

    Raises:
        ValueError: If the folder is not empty, or cannot be made.
        KeyboardInterrupt: As :func:`perform`.
    """
    kind = "demo" if config.verb == "demo" else config.agent
    with run_folder(kind, config.to_json(), folder) as path, perform(config, console, tensorboard) as run:
        summary = run.summarize()
        console.print()
        console.print(summary.found.architecture, style="bold", soft_wrap=True)
        console.print(summary_table(summary, config.agent))
        page = save_run(run, summary, path)
        console.print(f"\nRun folder: {path}\nReport:     {page}", soft_wrap=True)
        console.print()
        console.print(verdict(summary))
    return summary


def save_run(run: Run, summary: RunSummary, folder: Path) -> Path:
    """Write what a run folder holds beside ``config.json``.

    Args:
        run: The run.
        summary: Its summary.
        folder: The folder, that of :func:`run_folder`.

    Returns:
        The page.
    """
    from hwgpt_gym.agents.runs.page import write_report
    from hwgpt_gym.agents.runs.pictures import save_learning_curve, save_pareto_picture
    from hwgpt_gym.envs.pictures import save_architecture
    from hwgpt_gym.optimum.front import pareto_front

    config, result, optimum = run.config, run.result, run.optimum
    result.save(folder / "result.parquet", optimum)
    run.random.save(folder / "random.parquet", optimum)
    if run.policy is not None:
        objective = config.objective.to_dict()
        device = {"device": config.device, "device_content": config.device_content}
        notes = {"agent": config.agent, **device, "objective": objective}
        run.policy.save(folder / POLICY, **notes, budget=config.budget, seed=config.seed)
    write_text(folder / SUMMARY, summary.to_json())
    save_learning_curve(result, optimum, folder / "learning_curve.png", target=config.target, random=run.random)
    bounded = next(iter(optimum.objective.limits), "latency_ms")
    front = pareto_front(config.benchmark, ("perplexity", bounded))
    for name in ("pareto.png", "pareto.svg"):
        save_pareto_picture(config.benchmark, front, folder / name, result=result, optimum=optimum)
    for name, architecture in (("architecture", result.best), ("optimum", optimum.architecture)):
        save_architecture(architecture, config.device, config.objective, folder / f"{name}.png")
    return write_report(folder)
