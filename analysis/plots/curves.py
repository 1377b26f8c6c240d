"""Lines over epochs and over shares of a spectrum."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.plots.figures import make_figure, png
from analysis.plots.style import (
    AFTER_COLOUR,
    BEFORE_COLOUR,
    INK,
    NOTE,
    TEST_COLOUR,
    TRAIN_COLOUR,
    layer_colours,
    tidy,
)

_SHARE = "share of all singular values (%)"


def plot_curves(metrics: Mapping[str, Sequence[float]], axes: Sequence[Axes]) -> Sequence[Axes]:
    """Loss and accuracy of a training run over its epochs.

    Args:
        metrics: columns ``epoch, train_loss, test_loss, train_accuracy, test_accuracy``
            (accuracies as shares in [0, 1]), and ``level`` where there are several: a dotted line
            where one ends.
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
            ax.plot(epochs, values, color=colour, marker=marker, label=split, linewidth=1.8)
    for row, ax in itertools.product(_level_starts(metrics.get("level", ())), axes):
        between = (epochs[row - 1] + epochs[row]) / 2
        ax.axvline(between, color=INK, linestyle=":", linewidth=1.2)
        name, place = f" level {metrics['level'][row]:.0f}", ax.get_xaxis_transform()
        ax.text(between, 0.02, name, transform=place, fontsize=NOTE, color=INK)
    # Losses fall over decades; a logarithmic axis shows the end as well as the beginning.
    if all(value > 0 for name in ("train_loss", "test_loss") for value in metrics[name]):
        loss.set_yscale("log")
    last = f"test accuracy {100 * metrics['test_accuracy'][-1]:.2f} %" if epochs.size else ""
    tidy(loss, xlabel="epoch", ylabel="loss (cross-entropy)", grid="both")
    tidy(accuracy, xlabel="epoch", ylabel="accuracy (%)", title=last, grid="both")
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(frameon=False, fontsize=NOTE)
    return axes


def _level_starts(levels: Sequence[float]) -> list[int]:
    """Rows with another level than the row before."""
    return [row for row in range(1, len(levels)) if levels[row] != levels[row - 1]]


def curves_png(metrics: Mapping[str, Sequence[float]]) -> bytes:
    """The picture of ``plot_curves`` as the bytes of a PNG file."""
    figure, axes = make_figure(2, width=8.0, height=3.2, dpi=100)
    plot_curves(metrics, axes)
    return png(figure)


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
    for colour, (name, values) in zip(layer_colours(len(spectra)), spectra.items(), strict=True):
        _descending(ax, values, color=colour, linewidth=1.6, label=name)
    if limit is not None and np.isfinite(limit):
        ax.axhline(limit, color=INK, linestyle="--", linewidth=1.4, label=label)
    tidy(ax, xlabel=_SHARE, ylabel="singular value", grid="both")
    ax.set_xlim(0, 100)
    ax.set_ylim(bottom=0)
    if 0 < len(spectra) <= 12:
        ax.legend(edgecolor="none", framealpha=0.8, fontsize=8)
    return ax


def plot_before_after(
    before: np.ndarray,
    after: np.ndarray,
    ax: Axes,
    *,
    limit: float | None = None,
    label: str = "",
    title: str = "",
) -> Axes:
    """Singular values of one operator at two times, descending, the first in grey.

    Args:
        before, after: singular values, of any number and order.
        ax: the axes.
        limit: largest stable singular value, a dashed line.
        label: name of that line.
        title: of the axes.
    """
    for name, values, colour, width in (
        ("before", before, BEFORE_COLOUR, 2.4),
        ("after", after, AFTER_COLOUR, 1.6),
    ):
        _descending(ax, values, color=colour, linewidth=width, label=name)
    if limit is not None and np.isfinite(limit):
        ax.axhline(limit, color=INK, linestyle="--", linewidth=1.4, label=label)
    tidy(ax, xlabel=_SHARE, ylabel="singular value", title=title, grid="both")
    ax.set_xlim(0, 100)
    ax.set_ylim(bottom=0)
    ax.legend(edgecolor="none", framealpha=0.8, fontsize=NOTE)
    return ax


def _descending(ax: Axes, values: np.ndarray, **look: Any) -> None:
    """Values from the largest to the smallest over their share of all."""
    ordered = np.sort(np.asarray(values, dtype=float).ravel())[::-1]
    share = (np.arange(ordered.size) + 0.5) / max(ordered.size, 1)
    ax.plot(100 * share, ordered, **look)
