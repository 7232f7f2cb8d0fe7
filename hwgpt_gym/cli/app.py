"""The command line: ``hwgpt-gym``.

This is the top of the package: commands call the agents and the environments, and nothing calls them. What a command
needs is imported in its function, so that help and completion stay quick.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final

import typer

from hwgpt_gym.checks import echo
from hwgpt_gym.cli import (
    amortised,
    demo,
    explore,
    leaderboards,
    lookup,
    measure,
    offline,
    optimum,
    policies,
    profile,
    recommend,
    search,
    table,
)
from hwgpt_gym.cli.options import INTERRUPTED
from hwgpt_gym.console import messages
from hwgpt_gym.version import __version__

FAILED: Final = 1
"""The exit code where the command did not reach what it should, or the machine failed it."""

WRONG_INPUT: Final = 2
"""The exit code for wrong input."""

TERMINATED: Final = 143
"""The exit code after SIGTERM, which is the shells' own."""

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


MODULES = (
    lookup,
    table,
    optimum,
    explore,
    search,
    demo,
    policies,
    recommend,
    amortised,
    leaderboards,
    measure,
    offline,
    profile,
)
for module in MODULES:
    module.register(app)


_terminated = threading.Event()
"""Whether SIGTERM came: an end like that of Ctrl-C, with another exit code."""


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: What stands behind ``hwgpt-gym`` on the command line.

    Returns:
        The exit code: 0; 1 if the command did not reach what it should, or the machine failed it (a full disk, a
        missing library, too little memory, a closed pipe); 2 for wrong input; 130 after Ctrl-C, 143 after SIGTERM. All
        but 0 and closed pipes say why in one line on standard error.
    """
    try:
        code = app(args=list(arguments), prog_name="hwgpt-gym", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            raise
        code = _report(error)
    if code == INTERRUPTED:
        code = TERMINATED if _terminated.is_set() else INTERRUPTED
        _complain("terminated" if _terminated.is_set() else "interrupted")
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command that the command line names, and exit."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot show is shown as a question mark: names and units are no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


def _terminate(*_: object) -> None:
    """Do what Ctrl-C would do at this moment, which a command may have changed."""
    _terminated.set()
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # A shell may ignore Ctrl-C for what runs in the background.
        raise KeyboardInterrupt
    handler(signal.SIGINT, None)


def _report(error: Exception) -> int:
    """Say in one line what is wrong with the input or the machine; what is neither goes on.

    Raises:
        Exception: The error itself, if it is a defect.
    """
    # Typer has a click of its own from 0.26 on and uses the installed one before: its errors have no fixed class.
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        from pydantic import ValidationError

        message, context = format_message(), getattr(error, "ctx", None)
        # Without a message it is a group without a command, whose help is on show already.
        # Newer versions of Typer let Pydantic convert numbers, whose message lacks what was given.
        if isinstance(error.__cause__, ValidationError):
            message += f", got {echo(error.__cause__.errors()[0]['input'])}"
        if message:
            _complain(f"{message} (see {context.command_path if context else 'hwgpt-gym'} --help)")
        return WRONG_INPUT
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe has seen enough. Python would complain once more when it closes standard output.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, OSError) and (error.filename is not None or error.errno is not None):
        _complain(f"{error.strerror}: {error.filename}" if error.filename is not None else error.strerror or str(error))
        return WRONG_INPUT if error.errno in _WRONG_PATHS else FAILED
    if isinstance(error, MemoryError):
        _complain(f"there is not enough memory: {error}" if str(error) else "there is not enough memory")
        return FAILED
    if isinstance(error, ValueError | FileNotFoundError):
        _complain(str(error))
        return WRONG_INPUT
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("hwgpt_gym"):
        hint = "" if "pip install" in str(error) else ": it belongs to an optional part of hwgpt-gym"
        _complain(f"{error}{hint}")
        return FAILED
    raise error


_WRONG_PATHS: Final = (
    errno.ENOENT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
)
"""What is wrong with a path that somebody gave; every other error is the machine's."""


def _complain(message: str) -> None:
    line = textwrap.shorten(message, LONGEST_MESSAGE, placeholder=" … (--debug shows all)")
    messages.print(f"error: {line}", style="red", markup=False, soft_wrap=True)
