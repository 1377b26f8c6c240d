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

BENCHMARKS = ("spectra", "operators", "training")


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help="spectra, operators or training.")],
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, few repeats.")] = False,
    json: JsonOption = None,
) -> None:
    """Time our code beside its peers, as ratios in one run."""
    output = Output("bench", json)
    check_name("benchmark", name, BENCHMARKS)
    script = _load(name)
    with output.progress.status(f"timing {name}") as status:
        rows = script.rows(quick=quick, progress=status.update)
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
    """All rows in one table, its columns the keys of the first row."""
    names = list(rows[0]) if rows else []
    numbers = [name for name in names if rows and isinstance(rows[0][name], (int, float))]
    table = new_table(
        *(name.replace("_", " ") for name in names),
        right=[name.replace("_", " ") for name in numbers],
    )
    for row in rows:
        table.add_row(
            *(
                number(row[name], 3) if isinstance(row[name], float) else str(row[name])
                for name in names
            )
        )
    output.console.print(table)
