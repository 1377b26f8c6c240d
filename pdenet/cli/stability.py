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
    parse_size,
    positive,
)

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = "pdenet stability --method rk4 --laplacian 64 --step 0.3"


@dataclass(frozen=True, eq=False)
class Field:
    """The linear field whose steps are judged.

    Attributes:
        title: what it is, for the screen.
        eigenvalues: all different ones, shape (n,).
        norm: ||A|| where the field is symmetric negative semidefinite, else None.
        normal: whether the eigenvalues decide, because the operator is known to be normal.
        assumption: what was assumed of it.
        warnings: what the reader should know.
    """

    title: str
    eigenvalues: np.ndarray
    norm: float | None
    normal: bool
    assumption: str
    warnings: list[str] = field(default_factory=list)


def stability(
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="A run, a .safetensors file or .npz weights."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="M", help="Time stepper: see pdenet method --list.")
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
        str | None, typer.Option(metavar="HxW", help="Image size for SOURCE (32x32).")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Largest stable step of a method on a spectrum, or the verdict on a given step.

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
    fields, used = _fields(source, eigenvalues, laplacian, grid, parse_size(size))
    if method is None and used is None:
        raise InputError("--method M", "nothing", "pass --method euler; see pdenet method --list")
    result, judged = judge(method or str(used), step, fields)
    output.warn(*judged.warnings, *result.pop("warnings"))
    _show(output, judged, result)
    output.finish(result)
    if result["stable"] is False:
        raise typer.Exit(1)


def judge(method: str, step: float | None, fields: list[Field]) -> tuple[dict[str, Any], Field]:
    """The keys of the contract for the field that limits the step, and that field."""
    from analysis.methods import tableau
    from analysis.stability import circle_contractivity_radius
    from analysis.steps import amplification, largest_stable_step

    table = tableau(method)
    limits = [largest_stable_step(table, item.eigenvalues) for item in fields]
    worst = min(range(len(fields)), key=lambda i: limits[i].step_size)
    limit, judged = limits[worst], fields[worst]
    warnings = list(limit.warnings)
    verdicts = []
    if step is not None:
        verdicts = [amplification(table, item.eigenvalues, step) for item in fields]
        warnings += [text for verdict in verdicts for text in verdict.warnings]
    radius = circle_contractivity_radius(table)
    norms = [item.norm for item in fields]
    result = {
        "method": table.name,
        "step_size": step,
        "largest_stable_step": limit.step_size,
        "stable": all(verdict.stable for verdict in verdicts) if verdicts else None,
        "limiting_eigenvalue": limit.limiting_eigenvalue,
        "amplification": max((verdict.value for verdict in verdicts), default=None),
        "nonexpansive_limit": _nonexpansive_limit(radius, norms),
        "assumption": judged.assumption
        if judged.normal
        else f"{limit.assumption} {judged.assumption}",
        "statement": limit.statement,
        "warnings": list(dict.fromkeys(warnings)),
    }
    return result, judged


def _nonexpansive_limit(radius: float, norms: list[float | None]) -> float | None:
    """2 r_cc / ||A|| for the largest norm; None where a field is not known to be dissipative."""
    known = [norm for norm in norms if norm is not None]
    if len(known) < len(norms):
        return None
    largest = max(known)
    return 2 * radius / largest if largest > 0 else float("inf")


def _fields(
    source: str | None,
    eigenvalues: str | None,
    laplacian: int | None,
    grid: dict[str, Any],
    size: tuple[int, int] | None,
) -> tuple[list[Field], str | None]:
    """The fields that the arguments describe, and the method of a run.

    Exactly one of the three places must be named.
    """
    places = {"--laplacian": laplacian, "--eigenvalues": eigenvalues, "SOURCE": source}
    named = [place for place, value in places.items() if value is not None]
    if len(named) != 1:
        got = " and ".join(named) or "none of them"
        raise InputError(
            "one of --laplacian N, --eigenvalues FILE or SOURCE", got, f"as in {EXAMPLE}"
        )
    given = [f"--{name}" for name, value in grid.items() if value is not None]
    if given and laplacian is None:
        raise InputError(f"--laplacian N beside {given[0]}", named[0], f"leave out {given[0]}")
    if size is not None and source is None:
        raise InputError("SOURCE beside --size", named[0], "leave out --size")
    if laplacian is not None:
        return [_laplacian(laplacian, grid)], None
    if eigenvalues is not None:
        return [_from_file(eigenvalues)], None
    return _from_source(str(source), size)


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


def _from_source(path: str, size: tuple[int, int] | None) -> tuple[list[Field], str | None]:
    """One field -K^T K a layer, symmetric and negative semidefinite by construction."""
    opened = sources.open_source(path)
    if not opened.fields:
        raise InputError(
            "a network whose steps are taken on -K^T sigma(K y)",
            f"none in {path}",
            "judge it with pdenet inspect",
        )
    return [_gradient_field(layer, path, size, opened.warnings) for layer in opened.fields], (
        opened.method
    )


def _gradient_field(
    layer: sources.Layer, path: str, size: tuple[int, int] | None, warnings: list[str]
) -> Field:
    """The frozen linear field -K^T K of one operator, with its spectrum or a bound of it."""
    import numpy as np

    from analysis import spectra

    grid = layer.grid(size)
    certified = float(spectra.certified_norm(layer.coupling, boundary=grid.boundary).upper)
    if layer.diagonal(grid):
        singular = np.asarray(spectra.singular_values(layer.coupling, grid)).ravel()
        known = f"its singular values on {grid.shape[0]}x{grid.shape[1]} pixels, periodic"
    else:
        # No transform diagonalises it: every value up to the certified norm may occur.
        singular = np.linspace(0.0, certified, 1025)
        known = f"singular values anywhere up to the certified norm, boundary {grid.boundary}"
    values = -(singular**2)
    # Squares of rounding errors are zeros, not eigenvalues close to the imaginary axis.
    values[values > -1e-13 * certified**2] = 0.0
    assumption = (
        f"Frozen linear field -K^T K of layer {layer.name}, slope 1 in every unit, {known}; the "
        "non-expansive limit rests on the certified norm of the largest layer."
    )
    title = f"-K^T K of layer {layer.name} in {path}"
    return Field(title, values, certified**2, True, assumption, warnings)


def _show(output: Output, judged: Field, result: dict[str, Any]) -> None:
    from rich.text import Text

    rows: list[tuple[str, Any]] = [
        ("method", result["method"]),
        ("field", judged.title),
        ("largest stable step", number(result["largest_stable_step"])),
        ("limiting eigenvalue", complex_number(result["limiting_eigenvalue"])),
        ("non-expansive limit", number(result["nonexpansive_limit"])),
    ]
    if result["stable"] is not None:
        word = ("STABLE", "bold green") if result["stable"] else ("UNSTABLE", "bold red")
        factor = f", factor {number(result['amplification'], 10)} a step"
        rows.append((f"step {number(result['step_size'])}", Text.assemble(word, factor)))
    rows += [("statement", result["statement"]), ("assumption", result["assumption"])]
    output.console.print(facts(rows))
