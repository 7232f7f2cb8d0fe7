"""Running architectures in torch: on processors and on CUDA, whole forward passes, single tokens and single layers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hwgpt_gym.analytic import VOCABULARY_SIZE, params
from hwgpt_gym.checks import check_integer
from hwgpt_gym.onboarding.backends import Run, processor_name, timed
from hwgpt_gym.onboarding.coordinates import uniform_architectures
from hwgpt_gym.onboarding.records import Timing, make_conditions
from hwgpt_gym.search_space import get_search_space

if TYPE_CHECKING:
    from hwgpt_gym.transformer import Transformer

ALIGNMENT: Final = 64
"""Weights begin at multiples of so many numbers."""

BLOCK: Final = 1 << 20
"""Random numbers that the weights repeat."""

DECODED: Final = 8
"""Tokens that one run decodes; its time is that of one."""

PRECISIONS: Final = ("float32", "bfloat16", "float16")


class TorchBackend:
    """Runs architectures in torch, with random weights.

    The weights of every model are slices of one buffer, so that building a model takes no time and no memory. Within a
    model they do not overlap, so a pass reads as many bytes as it would with weights of its own.

    Args:
        scale: The search space, whose largest model the buffer holds.
        workload: ``"prefill"`` or ``"decode"``.
        batch_size: Sequences in the batch.
        sequence_length: Tokens in a sequence; of ``"decode"``, tokens in the cache, at most 1,016.
        precision: ``"float32"``, or ``"bfloat16"`` or ``"float16"`` for automatic mixed precision.
        threads: Threads on the processor.
        compiled: Whether to compile with ``torch.compile``.
        mlp: ``"gated"``, which the shipped devices were profiled with, or ``"gpt2"``.
        target: ``"cpu"`` or ``"cuda"``.
        kernels: Whether each run is followed by one under torch's profiler that sums the times of the CUDA kernels, as
            HW-GPT-Bench did. The time between kernels, which small models spend much of, is not in it.

    Raises:
        ValueError: If an argument is not legal, or there is no such target.
    """

    warms_up = True

    def __init__(
        self,
        scale: str,
        *,
        workload: str = "prefill",
        batch_size: int = 1,
        sequence_length: int = 128,
        precision: str = "float32",
        threads: int = 1,
        compiled: bool = False,
        mlp: str = "gated",
        target: str = "cpu",
        kernels: bool = False,
    ) -> None:
        import torch

        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {list(PRECISIONS)}, got {precision!r}")
        if target not in ("cpu", "cuda") or (target == "cuda" and not torch.cuda.is_available()):
            found = "" if target == "cpu" or not target.startswith("cuda") else ", and torch finds no CUDA device"
            raise ValueError(f"target must be 'cpu' or 'cuda', got {target!r}{found}")
        if kernels and target != "cuda":
            raise ValueError(f"kernels are timed with target 'cuda' only, got {target!r}")
        if workload == "decode" and sequence_length > 1024 - DECODED:
            raise ValueError(f"to decode, at most {1024 - DECODED} tokens can be cached, got {sequence_length}")
        self._kernels = kernels
        cuda = target == "cuda"
        self.conditions = make_conditions(
            workload=workload,
            batch_size=batch_size,
            sequence_length=sequence_length,
            precision=precision,
            threads=threads,
            backend="torch",
            backend_version=torch.__version__,
            compiled=compiled,
            mlp=mlp,
            target=target,
            processor=torch.cuda.get_device_name() if cuda else processor_name(),
        )
        torch.set_num_threads(check_integer("threads", threads, 1))
        space = get_search_space(scale)
        largest = int(params(space, uniform_architectures(space), mlp=self.conditions.mlp).max())
        generator = torch.Generator().manual_seed(0)
        margin = ALIGNMENT * 32 * (space.max_layers + 1)
        # Drawn once and repeated: what the numbers are makes no difference, and drawing them all takes seconds.
        block = torch.empty(BLOCK).normal_(0.0, 0.02, generator=generator).to(target)
        self._weights = block.repeat(-(-(largest + margin) // BLOCK))
        shape = (batch_size, 1 if workload == "decode" else sequence_length)
        self._tokens = torch.randint(VOCABULARY_SIZE, shape, generator=generator).to(target)

    def prepare(self, name: str) -> Run:
        """Return what runs an architecture once."""
        step, repeats = self._step(name)
        one_thread = self.conditions.threads == 1

        def run() -> list[Timing]:
            timing = self._cuda_time(step) if self.conditions.target == "cuda" else timed(step, one_thread=one_thread)
            return [{clock: value / repeats for clock, value in timing.items()}]

        return run

    def prepare_layers(self, name: str) -> Callable[[], dict[str, list[float]]]:
        """Return what runs an architecture once, and returns the milliseconds of its parts by clock.

        The clocks are read when each layer begins, so a part is all between; the processor's only of one thread.
        """
        model, marks = self._model(name), list[tuple[int, int]]()

        def tick(*_: object) -> None:
            marks.append((time.perf_counter_ns(), time.thread_time_ns()))

        for module in (*model.blocks, model.norm):
            module.register_forward_pre_hook(tick)
        forward = self._inference(lambda: model(self._tokens))

        def run() -> dict[str, list[float]]:
            marks.clear()
            tick()
            forward()
            tick()
            wall, cpu = (np.diff(np.array(marks), axis=0) / 1e6).T.tolist()
            return {"wall": wall, "cpu": cpu} if self.conditions.threads == 1 and min(cpu) > 0.0 else {"wall": wall}

        return run

    def _step(self, name: str) -> tuple[Callable[[], object], int]:
        """Return what one run does, and how many tokens or passes that is."""
        import torch

        from hwgpt_gym.transformer import KeyValueCache

        model: Any = self._model(name)
        if self.conditions.workload == "prefill":
            forward = torch.compile(model) if self.conditions.compiled else model
            return self._inference(lambda: forward(self._tokens)), 1
        length, batch = self.conditions.sequence_length, self.conditions.batch_size
        dtype = getattr(torch, self.conditions.precision)
        cache = KeyValueCache(model.architecture, batch, length + DECODED, dtype, self._tokens.device)

        def decode() -> None:
            cache.length = length
            for _ in range(DECODED):
                model(self._tokens, cache=cache)

        return self._inference(decode), DECODED

    def _inference(self, call: Callable[[], object]) -> Callable[[], None]:
        import torch

        precision, target = self.conditions.precision, self.conditions.target

        def run() -> None:
            mixed = precision != "float32"
            dtype = getattr(torch, precision) if mixed else torch.bfloat16
            with torch.inference_mode(), torch.autocast(target, dtype=dtype, enabled=mixed):
                call()

        return run

    def _model(self, name: str) -> Transformer:
        """Build a model whose weights are slices of the buffer."""
        import torch

        from hwgpt_gym.transformer import build

        model, position = build(name, mlp=self.conditions.mlp, device="meta").eval(), 0
        for module in model.modules():
            for key, parameter in list(module._parameters.items()):
                if parameter is not None:
                    own = self._weights[position : position + parameter.numel()].view(parameter.shape)
                    module._parameters[key] = torch.nn.Parameter(own, requires_grad=False)
                    position += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
        return model

    def _cuda_time(self, step: Callable[[], object]) -> Timing:
        import torch

        make: Any = torch.cuda.Event  # which has no annotations
        begin, end = make(enable_timing=True), make(enable_timing=True)
        torch.cuda.synchronize()

        def whole() -> None:
            begin.record()
            step()
            end.record()
            torch.cuda.synchronize()

        timing: Timing = {"wall": timed(whole, one_thread=False)["wall"], "cuda": begin.elapsed_time(end)}
        return {**timing, "kernels": kernel_time(step)} if self._kernels else timing


def kernel_time(step: Callable[[], object]) -> float:
    """Run something under torch's profiler and return what its CUDA kernels took together, in milliseconds.

    Raises:
        RuntimeError: If the profiler saw none.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    autograd: Any = torch.autograd  # which does not export all that it documents
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of cycles, of which there is one.
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            step()
            torch.cuda.synchronize()
        events = [event for event in profiler.events() if event.device_type == autograd.DeviceType.CUDA]
    if not events:
        raise RuntimeError("torch's profiler saw no CUDA kernel: time without kernels")
    return float(sum(event.time_range.elapsed_us() for event in events)) / 1e3
