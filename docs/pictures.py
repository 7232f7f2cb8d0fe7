"""Draw the pictures of episodes: ``make pictures``.

``docs/figures/construction.gif`` is a film: the shipped policy, which never saw the A6000, builds an architecture for
it under the 30 % quantile of latency. ``docs/figures/episode.png`` is the picture of ``docs/environment.md``.
"""

from pathlib import Path
from typing import Final

from hwgpt_gym import Benchmark
from hwgpt_gym.agents.amortised import recommend
from hwgpt_gym.envs.pictures import save_architecture
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

FIGURES: Final = Path(__file__).resolve().parent / "figures"


def main() -> None:
    """Draw both pictures."""
    device, limits = "a6000", {"latency_ms": "p30"}
    answer = recommend(device, limits, beam=1)
    save_architecture(answer.architecture, device, Objective(limits), FIGURES / "construction.gif")
    near_optimal = solve(Benchmark("s", device), Objective({"latency_ms": "p75"})).architecture
    save_architecture(near_optimal, device, Objective({"latency_ms": "p80"}), FIGURES / "episode.png")


if __name__ == "__main__":
    main()
