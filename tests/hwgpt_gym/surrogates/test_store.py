"""Storing and loading surrogates."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hwgpt_gym import METRICS, Benchmark
from hwgpt_gym.metrics import DEVICE_METRICS
from hwgpt_gym.surrogates import load_surrogates
from hwgpt_gym.surrogates.store import WEIGHTS_FOLDER, read_surrogates, save_surrogates

SCALES = ("s", "m", "l")


@pytest.mark.parametrize("scale", SCALES)
def test_surrogates_round_trip_to_the_byte(scale: str, tmp_path: Path) -> None:
    surrogates = load_surrogates(scale)
    save_surrogates(surrogates, tmp_path / "first" / "weights.safetensors")
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["weights.safetensors"]
    again = read_surrogates(tmp_path / "first" / "weights.safetensors")
    assert (tmp_path / "first" / "weights.safetensors").read_bytes() == (
        WEIGHTS_FOLDER / f"{scale}.safetensors"
    ).read_bytes()
    encoded = surrogates.space.sample(np.random.default_rng(0), 100)
    np.testing.assert_array_equal(again.perplexity.predict(encoded), surrogates.perplexity.predict(encoded))
    assert again.ranges == surrogates.ranges


def test_the_shipped_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS_FOLDER.glob("*.safetensors")) <= 3_000_000


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(FileNotFoundError, match="no surrogate weights at"):
        read_surrogates(path)
    content = (WEIGHTS_FOLDER / "s.safetensors").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="no readable safetensors file"):
        read_surrogates(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="no readable safetensors file"):
        read_surrogates(path)


def rewrite(path: Path, document: Any, **tensors: np.ndarray | None) -> None:
    """Write the shipped file of scale s with other metadata (a document, or a text) and other tensors."""
    arrays = {**load_file(WEIGHTS_FOLDER / "s.safetensors"), **tensors}
    if not isinstance(document, str):
        content = {key: value for key, value in document.items() if key != "metadata_sha256"}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        document = json.dumps({**content, "metadata_sha256": digest})
    save_file({name: array for name, array in arrays.items() if array is not None}, path, {"hwgpt_gym": document})


def shipped_document() -> dict[str, Any]:
    return dict(load_surrogates("s").metadata)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("[]", "must be an object, got \\[\\]"),
        ("3", "must be an object, got 3"),
        ("{", "weights.safetensors is no JSON: Expecting property name"),
        ("{}", "schema version None, this version of hwgpt_gym reads 2"),
        ({"schema_version": 1}, "schema version 1, this version of hwgpt_gym reads 2"),
        ({"schema_version": [2]}, "schema version \\[2\\]"),
        ({"scale": "xl"}, "scale must be one of"),
        ({"scale": None}, "scale must be one of"),
        ({"scale": "m"}, "must have shape"),
        ({"devices": None}, "'devices' must be a list of names, got None"),
        ({"devices": [1]}, "'devices' must be a list of names"),
        ({"devices": ["a100"]}, "must be of the 1 devices"),
        ({"devices": ["a100"] * 13}, "must not repeat"),
        ({"sha256": []}, "'sha256' must be an object"),
        ({"sha256": {}}, "lacks an array or has one too many: accuracy.cross"),
        ({"ranges": None}, "'ranges' must map"),
        ({"ranges": {"perplexity": [2.0, 1.0]}}, "'ranges' must map"),
        ({"ranges": {"perplexity": ["low", "high"]}}, "'ranges' must map"),
        ({"ranges": {"latency_ms": [1.0, 2.0]}}, "'ranges' must map"),
    ],
)
def test_metadata_of_another_form_is_refused_with_the_name_of_the_file(
    changes: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    rewrite(path, changes if isinstance(changes, str) else shipped_document() | changes)
    with pytest.raises(ValueError, match=message) as error:
        read_surrogates(path)
    assert str(path) in str(error.value)


def test_every_array_has_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = load_file(WEIGHTS_FOLDER / "s.safetensors")
    digests = shipped_document()["sha256"]
    assert digests == {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in tensors.items()}
    changed = tensors["latency_ms.base"].copy()
    changed.ravel()[17] = np.nextafter(changed.ravel()[17], np.inf)
    rewrite(path, shipped_document(), **{"latency_ms.base": changed})
    with pytest.raises(ValueError, match=r"weights.safetensors: array 'latency_ms.base' does not have the SHA-256"):
        read_surrogates(path)
    rewrite(path, shipped_document(), **{"perplexity.mlp": None})
    with pytest.raises(ValueError, match=r"lacks an array or has one too many: perplexity.mlp"):
        read_surrogates(path)
    document = shipped_document()
    document["sha256"] = {name: digest for name, digest in digests.items() if name != "perplexity.mlp"}
    rewrite(path, document, **{"perplexity.mlp": None})
    with pytest.raises(ValueError, match="lacks an array or has one too many"):
        read_surrogates(path)


def test_devices_are_bound_by_name_whatever_their_order() -> None:
    shipped = load_surrogates("s")
    order = np.random.default_rng(0).permutation(len(shipped.devices)).tolist()
    names = tuple(shipped.devices[i] for i in order)
    per_device = {metric: shipped.costs[metric][order] for metric in DEVICE_METRICS}
    noise = {
        metric: replace(model, session=model.session[order], repeat=model.repeat[order])
        for metric, model in shipped.noise.items()
    }
    shuffled = replace(shipped, devices=names, costs={**shipped.costs, **per_device}, noise=noise)
    encoded = shipped.space.sample(np.random.default_rng(1), 50)
    for device in ("v100", ["h100", "a40"]):
        benches = [Benchmark(device=device, surrogates=surrogates) for surrogates in (shipped, shuffled)]
        results = [bench.measure(encoded, np.random.default_rng(2)) for bench in benches]
        for metric in METRICS:
            np.testing.assert_array_equal(results[0][metric], results[1][metric])
    assert [device.name for device in Benchmark(device="all", surrogates=shuffled).devices] == list(names)


def test_a_device_that_the_weights_lack_is_refused_by_name() -> None:
    shipped = load_surrogates("s")
    some = [0, 2]
    costs = {**shipped.costs, **{metric: shipped.costs[metric][some] for metric in DEVICE_METRICS}}
    fewer = replace(shipped, devices=tuple(shipped.devices[i] for i in some), costs=costs, noise={})
    assert [device.name for device in Benchmark(device="all", surrogates=fewer).devices] == ["a100", "a6000"]
    with pytest.raises(ValueError, match="scale 's' know no device 'h100': they are of a100, a6000"):
        Benchmark(device="h100", surrogates=fewer)
    with pytest.raises(ValueError, match="unknown device 'b300'"):
        Benchmark(device="all", surrogates=replace(fewer, devices=("a100", "b300")))
