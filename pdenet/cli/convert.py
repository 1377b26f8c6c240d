"""`pdenet convert`: the convolutions of a torch model in a cheaper coupling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.errors import InputError
from pdenet.cli.common import (
    JsonOption,
    Output,
    check_name,
    check_writable,
    new_table,
    number,
    parse_size,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pdenet.conversion.convert import Conversion, ConvertedLayer

EXAMPLE = "pdenet convert mymodels:unet --coupling lean --size 224x224"

SUFFIX = ".safetensors"


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="package.module:factory, also of this folder; its code runs."
        ),
    ],
    coupling: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="full, depthwise, pointwise, lean, circulant or grouped."
        ),
    ] = "lean",
    filter_: Annotated[
        str | None,
        typer.Option("--filter", metavar="PATTERN", help="Layers to convert, as 'layer3.*'."),
    ] = None,
    groups: Annotated[int, typer.Option(metavar="G", help="Groups of the grouped coupling.")] = 4,
    five_point: Annotated[bool, typer.Option("--five-point", help="Drop the corners.")] = False,
    keep_norm: Annotated[
        bool, typer.Option("--keep-norm", help="Scale the nearest weights to the old norm.")
    ] = False,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Image size, for the multiply-adds.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Converted weights as .safetensors.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Convert a model to a coupling, from the nearest weights, and tell what it saves.

    Without --filter, 1x1 layers and those that open the network are kept.
    """
    output, shape = Output("convert", json), parse_size(size)
    file = None if out is None else _checked(out)
    if groups < 1:
        raise InputError("a number above 0 for --groups", groups, "pass --groups 4")
    from analysis.couplings import COUPLINGS

    check_name("coupling", coupling, COUPLINGS)
    from pdenet.cli.factories import build_model
    from pdenet.conversion.convert import convert as convert_model

    with output.progress.status("converting") as status:
        model = build_model(source)
        found = convert_model(
            model,
            coupling,
            filter=filter_,
            groups=groups,
            five_point=five_point,
            keep_norm=keep_norm,
            example=None if shape is None else _images(model, shape),
            inplace=True,
        )
        if file is not None:
            status.update("writing")
            found.save(file)
    if not found.converted:
        output.warn(f"no layer of {source} was converted")
    show(output, found)
    if file is not None:
        output.console.print(f"weights: {file}", soft_wrap=True, markup=False)
    output.finish({**found.to_json(), "out": None if file is None else str(file)})


def _checked(out: str) -> Path:
    file = check_writable(out, "--out")
    if file.suffix != SUFFIX:
        raise InputError(f"a file that ends in {SUFFIX}", f"'{out}'", f"pass --out model{SUFFIX}")
    return file


def _images(model: nn.Module, shape: tuple[int, int]) -> Tensor:
    """One empty image with the channels that the first convolution takes."""
    import torch

    first = next((m for m in model.modules() if isinstance(m, torch.nn.Conv2d)), None)
    weight = None if first is None else next(first.parameters(), None)
    if first is None or weight is None:
        return torch.zeros(1, 3, *shape)
    # A layer that waits for its first call (torch's lazy modules) takes colours, most likely.
    return torch.zeros(1, first.in_channels or 3, *shape, dtype=weight.dtype, device=weight.device)


def show(output: Output, found: Conversion) -> None:
    """One row a layer and the totals, then the layers that were kept, by reason."""
    from rich.text import Text

    costs = found.multiply_adds is not None
    columns = ["layer", "shape", "coupling", "weights", *["multiply-adds"] * costs, "error"]
    table = new_table(*columns, right=columns[3:])
    for layer in found.layers:
        table.add_row(*_row(layer, costs), style="dim" if layer.kept else "")
    table.add_section()
    weights = _change(found.weights_before, found.weights)
    work = [_change(found.multiply_adds_before, found.multiply_adds)] * costs
    table.add_row("convolutions", "", "", weights, *work, "", style="bold")
    table.add_row("all parameters", "", "", _change(found.parameters_before, found.parameters))
    output.console.print(table)
    output.console.print(
        "error: |W - PW| / |W|, what the nearest weights of the coupling lose; train on from there",
        style="dim",
    )
    reasons: dict[str, list[str]] = {}
    for layer in found.layers:
        if layer.kept:
            reasons.setdefault(layer.kept, []).append(layer.name)
    for reason, names in reasons.items():
        rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
        output.console.print(Text(f"kept {', '.join(names[:3])}{rest}: {reason}"))


def _row(layer: ConvertedLayer, costs: bool) -> list[str]:
    """The cells of a layer."""
    work = [_change(layer.multiply_adds_before, layer.multiply_adds)] * costs
    return [
        layer.name or "the model",
        "x".join(map(str, layer.shape)),
        layer.coupling,
        _change(layer.weights_before, layer.weights),
        *work,
        "kept" if layer.kept else number(layer.projection_error, 3),
    ]


def _change(before: int | None, after: int | None) -> str:
    """Two counts for the screen, one where they agree."""
    if before is None or after is None:
        return "-"
    return short(after) if before == after else f"{short(before)} -> {short(after)}"


def short(count: int) -> str:
    """A count with three digits.

    >>> short(576), short(2_359_296), short(1_813_561_344)
    ('576', '2.36M', '1.81G')
    """
    for factor, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 999.5 * factor / 1000 and count >= 1000:
            return f"{count / factor:#.3g}".rstrip(".") + letter
    return str(count)
