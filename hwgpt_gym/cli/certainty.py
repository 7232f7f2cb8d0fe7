"""How sure an optimum is, for people and as JSON: what ``hwgpt-gym optimum --worlds`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.console import make_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from hwgpt_gym.optimum import Certainty

WorldsOption = Annotated[
    int,
    typer.Option(
        "--worlds", help="Solve so many posterior worlds as well, 64 at most, to say how sure the optimum is."
    ),
]


def certainty_table(certainties: Sequence[Certainty], seconds: float) -> Table:
    """Tabulate how sure an optimum is, a column for each factor."""
    rows = [
        ("perplexity, 50 %", *(_interval(item.perplexity[50], 4) for item in certainties)),
        ("perplexity, 90 %", *(_interval(item.perplexity[90], 4) for item in certainties)),
        ("reward, 50 %", *(_interval(item.reward[50], 5) for item in certainties)),
        ("reward, 90 %", *(_interval(item.reward[90], 5) for item in certainties)),
        ("expected regret", *(f"{item.expected_regret:.1e}" for item in certainties)),
        ("within 0.0005 of the best", *(f"{100.0 * item.near:.0f} % of worlds" for item in certainties)),
        ("width, depth and bias agree", *("yes" if item.agrees else "no" for item in certainties)),
    ]
    number = len(certainties[0].regrets)
    title = f"How sure: {number} posterior worlds, their spread times a factor, solved in {seconds:.1f} s"
    columns = ("", *(f"factor {item.factor:g}" for item in certainties))
    return make_table(title, columns, rows, right=range(1, len(columns)))


def certainty_document(certainties: Sequence[Certainty], seconds: float) -> dict[str, Any]:
    """Return how sure an optimum is as plain data; nothing if no worlds were solved."""
    if not certainties:
        return {}
    items = [
        {
            "factor": item.factor,
            **{f"perplexity_{level}": list(interval) for level, interval in item.perplexity.items()},
            **{f"reward_{level}": list(interval) for level, interval in item.reward.items()},
            "expected_regret": item.expected_regret,
            "probability_near": item.near,
            "groups_agree": item.agrees,
        }
        for item in certainties
    ]
    return {"worlds": len(certainties[0].regrets), "seconds": seconds, "certainties": items}


def _interval(bounds: tuple[float, float], digits: int) -> str:
    return f"{bounds[0]:.{digits}f} – {bounds[1]:.{digits}f}"
