"""Architectures as lists of operations, as editors of architectures use them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hwgpt_gym import DEVICES, Architecture, Benchmark
from hwgpt_gym.interop import ListInterface


@pytest.fixture(scope="module", params=["s", "m", "l"])
def interface(request: pytest.FixtureRequest) -> ListInterface:
    return ListInterface(request.param, target_device="H100", seed=1)


def test_lists_names_numbers_and_encodings_agree(interface: ListInterface) -> None:
    names, numbers = interface.generate_random_samples(20)
    assert interface.space.index(interface.space.encode(map(Architecture.from_string, names))).tolist() == numbers
    for name, number in zip(names, numbers, strict=True):
        operations = interface.architecture_to_list(name)
        assert len(operations) == interface.architecture_len
        assert interface.contains(operations)
        assert interface.list_to_architecture(operations) == interface[number] == name
        assert interface.list_to_index(operations) == interface.architecture_to_index["/".join(operations)] == number
        assert interface.index_to_list(number) == operations
        assert interface.decode_architecture(interface.encode_architecture(name)) == name
        assert interface.decode_architecture(interface.encode_architecture(name, onehot=True), onehot=True) == name


def test_every_list_is_an_architecture_and_dormant_layers_are_kept_by_the_editor(interface: ListInterface) -> None:
    rng = np.random.default_rng(0)
    operations = rng.choice(interface.all_ops, interface.architecture_len).tolist()
    for depth in interface.all_ops:
        operations[1] = depth
        architecture = Architecture.from_string(interface.list_to_architecture(operations))
        assert architecture.n_layer == interface.space.depths[int(depth)]
        assert architecture.mlp_ratio == tuple(
            interface.space.mlp_ratios[int(choice)] for choice in operations[3::2][: architecture.n_layer]
        )
    # A decision of two choices takes the last one for any higher operation.
    operations[2] = "2"
    assert Architecture.from_string(interface.list_to_architecture(operations)).bias is True


def test_scores_are_the_benchmarks(interface: ListInterface) -> None:
    bench = Benchmark(interface.space.scale, "all")
    name = interface.generate_random_samples(1)[0][0]
    operations = interface.architecture_to_list(name)
    expected = bench.query(name)
    for i, device in enumerate(DEVICES):
        assert interface.list_to_score(operations, f"{device}_latency") == expected["latency_ms"][device]
        assert interface.architecture_to_score(name, f"{device}_energy") == expected["energy_j"][device]
        least, greatest = bench.extremes("latency_ms")
        assert interface.get_score_min_and_max(f"{device}_latency") == (least[i], greatest[i])
    assert interface.list_to_score(operations, "latency") == expected["latency_ms"]["h100"]
    assert interface.latencies(operations) == expected["latency_ms"]
    assert interface.latencies(operations, ["v100"]) == {"v100": expected["latency_ms"]["v100"]}
    assert interface.list_to_accuracy(operations) == interface.architecture_to_accuracy(name) == expected["accuracy"]
    assert interface.compute_score("params", interface.list_to_index(operations)) == expected["params"]
    mean, deviation = interface.get_score_mean_and_std("perplexity", 500)
    sample = bench.evaluate(bench.space.sample(np.random.default_rng(1), 500), ["perplexity"])["perplexity"]
    assert (mean, deviation) == (sample.mean(), sample.std())


def test_an_environment_that_edits_a_list_improves_it(interface: ListInterface) -> None:
    # Greedy over the actions of such an environment: (decision, operation), the reward is the change of the score.
    operations = interface.index_to_list(interface.list_to_index(["0"] * interface.architecture_len))
    score = interface.list_to_score(operations, "perplexity")
    first = score
    for position in range(interface.architecture_len):
        for operation in interface.all_ops:
            edited = [*operations[:position], operation, *operations[position + 1 :]]
            if (changed := interface.list_to_score(edited, "perplexity")) < score:
                operations, score = edited, changed
    least, greatest = interface.get_score_min_and_max("perplexity")
    assert least <= score < first <= greatest
    assert score < least + 0.1 * (greatest - least)


def test_length_and_iteration() -> None:
    small = ListInterface("s")
    assert len(small) == small.size == small.space.size
    # Pools of architectures are drawn by the standard library, which asks for the length and for items.
    pool = random.Random(0).choices(small, k=20)
    assert len({Architecture.from_string(name) for name in pool}) == 20
    names = iter(small)
    assert [next(names) for _ in range(3)] == [small[0], small[1], small[2]]
    assert ListInterface("l").size == ListInterface("l").space.size


def test_wrong_arguments_are_refused(interface: ListInterface) -> None:
    with pytest.raises(
        ValueError, match=rf"must have {interface.architecture_len} entries of \['0', '1', '2'\], got 2"
    ):
        interface.list_to_architecture(["0", "1"])
    with pytest.raises(ValueError, match="entries of"):
        interface.list_to_index(["3"] * interface.architecture_len)
    with pytest.raises(ValueError, match="unknown score 'h100_latencies': did you mean 'h100_latency'"):
        interface.list_to_score(["0"] * interface.architecture_len, "h100_latencies")
    with pytest.raises(ValueError, match="unknown device 'h200'"):
        interface.latencies(["0"] * interface.architecture_len, ["h200"])
    with pytest.raises(IndexError, match=f"from 0 to {interface.size - 1}"):
        interface[interface.size]
    with pytest.raises(ValueError, match="unknown device"):
        ListInterface("s", "h200")
