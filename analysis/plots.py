"""Pictures of results: every function takes a result and axes and returns the axes.

The only module of the packages that imports matplotlib; it opens no window and keeps no state.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.stability import StabilityFunction

TRAIN_COLOUR, TEST_COLOUR = "#0072B2", "#D55E00"
"""Blue and vermilion of Okabe and Ito, told apart by readers with any colour vision."""


def plot_curves(metrics: Mapping[str, Sequence[float]], axes: Sequence[Axes]) -> Sequence[Axes]:
    """Loss and accuracy of a training run over its epochs.

    Args:
        metrics: columns ``epoch, train_loss, test_loss, train_accuracy, test_accuracy``
            (accuracies as shares in [0, 1]).
        axes: two axes, for the losses and for the accuracies.

    Returns:
        The two axes.
    """
    loss, accuracy = axes
    epochs = np.asarray(metrics["epoch"], dtype=float)
    marker = "o" if epochs.size < 3 else ""
    for split, colour in (("train", TRAIN_COLOUR), ("test", TEST_COLOUR)):
        percent = 100 * np.asarray(metrics[f"{split}_accuracy"], dtype=float)
        for ax, values in ((loss, metrics[f"{split}_loss"]), (accuracy, percent)):
            ax.plot(epochs, values, color=colour, marker=marker, label=split, linewidth=1.6)
    # Losses fall over decades; a logarithmic axis shows the end as well as the beginning.
    if all(value > 0 for name in ("train_loss", "test_loss") for value in metrics[name]):
        loss.set_yscale("log")
    loss.set_ylabel("loss (cross-entropy)")
    accuracy.set_ylabel("accuracy (%)")
    for ax in axes:
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    if epochs.size:
        last = 100 * metrics["test_accuracy"][-1]
        accuracy.set_title(f"test accuracy {last:.2f} %", fontsize=10)
    return axes


def curves_png(metrics: Mapping[str, Sequence[float]]) -> bytes:
    """The picture of ``plot_curves`` as the bytes of a PNG file."""
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    plot_curves(metrics, figure.subplots(1, 2))
    return png(figure)


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file, so that the caller can write it whole or not at all."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def figure_bytes(draw: Callable[[Axes], Axes], kind: str = "png") -> bytes:
    """A figure with one pair of axes as the bytes of a file.

    Args:
        draw: fills the axes.
        kind: ``png``, ``pdf`` or ``svg``.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained", dpi=150)
    draw(figure.subplots())
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def plot_stability_region(
    function: StabilityFunction, ax: Axes, *, title: str = "", points: np.ndarray | None = None
) -> Axes:
    """The region ``|R(z)| <= 1`` of a time stepper in the plane of ``z = h lambda``.

    Args:
        function: stability function ``R``, called on complex arrays.
        ax: the axes.
        title: written above them.
        points: values ``h lambda`` marked in the plane, complex, shape ``(n,)``.
    """
    left, right, top = _region_window(function, points)
    x, y = np.linspace(left, right, 601), np.linspace(-top, top, 601)
    modulus = np.abs(function(x[None, :] + 1j * y[:, None]))
    # A pole lies far above every level drawn; its infinity would be a hole.
    modulus = np.nan_to_num(np.minimum(modulus, 1e6), nan=1e6)
    ax.contourf(x, y, modulus, levels=[0, 0.25, 0.5, 0.75, 1], cmap="Blues_r", vmin=-0.6, vmax=1.2)
    ax.contour(x, y, modulus, levels=[1], colors=TRAIN_COLOUR, linewidths=1.6)
    ax.axhline(0, color="0.4", linewidth=0.8)
    ax.axvline(0, color="0.4", linewidth=0.8)
    if points is not None:
        ax.plot(np.real(points), np.imag(points), ".", color=TEST_COLOUR, markersize=5)
    ax.set_xlabel("Re z,   z = h λ")
    ax.set_ylabel("Im z")
    ax.set_title(f"{title}: stable where |R(z)| ≤ 1 (blue; darker damps more)", fontsize=10)
    if max(right - left, 2 * top) < 4 * min(right - left, 2 * top):
        ax.set_aspect("equal")
    return ax


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


def plot_singular_values(
    spectra: Mapping[str, np.ndarray], ax: Axes, *, limit: float | None = None, label: str = ""
) -> Axes:
    """Singular values of several operators, descending, over their share of all values.

    Args:
        spectra: singular values by the name of the layer.
        ax: the axes.
        limit: largest stable singular value, a dashed line.
        label: name of that line.
    """
    colours = colormaps["viridis"](np.linspace(0.0, 0.85, len(spectra)))
    for colour, (name, values) in zip(colours, spectra.items(), strict=True):
        ordered = np.sort(np.asarray(values, dtype=float).ravel())[::-1]
        share = (np.arange(ordered.size) + 0.5) / ordered.size
        ax.plot(100 * share, ordered, color=colour, linewidth=1.5, label=name)
    if limit is not None and np.isfinite(limit):
        ax.axhline(limit, color=TEST_COLOUR, linestyle="--", linewidth=1.4, label=label)
    ax.set_xlabel("share of all singular values (%)")
    ax.set_ylabel("singular value")
    ax.set_xlim(0, 100)
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.3)
    if len(spectra) <= 12:
        ax.legend(frameon=False, fontsize=7)
    return ax
