import csv
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hwgpt_gym import DEVICES, SEARCH_SPACES, Architecture, Benchmark, console
from hwgpt_gym.cli import app as cli
from hwgpt_gym.cli.options import DEFAULT_CONSTRAINT, parse_constraints
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import pareto_front, solve

NAME = "gpt-s-10-192-2-2-2-2-2-2-2-2-2-2-4-4-4-4-4-4-4-4-4-4-True"


def run_json(capsys, *arguments):
    assert cli.run([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out)


def complaint_of(capsys, *arguments):
    assert cli.run(arguments) == cli.WRONG_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def test_version_and_help(capsys):
    from hwgpt_gym import __version__

    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"hwgpt-gym {__version__}\n"
    assert cli.run([]) == 0
    without_arguments = capsys.readouterr().out
    assert cli.run(["--help"]) == 0
    assert capsys.readouterr().out.strip() == without_arguments.strip()


def test_devices_are_all_there_with_their_medians(capsys, monkeypatch):
    # Test runners set COLUMNS, which folds the table's labels.
    monkeypatch.setattr(console.output, "width", 160)
    rows = run_json(capsys, "devices", "--scale", "m")
    assert [row["device"] for row in rows] == list(DEVICES)
    assert rows[2]["median_latency_ms"] == Benchmark("m", "a6000").quantile("latency_ms", 0.5)
    assert cli.run(["devices"]) == 0
    out = capsys.readouterr().out
    assert all(device.label in out for device in DEVICES.values())


def test_space_shows_sizes_and_the_spread_of_metrics(capsys):
    assert [row["architectures"] for row in run_json(capsys, "space")] == [s.size for s in SEARCH_SPACES.values()]
    spread = run_json(capsys, "space", "--scale", "s", "--device", "H100")["metrics"]
    bench = Benchmark("s", "h100")
    assert list(spread) == list(bench.metrics)
    assert (spread["latency_ms"]["least"], spread["latency_ms"]["greatest"]) == bench.extremes("latency_ms")
    assert cli.run(["space", "--scale", "s"]) == 0
    assert "Perplexity" in capsys.readouterr().out


def test_query_predicts_what_the_benchmark_does(capsys):
    found = run_json(capsys, "query", NAME, "--device", "h100")
    assert found == {"architecture": NAME, "device": "h100", **Benchmark("s", "h100").query(NAME)}
    everywhere = run_json(capsys, "query", NAME, "--device", "all")
    assert everywhere["latency_ms"] == Benchmark("s", "all").query(NAME)["latency_ms"]
    assert cli.run(["query", NAME]) == 0
    assert "batch 8 × 1024 tokens" in capsys.readouterr().out


def test_query_measures_with_a_seed(capsys):
    first, again, other = (
        run_json(capsys, "query", NAME, "--measure", "--seed", seed)["latency_ms"] for seed in ("1", "1", "2")
    )
    assert first == again != other


def test_sample_is_seeded_and_prints_names_that_can_be_piped(capsys):
    assert cli.run(["sample", "--number", "3", "--scale", "l", "--seed", "5"]) == 0
    names = capsys.readouterr().out.splitlines()
    space = SEARCH_SPACES["l"]
    assert names == [str(item) for item in space.decode(space.sample(np.random.default_rng(5), 3))]
    rows = run_json(capsys, "sample", "--number", "3", "--scale", "l", "--seed", "5")
    assert [row["architecture"] for row in rows] == names
    assert rows[0]["params"] == Benchmark("l", None).query(names[0])["params"]


def test_table_is_what_the_benchmark_says_of_the_sample(capsys, tmp_path):
    path = tmp_path / "table.parquet"
    arguments = ["table", "-n", "20", "-s", "m", "--seed", "3", "-m", "latency_ms", "-m", "perplexity", "-o", str(path)]
    assert cli.run(arguments) == 0
    assert capsys.readouterr().out == f"260 rows: {path}\n"
    frame = pd.read_parquet(path)
    encoded = SEARCH_SPACES["m"].sample(np.random.default_rng(3), 20)
    values = Benchmark("m", "all").evaluate(encoded, ["latency_ms", "perplexity"])
    np.testing.assert_array_equal(frame["latency_ms"], values["latency_ms"].ravel())
    np.testing.assert_array_equal(frame["perplexity"], np.repeat(values["perplexity"], 13))
    assert frame["device"].astype(str).tolist() == list(DEVICES) * 20
    assert "unknown metric 'latency'" in complaint_of(
        capsys, "table", "-m", "latency", "-o", str(tmp_path / "no.parquet")
    )
    assert "--number must be an integer from 1" in complaint_of(
        capsys, "table", "-n", "0", "-o", str(tmp_path / "no.parquet")
    )
    assert not (tmp_path / "no.parquet").exists()


@pytest.mark.parametrize("penalty", ["hinge", "hard"])
def test_optimum_is_the_solvers(capsys, penalty):
    found = run_json(
        capsys, "optimum", "-d", "A6000", "-c", "latency_ms=p30", "-c", "params=60e6", "--penalty", penalty
    )
    expected = solve(Benchmark("s", "a6000"), Objective({"latency_ms": "p30", "params": 60e6}, penalty))
    assert found["architecture"] == str(expected.architecture)
    assert found["reward"] == expected.reward
    assert found["feasible"] is True


def test_optimum_says_whether_it_is_within_the_limits(capsys):
    """A soft penalty may make a little excess worth while; a hard one may not."""
    for penalty in ("hinge", "hard", "absolute"):
        feasible = solve(Benchmark("s", "a6000"), Objective({"latency_ms": "p50"}, penalty)).outcome.feasible[0]
        assert cli.run(["optimum", "--penalty", penalty]) == 0
        assert ("within the limits" if feasible else "over the limits") in capsys.readouterr().out


def test_optimum_without_limits_has_the_least_perplexity(capsys):
    found = run_json(capsys, "optimum", "--constraint", "none")
    assert found["quality"] == 1.0
    assert found["limits"] == {}


def test_pareto_is_the_whole_front(capsys, tmp_path):
    path = tmp_path / "front.csv"
    rows = run_json(capsys, "pareto", "-d", "h100", "-m", "perplexity", "-m", "energy_j", "--csv", str(path))
    front = pareto_front(Benchmark("s", "h100"), ("perplexity", "energy_j"))
    assert [row["energy_j"] for row in rows] == front.values[:, 1].tolist()
    assert [row["architecture"] for row in rows] == [str(item) for item in front.architectures]
    with path.open() as file:
        read = list(csv.DictReader(file))
    assert [float(row["perplexity"]) for row in read] == front.values[:, 0].tolist()
    assert cli.run(["pareto", "--rows", "1"]) == 0
    assert ": 1 of " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["query", "foo"], "'foo'"),
        (["optimum", "--device", "a600"], "did you mean 'a6000'"),
        (["optimum", "--scale", "xl"], "'xl'"),
        (["optimum", "--constraint", "latency_ms"], "METRIC=LIMIT"),
        (["optimum", "--constraint", "latency_ms=-3"], "-3.0"),
        (["optimum", "--constraint", "latency_ms=p130"], "p130"),
        (["optimum", "--constraint", "latency=3"], "latency_ms"),
        (["optimum", "-c", "params=p30", "-c", "params=p40"], "twice"),
        (["optimum", "--penalty", "hing"], "did you mean 'hinge'"),
        (["optimum", "--weight", "0"], "weight"),
        (["optimum", "--constraint", "latency_ms=5", "--penalty", "hard"], "least value that can be met"),
        (["sample", "--number", "0"], "--number must be an integer from 1 to 1000000, got 0"),
        (["optimum", "-c", "none", "-c", "params=p40"], "none stands alone, got ['none', 'params=p40']"),
        (["sample", "--number", "x"], "--number"),
        (["sample", "--number", "x"], "'x'"),
        (["leaderboard", "--suite", "cora"], "unknown suite 'cora': did you mean 'core'"),
        (["leaderboard", "--suite", "cora"], "edit, all"),
        (["sample", "--seeed", "1"], "--seeed"),
        (["pareto", "--metric", "params"], "perplexity"),
        (["nope"], "nope"),
    ],
)
def test_wrong_input_is_told_in_one_line(capsys, arguments, expected):
    assert expected in complaint_of(capsys, *arguments)


def test_debug_shows_the_traceback(capsys):
    with pytest.raises(ValueError, match="unknown device"):
        cli.run(["--debug", "optimum", "--device", "a600"])


def test_interruption_has_its_exit_code(capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("hwgpt_gym.optimum.solve", interrupt)
    assert cli.run(["optimum"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == "error: interrupted\n"


def test_defects_keep_their_traceback(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("a defect")

    monkeypatch.setattr("hwgpt_gym.optimum.solve", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        cli.run(["optimum"])


def test_default_constraint_is_the_environments():
    from hwgpt_gym.envs.settings import DEFAULT_CONSTRAINT as OF_THE_ENVIRONMENT

    assert parse_constraints(DEFAULT_CONSTRAINT) == OF_THE_ENVIRONMENT


def complete(*words):
    """Ask for completions of the last word, as a shell does."""
    variables = {
        **os.environ,
        "_HWGPT_GYM_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("hwgpt-gym", *words)),
        "COMP_CWORD": str(len(words)),
    }
    code = "from hwgpt_gym.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_shell_completion():
    assert complete("optimum", "--device", "cpu_amd") == ["cpu_amd_7502", "cpu_amd_7513", "cpu_amd_7452"]
    assert "optimum" in complete("opt")


def test_completions_know_the_catalogues():
    from hwgpt_gym.cli import completion as options

    assert [name for name, _ in options.complete_device("A")] == ["a100", "a40", "a6000"]
    assert ("all", "all devices") in options.complete_devices("")
    assert [scale for scale, _ in options.complete_scale("")] == ["s", "m", "l"]
    assert options.complete_constraint("lat") == ["latency_ms="]
    assert options.complete_constraint("params=p3") == ["params=p30"]
    assert options.complete_penalty("ha") == ["hard"]
    assert [key for key, _ in options.complete_metric("per")] == ["perplexity"]


def test_importing_the_command_line_loads_nothing_heavy():
    heavy = ("torch", "stable_baselines3", "pandas", "matplotlib", "scipy.stats", "optuna", "pymoo", "pyarrow")
    code = f"import sys, hwgpt_gym.cli.app; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_architecture_names_are_never_wrapped(capsys):
    found = run_json(capsys, "sample", "--number", "1", "--scale", "l")[0]["architecture"]
    assert cli.run(["query", found]) == 0
    assert capsys.readouterr().out.splitlines()[0] == found
    assert Architecture.from_string(found).scale == "l"
    for arguments in (["pareto", "--rows", "4", "-m", "perplexity", "-m", "params"], ["recommend"]):
        assert cli.run([*arguments, "--scale", "l"]) == 0
        names = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if "gpt-l-" in line]
        assert len(names) == 4
        assert {Architecture.from_string(name).scale for name in names} == {"l"}


@pytest.mark.parametrize(("constraint", "kept"), [("latency_ms=p30", ["no", "no", "yes"]), ("none", None)])
def test_search_names_what_it_found_and_says_what_keeps_the_limits(capsys, constraint, kept):
    """The best reward at this limit is that of an architecture slightly over it."""
    arguments = ["search", "-a", "random_search", "--budget", "50", "--seed", "2", "-c", constraint]
    assert cli.run(arguments) == 0
    name, *table = capsys.readouterr().out.splitlines()
    found = run_json(capsys, *arguments)["architectures"]
    assert name == found["found"]["architecture"]
    rows = [line.split()[3:] for line in table if line.startswith("within the limits")]
    assert rows == ([] if kept is None else [kept])
    if kept:
        assert kept == ["yes" if entry["feasible"] else "no" for entry in found.values()]


def test_titles_are_never_wrapped(capsys):
    assert cli.run(["optimum"]) == 0
    assert "Certified constrained optimum of scale s on NVIDIA RTX A6000\n" in capsys.readouterr().out


def test_a_contextual_training_shows_its_progress_and_goes_on(tmp_path, capsys):
    folder = tmp_path / "run"
    command = ["train", "--agent", "contextual_ppo", "--metric", "params", "--budget", "300", "--output", str(folder)]
    assert cli.run(command) == 0
    captured = capsys.readouterr()
    assert "256 of 300 architectures: mean reward" in captured.err
    assert "mean regret on devices never seen in training" in captured.out
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.safetensors",
        "config.json",
        "policy.safetensors",
    ]
    before = (folder / "policy.safetensors").read_bytes()
    assert cli.run(command) == 0
    assert (folder / "policy.safetensors").read_bytes() == before
    capsys.readouterr()
    assert "another training" in complaint_of(capsys, *command, "--seed", "1")
    scores = run_json(capsys, "evaluate", str(folder))
    assert len(scores["regret"]["a6000"]) == len(scores["levels"])
    assert "--metric is taken only by" in complaint_of(capsys, "train", "--metric", "params")
