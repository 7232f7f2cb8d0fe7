"""The command that opens the explorer: the design space as a page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwgpt_gym.checks import check_extra, check_integer
from hwgpt_gym.cli.completion import complete_device
from hwgpt_gym.cli.options import DeviceScale, refuse_options
from hwgpt_gym.console import output


def explore(
    context: typer.Context,
    device: Annotated[
        list[str],
        typer.Option(
            "--device",
            "-d",
            help="A device that is shown at first, or the path of its profile; may be repeated.",
            autocompletion=complete_device,
            metavar="NAME",
        ),
    ] = ["a6000"],  # noqa: B006  # Typer copies it.
    scale: DeviceScale = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            help="A run folder, a result (such as a leaderboard's cell) or a text file of architectures to compare; "
            "may be repeated.",
            metavar="PATH",
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", help="The port; 0 for any that is free.")] = 8050,
    address: Annotated[
        str, typer.Option("--address", help="The address to listen at; by default this machine alone can reach it.")
    ] = "127.0.0.1",
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the fronts as a page without a server to this new folder, and end."),
    ] = None,
) -> None:
    """Explore the whole design space in a page: fronts, limits, decisions, live in the browser.

    Example: hwgpt-gym explore --device a6000 --device h100
    """
    check_extra("dash", "explore")
    from hwgpt_gym.explorer.compare import read_path
    from hwgpt_gym.explorer.model import Explorer

    check_integer("--port", port, 0, 65_535)
    if export is not None:
        refuse_options(context, ("port", "address", "compare"), "without --export")
    explorer = Explorer(device, scale, [item for path in compare or () for item in read_path(path)])
    if export is not None:
        from hwgpt_gym.explorer.static import write_page

        output.print(f"Page: {write_page(explorer, export)}", soft_wrap=True)
        return
    from hwgpt_gym.explorer.server import serving

    with serving(explorer, address, port) as server:
        host = f"[{address}]" if ":" in address else address
        output.print(f"The explorer is at http://{host}:{server.port}/ (Ctrl-C ends it)", soft_wrap=True)
        server.serve_forever()


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Look up")(explore)
