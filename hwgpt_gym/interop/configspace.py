"""Search spaces as ConfigSpace's, with conditions for the layers beyond the depth, and back (Lindauer et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
from ConfigSpace import (
    CategoricalHyperparameter,
    Configuration,
    ConfigurationSpace,
    GreaterThanCondition,
    OrdinalHyperparameter,
)

from hwgpt_gym.interop.configurations import decision_values, to_configurations
from hwgpt_gym.search_space import BIAS, FIRST_LAYER, N_LAYER, SEARCH_SPACES, SearchSpace


def to_configspace(space: SearchSpace, seed: int | None = None) -> ConfigurationSpace:
    """Return a search space as ConfigSpace's.

    A hyperparameter is a decision and has its name and values. Widths, depths, MLP ratios and head counts are
    ordinal, the bias is categorical. A layer that not every architecture has is active only if ``n_layer`` is great
    enough. Random configurations are distributed as :meth:`SearchSpace.sample` draws architectures.

    :func:`~hwgpt_gym.interop.configurations.from_configurations` encodes its configurations.

    Args:
        space: The search space.
        seed: Seeds the drawing of random configurations.
    """
    configspace = ConfigurationSpace(name=f"hwgpt-gym-{space.scale}", seed=seed)
    hyperparameters = [
        CategoricalHyperparameter(name, list(legal)) if column == BIAS else OrdinalHyperparameter(name, list(legal))
        for column, (name, legal) in enumerate(decision_values(space).items())
    ]
    depth = hyperparameters[N_LAYER]
    conditions = [
        GreaterThanCondition(child, depth, layer)
        for layer in range(space.depths[0], space.max_layers)
        for child in hyperparameters[FIRST_LAYER + 2 * layer :][:2]
    ]
    configspace.add(*hyperparameters, *conditions)
    return configspace


def from_configspace(configspace: ConfigurationSpace) -> SearchSpace:
    """Return the search space that a configuration space is; the inverse of :func:`to_configspace`.

    Raises:
        ValueError: If it is none of the three: it has other hyperparameters, values or conditions.
    """
    for space in SEARCH_SPACES.values():
        if _parts(to_configspace(space)) == _parts(configspace):
            return space
    raise ValueError(
        f"configspace must have the hyperparameters and conditions of one of the scales {list(SEARCH_SPACES)}, "
        f"got {len(configspace)} hyperparameters in {configspace.name!r}"
    )


def configspace_configurations(configspace: ConfigurationSpace, encoded: npt.ArrayLike) -> list[Configuration]:
    """Return architectures as configurations of a configuration space.

    Args:
        configspace: What :func:`to_configspace` made.
        encoded: The architectures, integers ``(n, D)``.

    Raises:
        ValueError: If it is no such space, or an architecture is not valid.
    """
    rows: list[Mapping[str, Any]] = [*to_configurations(from_configspace(configspace), encoded)]
    return [Configuration(configspace, values=row) for row in rows]


def _parts(configspace: ConfigurationSpace) -> tuple[Any, ...]:
    """Return what makes a configuration space: not its name, its seed nor its meta data."""
    return dict(configspace), set(map(repr, configspace.conditions))
