"""`pdenet method`: the facts of a time stepper, computed from its exact table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.errors import InputError
from pdenet.cli.common import JsonOption, Output, check_figure, facts, new_table, number

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = "pdenet method rkc1:stages=12,damping=0"

MOST_TERMS = 8
"""Terms of a polynomial on a screen; the JSON document has all of them."""


def method(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A method, as in rk4 or rkc1:stages=12,damping=0."),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="All methods in one table.")] = False,
    save: Annotated[
        str | None,
        typer.Option(metavar="FIGURE", help="Draw the region of stability (.png, .pdf, .svg)."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Order, stages, stability function and intervals of a method."""
    output, figure = Output("method", json), check_figure(save)
    if list_all == (name is not None):
        got = f"both {name} and --list" if name is not None else "nothing"
        raise InputError("the name of a method or --list", got, "try pdenet method --list")
    if name is None:
        if figure is not None:
            raise InputError("the name of one method for --save", "--list", "name one method")
        result: dict[str, Any] = {"methods": list_methods()}
        _show_list(output, result["methods"])
    else:
        result = method_facts(name)
        _show(output, result)
        if figure is not None:
            _draw(name, figure)
            output.console.print(facts([("figure", figure)]))
    output.finish(result)


def method_facts(name: str) -> dict[str, Any]:
    """What the contract says of one method: the keys of the JSON document."""
    from analysis import stability
    from analysis.contractivity import circle_contractivity_radius
    from analysis.methods import tableau

    table = tableau(name)
    function = stability.stability_function(table)
    return {
        "name": table.name,
        "order": table.order,
        "stages": table.stages,
        "real_interval": stability.real_stability_interval(function),
        "imaginary_interval": stability.imaginary_stability_interval(function),
        "circle_contractivity": circle_contractivity_radius(table),
        "stability_function": {
            "numerator": [str(value) for value in function.numerator],
            "denominator": [str(value) for value in function.denominator],
        },
    }


def list_methods() -> list[dict[str, Any]]:
    """Facts of all methods with their descriptions, in the order of the table."""
    from analysis.methods import METHODS

    return [method_facts(name) | {"description": text} for name, text in METHODS.items()]


def _draw(name: str, figure: Path) -> None:
    from analysis.methods import tableau
    from analysis.plots import figure_bytes, plot_stability_region
    from analysis.stability import stability_function
    from pdenet.files import write_atomic

    function = stability_function(tableau(name))
    picture = figure_bytes(
        lambda ax: plot_stability_region(function, ax, title=name), figure.suffix[1:].lower()
    )
    write_atomic(figure, picture)


def _show_list(output: Output, methods: list[dict[str, Any]]) -> None:
    from rich.text import Text

    numbers = ("order", "stages", "real", "imaginary", "circle")
    table = new_table("method", *numbers, right=numbers)
    for item in methods:
        table.add_row(
            Text.assemble((item["name"], "bold"), "\n", (item["description"], "dim")),
            number(item["order"]),
            number(item["stages"]),
            number(item["real_interval"], 5),
            number(item["imaginary_interval"], 5),
            number(item["circle_contractivity"], 4),
        )
    output.console.print(table)
    output.console.print(
        "real, imaginary: stable for h |lambda| up to this on the axis; circle: radius of "
        "circle contractivity, non-expansive for h ||A|| up to twice this",
        style="dim",
    )


def _show(output: Output, result: dict[str, Any]) -> None:
    function = result["stability_function"]
    output.console.print(
        facts(
            [
                ("method", result["name"]),
                ("order", result["order"]),
                ("stages", result["stages"]),
                ("real interval", f"{number(result['real_interval'])} (stable on [-this, 0])"),
                ("imaginary interval", number(result["imaginary_interval"])),
                ("circle contractivity", number(result["circle_contractivity"])),
                ("R(z) numerator", _polynomial(function["numerator"])),
                ("R(z) denominator", _polynomial(function["denominator"])),
            ]
        )
    )


def _polynomial(coefficients: list[str]) -> str:
    """A polynomial in z from its coefficients in ascending powers; of a long one the ends.

    >>> _polynomial(["1", "1", "-1/2"])
    '1 + z - 1/2 z^2'
    """
    terms = []
    for power, coefficient in enumerate(coefficients):
        if coefficient == "0":
            continue
        sign, size = ("-", coefficient[1:]) if coefficient[0] == "-" else ("+", coefficient)
        variable = "" if power == 0 else "z" if power == 1 else f"z^{power}"
        factor = "" if size == "1" and variable else size
        terms.append(f"{sign} {factor}{' ' if factor and variable else ''}{variable}")
    if len(terms) > MOST_TERMS:
        terms = [*terms[:4], "+ ...", terms[-1]]
    return (" ".join(terms) or "0").removeprefix("+ ")
