"""`pdenet stability`: the largest stable step of a method on a spectrum, or the verdict on one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.errors import InputError
from pdenet.cli import sources
from pdenet.cli.common import (
    JsonOption,
    Output,
    check_figure,
    complex_number,
    facts,
    number,
    parse_assignments,
    parse_extent,
    positive,
)
from pdenet.cli.stability_advice import Wanted, advise, show_plans
from pdenet.cli.stability_fields import (
    Field,
    file_field,
    laplacian_field,
    parse_numbers,
    source_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXAMPLE = "pdenet stability --method rk4 --laplacian 64 --step 0.3"


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
        str | None,
        typer.Option(metavar="D[,D]", help="Factor of the Laplacian, or one an axis (1)."),
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(metavar="1|2|3", help="Axes of the Laplacian (1).")
    ] = None,
    spacing: Annotated[
        str | None, typer.Option(metavar="DX[,DX]", help="Mesh width, or one an axis (1).")
    ] = None,
    boundary: Annotated[
        str | None,
        typer.Option(metavar="B", help="periodic, neumann or dirichlet (periodic)."),
    ] = None,
    velocity: Annotated[
        str | None, typer.Option(metavar="V[,V]", help="Advection along the axes (0).")
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
    advection: Annotated[
        str | None, typer.Option(metavar="A", help="Its differences: central or upwind (central).")
    ] = None,
    time: Annotated[
        float | None,
        typer.Option("--advise", metavar="T", help="Which methods reach the time T most cheaply."),
    ] = None,
    accuracy: Annotated[
        float | None, typer.Option(metavar="E", help="Largest error at T (0.01), with --advise.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="N", help="Largest cost (a solve counts for 10), with --advise."),
    ] = None,
    claim: Annotated[
        str | None,
        typer.Option(metavar="C", help="linear, or proved non-expansive, with --advise."),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(metavar="FIGURE", help="The eigenvalues over the region (.png, .pdf, .svg)."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Largest stable step of a method, the verdict on a step, or which method to take.

    The spectrum comes from one of three places: --laplacian N, --eigenvalues FILE, or SOURCE,
    where every layer K gives the linear field -K^T K. Methods with an explicit and an implicit
    part take advection and reaction explicitly and diffusion implicitly.
    """
    output, figure = Output("stability", json), check_figure(save)
    positive("--step", step)
    wanted = Wanted.of(time, accuracy, budget, claim)
    grid = {
        "diffusivity": parse_numbers("--diffusivity", diffusivity),
        "dimension": dimension,
        "spacing": parse_numbers("--spacing", spacing),
        "boundary": boundary,
        "velocity": parse_numbers("--velocity", velocity),
        "advection": advection,
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
        fields = [laplacian_field(laplacian, grid)]
    elif eigenvalues is not None:
        fields = [file_field(eigenvalues)]
    else:
        opened = sources.open_source(
            str(source),
            layer=layer,
            groups=parse_assignments("--groups", groups),
            strides=parse_assignments("--stride", stride),
        )
        fields, used = source_fields(opened, parse_extent(size)), opened.method
    if method is None and used is None and wanted is None:
        raise InputError("--method M", "nothing", "pass --method euler; see pdenet method --list")
    plans = [] if wanted is None else advise(wanted, fields)
    if method is None and used is None:
        result, judged = _unjudged(), fields[0]
        if figure is not None or step is not None:
            raise InputError("--method M beside --step and --save", "nothing", "name a method")
    else:
        result, judged = judge(method or str(used), step, fields)
        output.warn(*judged.warnings, *result.pop("warnings"))
        _show(output, judged, result)
    if wanted is not None:
        show_plans(output, wanted, plans, judged.title)
    result["prescription"] = None if wanted is None else plans
    if figure is not None:
        _draw(method or str(used), result, judged, figure)
        output.console.print(facts([("figure", figure)]))
    output.finish(result)
    if result["stable"] is False:
        raise typer.Exit(1)


def _unjudged() -> dict[str, Any]:
    """The keys of the contract where no method was named."""
    names = (
        "method",
        "step_size",
        "largest_stable_step",
        "stable",
        "limiting_eigenvalue",
        "amplification",
        "nonexpansive_limit",
        "contractive_step",
        "step_norm",
        "largest_power_norm",
        "assumption",
        "statement",
    )
    return dict.fromkeys(names)


def judge(method: str, step: float | None, fields: list[Field]) -> tuple[dict[str, Any], Field]:
    """The keys of the contract for the field that limits the step, and that field."""
    from analysis.methods import method as named
    from analysis.oscillator_stability import OscillatorStability
    from analysis.stability_of import Paired, stability_of
    from analysis.steps import amplification, largest_stable_step

    stepper = named(method)
    function = stability_of(stepper)
    pairs, second = isinstance(function, Paired), isinstance(function, OscillatorStability)
    clouds = [item.for_method(pairs, second) for item in fields]
    limits = [largest_stable_step(stepper, cloud) for cloud in clouds]
    worst = min(range(len(fields)), key=lambda i: limits[i].step_size)
    limit, judged = limits[worst], fields[worst]
    warnings = list(limit.warnings)
    if second and judged.norm is not None:
        warnings.insert(0, "read as y'' = A y: the eigenvalues are its frequencies times i")
    stable, growth = None, None
    if step is not None:
        verdicts = [
            _verdict(amplification, stepper, item, cloud, step, warnings)
            for item, cloud in zip(fields, clouds, strict=True)
        ]
        words = [word for word, _ in verdicts]
        stable = False if False in words else None if None in words else True
        if stable is False:  # the field that is unstable is the one to name
            worst = words.index(False)
            limit, judged = limits[worst], fields[worst]
        growth = max(value for _, value in verdicts)
    norms = [item.norm for item in fields]
    result = {
        "method": stepper.name,
        "step_size": step,
        "largest_stable_step": limit.step_size,
        "stable": stable,
        "limiting_eigenvalue": limit.limiting_eigenvalue if judged.attained is None else None,
        "amplification": growth,
        "nonexpansive_limit": _nonexpansive_limit(stepper, norms),
        "contractive_step": limit.contractive_step,
        **_norms(function, judged, step),
        "assumption": judged.assumption
        if judged.normal
        else f"{limit.assumption}. {judged.assumption}",
        "statement": limit.statement
        if judged.attained is None
        else between(stepper, limit, judged),
        "warnings": list(dict.fromkeys(warnings)),
    }
    return result, judged


LONGEST_POWER = 1000
"""Steps of a field that is not normal over which its largest norm is sought."""


def _norms(function: Any, judged: Field, step: float | None) -> dict[str, float | None]:
    """Norm of a step and the largest norm of its powers, of a small field that is not normal."""
    from analysis.stability import StabilityFunction

    found: dict[str, float | None] = {"step_norm": None, "largest_power_norm": None}
    if step is None or judged.matrix is None or not isinstance(function, StabilityFunction):
        return found
    import numpy as np

    from analysis.operator_steps import step_blocks
    from analysis.transients import transient_growth

    G = step_blocks(function, judged.matrix, step)
    with np.errstate(all="ignore"):
        peak = transient_growth(G, LONGEST_POWER).peak
    return {"step_norm": float(np.linalg.norm(G, 2)), "largest_power_norm": float(peak)}


def between(stepper: Any, limit: Any, judged: Field) -> str:
    """Statement on a field whose norm is known within bounds only: so is its largest step."""
    from analysis.steps import largest_stable_step

    most = largest_stable_step(stepper, judged.attained).step_size
    return (
        f"every step size 0 < h <= {number(limit.step_size)} of {stepper.name} is stable by the "
        f"upper bound of the norm, none above {number(most)} by its lower bound; the largest "
        "stable step lies between the two (theory §4.11)"
    )


def _verdict(
    amplification: Callable[..., Any],
    stepper: Any,
    judged: Field,
    cloud: Any,
    step: float,
    warnings: list[str],
) -> tuple[bool | None, float]:
    """Whether the step is stable on a field, None where its bounds leave that open; and max |R|."""
    found = amplification(stepper, cloud, step)
    if found.stable or judged.attained is None:
        warnings += found.warnings
        return found.stable, found.value
    attained = amplification(stepper, judged.attained, step)
    if attained.stable:
        warnings.append(
            f"step {number(step)} lies between the bounds of {judged.title}: no verdict"
        )
    return (None if attained.stable else False), attained.value


def _nonexpansive_limit(stepper: Any, norms: list[float | None]) -> float | None:
    """2 r_cc / ||A|| for the largest norm; None where a field is not known to be dissipative.

    The radius of circle contractivity is one of Runge-Kutta methods; of others None.
    """
    from analysis.contractivity import circle_contractivity_radius
    from analysis.stabilised import MAXIMUM_TABLE_STAGES, StabilisedMethod
    from analysis.tableau import ButcherTableau

    known = [norm for norm in norms if norm is not None]
    if len(known) < len(norms):
        return None
    if isinstance(stepper, StabilisedMethod) and stepper.stages <= MAXIMUM_TABLE_STAGES:
        stepper = stepper.tableau
    if not isinstance(stepper, ButcherTableau):
        return None
    largest = max(known)
    radius = circle_contractivity_radius(stepper)
    return 2 * radius / largest if largest > 0 else float("inf")


def _draw(name: str, result: dict[str, Any], judged: Field, figure: Path) -> None:
    """The eigenvalues times the step, or times the largest stable one, over the region."""
    import math

    from analysis.clouds import Pairs
    from analysis.methods import method
    from analysis.plots import figure_bytes, plot_imex_region, plot_spectra_over_region
    from analysis.stability_of import Paired, stability_of
    from pdenet.files import write_atomic

    step, stepper = result["step_size"] or result["largest_stable_step"], method(name)
    if not step or math.isinf(step):
        raise InputError("a step size to draw the region at", step, "pass --step 0.1")

    def draw(ax: Any) -> Any:
        if isinstance(stability_of(stepper), Paired):
            assert judged.pairs is not None  # by the judgement
            pairs = Pairs(judged.pairs[:, 0], judged.pairs[:, 1])
            return plot_imex_region(stepper, ax, pairs=pairs, step_size=step)
        clouds = {f"h = {number(step)}": step * judged.eigenvalues}
        return plot_spectra_over_region(stepper, clouds, ax)

    write_atomic(figure, figure_bytes(draw, figure.suffix[1:].lower()))


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


def _show(output: Output, judged: Field, result: dict[str, Any]) -> None:
    from rich.text import Text

    rows: list[tuple[str, Any]] = [
        ("method", result["method"]),
        ("field", judged.title),
        ("largest stable step", number(result["largest_stable_step"])),
        ("limiting eigenvalue", complex_number(result["limiting_eigenvalue"])),
        ("non-expansive limit", number(result["nonexpansive_limit"])),
    ]
    if result["contractive_step"] is not None:
        rows.append(("2-norm at most 1 up to", number(result["contractive_step"])))
    if result["step_size"] is not None:
        word = {
            True: ("STABLE", "bold green"),
            False: ("UNSTABLE", "bold red"),
            None: ("UNDECIDED", "bold yellow"),
        }[result["stable"]]
        factor = f", factor {number(result['amplification'], 10)} a step"
        if judged.transient and result["stable"]:
            word = ("EIGENVALUES STABLE", "bold yellow")
        rows.append((f"step {number(result['step_size'])}", Text.assemble(word, factor)))
    if result["step_norm"] is not None:
        peak = f"; of {LONGEST_POWER} powers up to {number(result['largest_power_norm'])}"
        rows.append(("norm of a step", number(result["step_norm"]) + peak))
    rows += [("statement", result["statement"]), ("assumption", result["assumption"])]
    output.console.print(facts(rows))
