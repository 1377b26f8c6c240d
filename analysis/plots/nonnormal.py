"""Non-normal operators over a stability region, and their growth step by step (theory §4.7)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import maximum_filter

from analysis.errors import InputError
from analysis.kreiss import KreissBound
from analysis.krylov import Operator
from analysis.methods import Method
from analysis.nonnormal import NumericalRange, numerical_range
from analysis.plots.planes import single
from analysis.plots.regions import plot_stability_region
from analysis.plots.style import FAINT, GRADE_COLOURS, INK, MINUS, NOTE, signed, tidy
from analysis.pseudospectra import Pseudospectra, Window, pseudospectra
from analysis.transients import TransientGrowth

RANGE_COLOUR = "#CC79A7"
"""Reddish purple, the boundary of the numerical range."""

_LEVELS = 5  # more contours than these no legend tells apart


def plot_nonnormal(
    method: str | Method,
    found: NumericalRange | Operator,
    step_size: float,
    ax: Axes,
    *,
    contours: Pseudospectra | Callable[[Window], Pseudospectra] | None = None,
    title: str = "",
) -> Axes:
    """Eigenvalues, numerical range and pseudospectra times step size over a stability region.

    Eigenvalues inside the region bound growth in the long run only. Where the numerical range or
    the contours of small ``epsilon`` leave it, norms can grow first (theory §4.7). Contours are the
    edges of ``{z : sigma_min(z I - h A) <= epsilon}``.

    Args:
        method: a method of one eigenvalue, or its name.
        found: a numerical range, or the operator ``A`` itself, of which both results are computed
            in the window drawn.
        step_size: ``h``, above zero.
        ax: the axes; the legend stands to the right of them.
        contours: pseudospectra of ``A`` (not of ``h A``), or a function that gives them in the
            window drawn (unit of ``A``); none are drawn without them.
        title: begins that of the axes; default the name of the method.

    Raises:
        InputError: for an unknown method, a step size that is not positive, and operators that are
            not square or finite.
    """
    if not (step_size > 0 and np.isfinite(step_size)):
        raise InputError("a positive step size", step_size, "pass h = 0.5")
    name, function = single(method)
    known = found if isinstance(found, NumericalRange) else numerical_range(found)
    edge = step_size * np.append(known.points, known.points[0])
    values = known.eigenvalues
    if values is None and isinstance(contours, Pseudospectra):
        values = contours.eigenvalues
    points = None if values is None else step_size * values
    plot_stability_region(function, ax, title=title or name, points=points, around=edge)
    if contours is None and not isinstance(found, NumericalRange):
        contours = partial(pseudospectra, found, points=120)
    if contours is not None and not isinstance(contours, Pseudospectra):
        window = np.array([*ax.get_xlim(), *ax.get_ylim()], dtype=float) / step_size
        contours = contours((window[0], window[1], window[2], window[3]))
    handles = [] if contours is None else _draw_contours(contours, step_size, ax)
    # Below the eigenvalues, which of a symmetric operator lie on it.
    ax.plot(edge.real, edge.imag, color=RANGE_COLOUR, linewidth=1.8, zorder=1.9)
    ax.legend(
        handles=[*_marks(points is not None, _seen(edge, ax)), *handles],
        frameon=False,
        fontsize=NOTE,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
    )
    ax.set_anchor("W")
    return tidy(ax, xlabel="Re hλ", ylabel="Im hλ")


def _seen(edge: np.ndarray, ax: Axes) -> str:
    """Words for how much of a curve the window shows, none where it shows all."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    across = (left <= edge.real) & (edge.real <= right)
    if (across & (bottom <= edge.imag) & (edge.imag <= top)).all():
        return ""
    return f",\nreaches {signed(float(np.abs(edge).max()))}, beyond the picture"


def _draw_contours(contours: Pseudospectra, step_size: float, ax: Axes) -> list[Line2D]:
    """Contours at powers of ten, dark for small ones; returns lines for the legend."""
    sigma = step_size * contours.sigma_min
    levels = _decades(sigma)
    if not levels:
        return []
    colours = colormaps["inferno"](np.linspace(0.15, 0.75, len(levels)))
    x, y = step_size * contours.x, step_size * contours.y
    logs = np.log10(np.maximum(sigma, 1e-300))
    limits = ax.get_xlim(), ax.get_ylim()
    # Below the eigenvalues: where these are dense, rings round each would hide them.
    look: dict[str, Any] = {"linewidths": 1.1, "linestyles": "solid", "zorder": 1.8}
    ax.contour(x, y, logs, levels=levels, colors=colours, **look)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    words = [f"log₁₀ ε = {level}".replace("-", MINUS) for level in levels]
    return [
        Line2D([], [], color=colour, linewidth=1.1, label=word)
        for colour, word in zip(colours[::-1], words[::-1], strict=True)
    ]


def _decades(sigma: np.ndarray) -> list[int]:
    """Whole powers of ten that the values cross, thinned to a few."""
    positive = sigma[sigma > 0]
    if not positive.size:
        return []
    # Below the rounding of the largest value contours show noise, and so do those that hold no
    # square of three points: dots round single eigenvalues.
    held = maximum_filter(sigma, size=3)[1:-1, 1:-1]
    low = max(held.min(initial=np.inf), 1e-14 * positive.max())
    if not low < np.inf:
        return []
    found = list(range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(sigma.max()))) + 1))
    stride = -(-len(found) // _LEVELS)
    return found[::-1][::stride][::-1] if found else []


def _marks(with_eigenvalues: bool, seen: str) -> list[Line2D]:
    """Lines of the legend for what is not a contour."""
    outside = GRADE_COLOURS["violated"]
    dots = [
        Line2D([], [], color=INK, marker=".", linestyle="", label="eigenvalue, |R(hλ)| ≤ 1"),
        Line2D([], [], color=outside, marker=".", linestyle="", label="eigenvalue, |R(hλ)| > 1"),
    ]
    words = f"numerical range of hA{seen}"
    edge = Line2D([], [], color=RANGE_COLOUR, linewidth=1.8, label=words)
    return [*(dots if with_eigenvalues else []), edge]


def plot_transient(
    result: TransientGrowth,
    ax: Axes,
    *,
    kreiss: KreissBound | None = None,
    title: str = "",
    ylabel: str = "",
) -> Axes:
    """Norms of powers, products or an exponential over steps, with the Kreiss lower bound.

    The vertical axis is logarithmic where the norms span more than a decade.

    Args:
        result: norms over steps or time.
        ax: the axes.
        kreiss: drawn as a line that the largest norm must reach, sooner or later.
        title: of the axes.
        ylabel: beside them; default that of products of steps, or of an exponential.
    """
    steps = np.issubdtype(result.times.dtype, np.integer)
    drawn = np.where(np.isfinite(result.norms), result.norms, np.nan)
    marker = "." if len(drawn) <= 60 else ""
    name = "norm" if result.exact else "norm (from below)"
    ax.plot(result.times, drawn, color=INK, marker=marker, linewidth=1.4, label=name)
    # Level lines with a corner at every step, so that the legend keeps clear of them.
    flat = np.ones(result.times.shape)
    ax.plot(result.times, flat, color=FAINT, linewidth=0.8, linestyle=":")
    held = drawn[np.isfinite(drawn) & (drawn > 0)]
    if kreiss is not None and np.isfinite(kreiss.value):
        label = f"Kreiss constant ≥ {kreiss.value:.3g}"
        level = kreiss.value * flat
        ax.plot(result.times, level, color=RANGE_COLOUR, linewidth=1.6, ls="--", label=label)
        held = np.append(held, kreiss.value)
    if held.size and held.max() > 10 * held.min():
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, 1.2 * max(1.0, held.max(initial=0)))
    if steps:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize=NOTE)
    return tidy(
        ax,
        title=title
        or f"largest {result.peak:.3g} at {'n' if steps else 't'} = {result.peak_time:.3g}",
        xlabel="steps n" if steps else "time t",
        ylabel=ylabel or ("‖Gₙ ⋯ G₁‖" if steps else "‖exp(tA)‖"),
        grid="y",
    )
