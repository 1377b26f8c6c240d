"""The command line `pdenet`: one file per command, and the only place that prints.

Whatever a command needs beyond the standard library, typer and rich is imported inside its
function, so that `pdenet stability --laplacian` starts without torch, matplotlib and sympy.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

from analysis.errors import InputError
from pdenet.cli.errors import sentence

EXIT_OK, EXIT_NEGATIVE, EXIT_BAD_INPUT = 0, 1, 2
EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_PIPE = 70, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; never raises for bad input.

    0 success, 1 a negative verdict, 2 bad input (one line on standard error), 130 interrupted,
    141 the reader of our output went away, 70 a defect of pdenet itself (with its traceback).

    Args:
        argv: the words after `pdenet`; those of the process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        # File names may hold bytes that are no text, and not every terminal knows Greek.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(words)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # SystemExit is how rich ends a process whose output nobody reads any more.
        _silence_stdout()
        return EXIT_PIPE
    except KeyboardInterrupt:
        _complain("pdenet: interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:
        return _fail(error)
    return status


def _run(words: list[str]) -> int:
    """Parse and run without typer's own error screens; typer's `Exit` becomes a status."""
    import typer

    from pdenet.cli.app import command

    try:
        with command().make_context("pdenet", words) as context:
            context.command.invoke(context)
    except typer.Exit as ending:
        return ending.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    return EXIT_OK


def _fail(error: Exception) -> int:
    """One line for what the user can mend, a traceback for what only we can."""
    line = sentence(error)
    if line is not None:
        _complain(f"pdenet: error: {line}")
        return EXIT_BAD_INPUT
    import traceback

    _complain("".join(traceback.format_exception(error)).rstrip())
    _complain(
        "pdenet: this is a defect of pdenet, not of your input; please report the lines above"
    )
    return EXIT_INTERNAL


def _complain(text: str) -> None:
    # Not even standard error need be there (a closed terminal): the status still tells.
    with contextlib.suppress(OSError, ValueError):
        print(text.encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True)


def _silence_stdout() -> None:
    """Point standard output to nowhere, else the interpreter complains when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


__all__ = ["InputError", "main"]
