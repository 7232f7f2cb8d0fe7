"""What a limit costs, exactly: from the optima that are neighbours of the one within it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwgpt_gym.explorer.limit_index import LimitIndex
from hwgpt_gym.explorer.model import Explorer, Judged
from hwgpt_gym.explorer.state import State


@dataclass(frozen=True)
class Price:
    """What a limit costs.

    Attributes:
        metric: The cost.
        limit: Its limit.
        used: What the optimum has of it.
        binds: Whether the optimum would be another one without this limit.
        step: The next round amount.
        gain: By how much perplexity falls if the limit is raised by the step.
        needed: By how much the limit has to be raised until a better optimum takes over; ``None`` if none ever does.
        next_gain: By how much perplexity falls then.
    """

    metric: str
    limit: float
    used: float
    binds: bool
    step: float
    gain: float
    needed: float | None
    next_gain: float

    @property
    def rate(self) -> float:
        """Perplexity for each unit of the cost, up to the next optimum."""
        return self.next_gain / self.needed if self.needed else 0.0


def find_prices(explorer: Explorer, state: State, device: str) -> list[Price]:
    """Return what each limit costs the optimum of a device.

    Raises:
        ValueError: As :meth:`Explorer.limits`.
    """
    best = explorer.optimum(state, device)
    index = explorer.index(state.scale, device)
    with explorer.lock:
        return [_price(index, best, metric) for metric in best.limits]


def _price(index: LimitIndex, best: Judged, metric: str) -> Price:
    limit, perplexity = best.limits[metric], best.metrics["perplexity"]
    following = index.next_better(best.encoded, metric, best.limits)
    # A round amount, a hundredth to a tenth of the limit.
    step = 10.0 ** math.floor(math.log10(limit / 10.0))
    more = index.best({**best.limits, metric: limit + step})
    needed, next_gain, gain = None, 0.0, 0.0
    if following is not None:
        metrics = index.bench.evaluate(following, ["perplexity", metric])
        needed, next_gain = float(metrics[metric][0]) - limit, perplexity - float(metrics["perplexity"][0])
    if more is not None:
        gain = perplexity - float(index.bench.evaluate(more, ["perplexity"])["perplexity"][0])
    return Price(metric, limit, best.metrics[metric], following is not None, step, gain, needed, next_gain)
