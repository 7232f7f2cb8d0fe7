"""A number that stands on several pages is the same on all of them, and the right one where that can be computed.

A place is a page and a pattern. Its group is the number, or several in a row; they are compared as they are printed,
so that ``9.1 million`` and ``9,134,210`` agree and ``9.1`` and ``9.2`` do not. A place that is not found is an error:
whoever rewrites a sentence says here how it reads now, or that the number stands there no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest

from hwgpt_gym import DEVICES, SEARCH_SPACES
from hwgpt_gym.agents import amortised
from hwgpt_gym.surrogates.worlds import load_worlds
from hwgpt_gym.version import __version__

REPOSITORY = Path(__file__).resolve().parent.parent
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")


@dataclass(frozen=True)
class Place:
    """Where a number stands: the pattern's group holds it, times ``unit`` it is what the other places say."""

    page: str
    pattern: str
    unit: str = "1"

    def numbers(self) -> list[list[tuple[Decimal, Decimal]]]:
        """Return what every match says: numbers, and half a unit of the last digit of each."""
        text = (REPOSITORY / self.page).read_text(encoding="utf-8")
        found = [parse(match[1], self.unit) for match in re.finditer(self.pattern, text)]
        assert found, f"{self.page} has no {self.pattern!r}"
        return found


def parse(text: str, unit: str = "1") -> list[tuple[Decimal, Decimal]]:
    """Return the numbers of a text, each with half a unit of its last digit; zeros at the end of thousands are none."""
    numbers = []
    for digits in NUMBER.findall(text):
        value = Decimal(digits.replace(",", ""))
        exponent = (value.normalize() if value >= 1_000 and "." not in digits else value).as_tuple().exponent
        assert isinstance(exponent, int)
        numbers.append((value * Decimal(unit), Decimal(1).scaleb(exponent) * Decimal(unit) / 2))
    return numbers


def agree(one: list[tuple[Decimal, Decimal]], other: list[tuple[Decimal, Decimal]]) -> bool:
    """Whether both could be the same numbers, rounded to the digits that each has."""
    pairs = list(zip(one, other, strict=False))
    return len(one) == len(other) > 0 and all(
        abs(a - b) <= max(half, other_half) for (a, half), (b, other_half) in pairs
    )


SPEEDS = "docs/environment.md"
SOLVING = "docs/optimum.md"
FACTS: dict[str, list[Place]] = {
    "architectures of scale s": [
        Place("README.md", r"([\d.]+) · 10\^12"),
        Place("docs/optimum.md", r"hold ([\d.]+) × 10¹²"),
        Place("docs/five_minutes.md", r"([\d.]+) · 10\^12"),
        Place("docs/tutorials/own_agent.md", r"([\d.]+) · 10\^12"),
    ],
    "architectures of scale m": [Place("docs/optimum.md", r"([\d.]+) × 10²³")],
    "architectures of scale l": [Place("docs/optimum.md", r"([\d.]+) × 10³⁵")],
    "decisions a second, 4,096 lanes": [
        Place("README.md", r"decisions a second, 4,096 native lanes, scale s \| ([\d.]+) million", "1e6"),
        Place(SPEEDS, r"native, 4,096 lanes, scale s \| ([\d,]+)"),
    ],
    "SB3 steps a second, 256 lanes": [
        Place("README.md", r"SB3 steps a second, 256 lanes[^|]*\| ([\d,]+\d),"),
        Place(SPEEDS, r"bridge to Stable-Baselines3, 256 lanes \| ([\d,]+)"),
    ],
    **{
        f"solving at scale {scale}, milliseconds": [
            Place("README.md", r"solving for the optimum[^|]*\| " + before + r"(\d+)[ /\d]* ms"),
            Place(SOLVING, rf"test_solve\[{scale}-[\d.]+\] +[\d.]+ \([\d.]+\) +([\d.]+)"),
        ]
        for scale, before in (("s", ""), ("m", r"\d+ / "), ("l", r"\d+ / \d+ / "))
    },
    **{
        f"perplexity of unseen architectures of scale {scale}": [
            Place("README.md", rf"\n\| {scale} \| ([\d. |]+) \|\n"),
            Place("docs/surrogates.md", rf"\n\| {scale} perplexity \| ([\d. |]+) \|\n"),
        ]
        for scale in SEARCH_SPACES
    },
    **{
        f"regrets of {agent}": [
            Place(page, rf"\n\| `{agent}` \| ([^\n]*%) \|\n") for page in ("README.md", "docs/leaderboard.md")
        ]
        for agent in ("amortised_beam", "ppo", "regularized_evolution", "local_search", "random_search")
    },
    **{
        f"regret of {what}": [
            Place("README.md", rf"{words}(\.\d+)"),
            Place("docs/amortised.md", rf"\n\| {row} \| (\.\d+)"),
        ]
        for what, words, row in (
            ("the greedy policy", "one architecture of it has a mean regret of ", "greedy, one architecture"),
            ("a beam of 16", "best of a beam of 16 one of ", "beam 16"),
        )
    },
    "devices": [Place("README.md", r"measurements of (\d+) devices"), Place("docs/devices.md", r"over (\d+) devices")],
    "worlds": [Place("README.md", r"`--worlds (\d+)`"), Place("docs/worlds.md", r": (\d+) \*worlds\*")],
    "architectures measured at scale l": [
        Place("README.md", r"measured for (\d+) architectures"),
        Place("docs/surrogates.md", r"At scale l only (\d+) architectures"),
        Place("docs/worlds.md", r"l, (\d+) rows of scale m"),
    ],
    "megabytes of an amortised policy": [Place("docs/amortised.md", r"([\d.]+) MB each")],
}
"""What stands more than once, or can be computed, by what it is."""


def megabytes() -> float:
    files = list((Path(amortised.__path__[0]) / "weights").glob("*.safetensors"))
    return sum(file.stat().st_size for file in files) / len(files) / 1e6


COMPUTED: dict[str, Callable[[], float]] = {
    "architectures of scale s": lambda: SEARCH_SPACES["s"].size / 1e12,
    "architectures of scale m": lambda: SEARCH_SPACES["m"].size / 1e23,
    "architectures of scale l": lambda: SEARCH_SPACES["l"].size / 1e35,
    "devices": lambda: len(DEVICES),
    "worlds": lambda: len(load_worlds("s")),
    "megabytes of an amortised policy": megabytes,
}
"""What the package itself says."""


@pytest.mark.parametrize("name", FACTS)
def test_a_number_is_the_same_wherever_it_stands(name: str) -> None:
    said = [(place.page, numbers) for place in FACTS[name] for numbers in place.numbers()]
    for (page, one), (other_page, other) in combinations(said, 2):
        assert agree(one, other), f"{name}: {page} says {one}, {other_page} says {other}"


@pytest.mark.parametrize("name", COMPUTED)
def test_a_number_is_what_the_package_says(name: str) -> None:
    truth = [(Decimal(COMPUTED[name]()), Decimal(0))]
    for place in FACTS[name]:
        for numbers in place.numbers():
            assert agree(numbers, truth), f"{name}: {place.page} says {numbers}, it is {truth}"


def test_the_version_is_the_same_everywhere() -> None:
    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (\S+)$", citation, re.MULTILINE) == [__version__]
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == __version__


def test_the_comparison_tells_numbers_apart() -> None:
    assert agree(parse("9.1", "1e6"), parse("9,134,210"))
    assert not agree(parse("9.1"), parse("9.2"))
    assert not agree(parse("9.1", "1e6"), parse("6,985,342"))
    assert not agree(parse("5 / 28 / 114"), parse("5 / 28"))
    assert not agree(parse("nothing"), parse("nothing"))
    assert agree(parse("28", "1e-3"), parse("0.0279"))
