"""What a page says in tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hwgpt_gym.analytic import params_by_part
from hwgpt_gym.console import format_metric
from hwgpt_gym.devices import DEVICES
from hwgpt_gym.explorer.decisions import name_of
from hwgpt_gym.explorer.model import Explorer, Judged
from hwgpt_gym.explorer.prices import Price
from hwgpt_gym.explorer.state import State, check_device_at
from hwgpt_gym.metrics import DEVICE_METRICS, METRICS
from hwgpt_gym.search_space import Architecture

_NAMED: Final = 8
"""Decisions that are named where some differ."""


@dataclass(frozen=True)
class Table:
    """A table: the first column of its rows says what they are of.

    Attributes:
        caption: What it shows.
        head: The columns.
        rows: The cells.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_value(metric: str, value: float) -> str:
    """Write a metric with its unit."""
    unit = METRICS[metric].unit
    return f"{format_metric(metric, value)}{' ' * bool(unit)}{unit}"


def headline(state: State, label: str, best: Judged) -> str:
    """Say in a line what the optimum of a device is."""
    shape = describe(best.architecture)
    cost = write_value(state.cost, best.metrics[state.cost])
    return f"{label}: perplexity {best.metrics['perplexity']:.3f} at {cost}, {shape}"


def describe(architecture: Architecture) -> str:
    """Say in a few words what an architecture is."""
    bias = "bias" if architecture.bias else "no bias"
    return f"width {architecture.embed_dim}, {architecture.n_layer} layers, {bias}"


def price_sentences(prices: Sequence[Price]) -> list[str]:
    """Say which limits bind, and what more of each would buy."""
    if not prices:
        return ["There is no limit: this is the least perplexity of the whole space."]
    sentences = []
    for price in prices:
        name, unit = METRICS[price.metric].label, METRICS[price.metric].unit
        if not price.binds or price.needed is None:
            beside = " beside the other limits" if len(prices) > 1 else ""
            sentences.append(f"{name} does not bind{beside}: {write_value(price.metric, price.used)} are used.")
            continue
        step = f"{_amount(price.metric, price.step)} more"
        buys = f"buys {price.gain:.4f} of perplexity" if price.gain else "buys nothing"
        sentences.append(
            f"{name} binds: {step} {buys}; the next better optimum needs {_amount(price.metric, price.needed)} "
            f"and gains {price.next_gain:.4f}, {_rate(price, unit)}."
        )
    return sentences


def metrics_table(looked_at: Judged, optimum: Judged, label: str) -> Table:
    """Return the metrics of an architecture beside those of the optimum, and its regret."""
    rows = []
    for key, value in looked_at.metrics.items():
        limit = looked_at.limits.get(key)
        kept = "" if limit is None else ("✓ " if value / limit <= 1.0 else "▲ over ") + "≤ " + format_metric(key, limit)
        rows.append((METRICS[key].label, format_metric(key, value), format_metric(key, optimum.metrics[key]), kept))
    for name, own, best in (
        ("Quality", looked_at.quality, optimum.quality),
        ("Penalty", looked_at.penalty, optimum.penalty),
        ("Reward", looked_at.reward, optimum.reward),
        ("Regret", optimum.reward - looked_at.reward, 0.0),
    ):
        rows.append((name, f"{own:.6f}", f"{best:.6f}", ""))
    return Table(f"On {label}", ("", "looked at", "optimum", "limit"), tuple(rows))


def devices_table(explorer: Explorer, state: State, architecture: Architecture) -> Table:
    """Return what an architecture costs on all shipped devices, and on those of one's own that are shown."""
    rows = []
    for name in dict.fromkeys([*DEVICES, *state.devices]):
        with suppress(ValueError):
            check_device_at(explorer.devices[name], state.scale)
            metrics = explorer.bench(state.scale, name).query(architecture)
            cells = [format_metric(key, metrics[key]) if key in metrics else "–" for key in DEVICE_METRICS]
            rows.append((explorer.devices[name].label, *cells))
    return Table("On every device", ("", *(METRICS[key].label for key in DEVICE_METRICS)), tuple(rows))


def parts_table(architecture: Architecture) -> Table:
    """Return the parameters of an architecture by part of the model."""
    parts = {key: int(values[0]) for key, values in params_by_part(architecture.space, architecture.encode()).items()}
    total = sum(parts.values())
    rows = [(name, f"{count:,}", f"{100.0 * count / total:.1f} %") for name, count in parts.items()]
    return Table("Parameters by part", ("", "parameters", "share"), (*rows, ("all", f"{total:,}", "100 %")))


def compared_table(explorer: Explorer, state: State, optima: Mapping[str, Judged]) -> Table:
    """Return what the compared architectures cost and earn on every device that is shown."""
    rows: list[tuple[str, ...]] = []
    for label, architecture in state.compared:
        for name, best in optima.items():
            own = explorer.devices[name].label
            if architecture.scale != state.scale:
                rows.append((label, own, f"of scale {architecture.scale}", "", "", "", ""))
                break
            judged = explorer.judge(state, name, architecture)
            cells = [format_metric(key, judged.metrics[key]) for key in ("perplexity", state.cost)]
            regret = best.reward - judged.reward
            rows.append(
                (label, own, *cells, f"{judged.reward:.6f}", f"{regret:.6f}", "✓" if judged.feasible else "▲ over")
            )
    head = ("", "device", "Perplexity", METRICS[state.cost].label, "Reward", "Regret", "limits")
    return Table("Compared", head, tuple(rows))


def difference_table(explorer: Explorer, state: State, optima: Mapping[str, Judged]) -> Table:
    """Return the optima of several devices side by side, and what each earns on the others."""
    names = list(optima)
    rows: list[tuple[str, ...]] = []
    encoded = [optima[name].encoded[0] for name in names]
    architectures = [optima[name].architecture for name in names]
    for title, values in (
        ("Width", [item.embed_dim for item in architectures]),
        ("Layers", [item.n_layer for item in architectures]),
        ("Bias", ["yes" if item.bias else "no" for item in architectures]),
        ("MLP ratios", [" ".join(map(str, item.mlp_ratio)) for item in architectures]),
        ("Heads", [" ".join(map(str, item.n_head)) for item in architectures]),
    ):
        rows.append((title, *map(str, values)))
    differing = [i for i in range(len(encoded[0])) if len({int(row[i]) for row in encoded}) > 1]
    first = encoded[0]
    cells = [_differences([name_of(i) for i in differing if row[i] != first[i]]) for row in encoded]
    rows.append(("Differs from the first in", *cells))
    for key in ("perplexity", *(key for key in explorer.costs(state))):
        rows.append((METRICS[key].label, *(format_metric(key, optima[name].metrics[key]) for name in names)))
    for name in names:
        regrets = []
        for item in architectures:
            judged = explorer.judge(state, name, item)
            over = "" if judged.feasible else " (over a limit)"
            regrets.append(f"{optima[name].reward - judged.reward:.6f}{over}")
        rows.append((f"Regret on {explorer.devices[name].label}", *regrets))
    head = ("", *(f"optimum for {explorer.devices[name].label}" for name in names))
    return Table("Optima side by side", head, tuple(rows))


def _differences(names: list[str]) -> str:
    """Name decisions, or the first of them if they are many."""
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown or "–"


def _amount(metric: str, value: float) -> str:
    """Write a small amount of a cost in the unit that people use."""
    unit = METRICS[metric].unit
    for factor, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if not unit else ():
        if value >= factor:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}{' ' * bool(unit)}{unit}"


def _rate(price: Price, unit: str) -> str:
    per = 1e9 if price.metric == "flops" else 1e6 if price.metric == "params" else 1.0
    name = {"flops": "GFLOP", "params": "million parameters"}.get(price.metric, unit)
    return f"{price.rate * per:.4g} for each {name}"
