"""`pdenet spectrum`: norms, certificates and singular values of the operators of a source."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.errors import InputError
from pdenet.cli.common import (
    JsonOption,
    Output,
    check_figure,
    check_name,
    check_writable,
    new_table,
    number,
    parse_assignments,
    parse_size,
    positive,
)
from pdenet.cli.sources import Layer, open_source

if TYPE_CHECKING:
    import numpy as np

    from analysis.grid import Grid

EXAMPLE = "pdenet spectrum runs/lean --size 32x32 --save spectrum.png"


def spectrum(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A run, a .safetensors or .npz file.")
    ],
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="This layer only.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Image size (of the run, or 32x32).")
    ] = None,
    boundary: Annotated[
        str | None,
        typer.Option(metavar="B", help="periodic, zeros, reflect or replicate (as trained)."),
    ] = None,
    groups: Annotated[
        list[str] | None, typer.Option(metavar="NAME=G", help="Groups of an array in a file.")
    ] = None,
    stride: Annotated[
        list[str] | None, typer.Option(metavar="NAME=S", help="Stride of an array in a file.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="M", help="Judge -K^T K with this method and --step.")
    ] = None,
    step: Annotated[float | None, typer.Option(metavar="H", help="Step size for --method.")] = None,
    save: Annotated[
        str | None, typer.Option(metavar="FIGURE", help="Draw the spectra (.png, .pdf, .svg).")
    ] = None,
    values: Annotated[
        str | None, typer.Option(metavar="FILE.npz", help="Write all singular values.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Norms, certificates and singular values of every layer."""
    from analysis.grid import BOUNDARIES

    output, figure = Output("spectrum", json), check_figure(save)
    if values is not None and check_writable(values, "--values").suffix != ".npz":
        raise InputError("a file that ends in .npz", f"'{values}'", "pass --values values.npz")
    if boundary is not None:
        check_name("boundary", boundary, BOUNDARIES)
    if (method is None) != (step is None):
        raise InputError("--method and --step together", "one of them", "pass both or neither")
    positive("--step", step)
    shape = parse_size(size)
    opened = open_source(
        source,
        layer=layer,
        groups=parse_assignments("--groups", groups),
        strides=parse_assignments("--stride", stride),
    )
    output.warn(*opened.warnings)
    found: dict[str, np.ndarray] = {}
    records = []
    with output.progress.status("spectra") as status:
        for item in opened.layers:
            status.update(f"spectrum of {item.name}")
            record, singular = layer_record(item, shape, boundary, output)
            if singular is not None:
                found[item.name] = singular
            if method is not None and step is not None:
                record["amplification"] = _amplification(method, step, record, singular)
            records.append(record)
    _show(output, records, method, step)
    if values is not None:
        _write_values(Path(values), found)
    if figure is not None:
        _draw(figure, found, method, step)
    output.finish({"layers": records})


def layer_record(
    layer: Layer, size: tuple[int, int] | None, boundary: str | None, output: Output
) -> tuple[dict[str, Any], np.ndarray | None]:
    """The keys of the contract for one layer, and its singular values where they are known."""
    from analysis import spectra
    from analysis.backend import to_numpy
    from analysis.certificates import certified_norm

    grid, coupling = layer.grid(size, boundary), layer.coupling
    transformed, singular = layer.transformed(grid), None
    if transformed is not None:
        singular = to_numpy(spectra.singular_values(coupling, transformed))
        interval = [float(singular[0]), float(singular[0])]
    else:
        bounds = spectra.norm(coupling, grid)
        interval = [float(bounds.lower), float(bounds.upper)]
        output.warn(
            f"boundary {grid.boundary}: no transform gives its singular values, so the norm is "
            "an interval and the smallest value is unknown"
        )
    pixels = grid.size
    count = min(
        coupling.channels_in * pixels, coupling.channels_out * -(-pixels // coupling.stride**2)
    )
    record = {
        "name": layer.name,
        "shape": list(layer.shape),
        "coupling": coupling.name,
        "boundary": grid.boundary,
        "size": list(grid.shape),
        "norm": interval[0],
        "norm_interval": interval,
        "norm_certified": float(certified_norm(coupling, boundary=grid.boundary).upper),
        "spectral_radius": _spectral_radius(layer, transformed),
        "singular_values": {
            "count": count if singular is None else int(singular.size),
            "min": None if singular is None else float(singular[-1]),
            "max": interval[0],
        },
    }
    return record, singular


def _spectral_radius(layer: Layer, grid: Grid | None) -> float | None:
    """Largest modulus of an eigenvalue; None where the operator is not square or not diagonal."""
    from analysis import spectra

    coupling = layer.coupling
    square = coupling.channels_in == coupling.channels_out and coupling.stride == 1
    if not square or grid is None:
        return None
    return float(spectra.spectral_radius(coupling, grid))


def _amplification(
    method: str, step: float, record: dict[str, Any], singular: np.ndarray | None
) -> float:
    """max |R(-h sigma^2)| over the singular values, or over [0, norm] where they are unknown."""
    import numpy as np

    from analysis.methods import tableau
    from analysis.steps import amplification

    known = np.linspace(0, record["norm_interval"][1], 1025) if singular is None else singular
    return float(amplification(tableau(method), -(known**2), step).value)


def _write_values(file: Path, found: dict[str, np.ndarray]) -> None:
    import numpy as np

    from pdenet.files import write_atomic

    if not found:
        raise InputError(
            "a layer whose singular values are known", "none", "pass --boundary periodic"
        )
    # The first parameter of savez is called `file`, and so may a layer be.
    buffer = io.BytesIO()
    np.savez(buffer, **found)  # type: ignore[arg-type]
    write_atomic(file, buffer.getvalue())


def _draw(
    figure: Path, found: dict[str, np.ndarray], method: str | None, step: float | None
) -> None:
    from analysis.plots import figure_bytes, plot_singular_values
    from pdenet.files import write_atomic

    if not found:
        raise InputError(
            "a layer whose singular values are known", "none", "pass --boundary periodic"
        )
    limit, label = None, ""
    if method is not None and step is not None:
        from analysis.methods import tableau
        from analysis.stability import real_stability_interval, stability_function

        interval = real_stability_interval(stability_function(tableau(method)))
        limit = (interval / step) ** 0.5
        label = f"limit of {method} at h = {number(step)}"
    picture = figure_bytes(
        lambda ax: plot_singular_values(found, ax, limit=limit, label=label),
        figure.suffix[1:].lower(),
    )
    write_atomic(figure, picture)


def _show(
    output: Output, records: list[dict[str, Any]], method: str | None, step: float | None
) -> None:
    from rich.text import Text

    numbers = ["norm", "certified", "radius", "smallest"]
    judged = ["growth"] if method is not None else []
    table = new_table("layer", *numbers, *judged, right=numbers + judged)
    for record in records:
        out, into, *taps = record["shape"]
        operator = f"{record['coupling']} {into}→{out} {_by(taps)} on {_by(record['size'])}"
        cells: list[Any] = [
            Text.assemble((record["name"], "bold"), "\n", (operator, "dim")),
            number(record["norm"], 5),
            number(record["norm_certified"], 5),
            number(record["spectral_radius"], 5),
            number(record["singular_values"]["min"], 3),
        ]
        if method is not None:
            growth = record["amplification"]
            cells.append(Text(number(growth, 4), "green" if growth <= 1 + 1e-12 else "red"))
        table.add_row(*cells)
    output.console.print(table)
    boundaries = ", ".join(dict.fromkeys(record["boundary"] for record in records))
    note = f"boundary {boundaries}; certified: no image size exceeds it"
    if method is not None:
        note += f"; growth: max |R(-h sigma^2)| of {method} at h = {number(step)}"
    output.console.print(note, style="dim")


def _by(numbers: list[int]) -> str:
    return "x".join(map(str, numbers))
