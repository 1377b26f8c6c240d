"""`pdenet demo`: the main job on the digits that come with the installation."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pdenet.cli.common import JsonOption, Output, new_table, number
from pdenet.cli.inspect import GRADE_STYLES, percent

EXAMPLE = "pdenet demo --out pdenet-demo"


def demo(
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder for runs, figures and report.")
    ] = "pdenet-demo",
    json: JsonOption = None,
) -> None:
    """Train freely and with the constraint, inspect both, compare."""
    output = Output("demo", json)
    from pdenet.inspection.demo import run_demo, story

    with output.progress.status("demo") as status:
        found = run_demo(out, progress=status.update)
    result = found.to_json()
    for sentence in story(found):
        output.console.print(sentence)
    _show_networks(output, result)
    _show_steps(output, found.free.to_json()["layers"], found.constrained.to_json()["layers"])
    output.console.print(f"report: {result['report']}", soft_wrap=True)
    output.finish(result)


def _show_networks(output: Output, result: dict[str, Any]) -> None:
    """One row a network: accuracy, grades, growth."""
    from rich.text import Text

    numbers = ("accuracy", "worst growth", "Lipschitz")
    table = new_table("network", *numbers, "steps", right=numbers)
    for run in result["runs"]:
        grades = Text(", ").join(
            Text(f"{count} {grade}", GRADE_STYLES.get(grade, ""))
            for grade, count in run["grades"].items()
        )
        growth, lipschitz = (run[key] for key in ("measured_growth", "lipschitz_certified"))
        row = (percent(run["test_accuracy"]), number(growth, 5), number(lipschitz, 3))
        table.add_row(Text(run["name"]), *row, grades)
    shrunk = percent(result["shrunk_test_accuracy"])
    table.add_row(Text("free, steps shrunk"), shrunk, "-", "-", Text("inside by shrinking"))
    output.console.print(table)


def _show_steps(output: Output, free: list[Any], constrained: list[Any]) -> None:
    """Both networks step by step: h over its limit, measured growth of one step, grade."""
    from rich.text import Text

    from pdenet.inspection.figures import short_name

    table = new_table(
        "step", "h/limit", "growth", "free", "h/limit", "growth", "constrained",
        right=("h/limit", "growth"),
    )  # fmt: skip
    for pair in zip(free, constrained, strict=True):
        if pair[0]["step_size"] is None:
            continue
        cells: list[Any] = [Text(short_name(pair[0]["name"]))]
        for layer in pair:
            limit = layer["nonexpansive_limit"]
            ratio = layer["step_size"] / limit if limit else None
            cells += [number(ratio, 3), number(layer["measured_growth"], 4)]
            cells.append(Text(layer["grade"], GRADE_STYLES.get(layer["grade"], "")))
        table.add_row(*cells)
    output.console.print(table)
