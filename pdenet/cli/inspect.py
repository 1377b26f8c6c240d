"""`pdenet inspect`: theory against the trained weights of a network."""

from __future__ import annotations

from pathlib import Path
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
    try_: Annotated[
        str,
        typer.Option(
            "--try",
            metavar="T",
            help="Train again with the constraint: auto (if the run took under 2 min), "
            "always, never.",
        ),
    ] = "auto",
    json: JsonOption = None,
) -> None:
    """Judge the step of every layer: norms, limits, grades, growth.

    Exit 1 only where a claim of the theory is contradicted by a measurement.
    """
    output, shape = Output("inspect", json), parse_size(size)
    from pdenet.inspection.report import inspect_run

    with output.progress.status("inspecting") as status:
        found = inspect_run(
            source, data=data, size=shape, out=out, try_prescription=try_, progress=status.update
        )
    result = found.to_json()
    output.warn(*result.pop("warnings", []))
    show_layers(output, result["layers"])
    show_network(output, result["network"])
    pairs = [layer["counter_pair"] for layer in result["layers"] if layer["counter_pair"]]
    if pairs:
        output.console.print(f"evidence: {Path(pairs[0]).parent}", soft_wrap=True)
    output.console.print(f"report: {result['report']}", soft_wrap=True)
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
        limit, step = layer["limit"], layer["step_size"]
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
        "limit: the largest step for which distances never grow (hamiltonian and second-order: "
        "no mode of frozen coefficients does), certified; growth: of distances in one step, "
        "measured worst case; certified: its bound. proved: within the limit; without one, no "
        "more growth than certified",
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
    if network["time_variation"]:
        largest = max(_real(value) or 0.0 for value in network["time_variation"].values())
        console.print(
            f"operators change by up to {number(largest, 3)} of their norm from step to step: "
            "limits of single steps say the less of their product"
        )
    offender = network["first_offending_layer"]
    if offender:
        console.print(Text.assemble("first offending layer: ", (str(offender), "bold red")))
    if network["prescription"]:
        show_prescription(output, network["prescription"])


def show_prescription(output: Output, prescription: list[dict[str, Any]]) -> None:
    """What helps, and what it did to the accuracy where it was tried."""
    from rich.text import Text

    from pdenet.inspection.prescription import HOW_TRIED, advice

    table = new_table("what helps", "value", "accuracy", "proved", right=("accuracy", "proved"))
    for line in advice(prescription):
        value = line.value if line.where == "network" else f"{line.value} in {line.where}"
        table.add_row(Text(line.action), Text(value), _accuracies(line.first), _proved(line.first))
    output.console.print(table)
    output.console.print(HOW_TRIED, style="dim")


def _accuracies(remedy: dict[str, Any]) -> str:
    """Accuracy before and after a remedy, or that it was not tried."""
    if not remedy["tried"]:
        return "not tried"
    before, after = remedy["accuracy_before"], remedy["accuracy_after"]
    shown = [percent(before), percent(after)] if before is not None else [percent(after)]
    return " -> ".join(shown)


def _proved(remedy: dict[str, Any]) -> str:
    steps = remedy["steps"]
    return "-" if steps is None else f"{remedy['proved_steps']} of {steps}"


def percent(share: float | None) -> str:
    """A share in [0, 1] for the screen.

    >>> percent(0.9944), percent(None)
    ('99.4 %', '-')
    """
    return "-" if share is None or share != share else f"{100 * share:.1f} %"


def _real(value: Any) -> float | None:
    """A number that may have been written as JSON writes it."""
    if value is None:
        return None
    return float(value)
