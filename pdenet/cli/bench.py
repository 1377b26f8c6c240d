"""`pdenet bench`: the scripts of benchmarks/, each beside its peers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import pdenet
from analysis.errors import InputError
from pdenet.cli.common import JsonOption, Output, check_name, new_table, number

EXAMPLE = "pdenet bench operators --quick --json rows.json"

BENCHMARKS = ("spectra", "stability", "operators", "training", "conversion")

_TITLE = "section"
_APART = (_TITLE, "threads", "device")
"""Keys whose values have tables of their own."""


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(BENCHMARKS)}.")],
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, few repeats.")] = False,
    json: JsonOption = None,
) -> None:
    """Time our code beside its peers, as ratios in one run."""
    output = Output("bench", json)
    check_name("benchmark", name, BENCHMARKS)
    script = _load(name)
    with output.progress.status(f"timing {name}") as status:
        rows = script.rows(quick=quick, progress=status.update)
    output.console.print(script.__doc__.strip(), style="dim", markup=False, highlight=False)
    _show(output, rows)
    output.finish({"rows": rows})


def _load(name: str) -> Any:
    """The script as a module; the wheel does not carry it."""
    file = Path(pdenet.__file__).resolve().parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"pdenet_benchmark_{name}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise InputError(
            "the folder benchmarks beside the packages", "none", "run it in a clone of PDENet"
        )
    module = importlib.util.module_from_spec(spec)
    # The scripts read what they share from their own folder, as when they are run themselves.
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return module


def _show(output: Output, rows: list[dict[str, Any]]) -> None:
    """One table a section, threads and device; what does not vary in it stands above it."""
    tables: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        tables.setdefault(tuple(row.get(name) for name in _APART), []).append(row)
    for (section, *_), some in tables.items():
        names = [name for name in dict.fromkeys(n for row in some for n in row) if name != _TITLE]
        values = {name: [row.get(name) for row in some] for name in names}
        same = [
            n for n in names if section and len(some) > 1 and len(set(map(_text, values[n]))) == 1
        ]
        if section:
            shared = ", ".join(f"{_words(name)} {_text(values[name][0])}" for name in same)
            output.console.print(f"\n{section}", style="bold", markup=False)
            output.console.print(shared, style="dim", markup=False)
        _print_table(output, {name: values[name] for name in names if name not in same})


def _print_table(output: Output, columns: dict[str, list[Any]]) -> None:
    numbers = [n for n, values in columns.items() if isinstance(values[0], (int, float))]
    table = new_table(*map(_words, columns), right=map(_words, numbers))
    for values in zip(*columns.values(), strict=True):
        table.add_row(*map(_text, values))
    output.console.print(table)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    return number(value, 3) if value is None or isinstance(value, float) else str(value)
