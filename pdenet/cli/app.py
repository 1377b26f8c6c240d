"""The tree of commands."""

from __future__ import annotations

import functools
from collections.abc import Callable
from inspect import getdoc as inspect_docstring
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from analysis.errors import unknown_name
from pdenet import __version__
from pdenet.cli import bench, compare, convert, demo, inspect, method, spectrum, stability, train

COMMANDS = (
    (demo.demo, demo.EXAMPLE),
    (train.train, train.EXAMPLE),
    (inspect.inspect, inspect.EXAMPLE),
    (spectrum.spectrum, spectrum.EXAMPLE),
    (stability.stability, stability.EXAMPLE),
    (method.method, method.EXAMPLE),
    (compare.compare, compare.EXAMPLE),
    (convert.convert, convert.EXAMPLE),
    (bench.bench, bench.EXAMPLE),
)


class Commands(TyperGroup):
    """The commands in the order of a day's work; an unknown one names its nearest neighbour."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names, else InputError."""
        if not args or args[0] not in self.commands:
            raise unknown_name("command", args[0] if args else "", self.commands)
        return super().resolve_command(ctx, args)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


def _paragraphs(function: Callable[..., None]) -> str:
    """The docstring of a command, its lines joined: the terminal breaks them where it must."""
    text = inspect_docstring(function) or ""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


@functools.cache
def command() -> Any:
    """The command `pdenet` with all that hang on it."""
    app = typer.Typer(
        cls=Commands,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        epilog="Example: pdenet stability --method rk4 --laplacian 64",
    )

    @app.callback()
    def pdenet(
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=_print_version, is_eager=True, help="Print the version."
            ),
        ] = False,
    ) -> None:
        """Neural networks read as partial differential equations: is my step size safe?

        Exit status: 0 success, 1 a negative verdict, 2 bad input.
        """

    for function, example in COMMANDS:
        app.command(epilog=f"Example: {example}", help=_paragraphs(function))(function)
    return typer.main.get_command(app)
