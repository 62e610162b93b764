"""The command `myriad`."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from itertools import takewhile

import typer

from deploy.cli.app import app
from deploy.cli.output import FAILURES, Output

FAILED, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, 1 when it failed, 2 when it was misused, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _print_in_any_encoding()
    try:
        return int(app(words, prog_name="myriad", standalone_mode=False) or 0)
    except typer.TyperException as error:
        code, message = error.exit_code, _with_hint(error)
    except FAILURES as error:
        code, message = FAILED, str(error)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    # Read from the words, because these may be what could not be parsed.
    Output("--json" in takewhile(lambda word: word != "--", words)).error(message)
    return code


def _print_in_any_encoding() -> None:
    """Not every terminal has all letters: one without some of them shows question marks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _with_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see `{context.command_path} --help`)" if context else ""
    return error.format_message() + hint
