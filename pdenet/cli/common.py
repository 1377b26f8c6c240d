"""What all commands share: the JSON envelope, screens of 80 columns, and checks of arguments."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.errors import InputError, unknown_name
from pdenet import __version__
from pdenet.files import jsonable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SCHEMA = 1
"""Version of the JSON contract; it rises when a key changes its meaning or goes away."""

FIGURE_SUFFIXES = (".png", ".pdf", ".svg")
WIDTH = 80

JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write the result as JSON; - is stdout."),
]


class Output:
    """Where a command writes: tables, progress, warnings and the JSON document.

    Tables go to standard output, or to standard error where `--json -` needs it; progress and
    warnings always go to standard error.

    Args:
        command: name of the command, the value of the key `command`.
        target: argument of `--json`: None, a file, or `-`.

    Raises:
        InputError: where the file could not be written, before any work is done.
    """

    def __init__(self, command: str, target: str | None) -> None:
        self.command, self.target = command, target
        self.warnings: list[str] = []
        if target is not None and target != "-":
            check_writable(target, "--json")

    @property
    def console(self) -> Console:
        """For tables."""
        return _console(stderr=self.target == "-")

    @property
    def progress(self) -> Console:
        """For progress."""
        return _console(stderr=True)

    def warn(self, *warnings: str) -> None:
        """Keep warnings for the JSON and show each once."""
        for warning in warnings:
            if warning not in self.warnings:
                self.warnings.append(warning)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Show the warnings and write the JSON document with its envelope."""
        from rich.text import Text

        for warning in self.warnings:
            self.progress.print(Text("warning: ", "yellow") + Text(warning, "default"))
        if self.target is None:
            return
        envelope = {"schema": SCHEMA, "version": __version__, "command": self.command}
        document = envelope | dict(result) | {"warnings": self.warnings}
        # A terminal or pipe may have any encoding; ASCII survives all of them.
        ascii_only = self.target == "-"
        text = json.dumps(jsonable(document), indent=2, ensure_ascii=ascii_only, allow_nan=False)
        text += "\n"
        if self.target == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            from pdenet.files import write_atomic

            write_atomic(Path(self.target), text)


def _console(stderr: bool) -> Console:
    """A console for people: as wide as the terminal, 80 columns where there is none."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    wide = stream.isatty() or columns.isdigit()
    return Console(file=stream, width=None if wide else WIDTH, highlight=False, soft_wrap=False)


def new_table(*columns: str, right: Iterable[str] = (), title: str | None = None) -> Table:
    """An open table; the columns named in `right` hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        pad_edge=False,
        collapse_padding=True,
        show_edge=False,
    )
    numbers = set(right)
    for name in columns:
        side = "right" if name in numbers else "left"
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    return table


def facts(rows: Iterable[tuple[str, Any]]) -> Table:
    """Names and values in two columns; rows without a value are left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return table


def number(value: float | None, digits: int = 6) -> str:
    """A number for a screen: `digits` significant digits, a dash for none.

    >>> number(0.1234567891), number(float("inf")), number(None), number(502570, 4)
    ('0.123457', 'inf', '-', '502570')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.{digits}g}"


def complex_number(value: complex | None) -> str:
    """A complex number for a screen.

    >>> complex_number(-2 + 0j), complex_number(0.5 - 1j)
    ('-2', '0.5 - 1i')
    """
    if value is None:
        return "-"
    if value.imag == 0:
        return number(value.real)
    sign = "+" if value.imag > 0 else "-"
    return f"{number(value.real)} {sign} {number(abs(value.imag))}i"


def check_writable(path: str, option: str) -> Path:
    """The path of a file to be written, refused where it cannot be (folders are made)."""
    remedy = f"pass another file to {option}"
    try:
        file = Path(path)
        if not path or "\0" in path or file.is_dir():
            raise InputError(f"a file for {option}", f"'{path}'" if path else "nothing", remedy)
        place = file if file.exists() else file.absolute().parent
        while not place.exists():
            place = place.parent
        if (place.is_file() and place != file) or not os.access(place, os.W_OK):
            raise InputError(f"a file that may be written for {option}", path, remedy)
    except OSError as error:  # a name too long for the file system
        raise InputError(f"a file for {option}", error.strerror, remedy) from None
    return file


def check_figure(path: str | None) -> Path | None:
    """The path of a figure to be written, None for none."""
    if path is None:
        return None
    file = check_writable(path, "--save")
    if file.suffix.lower() not in FIGURE_SUFFIXES:
        kinds = ", ".join(FIGURE_SUFFIXES)
        raise InputError(f"a figure that ends in {kinds}", f"'{path}'", "pass --save figure.png")
    return file


def positive(option: str, value: float | None) -> float | None:
    """The value of an option that must be a finite number above zero, or None."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise InputError(f"a positive number for {option}", value, f"pass {option} 1")
    return value


def finite(option: str, value: float) -> float:
    """The value of an option that must be a finite number."""
    if not math.isfinite(value):
        raise InputError(f"a finite number for {option}", value, f"pass {option} 0")
    return value


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Height and width from `HxW`.

    >>> parse_size("32x48")
    (32, 48)
    """
    if text is None:
        return None
    height, cross, width = text.lower().partition("x")
    width = width if cross else height
    if not (_is_whole(height) and _is_whole(width)) or 0 in (int(height), int(width)):
        raise InputError("HxW for --size, two whole numbers above 0", f"'{text}'", "as in 32x32")
    return int(height), int(width)


def parse_extent(text: str | None) -> tuple[int, ...] | None:
    """Pixels of every axis from `N`, `HxW` or `DxHxW`; one number is meant for all axes.

    >>> parse_extent("32"), parse_extent("8x16x16")
    ((32,), (8, 16, 16))
    """
    if text is None:
        return None
    words = text.lower().split("x")
    if len(words) > 3 or not all(_is_whole(word) and int(word) for word in words):
        expected = "N, HxW or DxHxW for --size, whole numbers above 0"
        raise InputError(expected, f"'{text}'", "as in 32x32")
    return tuple(int(word) for word in words)


def _is_whole(text: str) -> bool:
    # str.isdigit accepts digits that int does not; nine digits are beyond any image.
    return text.isascii() and text.isdigit() and len(text) < 10


def parse_assignments(option: str, words: Sequence[str] | None) -> dict[str, int]:
    """Whole numbers above zero by name, from words `NAME=NUMBER`.

    >>> parse_assignments("--groups", ["features.0.weight=4"])
    {'features.0.weight': 4}
    """
    values: dict[str, int] = {}
    for word in words or ():
        name, _, value = word.rpartition("=")
        if not name or not _is_whole(value) or int(value) == 0:
            raise InputError(
                f"NAME=NUMBER for {option}", f"'{word}'", f"as in {option} conv1.weight=2"
            )
        values[name] = int(value)
    return values


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The name, refused where it is not known."""
    names = list(known)
    if name not in names:
        raise unknown_name(kind, name, names)
    return name
