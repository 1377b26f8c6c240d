"""Stability regions of time steppers, and spectra times step size over them (theory §4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.clouds import TOLERANCE_FACTOR
from analysis.methods import Method
from analysis.plots.planes import (
    Complex,
    keep_shape,
    moduli,
    modulus_words,
    outside,
    region_window,
    sample,
    set_scale,
    shade,
    shade_plane,
    single,
    thin,
)
from analysis.plots.style import (
    GRADE_COLOURS,
    INK,
    NOTE,
    REGION_EDGE,
    layer_colours,
    note,
    say_empty,
    set_rows,
    signed,
    tidy,
)
from analysis.stability_of import Single

_BEYOND = GRADE_COLOURS["violated"]
_ROOM = 2.0  # widths of the region on each side of it: further out it would be a dot


def plot_method_region(method: str | Method, ax: Axes) -> Axes:
    """The stability region of a method of one eigenvalue.

    Runge-Kutta methods by ``|R(z)|``, multistep ones by their largest root, those of second-order
    systems by their interval on the imaginary axis. The window holds the region, or of a region
    that reaches infinity the unstable rest.

    Args:
        method: a method or its name, ``.toml`` files and whole tables included.
        ax: the axes.

    Raises:
        InputError: for an unknown method, and for one with an explicit and an implicit part.
    """
    name, function = single(method)
    return plot_stability_region(function, ax, title=name)


def plot_stability_region(
    function: Single,
    ax: Axes,
    *,
    title: str = "",
    points: np.ndarray | None = None,
    around: np.ndarray | None = None,
) -> Axes:
    """The stability region of a time stepper in the plane of ``z = h lambda``.

    Args:
        function: of ``analysis.stability_of``, called on complex arrays.
        ax: the axes.
        title: begins the line above them.
        points: values ``h lambda`` marked in the plane, complex, shape ``(n,)``. Without them the
            window is half as wide again as high, as a figure is.
        around: further complex values that the window holds, not marked, shape ``(m,)``; as far as
            the region stays readable.
    """
    cloud = _Cloud.of(function, points if points is not None else [])
    left, right, top = region_window(function, cloud.values)
    if points is None and around is None:
        more = max(3 * top - (right - left), 0.0) / 2
        left, right = left - more, right + more
    elif around is not None and around.size:
        room = _ROOM * max(right - left, 2 * top)
        left = min(left, max(1.1 * around.real.min(), left - room))
        right = max(right, min(1.1 * around.real.max(), right + room))
        top = max(top, min(1.1 * np.abs(around.imag).max(), top + room))
    ax.set_xlim(left, right)
    ax.set_ylim(-top, top)
    shade_plane(function, ax)
    ax.plot(cloud.inside.real, cloud.inside.imag, ".", color=INK, markersize=5)
    ax.plot(cloud.beyond.real, cloud.beyond.imag, ".", color=_BEYOND, markersize=5)
    equal = keep_shape(ax)
    return tidy(
        ax,
        title=_beside(title, _region_words(function)),
        xlabel="Re z,   z = h λ",
        ylabel="Im z" if equal else "Im z (stretched)",
    )


def _region_words(function: Single) -> str:
    """What is drawn in blue."""
    if not thin(function):
        return f"stable where {modulus_words(function)} ≤ 1 (blue; darker damps more)"
    end = function.imaginary_interval
    stable = f"stable for z = iy, |y| < {signed(end)}" if end else "stable for z = 0 alone"
    return f"{stable} (dotted: growth a step)"


def _beside(name: str, words: str) -> str:
    """A title: the words beside the name or, where both are long, below it."""
    return f"{name}: {words}" if len(name) + len(words) < 66 else f"{name}:\n{words}"


def plot_spectra_over_region(
    method: str | Method, clouds: Mapping[str, np.ndarray | Sequence[complex]], ax: Axes
) -> Axes:
    """Spectra times step size over the stability region of a method (theory §4.2, §4.7).

    Real spectra are drawn as one row a layer over the stable interval, complex ones in the plane.
    Values with ``|R| > 1`` have the colour of *violated* and are counted. An axis that reaches far
    beyond the region is linear in the region and logarithmic outside it.

    Args:
        method: a method of one eigenvalue, or its name.
        clouds: values ``h lambda`` by the name of the layer, real or complex, of any shape.
        ax: the axes; ``rows_height(len(clouds))`` inches are enough for rows.

    Raises:
        InputError: for an unknown method, and for one with an explicit and an implicit part.
    """
    name, function = single(method)
    found = {layer: _Cloud.of(function, values) for layer, values in clouds.items()}
    if all(cloud.real for cloud in found.values()):
        return _draw_rows(name, function, found, ax)
    return _draw_plane(name, function, found, ax)


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Finite values of a spectrum times step size, and which of them ``|R| > 1`` puts outside."""

    values: Complex
    outside: NDArray[np.bool_]
    broken: int

    @classmethod
    def of(cls, function: Single, values: object) -> _Cloud:
        given = np.ravel(np.asarray(values))
        single = given.dtype in (np.float32, np.complex64)
        points = given.astype(complex)
        finite = points[np.isfinite(points)]
        size = float(np.abs(finite).max(initial=0.0))
        # Rounding puts real, imaginary and zero eigenvalues beside the axes; count them as on it.
        tolerance = TOLERANCE_FACTOR * (2.0**-24 if single else 2.0**-53) * size
        re = np.where(np.abs(finite.real) <= tolerance, 0.0, finite.real)
        im = np.where(np.abs(finite.imag) <= tolerance, 0.0, finite.imag)
        z = re + 1j * im
        return cls(z, outside(function, z), points.size - finite.size)

    @property
    def real(self) -> bool:
        return not self.values.imag.any()

    @property
    def inside(self) -> Complex:
        return self.values[~self.outside]

    @property
    def beyond(self) -> Complex:
        return self.values[self.outside]

    def verdict(self) -> str:
        """Count and extent in a few words."""
        if self.broken:
            return f"{self.broken} not finite"
        if not self.values.size:
            return "no values"
        if not self.beyond.size:
            return f"all inside, to {signed(self.values.real.min())}" if self.real else "all inside"
        count = f"{self.beyond.size} of {self.values.size} beyond"
        furthest = self.beyond[np.argmax(np.abs(self.beyond))]
        return f"{count}, to {signed(furthest.real)}" if self.real else count


def _draw_rows(method: str, function: Single, clouds: Mapping[str, _Cloud], ax: Axes) -> Axes:
    """One row a layer on the real axis."""
    interval = function.real_interval
    everything = np.concatenate([[0.0], *(cloud.values.real for cloud in clouds.values())])
    reach = interval if 0 < interval < np.inf else max(1.0, float(np.abs(everything).max()) / 4)
    set_rows(ax, list(clouds))
    left, right = min(-1.15 * reach, everything.min()), max(0.15 * reach, everything.max())
    set_scale(ax, "x", left, right, reach)
    x = sample(ax, "x", 1601)
    # Edges of the region in the middle of a sample would look ragged: put samples at them.
    edges = [-interval, 0.0] if np.isfinite(interval) else [0.0]
    x = np.unique(np.concatenate([x, edges]))
    shade(
        ax,
        x,
        np.array(ax.get_ylim()),
        np.stack([moduli(function, np.asarray(x, dtype=complex))] * 2),
    )
    for edge in edges:
        ax.axvline(edge, color=REGION_EDGE, linewidth=1.4)
    for row, cloud in enumerate(clouds.values()):
        for values, colour in ((cloud.inside, INK), (cloud.beyond, _BEYOND)):
            ax.plot(
                values.real,
                np.full(values.size, row),
                linestyle="",
                marker="|",
                markersize=11,
                markeredgewidth=0.9,
                alpha=0.55,
                color=colour,
            )
        worse = bool(cloud.beyond.size or cloud.broken)
        note(ax, row, cloud.verdict(), _BEYOND if worse else INK)
    if not clouds:
        say_empty(ax, "no spectra to show")
    if not interval:
        stable = "stable for no real hλ but 0"
    else:
        until = f"{signed(-interval)} ≤ " if np.isfinite(interval) else ""
        stable = f"stable for {until}hλ ≤ 0 (blue; darker damps more)"
    return tidy(ax, title=_beside(method, stable), xlabel="h λ,  step size times eigenvalue")


def _draw_plane(method: str, function: Single, clouds: Mapping[str, _Cloud], ax: Axes) -> Axes:
    """All layers in the complex plane."""
    left, right, top = region_window(function)
    points = np.concatenate([cloud.values for cloud in clouds.values()])
    # The edge of a window has no meaning of its own: a round number reads better.
    reach_x, reach_y = (float(f"{size:.1g}") for size in (max(-left, right), top))
    set_scale(ax, "x", min(left, points.real.min()), max(right, points.real.max()), reach_x)
    high = max(top, float(np.abs(points.imag).max()))
    set_scale(ax, "y", -high, high, reach_y)
    shade_plane(function, ax)
    for colour, (name, cloud) in zip(layer_colours(len(clouds)), clouds.items(), strict=True):
        label = f"{name}: {cloud.verdict()}"
        ax.plot(cloud.inside.real, cloud.inside.imag, ".", color=colour, markersize=3, label=label)
        ax.plot(cloud.beyond.real, cloud.beyond.imag, "x", color=_BEYOND, markersize=3, mew=0.7)
    ax.legend(
        frameon=False, fontsize=NOTE, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=3
    )
    keep_shape(ax, "W")
    words = _region_words(function).replace("z", "hλ")
    return tidy(ax, title=_beside(method, words), xlabel="Re hλ", ylabel="Im hλ")
