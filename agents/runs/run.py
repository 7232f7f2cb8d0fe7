"""A run: an agent searches, and leaves a folder that says what it did.

Like the commands, this stands above the agents and the environments. A run folder holds

=======================  ==========================================================================
``config.json``          what was asked for: agent and settings, device, objective, budget, seed, versions
``summary.json``         what came out, beside the certified optimum and random search
``result.parquet``       every evaluation in order, which ``hwgpt-gym validate`` checks
``random.parquet``       the same of random search with the same number of evaluations
``policy.safetensors``   the trained policy, of agents that have one: ``hwgpt-gym evaluate`` scores it
``learning_curve.png``   regret over evaluations
``pareto.png``           the exact front, and what was visited
``architecture.png``     the best architecture found
``report.html``          all of it on one page that needs no network
=======================  ==========================================================================
"""

from __future__ import annotations

import json
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hwgpt_gym.agents.agent import Agent
from hwgpt_gym.agents.problem import (
    Callback,
    SearchProblem,
)
from hwgpt_gym.agents.random_search import RandomSearch
from hwgpt_gym.agents.result import SearchResult
from hwgpt_gym.agents.runs.page import write_report
from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.files import write_text
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import Optimum, solve
from hwgpt_gym.optimum.front import pareto_front
from hwgpt_gym.version import __version__

if TYPE_CHECKING:
    from hwgpt_gym.agents.ppo.policy import Policy

POLICY: Final = "policy.safetensors"


class StoppableProblem(SearchProblem):
    """A search problem that ends early: at a reward that is good enough, or when it is told to.

    What remains of the budget is then nothing. Schedules that follow the budget are those of the whole one.

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

    @property
    def remaining(self) -> int:
        """How many architectures may still be evaluated."""
        return 0 if self.stopped or self.best_reward >= self.enough else self.budget - self.evaluations


@dataclass(frozen=True, eq=False)
class Run:
    """What an agent did.

    Attributes:
        result: Everything it evaluated.
        policy: What it trained, of agents that train a policy.
        optimum: The certified optimum.
        random: Random search with the same number of evaluations.
        interrupted: Whether Ctrl-C ended it.
    """

    result: SearchResult
    policy: Policy | None
    optimum: Optimum
    random: SearchResult
    interrupted: bool

    @property
    def regret(self) -> float:
        """How far the best architecture found is below the certified optimum, in reward."""
        return float(self.result.regret(self.optimum)[-1])


def run_agent(
    agent: Agent, problem: StoppableProblem, callback: Callback | None = None, tensorboard: Path | None = None
) -> Run:
    """Let an agent search; Ctrl-C ends the search and keeps what was evaluated.

    Args:
        agent: The agent.
        problem: The problem, fresh.
        callback: Called with the problem after every batch of evaluations.
        tensorboard: A folder for TensorBoard's events, of agents that train a policy.

    Raises:
        KeyboardInterrupt: If Ctrl-C came before anything was evaluated, or twice.
    """
    policy, interrupted = None, False
    if hasattr(agent, "train"):
        with _stop_at_interrupt(problem):
            result, policy = agent.train(problem, callback, tensorboard)
        interrupted = problem.stopped
    else:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            result = agent.run(problem, callback)
        except KeyboardInterrupt:
            interrupted = True
            elapsed = time.perf_counter() - wall, time.process_time() - cpu
            result = problem.result(agent.name, asdict(agent), *elapsed)
    if not len(result):
        raise KeyboardInterrupt
    baseline = SearchProblem(problem.benchmark, problem.objective, len(result), problem.seed)
    random = RandomSearch().run(baseline)
    return Run(result, policy, solve(problem.benchmark, problem.objective), random, interrupted)


@contextmanager
def _stop_at_interrupt(problem: StoppableProblem) -> Iterator[None]:
    """Let the first Ctrl-C stop the problem, so that the agent ends as a budget does; the second raises."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        problem.stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def summarize(run: Run, benchmark: Benchmark, target: float) -> dict[str, Any]:
    """Return what came out of a run, as JSON can hold it.

    Args:
        run: The run.
        benchmark: Its benchmark.
        target: The regret to reach.
    """
    bound = run.optimum.objective
    result = run.result
    rows = {"found": (result.encoded[result.best_index][None], len(result))}
    if len(result.greedy_encoded):
        rows["greedy"] = (result.greedy_encoded[-1:], len(result))
    rows["random"] = (run.random.encoded[run.random.best_index][None], len(run.random))
    rows["optimum"] = (run.optimum.encoded, 0)
    entries = {}
    for name, (encoded, evaluations) in rows.items():
        metrics = benchmark.evaluate(encoded)
        outcome = bound.evaluate({key: metrics[key] for key in bound.metrics})
        entries[name] = {
            "architecture": str(benchmark.space.decode(encoded)[0]),
            "reward": float(outcome.reward[0]),
            "quality": float(outcome.quality[0]),
            "penalty": float(outcome.penalty[0]),
            "feasible": bool(outcome.feasible[0]),
            "regret": run.optimum.reward - float(outcome.reward[0]),
            "evaluations": evaluations,
            "metrics": {key: float(value[0]) for key, value in metrics.items()},
        }
    return {
        "regret": run.regret,
        "target": target,
        "reached": run.regret <= target,
        "interrupted": run.interrupted,
        "evaluations": len(result),
        "seconds": result.wall_time,
        "processor_seconds": result.cpu_time,
        "budgets": {key: float(value) for key, value in bound.limits.items()},
        "architectures": entries,
    }


def describe(agent: Agent, problem: SearchProblem, target: float, command: str) -> dict[str, Any]:
    """Return what was asked for, as JSON can hold it: enough to run it again."""
    import numpy

    settings = asdict(agent.resolve(problem)) if hasattr(agent, "resolve") else asdict(agent)
    return {
        "command": command,
        "agent": agent.name,
        "settings": settings,
        "device": problem.benchmark.device and problem.benchmark.device.name,
        "scale": problem.benchmark.scale,
        "objective": problem.objective.to_dict(),
        "budget": problem.budget,
        "seed": problem.seed,
        "target": target,
        "versions": {"hwgpt-gym": __version__, "python": platform.python_version(), "numpy": numpy.__version__},
    }


def save_run(folder: Path, run: Run, benchmark: Benchmark, config: dict[str, Any], summary: dict[str, Any]) -> Path:
    """Write a run folder.

    Args:
        folder: The folder; made if it does not exist.
        run: The run.
        benchmark: Its benchmark.
        config: That of :func:`describe`.
        summary: That of :func:`summarize`.

    Returns:
        The page.
    """
    from hwgpt_gym.agents.runs.pictures import (
        save_learning_curve,
        save_pareto_picture,
    )
    from hwgpt_gym.envs.pictures import save_architecture

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    run.result.save(folder / "result.parquet", run.optimum)
    run.random.save(folder / "random.parquet", run.optimum)
    if run.policy is not None:
        notes = {key: config[key] for key in ("agent", "device", "objective", "budget", "seed")}
        run.policy.save(folder / POLICY, **notes)
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    target = config["target"]
    save_learning_curve(run.result, run.optimum, folder / "learning_curve.png", target=target, random=run.random)
    bounded = next(iter(run.optimum.objective.limits), "latency_ms" if benchmark.devices else "params")
    front = pareto_front(benchmark, ("perplexity", bounded))
    save_pareto_picture(benchmark, front, folder / "pareto.png", result=run.result, optimum=run.optimum)
    objective = run.result.objective
    device = benchmark.devices[0].name if benchmark.devices else "a6000"
    for name, architecture in (("architecture", run.result.best), ("optimum", run.optimum.architecture)):
        save_architecture(architecture, device, objective, folder / f"{name}.png")
    return write_report(folder)


def new_folder(kind: str, parent: Path = Path("runs")) -> Path:
    """Return the path of a run folder that does not exist yet, named by kind and time."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = parent / f"{kind}-{stamp}"
    number = 2
    while path.exists():
        path = parent / f"{kind}-{stamp}-{number}"
        number += 1
    return path
