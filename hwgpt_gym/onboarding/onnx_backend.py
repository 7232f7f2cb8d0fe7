"""Running architectures as ONNX models, as they are deployed at the edge. Needs the extra ``onnx``."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Final

from hwgpt_gym.analytic import VOCABULARY_SIZE
from hwgpt_gym.onboarding.backends import Run, processor_name, timed
from hwgpt_gym.onboarding.records import Conditions, make_conditions

FOLDER_LIMIT: Final = 10_000_000_000
"""Bytes of exported models that are kept; a model of scale s has up to 600 MB."""


def export(name: str, path: str | os.PathLike[str], conditions: Conditions) -> None:
    """Write an architecture with random weights as an ONNX file.

    Its input is ``tokens``, ``int64 (batch, sequence)``, its output ``logits``. A model of more than 2 GB, as the
    greatest of scale l are, has its weights in further files of the same folder, where it looks for them.

    Raises:
        ValueError: If the workload is not ``"prefill"``: the exported model has no cache.
    """
    import torch

    from hwgpt_gym.transformer import build

    if conditions.workload != "prefill":
        raise ValueError(f"an exported model can only do the workload 'prefill', got {conditions.workload!r}")

    class Logits(torch.nn.Module):
        """The model without its loss, which cannot be exported."""

        def __init__(self) -> None:
            super().__init__()
            self.model = build(name, mlp=conditions.mlp).eval()

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            """Return the logits."""
            logits: torch.Tensor = self.model(tokens)[0]
            return logits

    tokens = torch.zeros((conditions.batch_size, conditions.sequence_length), dtype=torch.int64)
    with torch.no_grad(), warnings.catch_warnings():
        # The exporter that needs no further package is deprecated, and remarks on what is constant in the model.
        warnings.simplefilter("ignore")
        torch.onnx.export(Logits(), (tokens,), str(path), input_names=["tokens"], output_names=["logits"], dynamo=False)


class OnnxFiles:
    """ONNX files of architectures in a temporary folder, made when they are asked for.

    Args:
        conditions: For which batch they are.
        limit: Bytes that the folder may hold; beyond it the files go that were used longest ago.
    """

    def __init__(self, conditions: Conditions, limit: int = FOLDER_LIMIT) -> None:
        self._conditions, self._limit = conditions, limit
        self._folder = tempfile.TemporaryDirectory(prefix="hwgpt-gym-")
        self._files: dict[Path, int] = {}

    def path(self, name: str) -> Path:
        """Return the path of an architecture's file; making it takes seconds."""
        # A folder each: beside a great model lie files of weights, of the same names for every model.
        folder = Path(self._folder.name) / name
        size = self._files.pop(folder, 0)
        if not size:
            folder.mkdir(exist_ok=True)
            export(name, folder / "model.onnx", self._conditions)
            size = sum(file.stat().st_size for file in folder.iterdir())
        self._files[folder] = size
        while sum(self._files.values()) > self._limit and len(self._files) > 1:
            oldest = next(iter(self._files))
            shutil.rmtree(oldest)
            del self._files[oldest]
        return folder / "model.onnx"


class OnnxRuntimeBackend:
    """Runs exported architectures in ONNX Runtime on the processor, in float32.

    Args:
        batch_size: Sequences in the batch.
        sequence_length: Tokens in a sequence.
        threads: Threads.
        mlp: ``"gated"`` or ``"gpt2"``.
    """

    warms_up = True

    def __init__(
        self, *, batch_size: int = 1, sequence_length: int = 128, threads: int = 1, mlp: str = "gated"
    ) -> None:
        import numpy as np
        import onnxruntime

        self.conditions = make_conditions(
            batch_size=batch_size,
            sequence_length=sequence_length,
            threads=threads,
            backend="onnxruntime",
            backend_version=onnxruntime.__version__,
            mlp=mlp,
            target="cpu",
            processor=processor_name(),
        )
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        rng = np.random.default_rng(1)
        self._tokens = rng.integers(VOCABULARY_SIZE, size=(batch_size, sequence_length), dtype=np.int64)
        self._files = OnnxFiles(self.conditions)

    def prepare(self, name: str) -> Run:
        """Return what runs an architecture once; its file is made on the first call, which takes seconds."""
        import onnxruntime

        path = str(self._files.path(name))
        session = onnxruntime.InferenceSession(path, self._options, providers=["CPUExecutionProvider"])
        one_thread = self.conditions.threads == 1
        return lambda: [timed(lambda: session.run(None, {"tokens": self._tokens}), one_thread=one_thread)]
