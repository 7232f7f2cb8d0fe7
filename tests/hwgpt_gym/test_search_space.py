"""Search spaces, architectures and their encodings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgpt_gym import SEARCH_SPACES, Architecture, SearchSpace, get_search_space
from hwgpt_gym.search_space import GROUP_SHAPE, GROUP_WEIGHTS, GROUPS, layers_of

SCALES = ("s", "m", "l")


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    space = SEARCH_SPACES[draw(st.sampled_from(SCALES))]
    n_layer = draw(st.sampled_from(space.depths))

    def per_layer(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.sampled_from(values), min_size=n_layer, max_size=n_layer)))

    return Architecture(
        space.scale,
        draw(st.sampled_from(space.embed_dims)),
        n_layer,
        per_layer(space.mlp_ratios),
        per_layer(space.head_counts),
        draw(st.booleans()),
    )


@given(architectures())
def test_architecture_round_trips(architecture: Architecture) -> None:
    assert Architecture.from_string(architecture.to_string()) == architecture
    assert Architecture.from_config(architecture.to_config()) == architecture
    assert Architecture.decode(architecture.encode(), architecture.scale) == architecture
    assert hash(Architecture.from_string(str(architecture))) == hash(architecture)


@given(architectures(), st.integers(0, 5), st.booleans())
def test_from_config_takes_what_upstream_stores(architecture: Architecture, excess: int, with_indices: bool) -> None:
    config = architecture.to_config()
    config["sample_bias"] = str(architecture.bias)
    # Upstream stores entries for layers beyond the depth, too; they mean nothing.
    config["sample_mlp_ratio"] += [2] * excess
    config["sample_n_head"] += [999] * excess
    if not with_indices:
        del config["sample_layer_indices"]
    assert Architecture.from_config(config) == architecture
    assert Architecture.from_config(config, scale=architecture.scale) == architecture


@given(st.sampled_from(SCALES), st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_sampled_architectures_are_valid_and_round_trip(scale: str, seed: int, n: int) -> None:
    space = SEARCH_SPACES[scale]
    encoded = space.sample(np.random.default_rng(seed), n)
    assert encoded.dtype == np.int8
    assert encoded.shape == (n, 3 + 2 * space.max_layers)
    np.testing.assert_array_equal(space.validate(encoded), encoded)
    decoded = space.decode(encoded)
    np.testing.assert_array_equal(space.encode(decoded), encoded)
    mlp_counts, head_counts = space.counts(encoded)
    for row, architecture in enumerate(decoded):
        assert mlp_counts[row].tolist() == [architecture.mlp_ratio.count(ratio) for ratio in space.mlp_ratios]
        assert head_counts[row].tolist() == [architecture.n_head.count(heads) for heads in space.head_counts]
        assert space.n_layer(encoded)[row] == architecture.n_layer


def test_sampling_is_seeded_and_uniform() -> None:
    space = SEARCH_SPACES["s"]
    encoded = space.sample(np.random.default_rng(7), 30_000)
    np.testing.assert_array_equal(encoded, space.sample(np.random.default_rng(7), 30_000))
    for column, choices in enumerate(space.num_choices):
        set_here = encoded[:, column][encoded[:, column] >= 0]
        shares = np.bincount(set_here, minlength=choices) / len(set_here)
        # Five standard errors of a share of one third of 10,000 (the last layer exists in a third of the rows).
        np.testing.assert_allclose(shares, 1 / choices, atol=5 * np.sqrt(2 / 9 / 10_000))


@pytest.mark.parametrize(("scale", "size"), [("s", "1.90e+12"), ("m", "5.38e+23"), ("l", "1.52e+35")])
def test_size_counts_distinct_architectures(scale: str, size: str) -> None:
    space = SEARCH_SPACES[scale]
    assert isinstance(space.size, int)
    assert f"{space.size:.2e}" == size


def test_size_equals_enumeration_of_a_tiny_space() -> None:
    tiny = SearchSpace("tiny", embed_dims=(1, 2, 3), depths=(1, 2, 3), head_counts=(1, 2, 3))
    sampled = tiny.sample(np.random.default_rng(0), 300_000)
    assert len(np.unique(sampled, axis=0)) == tiny.size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dims": (1, 2)}, r"must have \(3, 3, 2, 3, 3\) entries, got \(2, 3, 2, 3, 3\)"),
        ({"head_counts": (1, 2, 3, 4)}, r"got \(3, 3, 2, 3, 4\)"),
        ({"depths": (1, 2)}, r"got \(3, 2, 2, 3, 3\)"),
        ({"depths": (1, 2, 4)}, r"consecutive and ascending from at least 1, got \(1, 2, 4\)"),
        ({"depths": (0, 1, 2)}, "depths must be an integer of at least 1, got 0"),
        ({"depths": (3, 2, 1)}, "consecutive and ascending from at least 1"),
    ],
)
def test_spaces_of_another_shape_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments = {"embed_dims": (1, 2, 3), "depths": (1, 2, 3), "head_counts": (1, 2, 3)} | changes
    with pytest.raises(ValueError, match=message):
        SearchSpace("tiny", **arguments)


@given(st.sampled_from(SCALES), st.integers(0, 2**32 - 1))
def test_layers_beyond_the_depth_are_taken_out_and_nothing_else(scale: str, seed: int) -> None:
    space = SEARCH_SPACES[scale]
    choices = np.random.default_rng(seed).integers(0, space.num_choices, (20, space.num_decisions))
    encoded = space.canonical(choices)
    assert encoded.dtype == np.int8
    np.testing.assert_array_equal(space.validate(encoded), encoded)
    for row, given_row in zip(encoded, choices, strict=True):
        end = 3 + 2 * space.depths[given_row[1]]
        np.testing.assert_array_equal(row[:end], given_row[:end])
        assert np.all(row[end:] == -1)
        layers = layers_of(row)
        assert layers.shape == (space.max_layers, 2)
        np.testing.assert_array_equal(layers[2], row[7:9])
    np.testing.assert_array_equal(space.active(encoded), encoded != -1)
    layers_of(encoded)[:] = 1
    assert np.all(encoded[:, 3:] == 1)


def test_groups_are_in_the_order_of_their_index() -> None:
    assert len(GROUPS) == 18
    assert (np.array(GROUPS) @ GROUP_WEIGHTS).tolist() == list(range(18))
    assert [int(np.ravel_multi_index(group, GROUP_SHAPE)) for group in GROUPS] == list(range(18))


@pytest.mark.parametrize("scale", SCALES)
def test_every_name_of_the_dataset_round_trips(scale: str, dataset_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = ["arch", "embed_dim", "n_layer", "mlp_ratio", "n_head", "bias"]
    table = parquet.read_table(dataset_path / scale / "architectures.parquet", columns=columns).to_pydict()
    read = [Architecture.from_string(name) for name in table["arch"]]
    assert [architecture.to_string() for architecture in read] == table["arch"]
    for key in columns[1:]:
        values = [tuple(value) if isinstance(value, list) else value for value in table[key]]
        assert [getattr(architecture, key) for architecture in read] == values
    space = SEARCH_SPACES[scale]
    assert space.decode(space.encode(read)) == read


VALID = Architecture.decode(SEARCH_SPACES["s"].sample(np.random.default_rng(0), 1), "s")
NAME = VALID.to_string()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "form"),
        ("gpt", "form"),
        (NAME.replace("gpt", "bert"), "form"),
        (NAME.replace("gpt-s", "gpt-x"), r"scale must be one of \['s', 'm', 'l'\], got 'x'"),
        (NAME.replace("-True", "-true").replace("-False", "-false"), "bias must be"),
        (NAME.replace(f"-{VALID.embed_dim}-", "-100-", 1), r"embed_dim must be one of \[192, 384, 768\]"),
        (NAME.replace(f"gpt-s-{VALID.n_layer}-", "gpt-s-3-"), "must list 3 MLP ratios"),
        (NAME.rsplit("-", 2)[0] + "-" + NAME.rsplit("-", 1)[1], "must list"),
        (NAME.rsplit("-", 2)[0] + "-7-" + NAME.rsplit("-", 1)[1], r"n_head\[\d+\] must be one of \[4, 8, 12\]"),
        (NAME.rsplit("-", 2)[0] + "-x-" + NAME.rsplit("-", 1)[1], "'x' is not a number"),
    ],
)
def test_malformed_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.from_string(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_embed_dim": 100}, "sample_embed_dim must be one of"),
        ({"sample_n_layer": 9}, r"sample_n_layer must be one of \[10, 11, 12\]"),
        ({"sample_n_layer": True}, "sample_n_layer"),
        ({"sample_mlp_ratio": [2, 3]}, r"sample_mlp_ratio must have at least n_layer"),
        ({"sample_n_head": [5] * 12}, r"n_head\[0\] must be one of \[4, 8, 12\]"),
        ({"sample_bias": "yes"}, "bias must be True, False, 'True' or 'False', got 'yes'"),
        ({"sample_bias": 1}, "bias must be"),
    ],
)
def test_wrong_configurations_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.from_config({**VALID.to_config(), **change})


def test_missing_configuration_key_is_named() -> None:
    config = VALID.to_config()
    del config["sample_bias"]
    with pytest.raises(ValueError, match=r"config lacks \['sample_bias'\]"):
        Architecture.from_config(config)


def test_an_architecture_does_not_depend_on_what_it_was_made_from() -> None:
    lists = Architecture("s", 384, 10, [2] * 10, np.full(10, 4), np.True_)  # type: ignore[arg-type]
    assert lists == Architecture("s", 384, 10, (2,) * 10, (4,) * 10, True)
    assert isinstance(lists.mlp_ratio, tuple)
    assert isinstance(lists.n_head[0], int)
    assert lists.bias is True


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (1, 0, 3, r"encoded\[1, 0\] \(embed_dim\) is 3, legal choices are 0 to 2"),
        (0, 2, 2, r"encoded\[0, 2\] \(bias\) is 2, legal choices are 0 to 1"),
        (2, 1, -1, r"encoded\[2, 1\] \(n_layer\) is -1"),
        (0, 5, -1, r"encoded\[0, 5\] \(mlp_ratio_1\) is -1, must be a choice"),
        (0, 5, -2, r"encoded\[0, 5\] \(mlp_ratio_1\) is -2"),
    ],
)
@pytest.mark.parametrize("scale", SCALES)
def test_validate_names_the_first_wrong_entry(scale: str, row: int, column: int, value: int, message: str) -> None:
    space = SEARCH_SPACES[scale]
    encoded = space.sample(np.random.default_rng(1), 4)
    encoded[row, column] = value
    with pytest.raises(ValueError, match=message):
        space.validate(encoded)


def test_validate_refuses_layers_beyond_the_depth_and_wrong_arrays() -> None:
    space = SEARCH_SPACES["s"]
    encoded = space.sample(np.random.default_rng(1), 4)
    encoded[:, 1] = 2
    encoded[:, 3:] = 0
    encoded[3, 1] = 0
    with pytest.raises(ValueError, match=r"encoded\[3, 23\] \(mlp_ratio_10\) is 0, must be -1"):
        space.validate(encoded)
    with pytest.raises(ValueError, match=r"shape \(n, 27\)"):
        space.validate(encoded[:, :-1])
    with pytest.raises(TypeError, match="integers"):
        space.validate(encoded.astype(float))
    with pytest.raises(ValueError, match=r"legal choices are 0 to 2"):
        space.validate(encoded.astype(np.int64) + 256)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="scale must be one of"):
        get_search_space("xl")
    with pytest.raises(ValueError, match=r"n must be an integer from 0 to .*, got -1"):
        SEARCH_SPACES["s"].sample(np.random.default_rng(0), -1)
    with pytest.raises(ValueError, match="is of scale 's', this space is of scale 'm'"):
        SEARCH_SPACES["m"].encode([VALID])
    with pytest.raises(ValueError, match="one architecture, got 2"):
        Architecture.decode(SEARCH_SPACES["s"].sample(np.random.default_rng(0), 2), "s")


@settings(max_examples=25)
@given(st.sampled_from(SCALES), st.integers(0, 2**16))
def test_decision_names_match_the_encoding(scale: str, seed: int) -> None:
    space = SEARCH_SPACES[scale]
    row = space.sample(np.random.default_rng(seed), 1)
    architecture = space.decode(row)[0]
    choices = dict(zip(space.decision_names, row[0].tolist(), strict=True))
    assert space.embed_dims[choices["embed_dim"]] == architecture.embed_dim
    for i in range(architecture.n_layer):
        assert space.mlp_ratios[choices[f"mlp_ratio_{i}"]] == architecture.mlp_ratio[i]
        assert space.head_counts[choices[f"n_head_{i}"]] == architecture.n_head[i]
    assert len(space.num_choices) == len(space.decision_names) == space.num_decisions
