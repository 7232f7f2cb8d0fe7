"""Coefficients of centred features, and the arrays of the chain model that say the same.

A fit knows choices and shares less a third: then no group of features can explain what another one stands for. The
chain model knows them as they are. Nothing is lost on the way from one to the other (:func:`expand`), and nothing on
the way back for models whose effects have the structure of the fit (:func:`pack`): so posterior worlds are stored as
few numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np

from hwgpt_gym.search_space import FloatArray, SearchSpace
from hwgpt_gym.surrogates.chain_model import ChainModel

Arrays: TypeAlias = dict[str, FloatArray]

CENTRE: Final = 1.0 / 3.0
"""What centred choices and shares are less by."""

_CHAINS: Final = ("mlp", "head")
_REACHES: Final = ("", "_pair", "_skip")
_DEEPEST: Final = 2


def expand(space: SearchSpace, coefficients: Mapping[str, FloatArray]) -> Arrays:
    """Return the chain model's arrays for coefficients of centred features.

    Args:
        space: The search space, of ``L = max_layers``.
        coefficients: By feature, ``float64 (n, 3, 3, 2, p)``, or with ones for any of the middle three axes (width,
            depth and bias): ``intercept`` (``p = 1``), ``mlp`` and ``head`` (``3 L``), ``mlp_pair`` (``9 (L - 1)``),
            ``mlp_skip`` (``9 (L - 2)``), ``mlp_curve`` (3: the products of shares) and ``cross`` (4), likewise of the
            heads; all but the intercept may be absent.

    Returns:
        Each array of :meth:`ChainModel.shapes` for ``n`` models, ``float64 (n, 3, 3, 2, …)``.
    """
    n = max(len(part) for part in coefficients.values())
    arrays = {name: np.zeros((n, *shape)) for name, shape in ChainModel.shapes(space).items()}
    arrays["intercept"] += coefficients["intercept"][..., 0]
    for chain in _CHAINS:
        for distance, reach in enumerate(_REACHES):
            name = chain + reach
            if name in coefficients:
                arrays[name] += _tables(space, coefficients[name], arrays[name].shape[4:], distance)
        if f"{chain}_curve" in coefficients:
            second, mixed, third = np.moveaxis(coefficients[f"{chain}_curve"], -1, 0)
            slopes = -CENTRE * (2.0 * second + mixed), -CENTRE * (2.0 * third + mixed)
            arrays[f"{chain}_count"] += np.stack([*slopes, second, mixed, third], axis=-1)
            arrays["intercept"] += CENTRE**2 * (second + mixed + third)
    if "cross" in coefficients:
        cross = coefficients["cross"].reshape(*coefficients["cross"].shape[:-1], 2, 2)
        arrays["cross"][..., :2, :2] += cross
        arrays["mlp_count"][..., :2] -= CENTRE * cross.sum(axis=-1)
        arrays["head_count"][..., :2] -= CENTRE * cross.sum(axis=-2)
        arrays["intercept"] += CENTRE**2 * cross.sum(axis=(-2, -1))
    return arrays


def _tables(space: SearchSpace, coefficients: FloatArray, shape: tuple[int, ...], distance: int) -> FloatArray:
    """Return effects of layers that are zero on average over the choices, and zero beyond the depth."""
    table = coefficients.reshape(*coefficients.shape[:-1], *shape)
    for axis in range(5, table.ndim):
        table = table - table.mean(axis=axis, keepdims=True)
    exists = np.arange(shape[0]) < np.array(space.depths)[:, None] - distance
    return np.where(exists.reshape(3, 1, -1, *[1] * (len(shape) - 1)), table, 0.0)


def pack(arrays: Mapping[str, FloatArray]) -> Arrays:
    """Return the few numbers behind arrays that have the structure of a fit.

    Effects of single layers may depend on width, depth and bias, but not on depth and bias together; those of two
    layers and of shares on the width alone. What is zero throughout is left out.

    Args:
        arrays: As :func:`expand` returns them.

    Returns:
        For :func:`unpack`: ``intercept`` ``(n, 3, 3, 2)``; ``mlp`` ``(n, 3, depths, L, 2)``, of the second and third
        choice, with ``depths`` 1 where they are equal and 3 otherwise; ``mlp_bias`` ``(n, 3, L, 2)``, half of what bias
        changes; ``mlp_pair`` ``(n, 3, L - 1, 2, 2)``, ``mlp_skip``; ``mlp_curve`` ``(n, 3, 3)``; ``cross``
        ``(n, 3, 4)``; likewise of the heads.
    """
    packed: Arrays = {}
    cross = arrays["cross"][:, :, _DEEPEST, 0, :2, :2]
    constant = CENTRE**2 * cross.sum(axis=(-2, -1))
    packed["cross"] = cross.reshape(*cross.shape[:2], 4)
    for chain in _CHAINS:
        single = arrays[chain][..., 1:].mean(axis=3)
        exists = single.any(axis=(0, 1, 4))
        equal = np.allclose(single, np.where(exists[:, :, None], single[:, :, _DEEPEST:], 0.0), rtol=0.0, atol=1e-12)
        packed[chain] = single[:, :, _DEEPEST:] if equal else single
        with_bias, without = (arrays[chain][:, :, _DEEPEST, bias, :, 1:] for bias in (1, 0))
        packed[f"{chain}_bias"] = (with_bias - without) / 2.0
        for reach in _REACHES[1:]:
            packed[chain + reach] = arrays[chain + reach][:, :, _DEEPEST, 0, :, 1:, 1:]
        curve = arrays[f"{chain}_count"][:, :, _DEEPEST, 0, 2:]
        packed[f"{chain}_curve"] = curve
        constant = constant + CENTRE**2 * curve.sum(axis=-1)
    packed["intercept"] = arrays["intercept"] - constant[:, :, None, None]
    return {name: part for name, part in packed.items() if part.any()}


def unpack(space: SearchSpace, packed: Mapping[str, FloatArray]) -> Arrays:
    """Return the arrays that :func:`pack` made few numbers of, as :func:`expand` returns them."""
    coefficients: Arrays = {"intercept": packed["intercept"][..., None]}
    for name, part in packed.items():
        n = len(part)
        if name in _CHAINS:
            single = _all_choices(part)[:, :, :, None]
            if f"{name}_bias" in packed:
                half = _all_choices(packed[f"{name}_bias"])[:, :, None, None]
                single = single + half * np.array([-1.0, 1.0])[:, None, None]
            coefficients[name] = single.reshape(*single.shape[:4], -1)
        elif name.endswith(_REACHES[1:]):
            table = np.swapaxes(_all_choices(np.swapaxes(_all_choices(part), -1, -2)), -1, -2)
            coefficients[name] = table.reshape(n, 3, 1, 1, -1)
        elif name.endswith("_curve") or name == "cross":
            coefficients[name] = part[:, :, None, None]
    return expand(space, coefficients)


def _all_choices(part: FloatArray) -> FloatArray:
    """Add the first choice on the last axis: with it, the three sum to zero."""
    return np.concatenate([-part.sum(axis=-1, keepdims=True), part], axis=-1)
