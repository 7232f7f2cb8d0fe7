"""What runs architectures for real, on this machine's processor."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hwgpt_gym import Architecture, get_search_space
from hwgpt_gym.onboarding.backends import LayerBackend
from hwgpt_gym.onboarding.command_backend import CommandBackend
from hwgpt_gym.onboarding.layers import fit_layers, layer_posterior, layer_prior
from hwgpt_gym.onboarding.plan import make_plan
from hwgpt_gym.onboarding.prior import LEVEL, make_prior
from hwgpt_gym.onboarding.records import Conditions, Pass
from hwgpt_gym.onboarding.torch_backend import TorchBackend, kernel_time
from hwgpt_gym.surrogates import load_surrogates

SMALL = "gpt-s-10-192-2-2-2-2-2-2-2-2-2-2-4-4-4-4-4-4-4-4-4-4-True"
LARGE = "gpt-s-12-768-" + "4-" * 12 + "12-" * 12 + "True"


@pytest.fixture(scope="module")
def backend() -> TorchBackend:
    return TorchBackend("s", sequence_length=8)


def test_torch_times_what_is_larger_as_longer(backend: TorchBackend) -> None:
    runs = [backend.prepare(name) for name in (SMALL, LARGE)]
    small, large = (min(run()[0]["cpu"] for _ in range(4)) for run in runs)
    assert large > small > 0.0
    conditions = backend.conditions
    assert (conditions.backend, conditions.mlp, conditions.target) == ("torch", "gated", "cpu")
    assert conditions.backend_version == torch.__version__
    assert conditions.processor


def test_weights_of_a_model_do_not_overlap_and_fit_the_largest(backend: TorchBackend) -> None:
    model = backend._model(LARGE)
    ends = sorted((item.data_ptr(), item.data_ptr() + 4 * item.numel()) for item in model.parameters())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
    assert model.num_parameters() > 1e8


def test_layers_are_timed_part_by_part(backend: TorchBackend) -> None:
    assert isinstance(backend, LayerBackend)
    parts = backend.prepare_layers(SMALL)()
    assert len(parts["wall"]) == len(parts["cpu"]) == 12
    assert min(parts["wall"]) > 0.0


def test_decoding_takes_longer_with_more_cached() -> None:
    few, many = (TorchBackend("s", workload="decode", sequence_length=length) for length in (8, 1016))
    times = [min(item.prepare(LARGE)()[0]["cpu"] for _ in range(2)) for item in (few, many)]
    assert 0.0 < times[0] < times[1]
    with pytest.raises(ValueError, match="at most 1016 tokens can be cached, got 1024"):
        TorchBackend("s", workload="decode", sequence_length=1024)


def test_what_the_torch_backend_refuses() -> None:
    with pytest.raises(ValueError, match="precision must be one of"):
        TorchBackend("s", precision="int8")
    with pytest.raises(ValueError, match="target must be 'cpu' or 'cuda', got 'tpu'"):
        TorchBackend("s", target="tpu")
    with pytest.raises(ValueError, match="kernels are timed with target 'cuda' only, got 'cpu'"):
        TorchBackend("s", kernels=True)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch finds no CUDA device"):
            TorchBackend("s", target="cuda")


class _Profiler:
    """What torch's profiler would tell of a GPU: two kernels of 1 and 3 ms, and what the processor did meanwhile."""

    def __init__(self, events: bool) -> None:
        cuda, cpu = torch.autograd.DeviceType.CUDA, torch.autograd.DeviceType.CPU
        made = [(cuda, 1e3), (cpu, 9e3), (cuda, 3e3)] if events else []
        self._events = [
            SimpleNamespace(device_type=kind, time_range=SimpleNamespace(elapsed_us=lambda own=micro: own))
            for kind, micro in made
        ]

    def __enter__(self) -> _Profiler:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def events(self) -> list[SimpleNamespace]:
        return self._events


def test_the_kernels_alone_are_summed(monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("synchronized"))
    monkeypatch.setattr(torch.profiler, "profile", lambda activities: _Profiler(events=True))
    assert kernel_time(lambda: calls.append("ran")) == pytest.approx(4.0)
    assert calls == ["ran", "synchronized"]
    monkeypatch.setattr(torch.profiler, "profile", lambda activities: _Profiler(events=False))
    with pytest.raises(RuntimeError, match="profiler saw no CUDA kernel"):
        kernel_time(lambda: None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_kernels_of_a_gpu_take_no_longer_than_the_pass() -> None:
    backend = TorchBackend("s", target="cuda", precision="bfloat16", batch_size=8, sequence_length=1024, kernels=True)
    run = backend.prepare(LARGE)
    run()
    timing = run()[0]
    assert 0.0 < timing["kernels"] < 1.1 * timing["cuda"]


def test_onnx_runtime_runs_the_same_model(tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from hwgpt_gym.onboarding.onnx_backend import OnnxRuntimeBackend, export
    from hwgpt_gym.transformer import build

    backend = OnnxRuntimeBackend(sequence_length=8)
    assert backend.prepare(SMALL)()[0]["wall"] > 0.0
    assert backend.conditions.backend_version == onnxruntime.__version__
    torch.manual_seed(0)
    model = build(SMALL, mlp="gated").eval()
    torch.manual_seed(0)
    path = tmp_path / "model.onnx"
    export(SMALL, path, backend.conditions)
    tokens = torch.arange(8)[None]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"tokens": tokens.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(logits, model(tokens)[0].numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="can only do the workload 'prefill'"):
        export(SMALL, path, Conditions(workload="decode"))


def test_a_program_gets_the_onnx_file(tmp_path) -> None:
    pytest.importorskip("onnx")
    program = tmp_path / "size.py"
    program.write_text("import os, sys\nprint(os.path.getsize(sys.argv[1]) / 1e6)\n")
    backend = CommandBackend(f"{sys.executable} {program} {{onnx}}", Conditions(sequence_length=4))
    megabytes = backend.prepare(SMALL)()[0]["wall"]
    parameters = int(load_parameters(SMALL))
    assert megabytes == pytest.approx(4e-6 * parameters, rel=0.02)


def test_files_of_weights_of_one_model_are_not_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwgpt_gym.onboarding.onnx_backend import OnnxFiles

    def export(name: str, path: Path, conditions: Conditions) -> None:
        path.write_text(name)
        path.with_name("weights").write_text(name)

    monkeypatch.setattr("hwgpt_gym.onboarding.onnx_backend.export", export)
    files = OnnxFiles(Conditions(), limit=25)
    first = files.path("a" * 5)
    second = files.path("b" * 6)
    assert [path.with_name("weights").read_text() for path in (first, second)] == ["aaaaa", "bbbbbb"]
    assert files.path("a" * 5) == first
    # 10 bytes and 12 are kept, with 4 more what was used longest ago goes with its weights.
    files.path("cc")
    assert not second.parent.exists()
    assert first.with_name("weights").exists()


def load_parameters(name: str) -> float:
    from hwgpt_gym.analytic import params

    space = get_search_space("s")
    return float(params(space, space.encode([Architecture.from_string(name)]), mlp="gated")[0])


def test_layer_times_give_back_the_cost_model_that_made_them() -> None:
    plan = make_plan("s", 3, 0)
    space, rng = plan.space, np.random.default_rng(0)
    truth = load_surrogates("s").costs["latency_ms"][0]
    passes = []
    for name in plan.probes * 4:
        architecture = Architecture.from_string(name)
        e, b = space.embed_dims.index(architecture.embed_dim), int(architecture.bias)
        # A layer costs the depth's step, its MLP and its heads; the rest is embedding and output.
        step = truth.base[e, 1, b] - truth.base[e, 0, b]
        layers = np.array(
            [
                step + truth.mlp[e, b, space.mlp_ratios.index(m)] + truth.head[e, b, space.head_counts.index(h)]
                for m, h in zip(architecture.mlp_ratio, architecture.n_head, strict=True)
            ]
        )
        rest = truth.base[e, 0, b] - 10 * step
        # The machine is anywhere between fast and slow in a pass, and a layer is disturbed now and then.
        times = np.concatenate([[rest / 3], layers, [2 * rest / 3]]) * np.exp(rng.normal(0.0, 0.2))
        times *= np.exp(rng.normal(0.0, 0.01, len(times)))
        times[rng.integers(len(times))] *= 2.0
        passes.append(Pass(layers=name, parts={"cpu": times.tolist()}, time=0.0))
    model = fit_layers(space, passes, "cpu")
    test = space.sample(np.random.default_rng(1), 500)
    ratio = model.predict(test) / truth.predict(test)
    for width in range(3):
        own = ratio[test[:, 0] == width]
        assert np.median(np.abs(own / np.median(own) - 1.0)) < 0.01
    prior = layer_prior(layer_posterior(make_prior("latency_ms", "s"), model))
    assert prior.mean @ LEVEL == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ValueError, match="the clock 'wall' was not read"):
        fit_layers(space, passes, "wall")
    with pytest.raises(ValueError, match="no layers of embedding width 192 with bias True were timed"):
        fit_layers(space, [item for item in passes if not item.layers.endswith("True")], "cpu")
