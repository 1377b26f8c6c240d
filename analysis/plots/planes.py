"""The plane of z = h lambda: functions of every kind of method, windows, and the shaded region."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.errors import InputError
from analysis.methods import Method, kind
from analysis.methods import method as named
from analysis.plots.style import DAMPING, FAINT, REGION_EDGE, TICK, short, signed
from analysis.rays import exceeds_one
from analysis.stability import StabilityFunction
from analysis.stability_of import Paired, Single, stability_of

Complex = NDArray[np.complex128]
Stepper = str | Method | Single

LEVELS = (0.25, 0.5, 0.75)
"""Where one step of the blue goes over into the next."""
_GROWTH = (1.5, 3.0, 6.0)
_ON_EDGE = 1e-9  # a modulus above one by less is on the edge: roots of multistep methods round
_MANY = 100.0  # heights in the length of a region from which on its lobes are finer than a line


def single(stepper: Stepper) -> tuple[str, Single]:
    """Short name and stability function of a method of one eigenvalue.

    Raises InputError for an unknown name and for methods with an explicit and an implicit part.
    """
    if not isinstance(stepper, str | Method):
        return "the method", stepper
    found = named(stepper) if isinstance(stepper, str) else stepper
    function = stability_of(found)
    if isinstance(function, Paired):
        raise InputError(
            "a method of one eigenvalue for its region",
            f"'{short(found.name)}', {kind(found)}",
            "pairs (z, w) decide its steps: draw its implicit-explicit region",
        )
    return short(found.name), function


def outside(function: Single, z: Complex) -> NDArray[np.bool_]:
    """Whether a step with z = h lambda grows, beyond the rounding errors of its evaluation."""
    if isinstance(function, StabilityFunction):
        return exceeds_one(function, z)
    return function.exceeds_one(z)


def thin(function: Single) -> bool:
    """Whether the region has no interior in the left half-plane: a piece of the imaginary axis."""
    near = 1e-3 * np.exp(1j * np.linspace(0.5, 1.0, 9) * np.pi)
    far = np.abs(function(np.multiply.outer(10.0 ** np.arange(0, 7), near)))
    return function.real_interval == 0 and not bool((far < 1 - _ON_EDGE).any())


def modulus_words(function: Single) -> str:
    """What must be at most one, as a title says it."""
    return "|R(z)|" if isinstance(function, StabilityFunction) else "all roots |ζ(z)|"


def sample(ax: Axes, axis: str, count: int) -> NDArray[np.float64]:
    """Positions evenly spaced on the paper along an axis."""
    line, limits = (ax.xaxis, ax.get_xlim()) if axis == "x" else (ax.yaxis, ax.get_ylim())
    transform = line.get_transform()
    ends = transform.transform(np.asarray(limits, dtype=float))
    return np.asarray(transform.inverted().transform(np.linspace(ends[0], ends[1], count)))


def moduli(function: Single, z: Complex) -> NDArray[np.float64]:
    """|R|, or the largest root, without infinities and with rounding errors at one taken off."""
    with np.errstate(all="ignore"):
        value = np.abs(function(z))
    # A pole lies far above every level drawn; its infinity would be a hole.
    value = np.nan_to_num(np.minimum(value, 1e6), nan=1e6)
    return np.asarray(np.where(np.abs(value - 1) <= _ON_EDGE, 1.0, value))


def counts(function: Single) -> tuple[int, int]:
    """Samples along x and y that show a region: roots cost far more than a product, lobes many."""
    if not isinstance(function, StabilityFunction):
        return 241, 181
    lobes = len(function.zeros)
    return min(max(601, 8 * lobes + 1), 1601), 301 if lobes > 75 else 601


def plane_moduli(
    function: Single, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """|R| at x (n,) and y (2 m + 1,), which is symmetric: shape (2 m + 1, n).

    Coefficients are real, so that the upper half is enough.
    """
    upper = np.array(y[len(y) // 2 :])
    upper[0] = 0.0
    half = moduli(function, x[None, :] + 1j * upper[:, None])
    return np.concatenate([half[:0:-1], half])


def shade_plane(function: Single, ax: Axes) -> None:
    """The region in the window of the axes, with its edge.

    A region without interior is a line on the imaginary axis, with the growth of a step beside it.
    """
    x, y = (sample(ax, axis, n) for axis, n in zip("xy", counts(function), strict=True))
    modulus = plane_moduli(function, x, y)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.axvline(0, color=FAINT, linewidth=0.8)
    if thin(function):
        end = min(function.imaginary_interval, float(y[-1]))
        lines = ax.contour(
            x, y, modulus, levels=_GROWTH, colors=FAINT, linewidths=0.7, linestyles="dotted"
        )
        ax.clabel(lines, fontsize=TICK - 1, fmt=lambda level: f"{level:g}")
        ax.plot([0, 0], [-end, end], color=REGION_EDGE, linewidth=3.2, solid_capstyle="butt")
        return
    shade(ax, x, y, modulus)
    # Lobes finer than a line would run together to a solid band.
    lobes = len(function.zeros) if isinstance(function, StabilityFunction) else 1
    width = min(1.6, max(64 / max(lobes, 1), 0.3))
    ax.contour(x, y, modulus, levels=[1], colors=REGION_EDGE, linewidths=width)


def shade(
    ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], modulus: NDArray[np.float64]
) -> None:
    """Fill where the modulus is at most one in four steps."""
    levels = [-1e-9, *LEVELS, 1 + 1e-9]
    ax.contourf(x, y, modulus, levels=levels, cmap=DAMPING, vmin=0, vmax=1)


def region_window(function: Single, points: Complex | None = None) -> tuple[float, float, float]:
    """Left, right and top edge of a window that holds the region, and points if any.

    Of a region that reaches infinity it holds the unstable rest.
    """
    explicit = isinstance(function, StabilityFunction) and len(function.denominator) == 1
    left, right, top = _explicit_window(function) if explicit else _any_window(function)
    if points is not None and points.size:
        left, right = min(left, 1.1 * points.real.min()), max(right, 1.1 * points.real.max())
        top = max(top, 1.1 * np.abs(points.imag).max())
    return left, right, top


def _explicit_window(function: Single) -> tuple[float, float, float]:
    """The window round the bounded region of a polynomial, long and thin where it is so."""
    real = _reach(function, -1.0)
    left, right = -1.15 * real - 0.5, 0.6 * real + 1.0
    top = real + 2.0
    # A Chebyshev region is long and thin: narrow the window to what is in it, thrice.
    for _ in range(3):
        x, y = np.linspace(left, right, 301), np.linspace(0, top, 301)
        inside = np.abs(function(x[None, :] + 1j * y[:, None])) <= 1
        rows, columns = (np.flatnonzero(inside.any(axis=k)) for k in (1, 0))
        top = 1.2 * max(y[min(rows.max(initial=0) + 1, 300)], 0.02 * top)
        # Some methods are stable on islands in the right half-plane too.
        end = float(x[min(columns.max(initial=0) + 1, 300)])
        right = max(end + 0.02 * real, 0.12 * real + 0.5)
    if real > _MANY * top:
        left, right = -1.04 * real, 0.04 * real
    return left, right, top


def _reach(function: Single, direction: float) -> float:
    """How far the region reaches along a ray from 0, for the choice of a window only."""
    t = np.geomspace(1e-2, 1e7, 5000)
    off = np.flatnonzero(np.abs(function(direction * t)) > 1 + 1e-9)
    return float(t[off[0]]) if off.size and off[0] > 0 else 1.0


def _any_window(function: Single) -> tuple[float, float, float]:
    """The window round the bounded one of the stable and the unstable set, by sampling."""
    if thin(function):
        end = function.imaginary_interval
        end = end if 0 < end < math.inf else 2.0
        return -1.3 * end, 1.3 * end, 1.5 * end
    radii, rays = np.geomspace(1e-3, 1e4, 141), np.exp(1j * np.linspace(0, np.pi, 73))
    stable = moduli(function, np.multiply.outer(radii, rays)) <= 1
    changes = np.flatnonzero((stable[1:] != stable[:-1]).any(axis=1))
    if not changes.size or radii[changes[-1] + 1] > 5e3:
        return -4.0, 4.0, 4.0  # both sets reach infinity: the middle of it
    size = 1.1 * radii[changes[-1] + 1]
    x, y = np.linspace(-size, size, 201), np.linspace(0, size, 101)
    bounded = moduli(function, x[None, :] + 1j * y[:, None]) <= 1
    unbounded = bool(stable[-1].sum() > stable.shape[1] / 2)
    bounded ^= unbounded
    rows, columns = (np.flatnonzero(bounded.any(axis=k)) for k in (1, 0))
    top, left, right = (float(v) for v in (y[rows[-1]], x[columns[0]], x[columns[-1]]))
    room = 0.15 * max(right - left, top)
    if unbounded:
        # The stable half-plane is what a reader looks for, the set to its right tells the method.
        return min(left - room, -0.5 * right), right + room, top + room
    return left - room, max(right, 0.0) + room, top + room


def keep_shape(ax: Axes, anchor: str = "C") -> bool:
    """The same unit on both axes, unless that made the picture a strip; whether it is so."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    wide, high = right - left, top - bottom
    linear = ax.get_xscale() == ax.get_yscale() == "linear"
    if linear and max(wide, high) < 4 * min(wide, high):
        ax.set_aspect("equal", anchor=anchor)
        return True
    return False


def set_scale(
    ax: Axes,
    axis: str,
    low: float,
    high: float,
    reach: float,
    steps: tuple[int, ...] = (1, 2, 5),
) -> None:
    """Limits of an axis; logarithmic beyond the region where the values reach far beyond it.

    Ticks are at multiples of powers of ten by `steps`, by one alone over many decades.
    """
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
    ticks = _far_ticks(low, high, reach, steps)
    line.set_ticks(ticks, [signed(t) for t in ticks])
    line.set_ticks([], minor=True)


def _far_ticks(low: float, high: float, reach: float, steps: tuple[int, ...]) -> list[float]:
    """Round numbers on both sides of the edge of the region: 1, 2, 5 a decade, or decades alone."""
    decades = np.arange(np.floor(np.log10(reach / 3)), np.ceil(np.log10(max(-low, high))) + 1)
    steps = steps if decades.size <= 5 else (1,)
    rounds = [float(m * 10.0**d) for d in decades for m in steps]
    apart = 1.3 if len(steps) > 1 else 3.0  # few ticks are for axes with little room
    kept = [r for r in rounds if r > apart * reach or reach / 3 < r < reach / 1.3] + [reach]
    ticks = sorted({0.0, *kept, *(-r for r in kept)})
    return [t for t in ticks if 1.25 * low <= t <= 1.25 * high]
