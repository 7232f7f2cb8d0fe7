"""Anything may be passed to anything public: it works, or an error of ours says what is legal.

Public functions, constructors and methods are found by introspection, and so are the commands and their options; every
argument is a legal one, an odd one, or left out. Whatever fails otherwise than by an error that this package raises on
purpose is a defect: an error of a library's from deep inside, a message without end, a command that ends with a
traceback. ``make fuzz`` tries more; ``HWGPT_FUZZ_SEED`` repeats a run, whose seed pytest prints at the beginning.
"""

from __future__ import annotations

import inspect
import io
import linecache
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch._dynamo
import typer
from gymnasium.vector import AutoresetMode
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

import hwgpt_gym.agents
import hwgpt_gym.agents.ppo.training
import hwgpt_gym.envs
from hwgpt_gym import DEVICES, METRICS, Architecture, Benchmark, Device, Objective, SearchSpace, pareto_front, solve
from hwgpt_gym.agents import AGENTS, BudgetExceededError, SearchProblem, Trainable, make_agent
from hwgpt_gym.agents.random_search import RandomSearch
from hwgpt_gym.cli.app import app, run
from hwgpt_gym.compat import HWGPT
from hwgpt_gym.envs.hwgpt import HWGPTEnv
from hwgpt_gym.envs.multi_objective import HWGPTMultiObjectiveEnv
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.interop.lists import ListInterface
from hwgpt_gym.objective import BoundObjective
from hwgpt_gym.optimum import ActionValues, Optimum, ParetoFront
from hwgpt_gym.optimum.action_values import make_action_values
from hwgpt_gym.pareto import box
from hwgpt_gym.penalties import get_penalty
from hwgpt_gym.surrogates import Surrogates, load_surrogates

# Loaded now, so that the processes of commands have them.
assert torch._dynamo
assert hwgpt_gym.agents.ppo.training

pytestmark = pytest.mark.fuzz

SEED = int(os.environ["HWGPT_FUZZ_SEED"])
CASES = max(16, settings.default.max_examples // 6)
"""Of each callable: 16, or as many as the profile asks for."""
COMMAND_CASES = 2 * CASES
LONGEST_MESSAGE = 2_500
PATIENCE = 60.0
"""Seconds after which a call hangs."""
COMMAND_PATIENCE = 0.7
"""Seconds after which a command works; it is killed."""

OWN_FOLDERS = tuple(str(Path(str(module.__file__)).parent) for module in (hwgpt_gym, hwgpt_gym.envs, hwgpt_gym.agents))

MODULES = (
    "hwgpt_gym",
    "hwgpt_gym.agents",
    "hwgpt_gym.agents.amortised",
    "hwgpt_gym.agents.leaderboard.grids",
    "hwgpt_gym.agents.leaderboard.suites",
    "hwgpt_gym.agents.ppo.contextual",
    "hwgpt_gym.agents.problem",
    "hwgpt_gym.analytic",
    "hwgpt_gym.benchmark",
    "hwgpt_gym.compat",
    "hwgpt_gym.devices",
    "hwgpt_gym.envs.edit",
    "hwgpt_gym.envs.hwgpt",
    "hwgpt_gym.envs.multi_objective",
    "hwgpt_gym.envs.sb3",
    "hwgpt_gym.envs.vector",
    "hwgpt_gym.explorer.compare",
    "hwgpt_gym.explorer.model",
    "hwgpt_gym.interop.configurations",
    "hwgpt_gym.interop.dataframe",
    "hwgpt_gym.interop.lists",
    "hwgpt_gym.interop.optuna",
    "hwgpt_gym.interop.pymoo",
    "hwgpt_gym.metrics",
    "hwgpt_gym.objective",
    "hwgpt_gym.optimum",
    "hwgpt_gym.pareto",
    "hwgpt_gym.penalties",
    "hwgpt_gym.plotting",
    "hwgpt_gym.search_space",
    "hwgpt_gym.surrogates",
)
"""What the documentation calls; ``fitting``, ``dataset`` and ``onboarding`` read files, and have tests of their own."""


PLAIN = (tuple, BaseException, Trainable)
INNER = (
    "benchmark.check_benchmark",
    "agents.random_search.RandomSearch.search",
    "encoding.layers_of",
    "encoding.read_only",
    "interop.dataframe.names_of",
    "objective.BoundObjective.jump_table",
    "objective.BoundObjective.outcome",
    "objective.BoundObjective.quality",
    "objective.BoundObjective.quality_of_log",
    "objective.BoundObjective.rewards",
    "penalties.keeps",
    "penalties.outcome",
)
"""What checks, what :meth:`Agent.run` calls, and arithmetic on checked arrays in every step of environments."""


class Hostile:
    """An object that fails whatever is done with it."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no entries")


@cache
def bench() -> Benchmark:
    return Benchmark("s", "a6000")


def batch() -> np.ndarray:
    return bench().space.sample(np.random.default_rng(0), 3)


@cache
def objective() -> Objective:
    return Objective({"latency_ms": "p50"})


@cache
def front() -> ParetoFront:
    return pareto_front(bench())


@cache
def optimum() -> Optimum:
    return solve(bench(), objective())


def odd_values() -> list[Any]:
    """What nobody would pass on purpose, and what many would pass by mistake."""
    architecture = Architecture.decode(batch()[:1], "s")
    return [
        *(None, True, False, np.bool_(True), 0, -1, 2, 7, 1.5, 0.0, -0.0, float("nan"), float("inf"), float("-inf")),
        *(10**400, -(10**400), 2**63, 2**64, 1e308, 1e-310, np.int64(2), np.uint64(2), np.float32(0.5), 1j),
        *("", "s", "a6000", "A6000", "latency_ms", "perplexity", "p50", "p\u0663\u0660", "p101", "all", "none", "\0"),
        *("x" * 100_000, "9" * 5_000, "[/b]", "../..", b"a6000", "gpt-s-10", architecture.to_string()),
        *([], (), {}, set(), [1], [None], [[1], [1, 2]], ["a6000"], ["a6000", "a6000"], ["perplexity", "latency_ms"]),
        *({"latency_ms": "p50"}, {"latency_ms": None}, {1: 2}, {"params": 10**400}, {"x" * 9_000: 1}, [{}], [[[]]]),
        *(object(), Hostile(), len, int, Ellipsis, range(3), slice(2), iter([1]), Path("nowhere"), DEVICES["h100"]),
        *(np.zeros(0), np.array(5), np.zeros((2, 3)), np.array(["a"]), np.array([None]), np.full((2, 27), 99)),
        *(batch(), batch().astype(np.uint64), batch().astype(float), batch()[0], batch().tolist()),
        *(np.full((1, 27), -1), np.full((1, 27), -1, dtype=np.int8)),
        *(architecture, [architecture], architecture.to_config(), bench(), objective()),
        *(METRICS["params"], np.random.default_rng(0), np.random.RandomState(0), AutoresetMode.DISABLED),
    ]


def legal_values() -> dict[str, list[Any]]:
    """Values by the name of the parameter, so that what follows the first check is reached too."""
    some = bench()
    names = [Architecture.decode(row[None], "s").to_string() for row in batch()]
    return {
        "scale": ["s"],
        "search_space": ["s"],
        "device": ["a6000", "all", ["a6000", "h100"]],
        "devices": [["a6000"]],
        "bench": [some],
        "benchmark": [some],
        "objective": [objective()],
        "constraint": [{"latency_ms": "p30"}, {}],
        "constraints": [{"latency_ms": "p30"}],
        "encoded": [batch(), batch()[:1]],
        "architectures": [batch(), front()],
        "rng": [np.random.default_rng(1)],
        "n": [3],
        "metric": ["latency_ms", "perplexity", "params"],
        "metrics": [["perplexity", "latency_ms"], some.evaluate(batch())],
        "values": [front().values],
        "losses": [front().losses],
        "box": [box(some, front().metrics)],
        "front": [front().values, front()],
        "optimum": [optimum()],
        "space": [some.space],
        "penalty": ["exact", "hinge", get_penalty("hinge")],
        "quality": [np.linspace(0.0, 1.0, 3)],
        "ratios": [[np.ones(3)]],
        "weight": [2.0],
        "limit": [20.0],
        "level": [0.5],
        "problem": [SearchProblem(some, objective(), 20)],
        "architecture": names,
        "architecture_string": names,
        "name": [names[0], "a6000", "ppo", "hinge"],
        "budget": [9],
        "seed": [0],
        "num_envs": [2],
        "architecture_list": [["0"] * 27],
        "input_list": [["0"] * 27],
        "score": ["latency"],
        "score_name": ["latency"],
        "worlds": [0],
        "callback": [None, lambda _: None],
    }


RECEIVERS: Mapping[type, Callable[[], Any]] = {
    Benchmark: bench,
    SearchSpace: lambda: bench().space,
    Objective: objective,
    BoundObjective: lambda: objective().bind(bench()),
    Architecture: lambda: Architecture.decode(batch()[:1], "s"),
    HWGPT: lambda: HWGPT("s", seed=0),
    ListInterface: lambda: ListInterface("s"),
    SearchProblem: lambda: SearchProblem(bench(), objective(), 20),
    ActionValues: lambda: make_action_values(bench(), objective()),
    HWGPTEnv: lambda: HWGPTEnv(render_mode="ansi"),
    HWGPTVectorEnv: lambda: HWGPTVectorEnv(2, device=["a6000", "h100"], render_mode="ansi"),
    HWGPTMultiObjectiveEnv: HWGPTMultiObjectiveEnv,
    Device: lambda: DEVICES["a6000"],
    Surrogates: lambda: load_surrogates("s"),
    RandomSearch: RandomSearch,
}
"""What makes an object whose methods are called, anew for every case."""


def is_ours(value: object) -> bool:
    return str(getattr(value, "__module__", "")).startswith("hwgpt_gym")


def public_names() -> Iterator[tuple[str, Any, type | None]]:
    """Yield every public callable: its name, itself, and the class of which it is a method."""
    found: dict[str, tuple[Any, type | None]] = {}
    for module_name in MODULES:
        module = import_module(module_name)
        own = [name for name in dir(module) if getattr(getattr(module, name), "__module__", "") == module_name]
        for name in getattr(module, "__all__", [name for name in own if not name.startswith("_")]):
            value = getattr(module, name)
            if not callable(value) or not is_ours(value) or not hasattr(value, "__qualname__"):
                continue
            if inspect.isclass(value) and (issubclass(value, PLAIN) or inspect.isabstract(value)):
                continue  # Plain containers hold what they are given.
            found[f"{value.__module__}.{value.__qualname__}"] = (value, None)
    for kind in RECEIVERS:
        for name, member in inspect.getmembers(kind, inspect.isroutine):
            if (not name.startswith("_") or name == "__call__") and is_ours(member):
                found[f"{kind.__module__}.{kind.__qualname__}.{name}"] = (name, kind)
    for name, (value, kind) in sorted(found.items()):
        if name.removeprefix("hwgpt_gym.") not in INNER:
            yield name, value, kind


PUBLIC = {name: (value, kind) for name, value, kind in public_names()}


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeUp` in the block after some time."""

    def stop(*_: object) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # And again: what is raised in a callback is lost.
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


class TimeUp(BaseException):
    """Time is up; nothing catches it."""


def raised_on_purpose(error: BaseException) -> bool:
    """Return whether a statement of this package raised an error, and not what it called."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    ours = frame.filename.startswith(OWN_FOLDERS)
    return ours and linecache.getline(frame.filename, frame.lineno or 0).strip().startswith(("raise", "_begin"))


def check_error(error: Exception, named: str = "") -> None:
    """Fail at an error that says nothing of the argument."""
    kinds = ValueError | TypeError | IndexError | OSError | BudgetExceededError | gymnasium.error.Error
    message = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return  # The system's: it names the file.
    if not isinstance(error, kinds) or not raised_on_purpose(error) or not message:
        raise AssertionError(f"not an error that was meant: {type(error).__name__}: {message[:300]}") from error
    assert named in message
    assert len(message) <= LONGEST_MESSAGE, f"a message of {len(message)} characters: {message[:300]}"


def draw_arguments(draw: Callable[..., Any], call: Callable[..., Any]) -> dict[str, Any]:
    """Draw arguments by name: legal ones, odd ones, or none."""
    odd, legal = odd_values(), legal_values()
    arguments = {}
    for name, parameter in inspect.signature(call).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        required = parameter.default is parameter.empty
        choice = draw(st.integers(0, 9))
        if name in legal and choice < 6:
            arguments[name] = draw(st.sampled_from(legal[name]))
        elif required or (choice < 8 and name != "callback"):
            arguments[name] = odd[draw(st.integers(0, len(odd) - 1))]
    return arguments


@pytest.mark.parametrize("name", PUBLIC)
def test_public_callables_work_or_say_what_is_legal(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    @seed(SEED)
    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def case(data: st.DataObject) -> None:
        value, kind = PUBLIC[name]
        call = value if kind is None else getattr(RECEIVERS[kind](), value)
        arguments = draw_arguments(data.draw, call)
        note(f"{name}(**{[(key, type(item)) for key, item in arguments.items()]})")
        with warnings.catch_warnings(), limit(PATIENCE), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                call(**arguments)
            except Exception as error:
                check_error(error)

    case()


def test_the_introspection_finds_what_there_is() -> None:
    for name in ("benchmark.Benchmark", "benchmark.Benchmark.evaluate", "optimum.solver.solve", "compat.HWGPT.query"):
        assert f"hwgpt_gym.{name}" in PUBLIC
    assert len(PUBLIC) * CASES + len(COMMANDS) * COMMAND_CASES >= 2_000


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS: Mapping[str, tuple[tuple[str, ...], Any]] = {
    " ".join(path): (path, command) for path, command in commands(typer.main.get_command(app))
}

WORDS = (
    *("s", "m", "a6000", "all", "latency_ms=p50", "latency_ms=20", "none", "latency_ms=", "params=1e400", "perplexity"),
    *("0", "1", "-1", "5", "64", "1e400", "nan", "1.5", "9" * 400, "", " ", "--", "-x", "x" * 5_000, "p\u0663\u0660"),
    *("[/b]", "gpt-s-10", "ppo", "random_search", "random_search=5", "hinge", "exact", "0.5", "quick", "perplexity=3"),
    *(".", "nowhere/file.parquet", "file.parquet", "file.csv", "file.json", "file.png", "/dev/null", "\u2603", "\\"),
)


STOPPED = -signal.SIGKILL
"""What :func:`run_apart` returns of a command that was at work for long enough."""


def run_apart(line: list[str], output: Path) -> int:
    """Run a command in a process of its own, which is killed with all that it started when its time is up."""
    process = os.fork()
    if process == 0:
        code = 99
        try:
            os.setsid()
            descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            with open(descriptor, "w", encoding="utf-8") as stream, redirect_stdout(stream), redirect_stderr(stream):
                code = run(line)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + COMMAND_PATIENCE
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    os.kill(process, signal.SIGKILL)  # Also before it has a session of its own.
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs commands in forked processes")
@pytest.mark.parametrize("name", COMMANDS)
def test_commands_work_or_end_with_a_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.json").write_text("[[[", encoding="utf-8")
    (tmp_path / "file.parquet").write_bytes(b"PAR1")
    path, command = COMMANDS[name]

    @seed(SEED)
    @settings(
        max_examples=COMMAND_CASES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def case(data: st.DataObject) -> None:
        line = list(path)
        for parameter in command.params:
            flags = [flag for flag in getattr(parameter, "opts", ()) if flag.startswith("-")]
            is_flag = getattr(parameter, "is_flag", False)
            if flags and data.draw(st.integers(0, 3)):
                continue
            words = [] if is_flag else [data.draw(st.sampled_from(WORDS))]
            line += [flags[-1], *words] if flags else words
        note(f"hwgpt-gym {line}")
        output = tmp_path / "output"
        code = run_apart(line, output)
        assert code in (0, 1, 2, STOPPED), f"{line} ended with {code}: {output.read_text(errors='replace')[-500:]}"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case()


def test_agents_refuse_every_odd_setting() -> None:
    for name, agent in AGENTS.items():
        for setting in (field.name for field in fields(agent)):
            for value in odd_values():
                try:
                    made = make_agent(name, **{setting: value})
                except (ValueError, TypeError) as error:
                    check_error(error, setting)
                else:
                    assert value is None or np.ndim(value) == 0, f"{name} takes {setting}={made!r}"
