"""`pdenet spectrum`: norms, certificates and singular values of the operators of a source."""

from __future__ import annotations

import io
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.errors import InputError
from pdenet.cli.common import (
    JsonOption,
    Output,
    check_writable,
    new_table,
    number,
    parse_assignments,
    parse_extent,
)
from pdenet.cli.sources import Layer, Source, open_source
from pdenet.cli.spectrum_figures import Picture, asked_for, drawn_layers, picture_bytes
from pdenet.cli.spectrum_layers import Measured, Wish, measured_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.text import Text

    from analysis.grid import Grid

EXAMPLE = """pdenet spectrum runs/lean --size 32x32 --save spectrum.png

pdenet spectrum runs/lean/first --compare runs/lean --boundary periodic --save training.png

pdenet spectrum weights.npz --layer conv1.weight --plot plane --save plane.png

pdenet spectrum weights.npz --plot region --field plain --method rk4 --step 0.5 --save region.png

pdenet spectrum weights.npz --plot growth --method euler --step 0.5 --save growth.png"""

Words = list[str] | None


def spectrum(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A run (RUN/first: before its training), a .safetensors or .npz file.",
        ),
    ],
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="This layer only; also an array of 3 or 5 axes."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Image size, or N, or DxHxW (of the run, or 32x32)."),
    ] = None,
    boundary: Annotated[
        str | None,
        typer.Option(metavar="B", help="periodic, zeros, reflect or replicate (as trained)."),
    ] = None,
    groups: Annotated[
        Words, typer.Option(metavar="NAME=G", help="Groups of an array in a file.")
    ] = None,
    stride: Annotated[
        Words, typer.Option(metavar="NAME=S", help="Stride of an array in a file.")
    ] = None,
    dilation: Annotated[
        Words, typer.Option(metavar="NAME=D", help="Dilation of an array in a file.")
    ] = None,
    width: Annotated[
        float, typer.Option(metavar="W", help="Relative width of the certificates.")
    ] = 0.01,
    accuracy: Annotated[
        str,
        typer.Option(
            metavar="A", help="values: all to 12 digits; norm: small ones rougher, sooner."
        ),
    ] = "values",
    method: Annotated[
        str | None, typer.Option(metavar="M", help="Judge -K^T K with this method and --step.")
    ] = None,
    step: Annotated[float | None, typer.Option(metavar="H", help="Step size for --method.")] = None,
    compare: Annotated[
        str | None,
        typer.Option(metavar="SOURCE2", help="The same layers later: SOURCE before, this after."),
    ] = None,
    save: Annotated[
        str | None, typer.Option(metavar="FIGURE", help="Draw the spectra (.png, .pdf, .svg).")
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What --save draws: singular values (default), the norm over the frequency "
            "plane, eigenvalues, numerical range and pseudospectra over the stability region of "
            "--method, or growth of its powers: values, plane, region, growth.",
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(
            metavar="F",
            help="Field of region and growth: adjoint is y' = -K^T K y (of the time steps of a "
            "run; default of region), plain is y' = K y of square layers (default of growth).",
        ),
    ] = None,
    values: Annotated[
        str | None, typer.Option(metavar="FILE.npz", help="Write all singular values of SOURCE.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Norms, certificates and singular values of every layer, and pictures of them."""
    output, file = Output("spectrum", json), _check_values_file(values)
    wish = Wish.checked(parse_extent(size), boundary, method, step, width, accuracy)
    place = (wish.size, wish.boundary)
    picture = asked_for(save, plot, field, method, step, place, (source, compare))
    arrays = {
        "groups": parse_assignments("--groups", groups),
        "strides": parse_assignments("--stride", stride),
        "dilations": parse_assignments("--dilation", dilation),
    }
    opened = open_source(source, layer=layer, **arrays)
    later = None if compare is None else open_source(compare, layer=layer, **arrays)
    _run(opened, later, wish, picture, file, output)


def _check_values_file(path: str | None) -> Path | None:
    if path is None:
        return None
    file = check_writable(path, "--values")
    if file.suffix != ".npz":
        raise InputError("a file that ends in .npz", f"'{path}'", "pass --values values.npz")
    return file


def _run(
    opened: Source,
    later: Source | None,
    wish: Wish,
    picture: Picture | None,
    values: Path | None,
    output: Output,
) -> None:
    """Measure, draw, and only then write and show."""
    from pdenet.files import write_atomic

    output.warn(*opened.warnings)
    shared = [] if later is None else _shared_layers(opened, later, output)
    names = {item.name for item in shared}
    shown = opened.layers if later is None else [i for i in opened.layers if i.name in names]
    drawn = drawn_layers(picture, shown, opened.fields, output) if picture else []
    if picture and picture.field == "plain" and opened.method is not None:
        output.warn("y' = K y of the bare layers, without normalisation, activation or adjoint")
    if values is not None and all(_transformed(item, wish) is None for item in opened.layers):
        raise InputError(
            "a layer whose singular values are known", "none", "pass --boundary periodic"
        )
    files: dict[Path, bytes] = {}
    with output.progress.status("spectra") as status:
        measured = _measure(opened.layers, wish, output, status.update)
        compared = _measure(shared, wish, output, status.update)
        if values is not None:
            files[values] = _values_bytes(measured)
        if picture is not None:
            folded = opened.fields is not opened.layers
            files[picture.file] = picture_bytes(
                picture, drawn, measured, compared, status.update, folded=folded
            )
    for file, content in files.items():
        write_atomic(file, content)
    _show(output, measured, compared, wish)
    result = {"layers": [item.record for item in measured.values()]}
    if later is not None:
        result["compare"] = [item.record for item in compared.values()]
    output.finish(result)


def _shared_layers(opened: Source, later: Source, output: Output) -> list[Layer]:
    """Layers of the second source that the first has under the same name and shape."""
    output.warn(*later.warnings)
    first = {item.name: item for item in opened.layers}
    second = {item.name: item for item in later.layers}
    both = [name for name in first if name in second]
    shared = [name for name in both if first[name].shape == second[name].shape]
    if not shared:
        raise InputError(
            f"a layer of the same name and shape in {opened.path} and {later.path}",
            "none",
            "compare two states of one network",
        )
    for words, names in (
        (f"only in {opened.path}", [name for name in first if name not in second]),
        (f"only in {later.path}", [name for name in second if name not in first]),
        ("of another shape in each source", [name for name in both if name not in shared]),
    ):
        if names:
            output.warn(f"not compared, {words}: {', '.join(names)}")
    return [second[name] for name in shared]


def _measure(
    layers: Sequence[Layer], wish: Wish, output: Output, progress: Callable[[str], None]
) -> dict[str, Measured]:
    found = {}
    for item in layers:
        progress(f"spectrum of {item.name}")
        found[item.name] = measured_layer(item, wish, output)
    return found


def _transformed(layer: Layer, wish: Wish) -> Grid | None:
    return layer.transformed(layer.grid(wish.size, wish.boundary))


def _values_bytes(measured: dict[str, Measured]) -> bytes:
    """All singular values by the name of the layer, as the bytes of a .npz file."""
    import numpy as np

    found = {name: i.singular for name, i in measured.items() if i.singular is not None}
    # The first parameter of savez is called `file`, and so may a layer be.
    buffer = io.BytesIO()
    np.savez(buffer, **found)  # type: ignore[arg-type]
    return buffer.getvalue()


def _show(
    output: Output, measured: dict[str, Measured], compared: dict[str, Measured], wish: Wish
) -> None:
    """One row a layer; beside a second source every number stands above that of the second."""
    from rich.text import Text

    numbers = ["norm", "certified", "radius", "smallest"]
    judged = ["growth"] if wish.method is not None else []
    table = new_table("layer", *numbers, *judged, right=numbers + judged)
    for name, item in measured.items():
        record = item.record
        out, into, *taps = record["shape"]
        operator = f"{record['coupling']} {into}→{out} {_by(taps)} on {_by(record['size'])}"
        lines = [_cells(record)]
        if compared:
            lines.append(_cells(compared[name].record) if name in compared else [])
        columns = zip_longest(*lines, fillvalue=Text("-"))
        cells = [Text("\n").join(column) for column in columns]
        table.add_row(Text.assemble((name, "bold"), "\n", (operator, "dim")), *cells)
    output.console.print(table)
    boundaries = ", ".join(dict.fromkeys(i.record["boundary"] for i in measured.values()))
    note = f"boundary {boundaries}; certified: no image size exceeds it"
    if wish.method is not None:
        note += f"; growth: max |R(-h sigma^2)| of {wish.method} at h = {number(wish.step)}"
    if compared:
        note += "; upper numbers: SOURCE, lower: --compare"
    output.console.print(note, style="dim")


def _cells(record: dict[str, Any]) -> list[Text]:
    """The numbers of one layer."""
    from rich.text import Text

    cells = [
        Text(number(record["norm"], 5)),
        Text(number(record["norm_certified"], 5)),
        Text(number(record["spectral_radius"], 5)),
        Text(number(record["singular_values"]["min"], 3)),
    ]
    growth = record.get("amplification")
    if growth is not None:
        cells.append(Text(number(growth, 4), "green" if growth <= 1 + 1e-12 else "red"))
    return cells


def _by(numbers: list[int]) -> str:
    return "x".join(map(str, numbers))
