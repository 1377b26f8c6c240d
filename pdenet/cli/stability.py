"""`pdenet stability`: the largest stable step of a method on a spectrum, or the verdict on one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.errors import InputError
from pdenet.cli import sources
from pdenet.cli.common import (
    JsonOption,
    Output,
    complex_number,
    facts,
    finite,
    number,
    parse_assignments,
    parse_extent,
    positive,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

EXAMPLE = "pdenet stability --method rk4 --laplacian 64 --step 0.3"


@dataclass(frozen=True, eq=False)
class Field:
    """The linear field whose steps are judged.

    Attributes:
        title: what it is, for the screen.
        eigenvalues: all different ones, or values that bound them, shape (n,).
        norm: ||A|| where the field is symmetric negative semidefinite, else None.
        normal: whether the eigenvalues decide, because the operator is known to be normal.
        assumption: what was assumed of it.
        warnings: what the reader should know.
        attained: eigenvalues known to occur, where `eigenvalues` only bound them.
    """

    title: str
    eigenvalues: np.ndarray
    norm: float | None
    normal: bool
    assumption: str
    warnings: list[str] = field(default_factory=list)
    attained: np.ndarray | None = None


def stability(
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="A run, a .safetensors file or .npz weights."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="M", help="Time stepper (of the run): see pdenet method --list."),
    ] = None,
    step: Annotated[
        float | None, typer.Option(metavar="H", help="Judge this step; exit 1 if unstable.")
    ] = None,
    eigenvalues: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Spectrum from .npy, .npz or text 're im' a line."),
    ] = None,
    laplacian: Annotated[
        int | None,
        typer.Option(metavar="N", help="Periodic Laplacian with N points an axis."),
    ] = None,
    diffusivity: Annotated[
        float | None, typer.Option(metavar="D", help="Factor of the Laplacian (1).")
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(metavar="1|2|3", help="Axes of the Laplacian (1).")
    ] = None,
    spacing: Annotated[
        float | None, typer.Option(metavar="DX", help="Mesh width of the Laplacian (1).")
    ] = None,
    reaction: Annotated[
        float | None, typer.Option(metavar="MU", help="Rate added to the Laplacian (0).")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Image size for SOURCE (of the run, or 32x32)."),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="This layer of SOURCE only.")
    ] = None,
    groups: Annotated[
        list[str] | None, typer.Option(metavar="NAME=G", help="Groups of an array in a file.")
    ] = None,
    stride: Annotated[
        list[str] | None, typer.Option(metavar="NAME=S", help="Stride of an array in a file.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Largest stable step of a method, or the verdict on a step.

    The spectrum comes from one of three places: --laplacian N, --eigenvalues FILE, or SOURCE,
    where every layer K gives the linear field -K^T K.
    """
    output = Output("stability", json)
    positive("--step", step)
    grid = {
        "diffusivity": diffusivity,
        "dimension": dimension,
        "spacing": spacing,
        "reaction": reaction,
    }
    _check_places({"--laplacian": laplacian, "--eigenvalues": eigenvalues, "SOURCE": source})
    _check_beside("--laplacian N", laplacian is not None, grid)
    _check_beside(
        "SOURCE",
        source is not None,
        {"size": size, "layer": layer, "groups": groups or None, "stride": stride or None},
    )
    used = None
    if laplacian is not None:
        fields = [_laplacian(laplacian, grid)]
    elif eigenvalues is not None:
        fields = [_from_file(eigenvalues)]
    else:
        opened = sources.open_source(
            str(source),
            layer=layer,
            groups=parse_assignments("--groups", groups),
            strides=parse_assignments("--stride", stride),
        )
        fields, used = _from_source(opened, parse_extent(size)), opened.method
    if method is None and used is None:
        raise InputError("--method M", "nothing", "pass --method euler; see pdenet method --list")
    result, judged = judge(method or str(used), step, fields)
    output.warn(*judged.warnings, *result.pop("warnings"))
    _show(output, judged, result)
    output.finish(result)
    if result["stable"] is False:
        raise typer.Exit(1)


LARGEST_NORM = 1e150
"""Norms beyond it have no square in double precision."""


def judge(method: str, step: float | None, fields: list[Field]) -> tuple[dict[str, Any], Field]:
    """The keys of the contract for the field that limits the step, and that field."""
    from analysis.contractivity import circle_contractivity_radius
    from analysis.methods import tableau
    from analysis.steps import amplification, largest_stable_step

    table = tableau(method)
    limits = [largest_stable_step(table, item.eigenvalues) for item in fields]
    worst = min(range(len(fields)), key=lambda i: limits[i].step_size)
    limit, judged = limits[worst], fields[worst]
    warnings = list(limit.warnings)
    stable, growth = None, None
    if step is not None:
        verdicts = [_verdict(amplification, table, item, step, warnings) for item in fields]
        words = [word for word, _ in verdicts]
        stable = False if False in words else None if None in words else True
        if stable is False:  # the field that is unstable is the one to name
            worst = words.index(False)
            limit, judged = limits[worst], fields[worst]
        growth = max(value for _, value in verdicts)
    radius = circle_contractivity_radius(table)
    norms = [item.norm for item in fields]
    result = {
        "method": table.name,
        "step_size": step,
        "largest_stable_step": limit.step_size,
        "stable": stable,
        "limiting_eigenvalue": limit.limiting_eigenvalue if judged.attained is None else None,
        "amplification": growth,
        "nonexpansive_limit": _nonexpansive_limit(radius, norms),
        "assumption": judged.assumption
        if judged.normal
        else f"{limit.assumption}. {judged.assumption}",
        "statement": limit.statement if judged.attained is None else between(table, limit, judged),
        "warnings": list(dict.fromkeys(warnings)),
    }
    return result, judged


def between(table: Any, limit: Any, judged: Field) -> str:
    """Statement on a field whose norm is known within bounds only: so is its largest step."""
    from analysis.steps import largest_stable_step

    most = largest_stable_step(table, judged.attained).step_size
    return (
        f"every step size 0 < h <= {number(limit.step_size)} of {table.name} is stable by the "
        f"upper bound of the norm, none above {number(most)} by its lower bound; the largest "
        "stable step lies between the two (theory §4.11)"
    )


def _verdict(
    amplification: Callable[..., Any], table: Any, judged: Field, step: float, warnings: list[str]
) -> tuple[bool | None, float]:
    """Whether the step is stable on a field, None where its bounds leave that open; and max |R|."""
    found = amplification(table, judged.eigenvalues, step)
    if found.stable or judged.attained is None:
        warnings += found.warnings
        return found.stable, found.value
    attained = amplification(table, judged.attained, step)
    if attained.stable:
        warnings.append(
            f"step {number(step)} lies between the bounds of {judged.title}: no verdict"
        )
    return (None if attained.stable else False), attained.value


def _nonexpansive_limit(radius: float, norms: list[float | None]) -> float | None:
    """2 r_cc / ||A|| for the largest norm; None where a field is not known to be dissipative."""
    known = [norm for norm in norms if norm is not None]
    if len(known) < len(norms):
        return None
    largest = max(known)
    return 2 * radius / largest if largest > 0 else float("inf")


def _check_places(places: dict[str, Any]) -> None:
    """Exactly one of the places that a spectrum comes from must be named."""
    named = [place for place, value in places.items() if value is not None]
    if len(named) != 1:
        got = " and ".join(named) or "none of them"
        raise InputError(
            "one of --laplacian N, --eigenvalues FILE or SOURCE", got, f"as in {EXAMPLE}"
        )


def _check_beside(place: str, named: bool, options: dict[str, Any]) -> None:
    """Options that belong to one place are refused beside another."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given and not named:
        raise InputError(f"{place} beside {given[0]}", "another source", f"leave out {given[0]}")


def _laplacian(points: int, grid: dict[str, Any]) -> Field:
    from analysis.model_problems import heat_spectrum

    # Checked here with the names of the options, although heat_spectrum checks them as well.
    for name in ("diffusivity", "spacing"):
        positive(f"--{name}", grid[name])
    if grid["reaction"] is not None:
        finite("--reaction", grid["reaction"])
    options = {name: value for name, value in grid.items() if value is not None}
    values = heat_spectrum(points, **options)
    rate, dimension = options.get("reaction", 0.0), options.get("dimension", 1)
    title = f"periodic Laplacian, {points} points an axis, {dimension}-D, diffusivity "
    title += f"{number(options.get('diffusivity', 1.0))}, spacing "
    title += number(options.get("spacing", 1.0))
    title += f", reaction {number(rate)}" if rate else ""
    assumption = "Linear field with a symmetric operator: its eigenvalues decide."
    if rate > 0:
        return Field(title, values, None, True, assumption)
    return Field(title, values, -float(values[-1]), True, assumption)


def _from_file(path: str) -> Field:
    from pdenet.cli.readers import read_eigenvalues

    values = read_eigenvalues(path)
    assumption = "Eigenvalues do not tell the norm: no non-expansive limit is given."
    return Field(f"{values.size} eigenvalues of {path}", values, None, False, assumption)


def _from_source(opened: sources.Source, size: tuple[int, ...] | None) -> list[Field]:
    """One field -K^T K a layer, symmetric and negative semidefinite by construction."""
    if not opened.fields:
        raise InputError(
            "a network whose steps are taken on -K^T sigma(K y)",
            f"none in {opened.path}",
            "judge it with pdenet inspect",
        )
    return [_gradient_field(item, opened.path, size, opened.warnings) for item in opened.fields]


def _gradient_field(
    layer: sources.Layer, path: str, size: tuple[int, ...] | None, warnings: list[str]
) -> Field:
    """The frozen linear field -K^T K of one operator, with its spectrum or a bound of it."""
    import numpy as np

    from analysis import spectra
    from analysis.backend import to_numpy
    from analysis.certificates import certified_norm

    grid = layer.grid(size)
    certified = float(certified_norm(layer.coupling, boundary=grid.boundary).upper)
    if certified > LARGEST_NORM:
        raise InputError("weights with finite squares", f"a norm of {certified:g}", "rescale them")
    transformed, attained = layer.transformed(grid), None
    if transformed is not None:
        singular = to_numpy(spectra.singular_values(layer.coupling, transformed))
        known = f"its singular values on {'x'.join(map(str, grid.shape))} pixels"
    else:
        # No transform diagonalises it: every value up to the norm may occur.
        norm = spectra.norm(layer.coupling, grid)
        singular = np.linspace(0.0, norm.upper, 1025)
        attained = np.array([-(norm.lower**2)])
        known = (
            f"norm within [{number(norm.lower)}, {number(norm.upper)}], boundary {grid.boundary}"
        )
    values = -(singular**2)
    # Squares of rounding errors are zeros, not eigenvalues close to the imaginary axis.
    values[values > -1e-13 * certified**2] = 0.0
    assumption = (
        f"Frozen linear field -K^T K of layer {layer.name}, every unit at full "
        f"slope, normalisation folded in, {known}; the "
        "non-expansive limit rests on the certified norm of the largest layer."
    )
    title = f"-K^T K of layer {layer.name} in {path}"
    return Field(title, values, certified**2, True, assumption, warnings, attained)


def _show(output: Output, judged: Field, result: dict[str, Any]) -> None:
    from rich.text import Text

    rows: list[tuple[str, Any]] = [
        ("method", result["method"]),
        ("field", judged.title),
        ("largest stable step", number(result["largest_stable_step"])),
        ("limiting eigenvalue", complex_number(result["limiting_eigenvalue"])),
        ("non-expansive limit", number(result["nonexpansive_limit"])),
    ]
    if result["step_size"] is not None:
        word = {
            True: ("STABLE", "bold green"),
            False: ("UNSTABLE", "bold red"),
            None: ("UNDECIDED", "bold yellow"),
        }[result["stable"]]
        factor = f", factor {number(result['amplification'], 10)} a step"
        rows.append((f"step {number(result['step_size'])}", Text.assemble(word, factor)))
    rows += [("statement", result["statement"]), ("assumption", result["assumption"])]
    output.console.print(facts(rows))
