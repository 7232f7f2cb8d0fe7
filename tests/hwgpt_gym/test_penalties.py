"""Penalties: every one of the registry against its printed formula, and what the solver relies on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwgpt_gym.penalties
from hwgpt_gym.envs.hwgpt import HWGPTEnv
from hwgpt_gym.objective import Objective
from hwgpt_gym.penalties import PENALTIES, Penalty, get_penalty, outcome, penalty_table

QUALITY = np.array([0.2, 0.4, 0.9, 0.6])
RATIOS = [np.array([0.5, 2.0, 1.0, 0.8]), np.array([1.0, 1.5, 1.0, 1.25])]
JUMP = 0.3
EVERY = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=list(PENALTIES))


@pytest.mark.parametrize(
    ("name", "weight", "reward"),
    [
        ("exact", 2.0, [0.2, 0.4 - 2.0 * 1.5 - JUMP, 0.9, 0.6 - 2.0 * 0.25 - JUMP]),
        ("hinge", 2.0, [0.2, 0.4 - 2.0 * 1.5, 0.9, 0.6 - 2.0 * 0.25]),
        ("absolute", 0.1, [0.2 - 0.1 * 0.5, 0.4 - 0.1 * 1.5, 0.9, 0.6 - 0.1 * 0.45]),
        ("power", 0.07, [0.2 * 0.5**-0.07, 0.4 * 3.0**-0.07, 0.9, 0.6]),
        ("hard", 1.0, [0.2, -1.0, 0.9, -1.0]),
    ],
)
def test_rewards(name: str, weight: float, reward: list[float]) -> None:
    result = outcome(QUALITY, RATIOS, PENALTIES[name], weight, JUMP)
    np.testing.assert_allclose(result.reward, reward, rtol=1e-14)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum, "max": np.maximum, "abs": np.abs, "prod": np.prod, "any": np.any,
}  # fmt: skip


@EVERY
@pytest.mark.parametrize("weight", [0.07, 1.0, 3.0])
def test_the_printed_formula_is_what_is_computed(penalty: Penalty, weight: float) -> None:
    result = outcome(QUALITY, RATIOS, penalty, weight, JUMP)
    for row, quality in enumerate(QUALITY):
        names = {"quality": quality, "r": np.array([ratio[row] for ratio in RATIOS]), "w": weight, "c": JUMP}
        expected = eval(penalty.formula, {"__builtins__": {}}, FUNCTIONS | names)
        assert result.penalty[row] == pytest.approx(expected, rel=1e-13, abs=1e-15)
    np.testing.assert_array_equal(result.feasible, [True, False, True, False])
    np.testing.assert_array_equal(result.reward, result.quality - result.penalty)


@EVERY
def test_without_constraints_reward_is_quality(penalty: Penalty) -> None:
    result = outcome(QUALITY, [], penalty, 1.0, JUMP)
    np.testing.assert_array_equal(result.reward, QUALITY)
    assert result.feasible.all()


@EVERY
@given(
    seed=st.integers(0, 2**32 - 1),
    constraints=st.integers(0, 3),
    weight=st.floats(0.01, 100.0),
    jump=st.floats(0.0, 1.0),
)
def test_reward_never_falls_with_quality_and_rows_are_independent(
    penalty: Penalty, seed: int, constraints: int, weight: float, jump: float
) -> None:
    rng = np.random.default_rng(seed)
    quality = np.sort(rng.random(20))
    # Ratios of exactly 1 too: a limit that is met to the last bit.
    ratios = [np.full(20, rng.choice([rng.uniform(0.1, 3.0), 1.0])) for _ in range(constraints)]
    result = outcome(quality, ratios, penalty, weight, jump)
    assert np.all(np.diff(result.reward) >= -1e-12 * (1.0 + weight))
    alone = outcome(quality[7:8], [ratio[7:8] for ratio in ratios], penalty, weight, np.full(1, jump))
    assert [part[0] for part in alone] == [part[7] for part in result]


@EVERY
def test_what_keeps_every_limit_earns_its_quality_where_the_optimum_is_to_be_the_constrained_one(
    penalty: Penalty,
) -> None:
    kept = [np.full(4, 0.7), np.ones(4)]
    result = outcome(QUALITY, kept, penalty, 0.5, JUMP)
    if penalty.constrained:
        np.testing.assert_array_equal(result.reward, QUALITY)
    assert result.feasible.all()


@given(st.floats(1e-300, 1e300), st.integers(-3, 3))
def test_a_ratio_is_at_most_1_exactly_if_the_cost_is_at_most_the_limit(limit: float, steps: int) -> None:
    cost = limit
    for _ in range(abs(steps)):
        cost = float(np.nextafter(cost, np.inf if steps > 0 else 0.0))
    assert (cost / limit <= 1.0) == (cost <= limit)


@EVERY
def test_tables_and_objectives_read_the_registry(penalty: Penalty) -> None:
    assert PENALTIES[penalty.name] is get_penalty(penalty.name) is penalty
    assert Objective(penalty=penalty.name).weight == penalty.default_weight
    line = next(line for line in penalty_table().splitlines() if line.startswith(f"| `{penalty.name}` "))
    assert penalty.formula in line
    assert penalty.source in line
    for documented in (HWGPTEnv, hwgpt_gym.penalties):
        assert line in str(documented.__doc__)


def test_unknown_penalties_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown penalty 'hing': did you mean 'hinge'"):
        get_penalty("hing")
    with pytest.raises(ValueError, match="unknown penalty"):
        get_penalty(["hinge"])  # type: ignore[arg-type]
