"""Addresses hold all of a state, whatever is wrong in them is said, and actions lead from state to state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from explorer_states import STATES
from hypothesis import given
from hypothesis import strategies as st

from hwgpt_gym import SEARCH_SPACES
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.explorer.actions import act, looked_at
from hwgpt_gym.explorer.model import Explorer
from hwgpt_gym.explorer.state import State, decode_architecture, encode_architecture, read_query, write_query
from hwgpt_gym.metrics import COST_METRICS
from hwgpt_gym.optimum import pareto_front


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    return Explorer(["a6000"])


@given(STATES)
def test_an_address_holds_the_whole_state(state: State) -> None:
    # Whatever else the page would show at first.
    other = State("s", ("v100",), "params", "log", (("params", "p3"),))
    assert read_query(write_query(state), DEVICES, other) == (state, [])


@given(st.dictionaries(st.text(max_size=12) | st.sampled_from(["scale", "device", "limit", "compare"]), st.text()))
def test_anything_in_an_address_gets_a_message(pairs: dict[str, str]) -> None:
    from urllib.parse import urlencode

    state, wrong = read_query(urlencode(pairs), DEVICES, State())
    assert all(isinstance(sentence, str) and sentence.endswith(".") for sentence in wrong)
    assert read_query(write_query(state), DEVICES, State())[1] == []
    if pairs and not wrong:
        assert set(pairs) <= {"scale", "device", "cost", "axis", "limit", "architecture", "compare"}


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("scale=x", "scale"),
        ("device=a600", "a6000"),
        ("device=a6000&device=a6000", "different"),
        ("device=/etc/passwd", "unknown device"),
        ("device=mine.safetensors", "unknown device"),
        ("cost=perplexity", "perplexity"),
        ("axis=cubic", "linear"),
        ("limit=latency_ms:p101", "p100"),
        ("limit=latency_ms:-1", "positive"),
        ("limit=latency_ms:p1&limit=latency_ms:p2", "twice"),
        ("limit=nothing:1", "nothing"),
        ("architecture=s99", "architecture"),
        ("architecture=gpt-m", "architecture"),
        ("compare=s1", "compare"),
        ("sclae=s", "scale"),
    ],
)
def test_wrong_values_are_named(query: str, word: str) -> None:
    state, wrong = read_query(query, DEVICES, State())
    assert len(wrong) == 1
    assert word in wrong[0]
    assert state == State()


def test_architectures_are_written_short() -> None:
    for space in SEARCH_SPACES.values():
        for architecture in space.decode(space.sample(np.random.default_rng(1), 20)):
            code = encode_architecture(architecture)
            assert len(code) == 1 + 3 + 2 * architecture.n_layer
            assert decode_architecture(code) == architecture
            assert decode_architecture(str(architecture)) == architecture


def test_actions_lead_from_state_to_state(explorer: Explorer) -> None:
    state = act(explorer, State(), "level:latency_ms", "30")
    assert state.limits == (("latency_ms", "p30"),)
    state = act(explorer, state, "limited", ["params", "latency_ms"])
    assert state.limits == (("latency_ms", "p30"), ("params", "p50"))
    state = act(explorer, state, "number:params", 6e7)
    assert dict(state.limits)["params"] == 6e7
    state = act(explorer, state, "along", "0")
    assert state.architecture == pareto_front(explorer.bench("s", "a6000")).architectures[0]
    state = act(explorer, state, "keep", 1)
    assert state.compared == (("choice 1", state.architecture),)
    state = act(explorer, state, "devices", ["h100", "a6000"])
    assert state.devices == ("a6000", "h100")
    state = act(explorer, state, "optimum", 1)
    assert looked_at(explorer, state) == explorer.optimum(state, "a6000").architecture
    # Another space: a number in a unit means something else there, and so does an architecture.
    state = act(explorer, act(explorer, state, "along", 3), "scale", "m")
    assert state.limits == (("latency_ms", "p30"), ("params", "p50"))
    assert state.architecture is None
    assert act(explorer, state, "forget", 1).compared == ()


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("scale", "x"),
        ("devices", []),
        ("devices", ["a100", "a40", "a6000", "h100", "p100"]),
        ("cost", "perplexity"),
        ("axis", None),
        ("limited", [*COST_METRICS]),
        ("level:latency_ms", 101),
        ("level:latency_ms", "many"),
        ("level:perplexity", 50),
        ("number:latency_ms", None),
        ("number:latency_ms", 1e30),
        ("along", 10**6),
        ("point", "s"),
        ("flip", (99, 0)),
        ("flip", (0, None)),
        ("paste", None),
        ("files", [("a", b"")]),
        ("dance", 1),
    ],
)
def test_what_cannot_be_done_is_refused(explorer: Explorer, action: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        act(explorer, State(), action, value)
