"""The commands for a device of one's own."""

from __future__ import annotations

import json
import sys

import pytest

from hwgpt_gym import Architecture, get_search_space
from hwgpt_gym.cli import app as cli
from hwgpt_gym.surrogates import load_surrogates


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory):
    """A plan and its log, measured by a program that knows the costs of ten architectures."""
    folder = tmp_path_factory.mktemp("device")
    plan, log = folder / "plan.json", folder / "log.jsonl"
    assert cli.run(["profile", "plan", "-k", "6", "--checks", "4", "--output", str(plan)]) == 0
    document = json.loads(plan.read_text())
    space, model = get_search_space("s"), load_surrogates("s").costs["latency_ms"][0]
    names = [*document["architectures"], *document["checks"], *document["references"]]
    costs = model.predict(space.encode([Architecture.from_string(name) for name in names]))
    table = folder / "costs.json"
    table.write_text(json.dumps(dict(zip(names, costs.tolist(), strict=True))))
    program = folder / "program.py"
    program.write_text("import json, sys\nprint(json.load(open(sys.argv[1]))[sys.argv[2]])\n")
    command = f"{sys.executable} -S {program} {table} {{name}}"
    arguments = ["profile", "run", str(plan), "--output", str(log), "--minutes", "0.1"]
    options = ["--backend", "command", "--command", command, "--target", "a board"]
    for _ in range(100):  # The first one may be all.
        assert cli.run([*arguments, *options]) == 0
        if len(log.read_text().splitlines()) >= 12:
            break
    return plan, log, [*arguments, *options]


def test_from_a_plan_to_a_profile(measured, tmp_path, capsys) -> None:
    plan, log, _ = measured
    path = tmp_path / "mine.safetensors"
    assert cli.run(["profile", "fit", str(plan), str(log), "--output", str(path), "--label", "My board", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["name"], described["label"]) == ("mine", "My board")
    assert described["scales"]["s"]["conditions"]["target"] == "a board"
    metric = described["scales"]["s"]["metrics"]["latency_ms"]
    assert metric["clock"] == "wall"
    assert metric["checks"]["number"] == 4
    assert metric["checks"]["median_error_pct"] < 3.0
    assert cli.run(["profile", "show", str(path), "--output", str(tmp_path / "mine.png")]) == 0
    out = capsys.readouterr().out
    assert "a board" in out
    assert "My board" in out
    assert (tmp_path / "mine.png").stat().st_size > 10_000
    assert cli.run(["profile", "check", str(path), "--target", "0.5", "--json"]) == 0
    advice = json.loads(capsys.readouterr().out)["further"]
    assert advice[0]["scale"] == "s"
    assert advice[0]["measure"] is None or 0 < len(advice[0]["measure"]) <= 40
    assert cli.run(["profile", "check", str(path), "--target", "50"]) == 0
    assert "50 % is reached" in capsys.readouterr().out
    assert cli.run(["profile", "check", str(path), str(plan), str(log), "--json"]) == 0
    later = json.loads(capsys.readouterr().out)
    assert len(later["architectures"]) == 4
    assert all(value == pytest.approx(1.0) for value in later["reference_by_profile"].values())


def test_a_table_and_a_further_scale(tmp_path, capsys) -> None:
    path = tmp_path / "mine.safetensors"
    for scale, extra in (("s", []), ("m", ["--add"])):
        plan = tmp_path / f"{scale}.json"
        assert cli.run(["profile", "plan", "--scale", scale, "-k", "5", "--output", str(plan)]) == 0
        names = json.loads(plan.read_text())["architectures"]
        space = get_search_space(scale)
        encoded = space.encode([Architecture.from_string(name) for name in names])
        models = load_surrogates(scale).costs
        costs = [models[metric][2].predict(encoded).tolist() for metric in ("latency_ms", "energy_j")]
        table = tmp_path / "table.csv"
        rows = [f"{name},{a!r},{b!r}" for name, a, b in zip(names, *costs, strict=True)]
        table.write_text("\n".join(["architecture,latency_ms,energy_j", *rows]))
        assert cli.run(["profile", "fit", "--measurements", str(table), "--output", str(path), *extra]) == 0
    capsys.readouterr()
    assert cli.run(["profile", "show", str(path), "--json"]) == 0
    scales = json.loads(capsys.readouterr().out)["scales"]
    metrics = {scale: set(own["metrics"]) for scale, own in scales.items()}
    assert metrics == {scale: {"latency_ms", "energy_j"} for scale in ("s", "m")}


def complaint_of(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert cli.run(arguments) == cli.WRONG_INPUT
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


def test_wrong_input_is_named(measured, tmp_path, capsys) -> None:
    plan, log, run = measured
    profile = str(tmp_path / "mine.safetensors")
    other = tmp_path / "other.json"
    assert cli.run(["profile", "plan", "-k", "5", "--output", str(other)]) == 0
    assert "is the log of another plan" in complaint_of(
        capsys, "profile", "fit", str(other), str(log), "--output", profile
    )
    assert "give either PLAN and LOG, or --measurements" in complaint_of(capsys, "profile", "fit", str(plan))
    assert "must end in .safetensors" in complaint_of(
        capsys, "profile", "fit", str(plan), str(log), "--output", "mine.bin"
    )
    assert "cannot have the name 'a100'" in complaint_of(
        capsys, "profile", "fit", str(plan), str(log), "--output", profile, "--name", "a100"
    )
    assert "k must be an integer from 3 to 1500, got 2" in complaint_of(capsys, "profile", "plan", "-k", "2")
    assert "holds measurements under {'batch_size': 1}" in complaint_of(capsys, *run, "--batch", "2")
    assert "--command and --backend command belong together" in complaint_of(
        capsys, "profile", "run", str(plan), "--output", str(log), "--command", "true {name}"
    )
    assert "--backend onnxruntime measures workload 'prefill' only" in complaint_of(
        capsys, "profile", "run", str(plan), "--output", str(log), "--backend", "onnxruntime", "--workload", "decode"
    )
    assert "--kernels needs --backend torch" in complaint_of(capsys, *run, "--kernels")
    assert "kernels are timed with target 'cuda' only" in complaint_of(
        capsys, "profile", "run", str(plan), "--output", str(log), "--kernels"
    )
    assert "there is no device profile at nowhere" in complaint_of(capsys, "profile", "show", "nowhere.safetensors")
