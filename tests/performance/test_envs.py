"""How fast environments step, are made and are drawn, against the baselines in the same run.

One process on one thread is timed by its processor time, so that what else the machine does does not count.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

import hwgpt_gym  # noqa: F401  # Registers the environments.
from hwgpt_gym.envs.sb3 import make_vec_env

LANES = 4096
OPTIONS: dict[str, dict[str, Any]] = {
    "s": {},
    "m": {"scale": "m"},
    "l": {"scale": "l"},
    "contexts": {"device": "all", "constraint": {"latency_ms": ("p10", "p90")}},
    "two limits": {"device": "all", "constraint": {"latency_ms": ("p30", "p90"), "params": "p60"}},
    "noise": {"noise": True},
    "shaping": {"shaping": True},
}
DECISIONS_PER_SECOND = {"s": 5e6, "m": 2e6, "l": 2e6}

cpu_time = pytest.mark.benchmark(timer=time.process_time)


def step_vector(envs: VectorEnv[Any, Any, Any], actions: np.ndarray) -> None:
    for row in actions:
        envs.step(row)


def vector_rate(num_envs: int, steps: int, **arguments: Any) -> float:
    """Decisions a second of a vector environment, the best of three."""
    envs = gym.make_vec("HWGPT-v0", num_envs=num_envs, **arguments)
    actions = np.random.default_rng(0).integers(0, 3, (steps, num_envs))
    envs.reset(seed=0)
    step_vector(envs, actions)
    best = min(timed(lambda: step_vector(envs, actions), time.process_time) for _ in range(3))
    return steps * num_envs / best


def timed(function: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    function()
    return clock() - start


@cpu_time
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP], ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", OPTIONS)
def test_native_vector_environment(benchmark: Any, name: str, mode: AutoresetMode) -> None:
    envs = gym.make_vec("HWGPT-v0", num_envs=LANES, autoreset_mode=mode, **OPTIONS[name])
    # Whole episodes: each ends with an evaluation.
    actions = np.random.default_rng(0).integers(0, 3, (2 * 76, LANES))
    envs.reset(seed=0)
    benchmark.pedantic(step_vector, args=(envs, actions), rounds=5, warmup_rounds=1)
    rate = actions.size / benchmark.stats["min"]
    benchmark.extra_info["decisions_per_second"] = rate
    assert rate >= DECISIONS_PER_SECOND.get(name, 0.0)


def test_native_is_thirty_times_sync() -> None:
    native = vector_rate(LANES, 108)
    sync = vector_rate(LANES, 27, vectorization_mode="sync")
    print(f"\nnative {native:,.0f} decisions/s, SyncVectorEnv {sync:,.0f}: {native / sync:.0f} times")
    assert native >= 30 * sync


def test_jumps_of_contexts_are_looked_up() -> None:
    exact, hinge, regret = (
        vector_rate(LANES, 108, **OPTIONS["contexts"], **options)
        for options in ({"penalty": "exact"}, {"penalty": "hinge"}, {"penalty": "exact", "regret": True})
    )
    print(f"\ncontexts: exact {exact:,.0f} decisions/s, hinge {hinge:,.0f}, exact with regret {regret:,.0f}")
    assert exact >= 0.6 * hinge
    assert regret >= 0.5 * hinge


@pytest.mark.parametrize("name", ["contexts", "two limits"])
def test_shares_of_limits_take_less_than_half_of_a_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against columns that stay as they are, as all of a context did before there were shares."""

    def rates() -> tuple[float, float]:
        return vector_rate(LANES, 108, **OPTIONS[name]), scalar_rate(**OPTIONS[name])

    exact = rates()
    monkeypatch.setattr("hwgpt_gym.envs.limit_shares.LimitShares.take", lambda self, *_: np.float32(0.5))
    fixed = rates()
    for kind, own, other in zip(("vector", "scalar"), exact, fixed, strict=True):
        print(f"\n{name}, {kind}: {own:,.0f} decisions/s with exact shares, {other:,.0f} with fixed columns")
        assert own >= 0.5 * other


SCALAR_STEPS = 5_000


def scalar_steps(**arguments: Any) -> Callable[[], None]:
    """Return what takes :data:`SCALAR_STEPS` random decisions in a scalar environment."""
    env = gym.make("HWGPT-v0", **arguments)
    actions = np.random.default_rng(0).integers(0, 3, SCALAR_STEPS).tolist()

    def run() -> None:
        env.reset(seed=0)
        for action in actions:
            if env.step(action)[2]:
                env.reset()

    return run


def scalar_rate(**arguments: Any) -> float:
    """Decisions a second of a scalar environment, the best of three."""
    run = scalar_steps(**arguments)
    run()
    return SCALAR_STEPS / min(timed(run, time.process_time) for _ in range(3))


@cpu_time
@pytest.mark.parametrize("scale", ["s", "m", "l"])
def test_scalar_environment(benchmark: Any, scale: str) -> None:
    run = scalar_steps(device="a6000", scale=scale)
    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    rate = SCALAR_STEPS / benchmark.stats["min"]
    benchmark.extra_info["steps_per_second"] = rate
    assert rate >= 40_000


def test_bridge_to_sb3() -> None:
    def rate(venv: VecEnv, steps: int) -> float:
        actions = np.random.default_rng(0).integers(0, 3, (steps, venv.num_envs))
        venv.seed(0)
        venv.reset()
        best = min(timed(lambda: [venv.step(row) for row in actions]) for _ in range(3))
        venv.close()
        return steps * venv.num_envs / best

    def make() -> gym.Env[Any, Any]:
        return gym.make("hwgpt_gym:HWGPT-v0")

    bridge = rate(make_vec_env(256), 108)
    dummy = rate(DummyVecEnv([make] * 256), 27)
    subprocess_workers = rate(SubprocVecEnv([make] * 8, start_method="fork"), 108)
    print(
        f"\nbridge {bridge:,.0f} steps/s, DummyVecEnv {dummy:,.0f} ({bridge / dummy:.0f} times), "
        f"SubprocVecEnv of 8 {subprocess_workers:,.0f}"
    )
    assert bridge >= 5 * dummy


@cpu_time
@pytest.mark.parametrize("last", [False, True], ids=["half-built", "complete"])
def test_frame(benchmark: Any, last: bool) -> None:
    env = gym.make("HWGPT-v0", scale="l", constraint={"latency_ms": "p50", "params": "p50"}, render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(71 if last else 40):
        terminated = env.step(0)[2]
    assert terminated == last
    benchmark.pedantic(env.render, rounds=5, warmup_rounds=1)
    assert benchmark.stats["median"] < 0.15


def test_frames_take_a_third_of_what_matplotlib_takes() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from hwgpt_gym.envs.rendering import draw_frame, draw_view
    from hwgpt_gym.envs.view import view_of

    def by_matplotlib(view: Any) -> None:
        figure = Figure(figsize=(9.6, 5.4), dpi=100)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, 960), ylim=(0, 540))
        axes.axis("off")
        draw_view(axes, view)
        FigureCanvasAgg(figure).draw()

    for steps in (40, 71):
        env: Any = gym.make("HWGPT-v0", scale="l", constraint={"latency_ms": "p50", "params": "p50"}).unwrapped
        env.reset(seed=0)
        for _ in range(steps):
            env.step(0)
        view = view_of(env._episodes, 0)
        ours, theirs = (
            min(timed(lambda: draw(view), time.process_time) for _ in range(5))  # noqa: B023
            for draw in (draw_frame, by_matplotlib)
        )
        print(f"\nframe after {steps} decisions {ours * 1e3:.1f} ms, Matplotlib's figure {theirs * 1e3:.1f} ms")
        assert theirs >= 3 * ours


def test_cold_start() -> None:
    """Time of the import and of the first environment, in a fresh process."""
    code = (
        "import time; start = time.process_time(); import hwgpt_gym; imported = time.process_time();"
        "import gymnasium; begin = time.process_time(); gymnasium.make('HWGPT-v0', device='a6000');"
        "print(imported - start, time.process_time() - begin)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    imported, made = (min(float(run[i]) for run in runs) for i in (0, 1))
    print(f"\nimport hwgpt_gym {imported:.3f} s, first gymnasium.make {made:.3f} s")
    assert imported < 0.7
    assert made < 0.15
