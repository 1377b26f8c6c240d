"""Stability regions of time steppers, and spectra times step size over them (theory §4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.clouds import TOLERANCE_FACTOR
from analysis.methods import tableau
from analysis.plots.style import (
    DAMPING,
    FAINT,
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
from analysis.rays import exceeds_one
from analysis.stability import StabilityFunction, real_stability_interval, stability_function

Complex = NDArray[np.complex128]
_BEYOND = GRADE_COLOURS["violated"]
_ROOM = 2.0  # widths of the region on each side of it: further out it would be a dot


def plot_stability_region(
    function: StabilityFunction,
    ax: Axes,
    *,
    title: str = "",
    points: np.ndarray | None = None,
    around: np.ndarray | None = None,
) -> Axes:
    """The region ``|R(z)| <= 1`` of a time stepper in the plane of ``z = h lambda``.

    Args:
        function: stability function ``R``, called on complex arrays.
        ax: the axes.
        title: written above them.
        points: values ``h lambda`` marked in the plane, complex, shape ``(n,)``.
        around: further complex values that the window holds, not marked, shape ``(m,)``; as far as
            the region stays readable.
    """
    cloud = _Cloud.of(function, points if points is not None else [])
    left, right, top = _region_window(function, cloud.values)
    if around is not None and around.size:
        room = _ROOM * max(right - left, 2 * top)
        left = min(left, max(1.1 * around.real.min(), left - room))
        right = max(right, min(1.1 * around.real.max(), right + room))
        top = max(top, min(1.1 * np.abs(around.imag).max(), top + room))
    ax.set_xlim(left, right)
    ax.set_ylim(-top, top)
    _shade_plane(function, ax)
    ax.plot(cloud.inside.real, cloud.inside.imag, ".", color=INK, markersize=5)
    ax.plot(cloud.beyond.real, cloud.beyond.imag, ".", color=_BEYOND, markersize=5)
    tidy(
        ax,
        title=f"{title}: stable where |R(z)| ≤ 1 (blue; darker damps more)",
        xlabel="Re z,   z = h λ",
        ylabel="Im z",
    )
    if max(right - left, 2 * top) < 4 * min(right - left, 2 * top):
        ax.set_aspect("equal")
    return ax


def plot_spectra_over_region(
    method: str, clouds: Mapping[str, np.ndarray | Sequence[complex]], ax: Axes
) -> Axes:
    """Spectra times step size over the stability region of a method (theory §4.2, §4.7).

    Real spectra are drawn as one row a layer over the stable interval, complex ones in the plane.
    Values with ``|R| > 1`` have the colour of *violated* and are counted. An axis that reaches far
    beyond the region is linear in the region and logarithmic outside it.

    Args:
        method: name of a Runge-Kutta method.
        clouds: values ``h lambda`` by the name of the layer, real or complex, of any shape.
        ax: the axes; ``rows_height(len(clouds))`` inches are enough for rows.

    Raises:
        InputError: for an unknown method.
    """
    function = stability_function(tableau(method))
    found = {name: _Cloud.of(function, values) for name, values in clouds.items()}
    if all(cloud.real for cloud in found.values()):
        return _draw_rows(method, function, found, ax)
    return _draw_plane(method, function, found, ax)


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Finite values of a spectrum times step size, and which of them ``|R| > 1`` puts outside."""

    values: Complex
    outside: NDArray[np.bool_]
    broken: int

    @classmethod
    def of(cls, function: StabilityFunction, values: object) -> _Cloud:
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
        return cls(z, exceeds_one(function, z), points.size - finite.size)

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


def _draw_rows(
    method: str, function: StabilityFunction, clouds: Mapping[str, _Cloud], ax: Axes
) -> Axes:
    """One row a layer on the real axis."""
    interval = real_stability_interval(function)
    everything = np.concatenate([[0.0], *(cloud.values.real for cloud in clouds.values())])
    reach = interval if 0 < interval < np.inf else max(1.0, float(np.abs(everything).max()) / 4)
    set_rows(ax, list(clouds))
    left, right = min(-1.15 * reach, everything.min()), max(0.15 * reach, everything.max())
    _set_scale(ax, "x", left, right, reach)
    x = _samples(ax, "x")
    # Edges of the region in the middle of a sample would look ragged: put samples at them.
    edges = [-interval, 0.0] if np.isfinite(interval) else [0.0]
    x = np.unique(np.concatenate([x, edges]))
    _shade(function, ax, x, np.array(ax.get_ylim()), np.stack([x, x]))
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
    stable = (
        f"stable for {signed(-interval)} ≤ hλ ≤ 0" if np.isfinite(interval) else "stable for hλ ≤ 0"
    )
    tidy(
        ax,
        title=f"{method}: {stable} (blue; darker damps more)",
        xlabel="h λ,  step size times eigenvalue",
    )
    return ax


def _draw_plane(
    method: str, function: StabilityFunction, clouds: Mapping[str, _Cloud], ax: Axes
) -> Axes:
    """All layers in the complex plane."""
    empty = np.zeros(0, dtype=complex)
    left, right, top = _region_window(function, empty)
    points = np.concatenate([cloud.values for cloud in clouds.values()])
    # The edge of a window has no meaning of its own: a round number reads better.
    reach_x, reach_y = float(f"{-left:.1g}"), float(f"{top:.1g}")
    _set_scale(ax, "x", min(left, points.real.min()), max(right, points.real.max()), reach_x)
    high = max(top, float(np.abs(points.imag).max()))
    _set_scale(ax, "y", -high, high, reach_y)
    _shade_plane(function, ax)
    for colour, (name, cloud) in zip(layer_colours(len(clouds)), clouds.items(), strict=True):
        label = f"{name}: {cloud.verdict()}"
        ax.plot(cloud.inside.real, cloud.inside.imag, ".", color=colour, markersize=3, label=label)
        ax.plot(cloud.beyond.real, cloud.beyond.imag, "x", color=_BEYOND, markersize=3, mew=0.7)
    ax.legend(
        frameon=False, fontsize=NOTE, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=3
    )
    linear = ax.get_xscale() == ax.get_yscale() == "linear"
    if linear and max(right - left, 2 * top) < 4 * min(right - left, 2 * top):
        ax.set_aspect("equal", anchor="W")
    tidy(
        ax,
        title=f"{method}: stable where |R(hλ)| ≤ 1 (blue; darker damps more)",
        xlabel="Re hλ",
        ylabel="Im hλ",
    )
    return ax


def _set_scale(ax: Axes, axis: str, low: float, high: float, reach: float) -> None:
    """Limits of an axis; logarithmic beyond the region where the values reach far beyond it."""
    line = ax.xaxis if axis == "x" else ax.yaxis
    set_limits = ax.set_xlim if axis == "x" else ax.set_ylim
    far = max(-low, high)
    if far <= 2 * reach:
        margin = 0.04 * (high - low)
        set_limits(low - margin, high + margin)
        return
    set_scale = ax.set_xscale if axis == "x" else ax.set_yscale
    set_scale("symlog", linthresh=reach, linscale=1.0)
    set_limits(min(1.25 * low, -0.1 * reach), max(1.25 * high, 0.1 * reach))
    ticks = _far_ticks(low, high, reach)
    line.set_ticks(ticks, [signed(t) for t in ticks])
    line.set_ticks([], minor=True)


def _far_ticks(low: float, high: float, reach: float) -> list[float]:
    """Round numbers on both sides of the edge of the region: 1, 2, 5 a decade, or decades alone."""
    decades = np.arange(np.floor(np.log10(reach / 3)), np.ceil(np.log10(max(-low, high))) + 1)
    steps = (1, 2, 5) if decades.size <= 5 else (1,)
    rounds = [float(m * 10.0**d) for d in decades for m in steps]
    kept = [r for r in rounds if r > 1.3 * reach or reach / 3 < r < reach / 1.3] + [reach]
    ticks = sorted({0.0, *kept, *(-r for r in kept)})
    return [t for t in ticks if 1.25 * low <= t <= 1.25 * high]


def _samples(ax: Axes, axis: str, count: int = 601) -> NDArray[np.float64]:
    """Positions evenly spaced on the paper along an axis."""
    line, limits = (ax.xaxis, ax.get_xlim()) if axis == "x" else (ax.yaxis, ax.get_ylim())
    transform = line.get_transform()
    ends = transform.transform(np.asarray(limits, dtype=float))
    return np.asarray(transform.inverted().transform(np.linspace(ends[0], ends[1], count)))


def _shade_plane(function: StabilityFunction, ax: Axes) -> None:
    """The region in the window of the axes, with its edge."""
    x, y = _samples(ax, "x"), _samples(ax, "y")
    modulus = _shade(function, ax, x, y, x[None, :] + 1j * y[:, None])
    ax.contour(x, y, modulus, levels=[1], colors=REGION_EDGE, linewidths=1.6)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.axvline(0, color=FAINT, linewidth=0.8)


def _shade(
    function: StabilityFunction, ax: Axes, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> NDArray[np.float64]:
    """Fill ``|R(z)| <= 1`` in four steps; returns ``|R|``."""
    modulus = np.abs(function(z))
    # A pole lies far above every level drawn; its infinity would be a hole.
    modulus = np.nan_to_num(np.minimum(modulus, 1e6), nan=1e6)
    levels = [-1e-9, 0.25, 0.5, 0.75, 1 + 1e-9]
    ax.contourf(x, y, modulus, levels=levels, cmap=DAMPING, vmin=0, vmax=1)
    return np.asarray(modulus)


def _region_window(
    function: StabilityFunction, points: np.ndarray | None
) -> tuple[float, float, float]:
    """Left, right and top edge of a window that holds the region, or the middle of infinity."""
    implicit = len(function.denominator) > 1
    real = 4.0 if implicit else _reach(function, -1.0)
    left, right = (-4.0, 4.0) if implicit else (-1.15 * real - 0.5, 0.12 * real + 0.5)
    top = 4.0 if implicit else real + 2.0
    # A Chebyshev region is long and thin: narrow the window to what is in it, twice.
    for _ in range(0 if implicit else 3):
        x, y = np.linspace(left, right, 301), np.linspace(0, top, 301)
        inside = np.abs(function(x[None, :] + 1j * y[:, None])) <= 1
        rows = np.flatnonzero(inside.any(axis=1))
        top = 1.2 * max(y[min(rows.max(initial=0) + 1, 300)], 0.02 * top)
    if points is not None and points.size:
        left, right = min(left, 1.1 * points.real.min()), max(right, 1.1 * points.real.max())
        top = max(top, 1.1 * np.abs(points.imag).max())
    return left, right, top


def _reach(function: StabilityFunction, direction: float) -> float:
    """How far the region reaches along a ray from 0, for the choice of a window only."""
    t = np.geomspace(1e-2, 1e5, 4000)
    outside = np.flatnonzero(np.abs(function(direction * t)) > 1 + 1e-9)
    return float(t[outside[0]]) if outside.size and outside[0] > 0 else 1.0


def plot_method_region(method: str, ax: Axes) -> Axes:
    """The stability region of a named Runge-Kutta method."""
    return plot_stability_region(stability_function(tableau(method)), ax, title=method)
