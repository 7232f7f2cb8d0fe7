"""Below which regret reality cannot tell agents apart: the expected regret of certified optima in posterior worlds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.files import check_seal, read_json, seal, write_text
from hwgpt_gym.fitting.world_card import CARD_DEVICE, CARD_LEVELS
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve
from hwgpt_gym.surrogates.store import load_surrogates
from hwgpt_gym.surrogates.worlds import WORLDS

_FILE: Final = "reality.json"


def reality_line(scale: str, folder: str | os.PathLike[str]) -> float:
    """Return the greatest expected regret of the optima that the model card of the surrogates shows.

    Worlds are those with the scale's model-form factor. Solving them takes seconds at scale s and minutes at l, so the
    folder keeps what was found.

    Args:
        scale: The search space.
        folder: The folder of the leaderboard's results.

    Raises:
        ValueError: If what the folder keeps is damaged; the message names the file.
    """
    path = Path(folder) / _FILE
    known = read_json(path, path.read_bytes()) if path.is_file() else {}
    check_seal(path, known)
    key = f"{scale} {load_surrogates(scale).fingerprint}"
    if key not in known:
        bench = Benchmark(scale, CARD_DEVICE)
        optima = [solve(bench, Objective({"latency_ms": level}), worlds=WORLDS) for level in CARD_LEVELS]
        known[key] = max(optimum.certainties[-1].expected_regret for optimum in optima)
        write_text(path, json.dumps(seal(known), indent=1))
    return float(known[key])
