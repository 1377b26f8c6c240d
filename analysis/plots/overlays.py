"""Edges of several stability regions in one plane, by step or by the work of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.adviser import work
from analysis.errors import InputError
from analysis.methods import Method
from analysis.methods import method as named
from analysis.plots.planes import (
    counts,
    keep_shape,
    plane_moduli,
    region_window,
    sample,
    set_scale,
    single,
    thin,
)
from analysis.plots.style import FAINT, Dashes, legend_beside, method_look, tidy
from analysis.stability_of import Single

MOST_REGIONS = 16
"""Edges that colours and dashes tell apart."""
_FAR = 15.0  # regions that differ by more than this factor need a logarithmic axis


def plot_regions(methods: Sequence[str | Method], ax: Axes, *, per_stage: bool = False) -> Axes:
    """The edges ``|R| = 1`` of several methods, or ``|zeta| = 1`` of their largest roots.

    Axes are linear up to the smallest region and logarithmic beyond it where the largest one is
    more than fifteen times as large.

    Args:
        methods: methods of one eigenvalue or their names, at most ``MOST_REGIONS``.
        ax: the axes; the legend stands to the right of them.
        per_stage: draw ``z`` over the evaluations and implicit solves of a step
            (``analysis.adviser.work``), so that equal places mean equal work per unit of time.

    Raises:
        InputError: for no methods or too many, unknown ones, and such with an explicit and an
            implicit part.
    """
    if not 0 < len(methods) <= MOST_REGIONS:
        raise InputError(
            f"1 to {MOST_REGIONS} methods beside one another", len(methods), "name fewer of them"
        )
    found = [named(m) if isinstance(m, str) else m for m in methods]
    parts = [single(method) for method in found]
    scales = [float(sum(work(method))) if per_stage else 1.0 for method in found]
    _set_window([function for _, function in parts], scales, ax)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.axvline(0, color=FAINT, linewidth=0.8)
    handles = []
    for k, ((name, function), scale) in enumerate(zip(parts, scales, strict=True)):
        colour, dashes = method_look(k)
        _draw_edge(function, scale, ax, colour, dashes)
        words = f"{name}{_side(function)}" + (f", work {scale:g}" if per_stage else "")
        handles.append(Line2D([], [], color=colour, ls=dashes, linewidth=1.6, label=words))
    legend_beside(ax, handles)
    equal = keep_shape(ax, "W")
    z = "z / work of a step" if per_stage else "z"
    return tidy(
        ax,
        title="Edges of stability" + (" at equal work" if per_stage else ""),
        xlabel=f"Re {z},   z = h λ",
        ylabel=f"Im {z}" if equal else f"Im {z} (other scale)",
    )


def _side(function: Single) -> str:
    """Where a method is stable that is not so inside its edge."""
    if thin(function):
        return " (a line)"
    if function.at_infinity < 1:
        return " (outside)"
    return " (to the left)" if function.at_infinity == 1 and function.a_stable else ""


def _set_window(functions: Sequence[Single], scales: Sequence[float], ax: Axes) -> None:
    """Limits of the axes that hold all windows."""
    windows = np.array([region_window(f) for f in functions]) / np.array(scales)[:, None]
    lefts, rights, tops = -windows[:, 0], windows[:, 1], windows[:, 2]
    far_x, far_y = lefts.max() > _FAR * lefts.min(), tops.max() > _FAR * tops.min()
    if far_x:
        # The room to the right of a long region would be decades of nothing.
        rights = rights[lefts <= _FAR * lefts.min()]
    left, right, top = lefts.max(), rights.max(), tops.max()
    if not (far_x or far_y):
        more = max(3 * top - (right + left), 0.0) / 2  # as wide as a figure is
        left, right = left + more, right + more
    for axis, far, low, high, sizes in (
        ("x", far_x, -left, right, lefts),
        ("y", far_y, -top, top, tops),
    ):
        # A round number, since the edge of a window has no meaning of its own.
        reach = float(f"{sizes.min():.1g}") if far else math.inf
        set_scale(ax, axis, low, high, reach, steps=(1,))


def _draw_edge(function: Single, scale: float, ax: Axes, colour: str, dashes: Dashes) -> None:
    """The edge in the window of its own region, in which the samples are dense enough."""
    look: dict[str, Any] = {"colors": colour, "linestyles": dashes, "linewidths": 1.6}
    if thin(function):
        end = min(function.imaginary_interval / scale, ax.get_ylim()[1])
        ax.plot([0, 0], [-end, end], color=colour, ls=dashes, linewidth=3.2)
        return
    if function.at_infinity == 1 and function.a_stable:
        x, y = (sample(ax, axis, n) for axis, n in zip("xy", counts(function), strict=True))
    else:
        left, right, top = np.array(region_window(function)) / scale
        columns, rows = counts(function)
        x, y = np.linspace(left, right, columns), np.linspace(-top, top, rows)
    limits = ax.get_xlim(), ax.get_ylim()
    ax.contour(x, y, plane_moduli(function, scale * x, scale * y), levels=[1], **look)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
