"""`pdenet inspect`: theory against the trained weights of a network."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pdenet.cli.common import JsonOption, Output, new_table, number, parse_size

EXAMPLE = "pdenet inspect runs/lean --data digits --out reports/lean"

GRADE_STYLES = {
    "proved": "bold green",
    "measured": "yellow",
    "violated": "bold red",
    "not-applicable": "dim",
}
"""Colours of the grades; the words carry the meaning, the colours only help."""


def inspect(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A run folder or its .safetensors file.")
    ],
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Images to measure on (of the training).")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Image size (of the training).")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for the report and its figures.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Judge the step of every layer: norms, limits, grades, growth.

    Exit 1 only where a claim of the theory is contradicted by a measurement.
    """
    output, shape = Output("inspect", json), parse_size(size)
    from pdenet.inspection.report import inspect_run

    with output.progress.status("inspecting") as status:
        found = inspect_run(source, data=data, size=shape, out=out, progress=status.update)
    result = found.to_json()
    output.warn(*result.pop("warnings", []))
    show_layers(output, result["layers"])
    show_network(output, result["network"])
    output.finish(result)
    if found.contradicted:
        raise typer.Exit(1)


def show_layers(output: Output, layers: list[dict[str, Any]]) -> None:
    """The verdict table: one row a layer, within 80 columns."""
    from rich.text import Text

    from pdenet.inspection.figures import short_name

    numbers = ("h", "limit", "growth", "certified")
    table = new_table("layer", "coupling", *numbers, "grade", right=numbers)
    for layer in layers:
        grade = layer["grade"]
        limit, step = layer["nonexpansive_limit"], layer["step_size"]
        table.add_row(
            Text(short_name(layer["name"])),
            layer["coupling"] or layer["kind"],
            number(_real(step), 4),
            number(_real(limit), 4),
            number(_real(layer["measured_growth"]), 5),
            number(_real(layer["growth_certified"]), 5),
            Text(grade, GRADE_STYLES.get(grade, "")),
        )
    output.console.print(table)
    output.console.print(
        "limit: certified non-expansive step; growth: measured worst case of one step; certified: "
        "its bound",
        style="dim",
    )


def show_network(output: Output, network: dict[str, Any]) -> None:
    """The network as a whole: its Lipschitz constant, the first offender and what helps."""
    from rich.text import Text

    console = output.console
    console.print(
        f"network: measured growth {number(_real(network['measured_growth']))}, "
        f"certified Lipschitz constant {number(_real(network['lipschitz_certified']))}"
    )
    offender = network["first_offending_layer"]
    if offender:
        console.print(Text.assemble("first offending layer: ", (str(offender), "bold red")))
    for advice in network["prescription"]:
        growth = number(_real(advice["predicted_growth"]))
        words = [f"prescription for {advice['layer']}:", advice["action"], _plain(advice["value"])]
        text = " ".join(word for word in words if word)
        console.print(Text(f"{text} (predicted growth {growth})"))


def _real(value: Any) -> float | None:
    """A number that may have been written as JSON writes it."""
    if value is None:
        return None
    return float(value)


def _plain(value: Any) -> str:
    return number(value) if isinstance(value, float) else "" if value is None else str(value)
