"""The command line: ``hwgpt-gym``.

This is the top of the package: commands call the agents and the environments, and nothing calls them. What a command
needs is imported in its function, so that help and completion stay quick.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from hwgpt_gym.cli import lookup, measure, policies, profile, search
from hwgpt_gym.cli.options import INTERRUPTED
from hwgpt_gym.console import messages
from hwgpt_gym.version import __version__

WRONG_INPUT: Final = 2
"""The exit code for wrong input."""

LONGEST_MESSAGE: Final = 600
"""Characters of a message about wrong input; some list everything that is missing."""

app = typer.Typer(
    help="Search GPT-2 architectures for real hardware, and see how far from the certified optimum you are.",
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hwgpt-gym {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    context.obj = {"debug": debug}
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for module in (lookup, search, policies, measure, profile):
    module.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: What stands behind ``hwgpt-gym`` on the command line.

    Returns:
        The exit code: 0; 1 if the command did not reach what it should; 2 for wrong input, with one line on standard
        error; 130 after Ctrl-C.
    """
    try:
        code = app(args=list(arguments), prog_name="hwgpt-gym", standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            raise
        code = _report(error)
    if code == INTERRUPTED:
        _complain("interrupted")
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command that the command line names, and exit."""
    sys.exit(run(sys.argv[1:]))


def _report(error: Exception) -> int:
    """Say in one line what is wrong with the input; what is no matter of input goes on.

    Raises:
        Exception: The error itself, if it is a defect.
    """
    # Typer has a click of its own from 0.26 on and uses the installed one before: its errors have no fixed class.
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        message, context = format_message(), getattr(error, "ctx", None)
        # Without a message it is a group without a command, whose help is on show already.
        if message:
            _complain(f"{message} (see {context.command_path if context else 'hwgpt-gym'} --help)")
        return WRONG_INPUT
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe has seen enough. Python would complain once more when it closes standard output.
        sys.stdout = None
        return 1
    if isinstance(error, OSError) and error.filename is not None:
        _complain(f"{error.strerror}: {error.filename}")
        return WRONG_INPUT
    if isinstance(error, ValueError | FileNotFoundError):
        _complain(str(error))
        return WRONG_INPUT
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("hwgpt_gym"):
        _complain(f"{error}: it belongs to an optional part of hwgpt-gym and has to be installed")
        return 1
    raise error


def _complain(message: str) -> None:
    line = textwrap.shorten(message, LONGEST_MESSAGE, placeholder=" … (--debug shows all)")
    messages.print(f"error: {line}", style="red", markup=False, soft_wrap=True)
