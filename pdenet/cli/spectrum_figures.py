"""The pictures of `pdenet spectrum`: what is asked for is checked before any work is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import InputError
from pdenet.cli.common import Output, check_figure, check_name, number
from pdenet.cli.spectrum_layers import Measured

if TYPE_CHECKING:
    import numpy as np

    from pdenet.cli.sources import Layer

PLOTS = {"values": 18, "plane": 18, "region": 6, "growth": 18}
"""Kinds of picture, and how many panels of each a page holds."""

FIELDS = ("adjoint", "plain")
"""Linear fields of an operator K: y' = -K^T K y and y' = K y."""

STEPS = 50
"""Steps over which growth is drawn."""

Draw = Callable[[Any], Any]


@dataclass(frozen=True)
class Picture:
    """A picture as asked for on the command line.

    Attributes:
        file: where it goes.
        plot: a name of `PLOTS`.
        field: a name of `FIELDS`.
        method, step: time stepper and step size, None where they are not given.
        size, boundary: of the grids, None for those of the layers.
        sources: names of the two sources to compare, None for one source.
    """

    file: Path
    plot: str
    field: str
    method: str | None
    step: float | None
    size: tuple[int, ...] | None
    boundary: str | None
    sources: tuple[str, str] | None

    @property
    def suffix(self) -> str:
        """Kind of file."""
        return self.file.suffix[1:].lower()

    def panels(self, layers: Sequence[Layer], output: Output) -> list[Layer]:
        """The layers that have a panel; says which have none and why.

        Raises:
            InputError: where no layer can be drawn, or more than a page holds.
        """
        refusals = {item.name: self._refusal(item) for item in layers}
        drawn = [item for item in layers if refusals[item.name] is None]
        if not drawn:
            raise next((e for e in refusals.values() if e is not None), self._nothing())
        left_out = [name for name, error in refusals.items() if error is not None]
        if left_out and (self.plot != "values" or self.sources):
            why = next(error for error in refusals.values() if error is not None)
            output.warn(f"not drawn: {', '.join(left_out)} (expected {why.expected})")
        count = len(drawn) * (2 if self.plot == "plane" and self.sources else 1)
        if count > PLOTS[self.plot] and (self.plot != "values" or self.sources):
            expected = f"at most {PLOTS[self.plot]} panels for --plot {self.plot}"
            raise InputError(expected, f"{count} of {len(drawn)} layers", "pass --layer NAME")
        return drawn

    def _nothing(self) -> InputError:
        if self.plot == "region" and self.field == "adjoint":
            expected = "a network whose steps are taken on -K^T sigma(K y), or a file of weights"
            return InputError(expected, "none", "pass --field plain for y' = K y of its layers")
        return InputError("a layer to draw", "none", "check SOURCE")

    def _refusal(self, layer: Layer) -> InputError | None:
        """Why a layer has no such picture, None where it has."""
        coupling, grid = layer.coupling, layer.grid(self.size, self.boundary)
        if self.plot == "plane":
            if coupling.dimension < 3:
                return None
            got = f"{coupling.dimension} in layer {layer.name}"
            return InputError("1 or 2 axes for --plot plane", got, "pass --plot values")
        square = coupling.channels_in == coupling.channels_out and coupling.stride == 1
        if self.plot in ("region", "growth") and self.field == "plain" and not square:
            return InputError(
                f"square layers of stride 1 for --plot {self.plot} of y' = K y",
                f"{coupling.channels_in} to {coupling.channels_out} channels, stride "
                f"{coupling.stride} in layer {layer.name}",
                "pass --layer with a layer that keeps the shape of its input",
            )
        if layer.transformed(grid) is None:
            got = f"boundary {grid.boundary} of layer {layer.name}"
            return InputError(
                "a layer whose singular values are known", got, "pass --boundary periodic"
            )
        return None

    def limit(self) -> tuple[float | None, str]:
        """The largest stable singular value of -K^T K, and its name."""
        if self.method is None or self.step is None:
            return None, ""
        from analysis.methods import tableau
        from analysis.stability import real_stability_interval, stability_function

        interval = real_stability_interval(stability_function(tableau(self.method)))
        label = f"limit of {self.method} at h = {number(self.step)}"
        return (interval / self.step) ** 0.5, label


def asked_for(
    save: str | None,
    plot: str | None,
    field: str | None,
    method: str | None,
    step: float | None,
    grid: tuple[tuple[int, ...] | None, str | None],
    sources: tuple[str, str | None],
) -> Picture | None:
    """The picture that the options ask for, None for none; refuses options that do not fit."""
    file, kind = check_figure(save), plot or "values"
    check_name("plot", kind, PLOTS)
    check_name("field", field or FIELDS[0], FIELDS)
    if file is None:
        for option, value in (("--plot", plot), ("--field", field)):
            if value is not None:
                raise InputError(f"--save FIGURE beside {option}", "none", "pass --save figure.png")
        return None
    judged = kind in ("region", "growth")
    if field is not None and not judged:
        raise InputError(f"--plot region beside --field {field}", kind, "leave out --field")
    if judged and method is None:
        raise InputError(
            f"--method M and --step H beside --plot {kind}", "none", "as in --method rk4 --step 0.5"
        )
    if kind == "growth" and field == "adjoint":
        got = "--field adjoint, a normal matrix, whose powers have the norms of their eigenvalues"
        raise InputError("--field plain for --plot growth", got, "pass --plot region")
    if judged and sources[1] is not None:
        got = f"--plot {kind}"
        raise InputError("--plot values or plane beside --compare", got, "draw them one by one")
    chosen = field or ("plain" if kind == "growth" else "adjoint")
    pair = None if sources[1] is None else (sources[0], sources[1])
    return Picture(file, kind, chosen, method, step, *grid, pair)


def drawn_layers(
    picture: Picture, layers: Sequence[Layer], fields: Sequence[Layer], output: Output
) -> list[Layer]:
    """Those of the layers, or of the fields of time steps, that have a panel in the picture."""
    steps = picture.plot == "region" and picture.field == "adjoint"
    return picture.panels(fields if steps else layers, output)


def picture_bytes(
    picture: Picture,
    layers: Sequence[Layer],
    measured: dict[str, Measured],
    compared: dict[str, Measured],
    progress: Callable[[str], None],
    *,
    folded: bool,
) -> bytes:
    """The picture as the bytes of its file.

    Args:
        picture: what to draw.
        layers: those that have a panel.
        measured, compared: what was found of the two sources, by the name of the layer.
        progress: told what is drawn.
        folded: whether the layers are fields of a run, their normalisation folded in.
    """
    if picture.plot == "values":
        found = {item.name: measured[item.name] for item in layers}
        return _values(picture, found, compared)
    if picture.plot == "plane":
        return _planes(picture, [measured[item.name] for item in layers], compared, progress)
    return _fields(picture, layers, folded, progress)


def _values(picture: Picture, found: dict[str, Measured], compared: dict[str, Measured]) -> bytes:
    from analysis.plots import (
        figure_bytes,
        panels_bytes,
        plot_before_after,
        plot_singular_values,
    )

    limit, label = picture.limit()
    if picture.sources is None:
        spectra = {name: _singular(item) for name, item in found.items()}
        return figure_bytes(
            lambda ax: plot_singular_values(spectra, ax, limit=limit, label=label), picture.suffix
        )
    draws = [
        partial(
            plot_before_after,
            _singular(item),
            _singular(compared[name]),
            limit=limit,
            label=label,
            title=item.title,
        )
        for name, item in found.items()
    ]
    before, after = map(_short, picture.sources)
    words = f"before: {before} (grey),  after: {after} (blue)"
    return panels_bytes(draws, picture.suffix, height=3.0, title=words)


def _singular(item: Measured) -> np.ndarray:
    assert item.singular is not None  # layers without are not among the drawn
    return item.singular


def _planes(
    picture: Picture,
    layers: Sequence[Measured],
    compared: dict[str, Measured],
    progress: Callable[[str], None],
) -> bytes:
    from analysis.plots import panels_bytes, plot_symbol_norm

    draws: list[Draw] = []
    for item in layers:
        pair = [item, compared[item.layer.name]] if picture.sources else [item]
        # One scale for both: how much grew is the question.
        top = max(member.certificate.lower for member in pair) if picture.sources else None
        times = (" before", " after") if picture.sources else ("",)
        for member, time in zip(pair, times, strict=True):
            draws.append(
                partial(_plane, plot_symbol_norm, member, top, f"{item.layer.name}{time}", progress)
            )
    title = ""
    if picture.sources:
        title = "before: {},  after: {}".format(*map(_short, picture.sources))
    return panels_bytes(draws, picture.suffix, height=3.5, title=title)


def _plane(
    plot: Callable[..., Any],
    item: Measured,
    top: float | None,
    title: str,
    progress: Callable[[str], None],
    ax: Any,
) -> Any:
    progress(f"drawing {title}")
    return plot(item.layer.coupling, ax, certificate=item.certificate, top=top or None, title=title)


def _short(path: str) -> str:
    """The last two parts of a path: a title is no place for all."""
    return "/".join(Path(path).parts[-2:])


def _fields(
    picture: Picture, layers: Sequence[Layer], folded: bool, progress: Callable[[str], None]
) -> bytes:
    from analysis.plots import panels_bytes

    step = f"{picture.method} at h = {number(picture.step)}"
    if picture.plot == "growth":
        draws = [partial(_growth, picture, item, progress) for item in layers]
        title = f"powers of one step G = R(hK) on y′ = K y,  {step}"
        return panels_bytes(draws, picture.suffix, height=3.2, title=title)
    draws = [partial(_region, picture, item, progress) for item in layers]
    field = "y′ = K y" if picture.field == "plain" else "y′ = −KᵀK y"
    if folded and picture.field == "adjoint":
        field += " (normalisation folded in)"
    height = 4.4 if len(layers) == 1 else 3.5
    title = f"{field},  {step}"
    return panels_bytes(draws, picture.suffix, columns=1, height=height, title=title)


def _region(picture: Picture, layer: Layer, progress: Callable[[str], None], ax: Any) -> Any:
    import numpy as np

    from analysis import fields, spectra
    from analysis.backend import to_numpy
    from analysis.nonnormal import numerical_range
    from analysis.plots import plot_nonnormal
    from analysis.pseudospectra import normal_pseudospectra

    progress(f"drawing the field of {layer.name}")
    grid = layer.transformed(layer.grid(picture.size, picture.boundary))
    assert grid is not None and picture.method is not None and picture.step is not None
    contours: Callable[..., Any]
    if picture.field == "plain":
        blocks = fields.field_blocks(layer.coupling, grid)
        contours = partial(fields.field_pseudospectra, layer.coupling, grid)
    else:
        singular = to_numpy(spectra.singular_values(layer.coupling, grid)).astype(float)
        # More inputs than outputs: the rest of -K^T K is zero.
        rest = max(0, layer.coupling.channels_in * grid.size - singular.size)
        values = -(np.append(singular, np.zeros(min(rest, 1))) ** 2)
        blocks = values[:, None, None]
        contours = partial(normal_pseudospectra, values, points=480)
    found = numerical_range(blocks)
    size = "x".join(map(str, grid.shape))
    title = f"{layer.name} on {size}"
    return plot_nonnormal(picture.method, found, picture.step, ax, contours=contours, title=title)


def _growth(picture: Picture, layer: Layer, progress: Callable[[str], None], ax: Any) -> Any:
    from analysis import fields
    from analysis.kreiss import kreiss_lower_bound
    from analysis.methods import tableau
    from analysis.operator_steps import step_blocks
    from analysis.plots import plot_transient
    from analysis.stability import stability_function
    from analysis.transients import transient_growth

    progress(f"growth of {layer.name}")
    grid = layer.transformed(layer.grid(picture.size, picture.boundary))
    assert grid is not None and picture.method is not None and picture.step is not None
    blocks = fields.field_blocks(layer.coupling, grid, half=True)
    function = stability_function(tableau(picture.method))
    step = step_blocks(function, blocks, picture.step)
    result, kreiss = transient_growth(step, STEPS), kreiss_lower_bound(step)
    words = f"largest {result.peak:.3g} at n = {result.peak_time:.0f}"
    if kreiss.value == float("inf"):
        words = f"grows without bound, |R(hλ)| = {abs(kreiss.point):.3g}"
    size = "x".join(map(str, grid.shape))
    title = f"{layer.name} on {size}\n{words}"
    return plot_transient(result, ax, kreiss=kreiss, title=title, ylabel="‖Gⁿ‖")
