"""A device of one's own is taken wherever a device is taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from flipping import flip

from hwgpt_gym import (
    DEVICES,
    Architecture,
    Benchmark,
    Objective,
    get_device,
    get_search_space,
    load_device,
    pareto_front,
    register_device,
    solve,
)
from hwgpt_gym.agents import SearchProblem, make_agent, validate_result
from hwgpt_gym.cli import app as cli
from hwgpt_gym.envs.settings import make_settings
from hwgpt_gym.envs.task import get_task
from hwgpt_gym.onboarding.devices import ProfiledDevice
from hwgpt_gym.onboarding.fit import fit_table
from hwgpt_gym.onboarding.plan import make_plan
from hwgpt_gym.onboarding.profile import DeviceProfile
from hwgpt_gym.onboarding.surrogates import ERRORS_FILE
from hwgpt_gym.optimum import action_values
from hwgpt_gym.search_space import GROUPS
from hwgpt_gym.surrogates import load_surrogates
from hwgpt_gym.surrogates.features import extract


def make_profile(
    folder: Path, name: str = "mine", scale: str = "s", metrics: tuple[str, ...] = ("latency_ms",), factor: float = 1.3
) -> DeviceProfile:
    """Fit a profile to a table: the costs of a shipped device, times a factor and a little noise."""
    plan, space, rng = make_plan(scale, 12, 0), get_search_space(scale), np.random.default_rng(0)
    encoded = space.encode([Architecture.from_string(item) for item in plan.architectures])
    columns = [load_surrogates(scale).costs[metric][3].predict(encoded) * factor for metric in metrics]
    rows = np.exp(0.01 * rng.normal(size=(12, len(metrics)))) * np.stack(columns, axis=1)
    lines = [",".join(["architecture", *metrics])]
    lines += [",".join([item, *map(str, row)]) for item, row in zip(plan.architectures, rows.tolist(), strict=True)]
    table = folder / "table.csv"
    table.write_text("\n".join(lines))
    return DeviceProfile(name, name.title(), fit_table(table))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> DeviceProfile:
    return make_profile(tmp_path_factory.mktemp("table"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HWGPT_DEVICES", str(tmp_path / "registered"))
    return tmp_path / "registered"


@pytest.fixture
def path(profile: DeviceProfile, tmp_path: Path) -> Path:
    file = tmp_path / "Capital Letters" / "Mine.safetensors"
    file.parent.mkdir()
    profile.save(file)
    return file


def test_a_path_a_name_and_a_profile_are_the_same_device(profile: DeviceProfile, path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown device 'mine'.*legal are a100"):
        get_device("mine")
    by_path = load_device(path)
    assert by_path.reference == str(path)
    registered = register_device(path)
    assert (folder / "mine.safetensors").is_file()
    assert registered == by_path == get_device(profile) == get_device("mine") == get_device(str(path))
    assert get_device("mine").reference == "mine"  # type: ignore[attr-defined]
    assert get_device("A100") is DEVICES["a100"]
    encoded = get_search_space("s").sample(np.random.default_rng(0), 50)
    predictions = [
        Benchmark(device=item).evaluate(encoded)["latency_ms"] for item in ("mine", str(path), path, profile)
    ]
    for values in predictions[1:]:
        np.testing.assert_array_equal(values, predictions[0])


def test_another_device_of_a_registered_name_is_refused(path: Path, tmp_path: Path) -> None:
    register_device(path)
    register_device(path)
    other = make_profile(tmp_path, factor=2.0)
    with pytest.raises(ValueError, match="another device of the name 'mine' is registered"):
        register_device(other)
    assert register_device(other, replace=True).content == other.content_hash == get_device("mine").content  # type: ignore[attr-defined]
    (tmp_path / "registered" / "mine.safetensors").rename(tmp_path / "registered" / "yours.safetensors")
    with pytest.raises(ValueError, match="should be the device 'yours', but its name is 'mine'"):
        get_device("yours")
    with pytest.raises(FileNotFoundError, match="there is no device profile"):
        get_device("nowhere/mine")
    with pytest.raises(ValueError, match="device must be a name, a path, a device or a profile"):
        get_device(3)  # type: ignore[arg-type]


def test_a_device_offers_what_it_knows(profile: DeviceProfile, tmp_path: Path) -> None:
    bench = Benchmark(device=profile)
    assert "energy_j" not in bench.metrics
    with pytest.raises(ValueError, match="'energy_j' is not known of the device 'mine', which has latency_ms"):
        bench.evaluate(bench.space.sample(np.random.default_rng(0), 1), ["energy_j"])
    for limit, confidence in (("p50", None), (1.0, None), ("p50", 0.9)):
        with pytest.raises(ValueError, match="'energy_j' is not known of the device 'mine', which has latency_ms"):
            Objective({"energy_j": limit}, confidence=confidence).bind(bench)
    several = Benchmark(device=["a6000", profile, "h100"])
    assert [item.name for item in several.devices] == ["a6000", "mine", "h100"]
    assert "energy_j" not in several.metrics
    encoded = several.space.sample(np.random.default_rng(0), 30)
    columns = several.evaluate(encoded)["latency_ms"]
    for position, device in enumerate(("a6000", profile, "h100")):
        alone = Benchmark(device=device)
        np.testing.assert_array_equal(columns[:, position], alone.evaluate(encoded)["latency_ms"])
        assert several.on(several.devices[position]).quantile("latency_ms", 0.3) == alone.quantile("latency_ms", 0.3)
    rows = several.evaluate_on(encoded, np.arange(30) % 3)["latency_ms"]
    np.testing.assert_array_equal(rows, columns[np.arange(30), np.arange(30) % 3])
    both = make_profile(tmp_path, "both", metrics=("latency_ms", "energy_j"))
    assert set(Benchmark(device=["a100", both]).metrics) == set(Benchmark(device="a100").metrics)
    with pytest.raises(ValueError, match="must not repeat a device"):
        Benchmark(device=[profile, make_profile(tmp_path, factor=3.0)])


def test_the_scale_is_that_of_the_profile(profile: DeviceProfile, tmp_path: Path) -> None:
    medium = make_profile(tmp_path, "medium", scale="m")
    assert Benchmark(device=medium).scale == "m"
    with pytest.raises(ValueError, match="'medium' was not measured at scale 's', but at m: say scale='m'"):
        Benchmark("s", medium)
    two = DeviceProfile("two", "Two", {**profile.scales, **medium.scales})
    assert Benchmark(device=two).scale == "s"
    assert Benchmark("m", two).scale == "m"
    assert load_device_of(two, tmp_path).metrics == {"s": ("latency_ms",), "m": ("latency_ms",)}
    assert "batch 1" in str(get_device(two).conditions("latency_ms", "m"))
    with pytest.raises(ValueError, match="'energy_j' of the device 'two' was not measured at scale 's'"):
        get_device(two).conditions("energy_j", "s")


def load_device_of(profile: DeviceProfile, folder: Path) -> ProfiledDevice:
    profile.save(folder / "file.safetensors")
    return load_device(folder / "file.safetensors")


def test_noise_is_the_profiles_own(profile: DeviceProfile) -> None:
    bench = Benchmark(device=["a6000", profile])
    encoded = bench.space.sample(np.random.default_rng(0), 4000)
    ratio = bench.measure(encoded, np.random.default_rng(1))["latency_ms"] / bench.evaluate(encoded)["latency_ms"]
    sigma = profile.scales["s"].metrics["latency_ms"].posterior.sigma
    quartile = 0.7407 * sigma  # of Student's t with four degrees of freedom
    assert np.median(np.abs(np.log(ratio[:, 1]))) == pytest.approx(quartile, rel=0.1)
    # The shipped device measures as it does alone: its draws come first.
    alone = Benchmark(device="a6000")
    uniforms = np.random.default_rng(2).random((100, 4))
    width, device = encoded[:100, 0], np.zeros(100, dtype=np.intp)
    np.testing.assert_array_equal(
        bench.noise_factors(uniforms, width, device)["latency_ms"],
        alone.noise_factors(uniforms, width, device)["latency_ms"],
    )


def test_environments_take_a_path_made_absolute(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(path.parent)
    settings = make_settings("Mine.safetensors")
    assert settings.devices == (str(path),)
    env = gym.make("HWGPT-v0", device="Mine.safetensors")
    assert env.spec is not None
    json.loads(env.spec.to_json())
    monkeypatch.chdir(tmp_path)
    env.reset(seed=0)
    terminated = False
    while not terminated:
        _, _, terminated, _, info = env.step(env.action_space.sample())
    encoded = Architecture.from_string(info["architecture"]).encode()
    assert info["latency_ms"] == Benchmark(device=path).evaluate(encoded)["latency_ms"][0]
    assert "energy_j" not in info
    with pytest.raises(ValueError, match="JSON can hold"):
        make_settings([load_device(path)])  # type: ignore[list-item]


def test_contexts_know_devices_by_name(path: Path) -> None:
    env = gym.make("HWGPT-v0", device=["a100", str(path)], constraint={"latency_ms": ("p30", "p70")})
    for device in ("mine", "A100", "mine"):
        _, info = env.reset(options={"device": device})
        assert info["device"] == device.lower()
    with pytest.raises(ValueError, match=r"must be one of \['a100', 'mine'\], got 'h100'"):
        env.reset(options={"device": "h100"})
    envs = gym.make_vec("HWGPT-v0", num_envs=64, device=["a100", str(path)], noise=True)
    _, infos = envs.reset(seed=0)
    assert set(infos["device"]) == {"a100", "mine"}


def test_a_changed_file_is_another_device(path: Path, tmp_path: Path) -> None:
    before = make_settings(str(path))
    task = get_task(before)
    make_profile(tmp_path, factor=2.0).save(path)
    after = make_settings(str(path))
    assert after != before
    ratio = get_task(after).bench.quantile("latency_ms", 0.5) / task.bench.quantile("latency_ms", 0.5)
    assert ratio == pytest.approx(2.0 / 1.3, rel=0.01)
    get_task.cache_clear()
    with pytest.raises(ValueError, match="has changed since the environment's settings were made"):
        get_task(before)


def test_a_registered_name_works_in_another_process(path: Path, tmp_path: Path) -> None:
    register_device(path)
    program = (
        "import gymnasium as gym, hwgpt_gym\n"
        "envs = gym.vector.AsyncVectorEnv([lambda: gym.make('hwgpt_gym:HWGPT-v0', device='mine')] * 2)\n"
        "envs.reset(seed=0); envs.step(envs.action_space.sample()); envs.close()\n"
        "print(hwgpt_gym.Benchmark(device='mine').quantile('latency_ms', 0.5))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=os.environ.copy(), capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == Benchmark(device=path).quantile("latency_ms", 0.5)


@pytest.mark.parametrize("device", ["a6000", "mine"])
@pytest.mark.parametrize("penalty", ["exact", "hinge", "hard", "power"])
def test_a_confidence_is_solved_exactly(profile: DeviceProfile, device: str, penalty: str) -> None:
    bench = Benchmark("s", profile if device == "mine" else device)
    objective = Objective({"latency_ms": "p40", "params": "p60"}, penalty, confidence=0.95)
    bound = objective.bind(bench)
    encoded = bench.space.sample(np.random.default_rng(3), 3000)
    metrics = bench.evaluate(encoded)
    margins = bound.margins(encoded)
    cost = bench.cautious_cost("latency_ms", 0.95)
    np.testing.assert_array_equal(margins["params"], 1.0)
    assert margins["latency_ms"].min() > 1.0
    np.testing.assert_array_equal(margins["latency_ms"], cost.predict_margins(encoded))
    rewards = bound.evaluate(metrics, margins=margins).reward
    best = solve(bench, objective)
    assert best.reward >= rewards.max()
    assert best.reward == solve(bench, Objective(objective.constraints, penalty), confidence=0.95).reward
    # Quantile limits are those of predictions, and what keeps them with a margin keeps them without.
    assert bound.limits["latency_ms"] == bench.quantile("latency_ms", 0.4)
    if penalty in ("exact", "hard"):
        assert best.keeps_limits
        margin = cost.predict_margins(best.encoded)[0]
        assert best.metrics["latency_ms"] * margin <= bound.limits["latency_ms"]
        assert solve(bench, Objective(objective.constraints, penalty)).reward >= best.reward
    undecided = np.full((1, bench.space.num_decisions), -1)
    assert action_values(bench, objective, undecided).max() == pytest.approx(best.reward, abs=1e-9)
    with pytest.raises(ValueError, match="evaluate needs the margins"):
        bound.evaluate(metrics)


@pytest.mark.parametrize("device", ["v100", "mine"])
def test_margins_of_rows_are_those_of_matrices_to_the_last_bit(profile: DeviceProfile, device: str) -> None:
    bench = Benchmark("s", profile if device == "mine" else device)
    cost = bench.cautious_cost("latency_ms", 0.9)
    encoded = bench.space.sample(np.random.default_rng(4), 200)
    rows = cost.model.predict(encoded) * cost.predict_margins(encoded)
    features = extract(bench.space, encoded)
    for row in range(200):
        group = GROUPS[features.group[row]]
        states = np.array([features.counts[:2, row], features.counts[2:, row]]).astype(np.int64)
        assert cost.matrix(group, states)[0, 1] == rows[row]
    least, greatest = cost.extremes()
    assert least <= rows.min() <= rows.max() <= greatest


def test_margins_are_the_intervals_of_the_profile_and_the_held_out_errors(profile: DeviceProfile) -> None:
    space = get_search_space("s")
    encoded = space.sample(np.random.default_rng(5), 300)
    posterior = profile.scales["s"].metrics["latency_ms"].posterior
    own = Benchmark(device=profile).cautious_cost("latency_ms", 0.95).predict_margins(encoded)
    np.testing.assert_allclose(np.log(own), 1.6449 * posterior.log_deviation(extract(space, encoded)), rtol=1e-4)
    errors = json.loads(ERRORS_FILE.read_text())["errors"]
    shipped = Benchmark("s", ["v100", "a100"]).cautious_cost("latency_ms", 0.95)
    device = np.arange(300) % 2
    expected = np.array([errors["s"]["latency_ms"][name] for name in ("v100", "a100")])[device, encoded[:, 0]]
    np.testing.assert_allclose(np.log(shipped.predict_margins(encoded, device)), 1.6449 * expected, rtol=1e-4)
    assert set(errors) == {"s", "m", "l"}
    for scale in errors.values():
        assert all(set(scale[metric]) == set(DEVICES) for metric in ("latency_ms", "energy_j"))


def test_a_front_with_a_confidence_is_not_dominated(profile: DeviceProfile) -> None:
    bench = Benchmark(device=profile)
    front = pareto_front(bench, ("perplexity", "latency_ms"), confidence=0.95)
    encoded = bench.space.sample(np.random.default_rng(6), 3000)
    metrics = bench.evaluate(encoded)
    cost = metrics["latency_ms"] * bench.cautious_cost("latency_ms", 0.95).predict_margins(encoded)
    # For each sample there is a point of the front that is at least as good in both.
    at = np.searchsorted(front.values[:, 1], cost, side="right") - 1
    assert (at >= 0).all()
    assert (front.values[at, 0] <= metrics["perplexity"]).all()
    assert (np.diff(front.values[:, 0]) < 0).all()


def test_the_environments_margin_is_the_solvers(path: Path) -> None:
    env = gym.make("HWGPT-v0", device=str(path), confidence=0.95)
    assert make_settings(str(path), confidence=0.95) != make_settings(str(path))
    optimum = solve(Benchmark(device=path), Objective({"latency_ms": "p50"}), confidence=0.95)
    env.reset(seed=0)
    for choice in (item for item in optimum.encoded[0] if item >= 0):
        _, reward, terminated, _, info = env.step(int(choice))
    assert terminated
    assert reward == optimum.reward
    assert info["feasible"]
    assert info["latency_ms"] < optimum.objective.limits["latency_ms"]
    assert info["regret"] == 0.0
    several = gym.make_vec(
        "HWGPT-v0", num_envs=8, device=["a100", str(path)], constraint={"latency_ms": ("p30", "p70")}, confidence=0.9
    )
    several.reset(seed=0)
    for wrong in (0.4, 1.0, "high", True):
        with pytest.raises(ValueError, match=r"confidence must be a number from 0\.5 to 0\.9999"):
            gym.make("HWGPT-v0", confidence=wrong)


def test_the_energy_of_a_profile_warns(tmp_path: Path) -> None:
    both = make_profile(tmp_path, metrics=("latency_ms", "energy_j"))
    with pytest.warns(UserWarning, match="intervals of a profile's energy cover too little"):
        solve(Benchmark(device=both), Objective({"energy_j": "p50"}), confidence=0.9)


def test_results_store_the_content_and_refuse_another_device(path: Path, tmp_path: Path) -> None:
    bench = Benchmark(device=path)
    agent = make_agent("random_search")
    result = agent.run(SearchProblem(bench, Objective({"latency_ms": "p50"}, confidence=0.9), 50, 0))
    file = tmp_path / "result.parquet"
    result.save(file, solve(bench, result.objective))
    content = bench.devices[0].content  # type: ignore[attr-defined]
    assert validate_result(file).device_content == content
    other = make_profile(tmp_path, factor=2.0)
    with pytest.raises(ValueError, match="of another device of the name 'mine' than the benchmark"):
        validate_result(file, Benchmark(device=other))
    program = "import sys\nfrom hwgpt_gym.agents import validate_result\nvalidate_result(sys.argv[1])"
    arguments = [sys.executable, "-c", program, str(file)]
    unknown = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert "has to be loaded (--device PATH) or registered first" in unknown.stderr
    command = "import sys\nfrom hwgpt_gym.cli.app import run\nsys.exit(run(sys.argv[1:]))"
    validate = [sys.executable, "-c", command, "validate", str(file), "--device"]
    other.save(tmp_path / "other.safetensors")
    for profile, code in ((path, 0), (tmp_path / "other.safetensors", cli.WRONG_INPUT)):
        assert subprocess.run([*validate, str(profile)], capture_output=True, check=False).returncode == code
    register_device(other)
    wrong = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert "but the profile" in wrong.stderr
    register_device(path, replace=True)
    subprocess.run(arguments, check=True)


def test_commands_take_it(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["optimum", "--device", str(path), "--constraint", "latency_ms=p50", "--confidence", "0.95", "--json"]
    assert cli.run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    optimum = solve(Benchmark(device=path), Objective({"latency_ms": "p50"}), confidence=0.95)
    assert found["architecture"] == str(optimum.architecture)
    assert found["device"] == "mine"
    assert cli.run(["profile", "register", str(path)]) == 0
    assert cli.run(["devices"]) == 0
    out = capsys.readouterr().out
    assert "Your own" in out
    assert "mine" in out
    assert cli.run(["query", str(optimum.architecture), "--device", "mine"]) == 0
    assert "batch 1" in capsys.readouterr().out
    run = ["search", "--agent", "random_search", "--budget", "50", "--device", "mine", "--json"]
    assert cli.run([*run, "--output", str(tmp_path / "result.parquet")]) == 0
    assert cli.run(["validate", str(tmp_path / "result.parquet")]) == 0
    from hwgpt_gym.cli.completion import complete_device

    assert ("mine", "your own") in complete_device("mi")
    assert (str(path), "a profile") in complete_device(str(path)[:-14])


def test_a_flipped_byte_is_noticed_or_changes_nothing(path: Path) -> None:
    assert flip(path, lambda file: load_device(file).content) > 250
