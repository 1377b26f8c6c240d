"""Margins of the layers of a network, and the norm of a symbol over the frequencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.backend import to_numpy
from analysis.certificates import CertifiedNorm
from analysis.coupling import Coupling
from analysis.dynamics import GRADES
from analysis.errors import InputError
from analysis.plots.style import (
    DAMPING,
    FAINT,
    GRADE_COLOURS,
    INK,
    NOTE,
    REGION_EDGE,
    TICK,
    TITLE,
    note,
    say_empty,
    set_rows,
    signed,
    tidy,
)


def plot_margins(layers: Sequence[Mapping[str, Any]], ax: Axes) -> Axes:
    """Step size over the limit of its claim, one bar a layer (theory §4.1, §4.2, §4.4).

    Args:
        layers: with the keys ``name, grade, step_size, limit, growth_certified,
            measured_growth`` of an inspection; a layer without step or limit (None) has no bar.
        ax: the axes; ``rows_height(len(layers))`` inches are enough.

    Raises:
        InputError: for a grade that is not one of ``GRADES``.
    """
    for layer in layers:
        if layer["grade"] not in GRADE_COLOURS:
            raise InputError(f"a grade of {', '.join(GRADES)}", layer["grade"], "correct it")
    ratios = [_ratio(layer) for layer in layers]
    shown = [r for r in ratios if r is not None and 0 < r < np.inf]
    left, right = min([0.1, *(r / 2 for r in shown)]), max([3.0, *(1.6 * r for r in shown)])
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    set_rows(ax, [str(layer["name"]) for layer in layers])
    ax.axvspan(left, 1, color=DAMPING(3), zorder=0)
    ax.axvline(1, color=REGION_EDGE, linewidth=1.6, zorder=3)
    for row, (layer, ratio) in enumerate(zip(layers, ratios, strict=True)):
        colour = GRADE_COLOURS[layer["grade"]]
        if ratio is None:
            _write(ax, row, left, f"{layer['grade']}: no limit to keep", FAINT)
        elif ratio == np.inf:
            ax.barh(row, right - left, left=left, height=0.62, color=colour, zorder=2)
            _write(ax, row, left, "no step is small enough", "white")
        elif ratio > 0:
            ax.barh(row, ratio - left, left=left, height=0.62, color=colour, zorder=2)
            # Between the end of the bar and the line there may be no room for a number.
            within = 0.4 < ratio < 0.99
            _write(ax, row, ratio, f"{ratio:.3g}", "white" if within else INK, within=within)
        else:
            _write(ax, row, left, "any step", INK)
        note(ax, row, _growth(layer))
    if not layers:
        return tidy(say_empty(ax, "no layers to show"))
    _legend(ax, [layer["grade"] for layer in layers])
    note(ax, -0.95, "growth measured\n(certified)", FAINT)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if right / left < 2e3 else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    label = "step size / limit of the claim"
    tidy(ax, xlabel=label)
    ax.set_title("Step size against its limit", fontsize=TITLE, loc="left", color=INK, pad=26)
    return ax


def _ratio(layer: Mapping[str, Any]) -> float | None:
    """``h / limit``: None without a limit, infinite for a limit of zero."""
    step, limit = layer.get("step_size"), layer.get("limit")
    if step is None or limit is None or np.isnan(limit):
        return None
    return float(step) / float(limit) if limit > 0 else np.inf


def _growth(layer: Mapping[str, Any]) -> str:
    """``measured (certified)`` in three digits, as far as they are known."""
    measured, certified = layer.get("measured_growth"), layer.get("growth_certified")
    words = signed(measured) if measured is not None else "–"
    return words if certified is None else f"{words}  (≤ {signed(certified)})"


def _write(ax: Axes, row: int, x: float, text: str, colour: str, *, within: bool = False) -> None:
    """Text to the right of a place in a row, or to the left of it."""
    ax.annotate(
        text,
        (x, row),
        xytext=(-5 if within else 5, 0),
        textcoords="offset points",
        ha="right" if within else "left",
        va="center",
        fontsize=NOTE,
        color=colour,
        zorder=4,
    )


def _legend(ax: Axes, grades: Sequence[str]) -> None:
    """The grades that occur, with how many layers have them."""
    patches = [
        Patch(color=GRADE_COLOURS[grade], label=f"{grade} ({grades.count(grade)})")
        for grade in GRADES
        if grade in grades
    ]
    ax.legend(
        handles=patches,
        frameon=False,
        fontsize=NOTE,
        ncols=len(patches),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderpad=0.0,
        handlelength=1.2,
        columnspacing=1.5,
    )


def plot_symbol_norm(
    coupling: Coupling,
    ax: Axes,
    points: int = 64,
    *,
    limit: float | None = None,
    certificate: CertifiedNorm | None = None,
    top: float | None = None,
    title: str = "",
) -> Axes:
    """``||K^(w)||`` over all frequencies, its largest value on the grid marked (theory §1).

    Args:
        coupling: an operator on one or two spatial axes.
        ax: the axes.
        points: frequencies an axis.
        limit: a line where the norm has this value, such as ``sqrt(2 / (h L))``.
        certificate: of the operator; its frequency and lower end are marked in place of the largest
            value on the grid.
        top: end of the scale, so that pictures can share one; default the largest value.
        title: a line above the one with the largest value.

    Raises:
        InputError: for three spatial axes, or fewer than two points.
    """
    if coupling.dimension > 2:
        raise InputError("an operator on 1 or 2 axes", coupling.dimension, "draw a slice of it")
    if points < 2:
        raise InputError("at least 2 points an axis", points, "leave them at 64")
    axis = 2 * np.pi * (np.arange(points) - points // 2) / points
    grids = np.meshgrid(*[axis] * coupling.dimension, indexing="ij")
    frequencies = np.stack([grid.ravel() for grid in grids], axis=1)
    norms = to_numpy(coupling.double().symbol_at(frequencies).norms()).reshape(grids[0].shape)
    at = np.unravel_index(int(np.argmax(norms)), norms.shape)
    peak, largest = np.array([axis[i] / np.pi for i in at]), float(norms.max())
    if certificate is not None:
        peak, largest = _wrapped(certificate.frequency / np.pi), certificate.lower
    if coupling.dimension == 1:
        _curve(ax, axis / np.pi, norms, limit)
        ax.plot([peak[0]], [largest], "o", color=INK, markersize=8, fillstyle="none")
        if top is not None:
            ax.set_ylim(top=1.05 * top)
        ylabel = "‖K̂(ω)‖"
    else:
        _surface(ax, axis / np.pi, norms, limit, top)
        # Real weights repeat every norm at -w.
        for y, x in (peak, _wrapped(-peak)):
            # Dark round the ring: white alone is lost where the norm is large.
            for colour, width in ((INK, 4.0), ("white", 2.0)):
                (ring,) = ax.plot([x], [y], "o", color=colour, markersize=9, mew=width)
                ring.set_fillstyle("none")
                ring.set_clip_on(False)
        ylabel = "ω₁ / π"
    xlabel = "ω / π" if coupling.dimension == 1 else "ω₂ / π"
    beyond = "" if limit is None else f", line at {signed(limit)}"
    words = f"‖K̂(ω)‖: largest {largest:.4g}{beyond}"
    return tidy(ax, title=f"{title}\n{words}" if title else words, xlabel=xlabel, ylabel=ylabel)


def _wrapped(share: np.ndarray) -> np.ndarray:
    """Frequencies over pi, brought to ``[-1, 1)`` by whole periods."""
    return (np.asarray(share) + 1) % 2 - 1


def _curve(ax: Axes, axis: np.ndarray, norms: np.ndarray, limit: float | None) -> None:
    """A line over the frequencies."""
    ax.plot(axis, norms, color=REGION_EDGE, linewidth=1.8)
    ax.grid(alpha=0.3)
    if limit is not None:
        ax.axhline(limit, color=GRADE_COLOURS["violated"], linewidth=1.8)
    ax.set_ylim(bottom=0)


def _surface(
    ax: Axes, axis: np.ndarray, norms: np.ndarray, limit: float | None, top: float | None
) -> None:
    """Colours over the frequency plane with a bar beside them."""
    half = (axis[1] - axis[0]) / 2
    low, high = axis[0] - half, axis[-1] + half
    box = (low, high, low, high)
    image = ax.imshow(norms, origin="lower", extent=box, cmap="viridis", vmin=0.0, vmax=top)
    ax.set_xticks([-1, -0.5, 0, 0.5])
    ax.set_yticks([-1, -0.5, 0, 0.5])
    figure = ax.get_figure()
    if figure is not None:
        bar = figure.colorbar(image, ax=ax, shrink=0.9)
        bar.ax.tick_params(labelsize=TICK)
        if limit is not None and norms.min() < limit < norms.max():
            colour = GRADE_COLOURS["violated"]
            bar.add_lines(
                ax.contour(axis, axis, norms, levels=[limit], colors=colour, linewidths=1.8)
            )
