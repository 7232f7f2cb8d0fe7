"""States of the explorer's page, for tests of properties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from hwgpt_gym import SEARCH_SPACES
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.explorer.state import State
from hwgpt_gym.metrics import COST_METRICS

SPACE = SEARCH_SPACES["s"]
SAMPLED = SPACE.decode(SPACE.sample(np.random.default_rng(0), 8))
LIMITS = st.one_of(st.floats(0.001, 1e12), st.floats(0.0, 100.0).map(lambda level: f"p{level:.2f}"))
STATES = st.builds(
    State,
    scale=st.just("s"),
    devices=st.lists(st.sampled_from(sorted(DEVICES)), min_size=1, max_size=4, unique=True).map(tuple),
    cost=st.sampled_from(COST_METRICS),
    axis=st.sampled_from(["linear", "log"]),
    limits=st.dictionaries(st.sampled_from(COST_METRICS), LIMITS, max_size=4).map(
        lambda limits: tuple((key, limits[key]) for key in COST_METRICS if key in limits)
    ),
    architecture=st.one_of(st.none(), st.sampled_from(SAMPLED)),
    compared=st.lists(
        st.tuples(st.sampled_from(["a", "ü: & =", "gpt 50 %", "choice 1"]), st.sampled_from(SAMPLED)), max_size=3
    ).map(tuple),
)
