"""Measuring, logs and files, with a device of known truth and noise."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from hwgpt_gym import Architecture, Benchmark, get_search_space, solve
from hwgpt_gym.onboarding.check import further, later_checks
from hwgpt_gym.onboarding.command_backend import CommandBackend
from hwgpt_gym.onboarding.fit import fit_log, fit_table
from hwgpt_gym.onboarding.measure import Progress, measure
from hwgpt_gym.onboarding.measurements import read_table
from hwgpt_gym.onboarding.plan import check_plan, make_plan
from hwgpt_gym.onboarding.profile import DeviceProfile, load_profile
from hwgpt_gym.onboarding.records import Conditions, read_log
from hwgpt_gym.surrogates import load_surrogates
from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER

PLAN = make_plan("s", 20, 8)


def _run(backend, path, minutes=2.0, plan=PLAN, **options) -> Progress:
    before = backend.seconds
    progress = measure(plan, str(path), backend, minutes, **options)
    assert backend.seconds - before >= 60.0 * minutes
    return progress


def test_a_known_device_is_found_through_drift_and_noise(backend, tmp_path) -> None:
    log_path = tmp_path / "log.jsonl"
    progress = _run(backend, log_path)
    assert min(progress.visits[name] for name in PLAN.measured) >= 2
    metric = fit_log(PLAN, read_log(log_path, PLAN)).metrics["latency_ms"]
    assert metric.clock == "cpu"
    space = backend.space
    test = space.sample(np.random.default_rng(8), 1000)
    truth = backend.truth.predict(test)
    ratio = metric.posterior.model.predict(test) / truth
    # The level is that of the machine's median state, which the truth does not hold; what is left is the model's error.
    assert np.median(np.abs(ratio / np.median(ratio) - 1.0)) < 0.01
    assert abs(np.log(np.median(ratio))) < 0.25
    assert metric.checks is not None
    assert metric.checks.number == 8
    assert metric.checks.median_error_pct < 1.5
    assert metric.checks.within_two >= 0.75
    # What was measured near a limit, and never fitted, lies where it was predicted: five of six at least.
    near = np.argsort(np.abs(truth - np.median(truth)))[:6]
    # And so does the optimum under that limit, which with a margin keeps it when it is measured.
    profile = DeviceProfile("known", "Known", {"s": fit_log(PLAN, read_log(log_path, PLAN))})
    optimum = solve(Benchmark("s", profile), {"latency_ms": "p50"}, confidence=0.95)
    later = check_plan([*(str(item) for item in space.decode(test[near])), str(optimum.architecture)])
    _run(backend, tmp_path / "later.jsonl", 0.5, later)
    own = fit_log(PLAN, read_log(log_path, PLAN))
    checks, logs, deviations, state = later_checks(own, later, read_log(tmp_path / "later.jsonl", later))
    assert len(checks) == 7
    assert np.sum(np.abs(logs[:6]) <= 2.0 * deviations[:6]) >= 5
    assert checks.values[6] <= optimum.objective.limits["latency_ms"]
    assert set(state) <= set(space.embed_dims)


def test_the_times_of_kernels_are_fitted_where_they_are_asked_for(backend, tmp_path) -> None:
    _run(backend, tmp_path / "log.jsonl", 1.0)
    lines = []
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        record = json.loads(line)
        if "visit" in record:
            for timing in (record["before"], *record["runs"], record["after"]):
                timing["cuda"] = timing.pop("cpu")
                timing["kernels"] = timing["cuda"] / 2.0
        lines.append(json.dumps(record))
    (tmp_path / "log.jsonl").write_text("\n".join(line for line in lines if "layers" not in json.loads(line)))
    log = read_log(tmp_path / "log.jsonl", PLAN)
    events, kernels = (fit_log(PLAN, log, clock).metrics["latency_ms"] for clock in (None, "kernels"))
    assert (events.clock, kernels.clock) == ("cuda", "kernels")
    test = backend.space.sample(np.random.default_rng(8), 100)
    np.testing.assert_allclose(kernels.posterior.model.predict(test), events.posterior.model.predict(test) / 2.0)
    with pytest.raises(ValueError, match="the clock 'cpu' was not read"):
        fit_log(PLAN, log, "cpu")


def test_drift_is_divided_out(backend, tmp_path) -> None:
    _run(backend, tmp_path / "log.jsonl", 2.0)
    log = read_log(tmp_path / "log.jsonl", PLAN)
    plain: dict[str, list[float]] = {}
    divided: dict[str, list[float]] = {}
    for visit in log.visits:
        value = np.median([run["cpu"] for run in visit.runs])
        plain.setdefault(visit.visit, []).append(np.log(value))
        divided.setdefault(visit.visit, []).append(np.log(value / np.sqrt(visit.before["cpu"] * visit.after["cpu"])))
    # Medians: bursts of contention hit a few visits, whatever they are divided by.
    spread = [
        np.median([np.median(np.abs(own - np.median(own))) for own in values.values()]) for values in (plain, divided)
    ]
    assert spread[1] < 0.3 * spread[0]


def test_more_visits_go_where_they_pay(backend, tmp_path) -> None:
    progress = _run(backend, tmp_path / "log.jsonl", 2.0)
    visits = np.array([progress.visits[name] for name in PLAN.architectures])
    assert visits.max() > visits.min() >= 2


def test_a_run_goes_on_and_refuses_what_does_not_belong(backend, tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    first = sum(_run(backend, path, 0.5).visits.values())
    second = sum(_run(backend, path, 0.5).visits.values())
    assert len(read_log(path, PLAN).visits) == second > first
    content = path.read_bytes()
    other = make_plan("s", 10, 8)
    with pytest.raises(ValueError, match="is the log of another plan"):
        measure(other, str(path), backend, 1.0)
    backend.conditions = backend.conditions.model_copy(update={"batch_size": 4})
    with pytest.raises(ValueError, match=r"under \{'batch_size': 1\}, these are \{'batch_size': 4\}"):
        measure(PLAN, str(path), backend, 1.0)
    with pytest.raises(ValueError, match="cannot time layers"):
        measure(PLAN, str(path), backend, 1.0, "layers")
    with pytest.raises(ValueError, match=r"protocol must be one of \['auto'.*, got 'modles'"):
        measure(PLAN, str(path), backend, 1.0, "modles")
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        measure(PLAN, str(path), backend, 1.0, seed=-1)
    with pytest.raises(ValueError, match=r"minutes must be a number from 0.0 \(exclusive\) to"):
        measure(PLAN, str(path), backend, 0.0)
    assert path.read_bytes() == content


def test_two_conditions_in_a_log_are_refused(backend, tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    _run(backend, path, 0.1)
    header = json.loads(path.read_text().splitlines()[0])
    header["conditions"]["threads"] = 2
    with path.open("a") as file:
        file.write(json.dumps(header) + "\n")
    with pytest.raises(ValueError, match=r"\{'threads': 1\}, those of line \d+ are \{'threads': 2\}"):
        read_log(path, PLAN)


def test_damaged_lines_are_named_and_nothing_else_is_lost(backend, tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    visits = sum(_run(backend, path, 0.5).visits.values())
    lines = path.read_text().splitlines()
    negative, nan, foreign = (json.loads(lines[1]) for _ in range(3))
    negative["before"]["cpu"] = -3.0
    nan["runs"][0]["cpu"] = float("nan")
    foreign["visit"] = make_plan("m", 3, 0).architectures[0]
    wrong = [json.dumps(item) for item in (negative, nan, foreign)]
    wrong += ["[" * 100_000, json.dumps({**negative, "visit": "x" * 100_000}), '{"something": 1}', lines[-1]]
    path.write_text("\n".join([*lines, *wrong, lines[-1][:40]]))
    log = read_log(path, PLAN)
    assert len(log.visits) == visits
    number = len(lines)
    again = f"is line {number} again"
    said = ("before.cpu", "runs.0.cpu", "of scale 'm'", "no JSON", "before.cpu", "none of", again, "truncated")
    assert len(log.remarks) == len(said)
    assert max(map(len, log.remarks)) < 600
    for offset, message in enumerate(said, start=1):
        assert f"line {number + offset}: " in log.remarks[offset - 1]
        assert message in log.remarks[offset - 1]
        assert log.remarks[offset - 1].endswith("left out")
    assert lines[1].split('"')[3] in log.remarks[0]
    # A run goes on behind a truncated line.
    more = sum(_run(backend, path, 0.2).visits.values())
    assert len(read_log(path, PLAN).visits) == more > visits


def test_what_keeps_failing_is_skipped(backend, tmp_path) -> None:
    broken = PLAN.architectures[4]
    backend.broken.add(broken)
    progress = _run(backend, tmp_path / "log.jsonl", 1.0)
    assert list(progress.skipped) == [broken]
    assert "out of memory" in progress.skipped[broken]
    log = read_log(tmp_path / "log.jsonl", PLAN)
    assert [failure.failed for failure in log.failures] == [broken] * 3
    assert len({visit.visit for visit in log.visits}) == 27
    metric = fit_log(PLAN, log).metrics["latency_ms"]
    assert len(metric.measurements.fitted) == 19 + 3


def test_a_reference_that_fails_ends_the_run_with_its_reason(backend, tmp_path) -> None:
    backend.broken.add(PLAN.references[1])
    with pytest.raises(ValueError, match=r"embedding width 384 can be measured: its reference gpt-s-11-384.* memory"):
        measure(PLAN, str(tmp_path / "log.jsonl"), backend, 5.0)
    assert len(read_log(tmp_path / "log.jsonl", PLAN).failures) == 3


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from conftest import FakeBackend
from hwgpt_gym.onboarding.measure import measure
from hwgpt_gym.onboarding.plan import make_plan

backend = FakeBackend()
done = 0

def watch(progress):
    global done
    number = len(progress.log.visits)
    if number > done:
        done = number
        print(number, flush=True)

prepare = backend.prepare
def slow(name):
    run = prepare(name)
    def slept():
        time.sleep(0.001)
        return run()
    return slept
backend.prepare = slow
print("ready", flush=True)
measure(make_plan("s", 20, 8), sys.argv[1], backend, 1.0, watch=watch)
"""


def test_a_killed_run_loses_no_finished_visit(tmp_path, request) -> None:
    path = tmp_path / "log.jsonl"
    code = textwrap.dedent(KILLED).format(tests=str(request.path.parent))
    rng = np.random.default_rng(int(time.time()))
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        said = [int(line) for line in process.stdout.read().split()]
        process.wait()
        log = read_log(path, PLAN)
        assert len(log.visits) >= max(said, default=1)
        assert len(log.remarks) <= 3
    visits = len(log.visits)
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert [int(process.stdout.readline()) for _ in range(2)] == [visits, visits + 1]
    process.kill()
    process.communicate()


def test_a_program_is_a_backend(tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nname = sys.argv[1]\n"
        "if '-768-' in name and name.endswith('True'): sys.exit('no such memory')\n"
        "print(1.5 if '-192-' in name else 4.0, 1.25)\n"
    )
    conditions = Conditions(backend="command")
    backend = CommandBackend(f"{sys.executable} {program} {{name}}", conditions)
    assert backend.prepare(PLAN.references[0])() == [{"wall": 1.5}, {"wall": 1.25}]
    failing = next(name for name in PLAN.architectures if "-768-" in name and name.endswith("True"))
    with pytest.raises(RuntimeError, match="ended with code 1 and said: no such memory"):
        backend.prepare(failing)()
    with pytest.raises(ValueError, match=r"command must contain \{name\} or \{onnx\}"):
        CommandBackend("true", conditions)
    for text in ("nothing", "", "-1", "nan"):
        program.write_text(f"print({text!r})")
        with pytest.raises(RuntimeError, match="must print milliseconds, positive numbers"):
            backend.prepare(PLAN.references[0])()


def make_table(path, metric="latency_ms", scale="s", k=12, header=None) -> str:
    plan, space = make_plan(scale, k, 0), get_search_space(scale)
    encoded = space.encode([Architecture.from_string(name) for name in plan.architectures])
    values = 1.3 * load_surrogates(scale).costs[metric][3].predict(encoded)
    rows = [header or f"architecture,{metric}"]
    rows += [f"{name},{value!r}" for name, value in zip(plan.architectures, values.tolist(), strict=True)]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_a_table_is_enough(tmp_path) -> None:
    scales = fit_table(make_table(tmp_path / "table.csv"))
    profile = DeviceProfile("mine", "Mine", scales)
    metric = profile.scales["s"].metrics["latency_ms"]
    assert metric.checks is not None
    assert metric.checks.kind == "cross-validation"
    assert metric.checks.median_error_pct < 3.0
    assert set(fit_table(make_table(tmp_path / "energy.csv", "energy_j", "m"))) == {"m"}


def test_what_a_table_may_not_hold(tmp_path) -> None:
    path = tmp_path / "table.csv"
    name = PLAN.architectures[0]
    for text, message in (
        ("a,b\n1,2\n", "line 1: there must be the columns 'architecture' and 'latency_ms' or 'energy_j'"),
        (f"architecture,latency_ms\n{name},-1\n", r"line 2: latency_ms must be a positive finite number, got '-1'"),
        (f"architecture,latency_ms\n{name},nan\n", "line 2: latency_ms must be a positive finite number, got 'nan'"),
        ("architecture,latency_ms\ngpt-q,1\n", "line 2: architecture name must have the form"),
        ("architecture,latency_ms\n", "holds no measurement"),
        (f'architecture,latency_ms\n"{"x" * 200_000}",1\n', r"table\.csv, line \d: field larger than field limit"),
        (f"{'x' * 10_000},latency_ms\n", r"line 1: there must be the columns.{1,300}$"),
        (b"architecture,latency_ms\n\xff\xfe,1\n", r"table\.csv, line 2: architecture name must have the form"),
    ):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ValueError, match=message):
            read_table(path)
    path.write_text(f"architecture,latency_ms\n{name},1\n{PLAN.architectures[1]},2\n")
    with pytest.raises(ValueError, match="at least 3 architectures must be measured at a scale, got 2"):
        fit_table(path)


def test_a_profile_comes_back_the_same_and_says_when_it_is_damaged(backend, tmp_path) -> None:
    _run(backend, tmp_path / "log.jsonl", 1.0)
    profile = DeviceProfile("mine", "My device", {"s": fit_log(PLAN, read_log(tmp_path / "log.jsonl", PLAN))})
    path, again = tmp_path / "mine.safetensors", tmp_path / "again.safetensors"
    profile.save(path)
    loaded = load_profile(path)
    assert loaded.content_hash == profile.content_hash
    loaded.save(again)
    assert path.read_bytes() == again.read_bytes()
    own, back = (item.scales["s"].metrics["latency_ms"] for item in (profile, loaded))
    np.testing.assert_array_equal(own.posterior.mean, back.posterior.mean)
    assert own.checks == back.checks
    assert loaded.scales["s"].conditions == backend.conditions
    content = path.read_bytes()
    place = len(content) - 100
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(ValueError, match="is damaged: its content is not what its hash says"):
        load_profile(path)
    path.write_bytes(content.replace(b'\\"schema_version\\": 1', b'\\"schema_version\\": 7'))
    with pytest.raises(ValueError, match="has schema version 7, this version of hwgpt_gym reads 1"):
        load_profile(path)
    path.write_bytes(content.replace(b'\\"threads\\": 1', b'\\"thread_\\": 1'))
    with pytest.raises(ValueError, match=r"conditions\.thread_"):
        load_profile(path)
    path.write_bytes(content[:200])
    with pytest.raises(ValueError, match="is no readable device profile"):
        load_profile(path)
    with pytest.raises(FileNotFoundError, match="there is no device profile"):
        load_profile(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"must end in '\.safetensors'"):
        profile.save(tmp_path / "mine.bin")


def test_the_surrogates_are_no_profile() -> None:
    with pytest.raises(ValueError, match="is no device profile"):
        load_profile(WEIGHTS_FOLDER / "s.safetensors")


@pytest.mark.parametrize("name", ["all", "random", "a100", "Mine", "", "a/b", "mine.safetensors", "x" * 65, 3])
def test_names_that_a_device_cannot_have(name) -> None:
    with pytest.raises(ValueError, match=r"device's name must be|cannot have the name"):
        DeviceProfile(name, "label", {"s": None})


def test_what_to_measure_next(tmp_path) -> None:
    metric = fit_table(make_table(tmp_path / "table.csv", k=4))["s"].metrics["latency_ms"]
    assert further(metric.posterior, metric.measurements, 1.0) == []
    names = further(metric.posterior, metric.measurements, 0.01)
    assert names is not None
    assert 0 < len(names) <= 40
    measured = {str(item) for item in metric.posterior.space.decode(metric.measurements.encoded)}
    assert not measured & set(names)
    assert further(metric.posterior, metric.measurements, 1e-6) is None


def test_layers_are_timed_beside_whole_models(backend, tmp_path) -> None:
    def prepare_layers(name: str):
        architecture, truth, space = Architecture.from_string(name), backend.truth, backend.space
        e, b = space.embed_dims.index(architecture.embed_dim), int(architecture.bias)
        step = truth.base[e, 1, b] - truth.base[e, 0, b]
        rest = truth.base[e, 0, b] - space.depths[0] * step
        mlp = truth.mlp[e, b, [space.mlp_ratios.index(item) for item in architecture.mlp_ratio]]
        head = truth.head[e, b, [space.head_counts.index(item) for item in architecture.n_head]]
        parts = np.abs(np.array([rest / 2, *(step + mlp + head), rest / 2])) + 1e-3

        def run() -> dict[str, list[float]]:
            backend.seconds += parts.sum() / 1e3
            return {"wall": (1.1 * parts).tolist(), "cpu": parts.tolist()}

        return run

    backend.prepare_layers = prepare_layers
    path = tmp_path / "log.jsonl"
    layers = measure(PLAN, str(path), backend, 0.2, "layers")
    assert not layers.visits
    assert {item.layers for item in layers.log.passes} == set(PLAN.probes)
    both = measure(PLAN, str(path), backend, 0.5)
    assert both.visits
    assert len(both.log.passes) > len(layers.log.passes)
    metric = fit_log(PLAN, read_log(path, PLAN)).metrics["latency_ms"]
    assert metric.layers == len(both.log.passes)
    test = backend.space.sample(np.random.default_rng(8), 500)
    ratio = metric.posterior.model.predict(test) / backend.truth.predict(test)
    assert np.median(np.abs(ratio / np.median(ratio) - 1.0)) < 0.02
    only = tmp_path / "only.jsonl"
    measure(PLAN, str(only), backend, 0.2, "layers")
    alone = fit_log(PLAN, read_log(only, PLAN)).metrics["latency_ms"]
    assert alone.checks is None
    assert len(alone.measurements) == 0
    assert DeviceProfile("mine", "Mine", {"s": fit_log(PLAN, read_log(only, PLAN))}).content_hash
