"""`pdenet demo`: the main job on the digits that come with the installation."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pdenet.cli.common import JsonOption, Output, facts, new_table, number
from pdenet.cli.inspect import GRADE_STYLES

EXAMPLE = "pdenet demo --out pdenet-demo"


def demo(
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder for runs, figures and report.")
    ] = "pdenet-demo",
    json: JsonOption = None,
) -> None:
    """Train freely and with the constraint, inspect both, compare."""
    output = Output("demo", json)
    from pdenet.inspection.demo import run_demo

    with output.progress.status("demo") as status:
        result = run_demo(out, progress=status.update).to_json()
    output.warn(*result.pop("warnings", []))
    _show(output, result)
    output.finish(result)


def _show(output: Output, result: dict[str, Any]) -> None:
    from rich.text import Text

    numbers = ("test accuracy", "measured growth")
    table = new_table("network", *numbers, "steps", right=numbers)
    for run in result["runs"]:
        grades = Text(", ").join(
            Text(f"{count} {grade}", GRADE_STYLES.get(grade, ""))
            for grade, count in run["grades"].items()
            if count
        )
        accuracy = run["test_accuracy"]
        table.add_row(
            Text(run["name"]),
            "-" if accuracy is None else f"{100 * accuracy:.2f} %",
            number(None if run["measured_growth"] is None else float(run["measured_growth"]), 5),
            grades,
        )
    output.console.print(table)
    rows = [("report", result["report"])]
    rows += [("figure", figure) for figure in result["figures"]]
    output.console.print(facts(rows))
