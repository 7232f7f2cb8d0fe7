"""The commands that look things up: devices, spaces, architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgpt_gym.checks import check_integer
from hwgpt_gym.cli.completion import complete_devices
from hwgpt_gym.cli.options import (
    MOST_SAMPLES,
    Device,
    DeviceScale,
    Json,
    Name,
    Scale,
    Seed,
    make_benchmark,
    refuse_options,
)
from hwgpt_gym.console import floats, format_metric, make_table, output, print_json
from hwgpt_gym.devices import DEVICES, memory_conditions
from hwgpt_gym.metrics import METRICS
from hwgpt_gym.onboarding.devices import get_device, registered_devices
from hwgpt_gym.search_space import SEARCH_SPACES, Architecture, get_search_space

if TYPE_CHECKING:
    from hwgpt_gym.benchmark import Benchmark

SeveralDevices = Annotated[
    str,
    typer.Option("--device", "-d", help="A device, or all.", autocompletion=complete_devices, metavar="NAME"),
]


def devices(scale: Scale = "s", as_json: Json = False) -> None:
    """List the devices, how each was profiled, and how its costs spread.

    Example: hwgpt-gym devices --scale m
    """
    from hwgpt_gym.benchmark import Benchmark

    bench = Benchmark(scale, "all")
    latency, energy = (bench.quantile(metric, 0.5) for metric in ("latency_ms", "energy_j"))
    rows = []
    for i, device in enumerate(DEVICES.values()):
        conditions = {metric: device.conditions(metric, scale) for metric in ("latency_ms", "energy_j")}
        rows.append(
            {
                "device": device.name,
                "label": device.label,
                "kind": device.kind,
                "precision": device.precision,
                "median_latency_ms": float(latency[i]),
                "median_energy_j": float(energy[i]),
                "latency_conditions": str(conditions["latency_ms"]),
                "energy_conditions": str(conditions["energy_j"]),
                "batch": "/".join(str(item.batch_size) for item in conditions.values()),
            }
        )
    if as_json:
        print_json([{key: value for key, value in row.items() if key != "batch"} for row in rows])
        return
    columns = ("device", "name", "kind", "precision", "batch", "median latency (ms)", "median energy (J)")
    cells = [
        (
            *(str(row[key]) for key in ("device", "label", "kind", "precision", "batch")),
            format_metric("latency_ms", float(latency[i])),
            format_metric("energy_j", float(energy[i])),
        )
        for i, row in enumerate(rows)
    ]
    output.print(make_table(f"Devices at scale {scale} (batch: latency/energy)", columns, cells, right=(4, 5, 6)))
    own = [get_device(name) for name in registered_devices()]
    if own:
        titles = ("device", "name", "kind", "scales")
        mine = [(item.name, item.label, item.kind, ", ".join(getattr(item, "metrics", ()))) for item in own]
        output.print()
        output.print(make_table("Your own", titles, mine))


def space(
    context: typer.Context,
    scale: Annotated[str | None, typer.Option("--scale", "-s", help="Show the metrics of this space too.")] = None,
    device: Device = "a6000",
    as_json: Json = False,
) -> None:
    """Show the search spaces; with --scale also how every metric spreads over one.

    Example: hwgpt-gym space --scale s --device h100
    """
    if scale is None:
        refuse_options(context, ("device",), "with --scale")
    chosen = [get_search_space(scale)] if scale is not None else list(SEARCH_SPACES.values())
    rows: list[dict[str, Any]] = [
        {
            "scale": item.scale,
            "architectures": item.size,
            "decisions": item.num_decisions,
            "embed_dim": list(item.embed_dims),
            "n_layer": list(item.depths),
            "n_head": list(item.head_counts),
            "mlp_ratio": list(item.mlp_ratios),
            "bias": list(item.biases),
        }
        for item in chosen
    ]
    spread = _spread(scale, device) if scale is not None else {}
    if as_json:
        print_json({**rows[0], "device": device, "metrics": spread} if spread else rows)
        return
    cells = [
        (
            row["scale"],
            f"{row['architectures']:.2e}",
            str(row["decisions"]),
            *("/".join(map(str, row[key])) for key in ("embed_dim", "n_layer", "n_head", "mlp_ratio")),
            "no/yes",
        )
        for row in rows
    ]
    columns = ("scale", "architectures", "decisions", "embed_dim", "n_layer", "n_head", "mlp_ratio", "bias")
    output.print(make_table("Search spaces", columns, cells, right=(1, 2)))
    if spread:
        levels = list(next(iter(spread.values())))
        cells = [
            (METRICS[key].label, *(format_metric(key, row[level]) for level in levels)) for key, row in spread.items()
        ]
        output.print()
        title = f"Metrics over the space on {get_device(device).label}"
        output.print(make_table(title, ("metric", *levels), cells, right=range(1, len(levels) + 1)))


def _spread(scale: str, device: str) -> dict[str, dict[str, float]]:
    """Return the extremes and a few quantiles of every metric."""
    bench = make_benchmark(scale, device)
    spread = {}
    for key in bench.metrics:
        least, greatest = bench.extremes(key)
        middle = {f"p{level}": bench.quantile(key, level / 100.0) for level in (10, 50, 90)}
        spread[key] = floats({"least": least, **middle, "greatest": greatest})
    return spread


def query(
    context: typer.Context,
    name: Name,
    device: SeveralDevices = "a6000",
    measure: Annotated[
        bool, typer.Option("--measure", help="Draw what one measurement would show, with the device's noise.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Predict every metric of an architecture.

    Example: hwgpt-gym query gpt-s-10-192-2-2-2-2-2-2-2-2-2-2-4-4-4-4-4-4-4-4-4-4-True --device h100
    """
    import numpy as np

    from hwgpt_gym.benchmark import Benchmark

    if not measure:
        refuse_options(context, ("seed",), "with --measure")
    architecture = Architecture.from_string(name)
    bench = Benchmark(architecture.scale, device)
    encoded = architecture.encode()
    check_integer("--seed", seed, 0)
    arrays = bench.measure(encoded, np.random.default_rng(seed)) if measure else bench.evaluate(encoded)
    names = [item.name for item in bench.devices]
    values: dict[str, Any] = {
        key: dict(zip(names, array[0].tolist(), strict=True)) if array.ndim == 2 else float(array[0])
        for key, array in arrays.items()
    }
    if as_json:
        print_json({"architecture": str(architecture), "device": names if len(names) > 1 else names[0], **values})
        return
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += [
                (
                    f"{METRICS[key].label}, {bench.on(item).devices[0].label}",
                    format_metric(key, number),
                    _conditions(bench, key, item),
                )
                for item, number in value.items()
            ]
        else:
            rows.append((METRICS[key].label, format_metric(key, value), _conditions(bench, key, names[0])))
    output.print(str(architecture), style="bold", soft_wrap=True)
    title = ("A measurement on " if measure else "Prediction for ") + (
        "all devices" if len(names) > 1 else bench.devices[0].label
    )
    output.print(make_table(title, ("metric", "value", "profiled with"), rows, right=(1,)))


def _conditions(bench: Benchmark, key: str, device: str) -> str:
    if METRICS[key].per_device:
        return str(bench.on(device).devices[0].conditions(key, bench.scale))
    if key.endswith("_memory_mb"):
        return str(memory_conditions(key, bench.scale))
    return "closed form" if key in ("params", "flops") else ""


def sample(
    context: typer.Context,
    number: Annotated[int, typer.Option("--number", "-n", help="How many architectures.")] = 5,
    scale: DeviceScale = None,
    device: Device = "a6000",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw random architectures: their names, one a line; with --json their metrics as well.

    Example: hwgpt-gym sample --number 3 --scale l --seed 1
    """
    import numpy as np

    check_integer("--number", number, 1, MOST_SAMPLES)
    check_integer("--seed", seed, 0)
    if not as_json:
        refuse_options(context, ("device",), "with --json")
    bench = make_benchmark(scale, device)
    encoded = bench.space.sample(np.random.default_rng(seed), number)
    architectures = bench.space.decode(encoded)
    if not as_json:
        for architecture in architectures:
            typer.echo(str(architecture))
        return
    metrics = bench.evaluate(encoded)
    print_json(
        [
            {"architecture": str(architecture), **floats({key: values[i] for key, values in metrics.items()})}
            for i, architecture in enumerate(architectures)
        ]
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (devices, space, query, sample):
        app.command(rich_help_panel="Look up")(command)
