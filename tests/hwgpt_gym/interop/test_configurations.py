"""Configurations: values by name and back."""

from __future__ import annotations

import numpy as np
import pytest

from hwgpt_gym import SEARCH_SPACES
from hwgpt_gym.interop import decision_values, from_configurations, to_configurations


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_configurations_round_trip_and_hold_the_values(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    encoded = space.sample(np.random.default_rng(0), 50)
    configurations = to_configurations(space, encoded)
    np.testing.assert_array_equal(from_configurations(space, configurations), encoded)
    for architecture, configuration in zip(space.decode(encoded), configurations, strict=True):
        assert len(configuration) == 3 + 2 * architecture.n_layer
        assert configuration["embed_dim"] == architecture.embed_dim
        assert configuration["bias"] is architecture.bias
        layers = range(architecture.n_layer)
        assert tuple(configuration[f"mlp_ratio_{i}"] for i in layers) == architecture.mlp_ratio
        assert tuple(configuration[f"n_head_{i}"] for i in layers) == architecture.n_head
    assert list(map(len, decision_values(space).values())) == list(space.num_choices)


def test_layers_beyond_the_depth_and_other_names_mean_nothing() -> None:
    space = SEARCH_SPACES["s"]
    encoded = space.sample(np.random.default_rng(0), 20)
    rows = [{**row, "epochs": 3} for row in to_configurations(space, encoded)]
    for row in rows:
        for name in ("mlp_ratio_10", "n_head_10", "mlp_ratio_11", "n_head_11"):
            row.setdefault(name, 4)
    np.testing.assert_array_equal(from_configurations(space, rows), encoded)
    assert from_configurations(space, []).shape == (0, space.num_decisions)


def test_what_is_missing_or_no_choice_is_named() -> None:
    space = SEARCH_SPACES["s"]
    row = to_configurations(space, space.sample(np.random.default_rng(0), 1))[0]
    with pytest.raises(ValueError, match=r"configurations\[1\]\['n_head_3'\] must be one of \[4, 8, 12\], got 5"):
        from_configurations(space, [row, {**row, "n_head_3": 5}])
    del row["embed_dim"]
    with pytest.raises(ValueError, match=r"\['embed_dim'\] must be one of \[192, 384, 768\], got 'nothing'"):
        from_configurations(space, [row])
