"""The bridge to ConfigSpace, against ConfigSpace itself."""

from __future__ import annotations

import numpy as np
import pytest

from hwgpt_gym import SEARCH_SPACES
from hwgpt_gym.interop import from_configurations

ConfigSpace = pytest.importorskip("ConfigSpace", reason="needs hwgpt-gym[configspace]")

from hwgpt_gym.interop import configspace_configurations, from_configspace, to_configspace  # noqa: E402


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_random_configurations_are_architectures_and_back(scale: str) -> None:
    space = SEARCH_SPACES[scale]
    configspace = to_configspace(space, seed=0)
    configurations = configspace.sample_configuration(200)
    encoded = space.validate(from_configurations(space, configurations))
    assert configspace_configurations(configspace, encoded) == configurations
    # What ConfigSpace holds active are the layers within the depth.
    assert [len(dict(item)) for item in configurations] == space.active(encoded).sum(axis=1).tolist()


def test_architectures_are_configurations_that_configspace_admits() -> None:
    space = SEARCH_SPACES["s"]
    configspace = to_configspace(space)
    for item in configspace_configurations(configspace, space.sample(np.random.default_rng(0), 50)):
        item.check_valid_configuration()
    values = {**dict(configspace.get_default_configuration()), "n_layer": 10, "mlp_ratio_11": 2}
    with pytest.raises(ConfigSpace.exceptions.InactiveHyperparameterSetError):
        ConfigSpace.Configuration(configspace, values=values)


def test_random_configurations_are_uniform_as_those_of_the_space() -> None:
    space = SEARCH_SPACES["s"]
    encoded = from_configurations(space, to_configspace(space, seed=3).sample_configuration(6_000))
    for column, number in enumerate(space.num_choices):
        choices = encoded[encoded[:, column] >= 0, column]
        shares = np.bincount(choices, minlength=number) / len(choices)
        np.testing.assert_allclose(shares, 1 / number, atol=5 * np.sqrt(2 / 9 / len(choices)))


@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_the_space_comes_back(scale: str) -> None:
    configspace = to_configspace(SEARCH_SPACES[scale])
    configspace.name = "another"
    assert from_configspace(configspace) is SEARCH_SPACES[scale]


def test_other_spaces_are_refused() -> None:
    space = SEARCH_SPACES["s"]
    with pytest.raises(ValueError, match="got 1 hyperparameters"):
        from_configspace(ConfigSpace.ConfigurationSpace({"embed_dim": [192, 384]}))
    unconditional = ConfigSpace.ConfigurationSpace(space=list(to_configspace(space).values()))
    with pytest.raises(ValueError, match="conditions of one of the scales"):
        from_configspace(unconditional)
