"""`pdenet method`: the facts of a time stepper, computed from its exact table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.errors import InputError
from analysis.exact import parse_number
from pdenet.cli.common import JsonOption, Output, check_figure, facts, new_table, number
from pdenet.cli.method_figures import check_plot, method_picture

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = "pdenet method rkc1:stages=12,damping=0"

LARGEST_TABLE = 30
"""Stages up to which facts are drawn from the exact table of a stabilised method."""
MOST_TERMS = 8
"""Terms of a polynomial on a screen; the JSON document has all of them."""
LONGEST_NUMBER = 24
"""Characters of a coefficient on a screen; longer ones are rounded there."""


def method(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Methods, as rk4 or rkc1:stages=12,damping=0."),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="All methods in one table.")] = False,
    save: Annotated[
        str | None,
        typer.Option(metavar="FIGURE", help="Draw the region of stability (.png, .pdf, .svg)."),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(metavar="P", help="With --save: region, star, imex or stages (by kind)."),
    ] = None,
    per_stage: Annotated[
        bool, typer.Option("--per-stage", help="With --save: divide by the work of a step.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Order, stages, stability function and intervals of a method, or a table of several.

    The JSON document holds the facts of one method, of several a list of them under "methods".
    --save draws the region of one method or the edges of several; --plot star its order star,
    imex the explicit eigenvalues that are stable for every implicit one, stages the limits of
    stabilised families over the number of stages.
    """
    output, figure, named = Output("method", json), check_figure(save), names or []
    if list_all == bool(named):
        got = f"both {' '.join(named)} and --list" if named else "nothing"
        raise InputError("the name of a method or --list", got, "try pdenet method --list")
    check_plot(plot, per_stage, named, figure is not None)
    if list_all and figure is not None:
        raise InputError("the name of one method for --save", "--list", "name one method")
    picture = None
    if figure is not None:  # what cannot be drawn is refused before anything is shown
        picture = method_picture(named, figure.suffix[1:].lower(), plot=plot, per_stage=per_stage)
    result: dict[str, Any]
    if len(named) == 1:
        result = method_facts(named[0])
        _show(output, result)
    else:
        result = {"methods": [_described(name) for name in named] if named else list_methods()}
        _show_list(output, result["methods"])
    if figure is not None and picture is not None:
        _write(figure, picture)
        output.console.print(facts([("figure", figure)]))
    output.finish(result)


def method_facts(name: str, *, limits: bool = True) -> dict[str, Any]:
    """What the contract says of one method: the keys of the JSON document.

    Inapplicable facts are None: a method with an explicit and an implicit part has no interval of
    one eigenvalue but limits over the half-line of the implicit one (left out where `limits` is
    False, since they take seconds).
    """
    from analysis import methods
    from analysis.contractivity import ssp_coefficient
    from analysis.multistep import MultistepMethod
    from analysis.stability_of import Paired, imex_limits, stability_of
    from analysis.tableau import ButcherTableau

    found = methods.method(name)
    function = stability_of(found)
    table = _small_table(found)
    intervals: tuple[Any, Any, Any, Any] = (None, None, None, None)
    over_half_line = None
    if isinstance(function, Paired):
        if limits:
            bounds = imex_limits(found)
            over_half_line = {"real": bounds.real, "imaginary": bounds.imaginary}
    else:
        intervals = (
            function.real_interval,
            function.imaginary_interval,
            function.a_stable,
            function.at_infinity,
        )
    ssp = table if table is not None else found
    return {
        "name": found.name,
        "kind": methods.kind(found),
        "order": found.order,
        "stages": _stages(found),
        "real_interval": intervals[0],
        "imaginary_interval": intervals[1],
        "circle_contractivity": _circle(table),
        "a_stable": intervals[2],
        "at_infinity": intervals[3],
        "angle": getattr(function, "angle", None),
        "ssp_coefficient": ssp_coefficient(ssp)
        if isinstance(ssp, ButcherTableau | MultistepMethod)
        else None,
        "internal_amplification": _internal(found, function),
        "imex_limits": over_half_line,
        "stability_function": _function(found, function),
    }


def _small_table(found: Any) -> Any:
    """The Butcher table of a one-step method, None where there is none of a bearable size."""
    from analysis.stabilised import StabilisedMethod
    from analysis.tableau import ButcherTableau

    if isinstance(found, StabilisedMethod):
        return found.tableau if found.stages <= LARGEST_TABLE else None
    return found if isinstance(found, ButcherTableau) else None


def _stages(found: Any) -> int | None:
    """Stages of a one-step method; steps of a multistep one are in its characteristic."""
    stages = getattr(found, "stages", None)
    return stages if stages is not None else (1 if hasattr(found, "alpha") else None)


def _circle(table: Any) -> float | None:
    from analysis.contractivity import circle_contractivity_radius

    return None if table is None else circle_contractivity_radius(table)


def _internal(found: Any, function: Any) -> float | None:
    """Amplification of errors in the stages on the real stable interval, of explicit methods."""
    import math

    import numpy as np

    from analysis.contractivity import internal_amplification
    from analysis.stabilised import StabilisedMethod
    from analysis.tableau import ButcherTableau

    if not isinstance(found, ButcherTableau | StabilisedMethod) or not found.explicit:
        return None
    if not 0 < function.real_interval < math.inf:
        return None
    return internal_amplification(found, np.linspace(-function.real_interval, 0, 2001)).value


def _function(found: Any, function: Any) -> dict[str, Any] | None:
    """Exact coefficients in ascending powers, as strings."""
    from analysis.oscillator_stability import OscillatorStability
    from analysis.stability import StabilityFunction

    def texts(values: Any) -> list[str]:
        return [str(value) for value in values]

    if isinstance(function, StabilityFunction):
        try:
            numerator = texts(function.numerator)
        except (InputError, ValueError):  # damped methods of many stages: too long to be written
            return None
        return {"numerator": numerator, "denominator": texts(function.denominator)}
    if isinstance(function, OscillatorStability):
        return {"trace": texts(function.trace)}
    if hasattr(found, "alpha"):
        both = {"rho": texts(found.alpha), "sigma": texts(found.beta)}
        implicit = getattr(found, "beta_implicit", None)
        if implicit is not None:
            both["sigma_implicit"] = texts(implicit)
        return {"characteristic": both}
    if hasattr(function, "numerator"):
        return {
            "numerator": [texts(p) for p in function.numerator],
            "denominator": texts(function.denominator),
        }
    return None


def list_methods() -> list[dict[str, Any]]:
    """Facts of all methods with their descriptions, in the order of the table."""
    from analysis.methods import METHODS

    return [
        method_facts(name, limits=False) | {"description": text} for name, text in METHODS.items()
    ]


def _described(name: str) -> dict[str, Any]:
    """The facts of a named method with its description, or its kind where it has none."""
    from analysis.methods import METHODS

    found = method_facts(name)
    base, _, _ = found["name"].partition(":")
    return found | {"description": METHODS.get(base, found["kind"])}


def _write(figure: Path, picture: bytes) -> None:
    from pdenet.files import write_atomic

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
        "real, imaginary: stable for h |lambda| up to this on the axis (a dash: two eigenvalues "
        "decide, see pdenet method NAME); circle: radius of circle contractivity, non-expansive "
        "for h ||A|| up to twice this",
        style="dim",
    )


def _show(output: Output, result: dict[str, Any]) -> None:
    import math

    interval, angle = result["real_interval"], result["angle"]
    rows: list[tuple[str, Any]] = [
        ("method", result["name"]),
        ("kind", result["kind"]),
        ("order", result["order"]),
        ("stages", result["stages"]),
        ("real interval", None if interval is None else f"{number(interval)} (on [-this, 0])"),
        ("imaginary interval", _fact(result["imaginary_interval"])),
        ("circle contractivity", _fact(result["circle_contractivity"])),
        ("SSP coefficient", _fact(result["ssp_coefficient"])),
        ("A-stable", {True: "yes", False: "no", None: None}[result["a_stable"]]),
        ("stable wedge", None if not angle else f"A({number(math.degrees(angle), 5)} degrees)"),
        ("|R| at infinity", _fact(result["at_infinity"])),
        ("errors of stages", _times(result["internal_amplification"])),
    ]
    limits = result["imex_limits"]
    if limits is not None:
        words = "for every implicit eigenvalue <= 0"
        rows.append(("explicit, real", f"{number(limits['real'])} {words}"))
        rows.append(("explicit, imaginary", f"{number(limits['imaginary'])} {words}"))
    output.console.print(facts([*rows, *_written(result["stability_function"])]))


def _fact(value: float | None) -> str | None:
    return None if value is None else number(value)


def _times(value: float | None) -> str | None:
    return None if value is None else f"amplified by up to {number(value, 3)}"


def _written(function: dict[str, Any] | None) -> list[tuple[str, Any]]:
    """The stability function in a line or two for each polynomial."""
    if function is None:
        return []
    if "trace" in function:
        return [("trace, w = (h omega)^2", _polynomial(function["trace"], "w"))]
    if "characteristic" in function:
        return [
            (name.replace("_", " "), _polynomial(p, "s"))
            for name, p in function["characteristic"].items()
        ]
    if function["numerator"] and isinstance(function["numerator"][0], list):
        parts = [
            (f"R(z, w), z^{k} times", _polynomial(p, "w"))
            for k, p in enumerate(function["numerator"])
        ]
        return [*parts, ("over", _polynomial(function["denominator"], "w"))]
    return [
        ("R(z) numerator", _polynomial(function["numerator"])),
        ("R(z) denominator", _polynomial(function["denominator"])),
    ]


def _polynomial(coefficients: list[str], letter: str = "z") -> str:
    """A polynomial from its coefficients in ascending powers; of a long one the ends.

    >>> _polynomial(["1", "1", "-1/2"])
    '1 + z - 1/2 z^2'
    """
    terms = []
    for power, coefficient in enumerate(coefficients):
        if coefficient == "0":
            continue
        sign, size = ("-", coefficient[1:]) if coefficient[0] == "-" else ("+", coefficient)
        if len(coefficient) > LONGEST_NUMBER:
            rounded = number(float(parse_number(coefficient, "a coefficient")))
            sign, size = ("-", rounded[1:]) if rounded[0] == "-" else ("+", rounded)
        elif " " in coefficient:
            sign, size = "+", f"({coefficient})"
        variable = "" if power == 0 else letter if power == 1 else f"{letter}^{power}"
        factor = "" if size == "1" and variable else size
        terms.append(f"{sign} {factor}{' ' if factor and variable else ''}{variable}")
    if len(terms) > MOST_TERMS:
        terms = [*terms[:4], "+ ...", terms[-1]]
    return (" ".join(terms) or "0").removeprefix("+ ")
