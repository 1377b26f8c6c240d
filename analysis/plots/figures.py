"""Figures and the bytes of their files, so that callers can write them whole or not at all."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.errors import unknown_name
from analysis.plots.style import WIDTH

Draw = Callable[[Axes], Axes]

# Without a date the same picture is the same file.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None},
}


def make_figure(
    panels: int = 1,
    *,
    columns: int | None = None,
    width: float = WIDTH,
    height: float = 3.6,
    dpi: float = 150,
    heights: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, row by row, that belongs to no window.

    Args:
        panels: number of axes, at least one.
        columns: panels side by side; default two, or one for a single panel.
        width: of the figure, inches.
        height: of every row of panels, inches.
        dpi: dots an inch of its pixel files.
        heights: of the rows, inches, in place of ``height``.

    Returns:
        The figure and its axes.
    """
    columns = columns or min(panels, 2)
    rows = math.ceil(panels / columns)
    each = list(heights) if heights is not None else [height] * rows
    figure = Figure(figsize=(width, sum(each)), layout="constrained", dpi=dpi)
    grid = figure.add_gridspec(rows, columns, height_ratios=each)
    axes = [figure.add_subplot(grid[k // columns, k % columns]) for k in range(panels)]
    return figure, axes


def file_bytes(figure: Figure, kind: str = "png") -> bytes:
    """A figure as the bytes of a file, the same bytes every time.

    Args:
        figure: the figure.
        kind: ``png``, ``pdf`` or ``svg``.

    Raises:
        InputError: for another kind.
    """
    if kind not in _METADATA:
        raise unknown_name("kind of picture", kind, tuple(_METADATA))
    buffer = io.BytesIO()
    # Names inside an SVG are random but for this salt; the setting lasts for one file.
    with rc_context({"svg.hashsalt": "analysis"}):
        figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    return file_bytes(figure, "png")


def figure_bytes(
    draw: Draw, kind: str = "png", *, width: float = 6.4, height: float = 4.2
) -> bytes:
    """A figure with one pair of axes as the bytes of a file.

    Args:
        draw: fills the axes.
        kind: ``png``, ``pdf`` or ``svg``.
        width: inches.
        height: inches; ``rows_height`` gives what a picture with named rows needs.
    """
    return panels_bytes([draw], kind, width=width, height=height)


def panels_bytes(
    draws: Sequence[Draw],
    kind: str = "png",
    *,
    columns: int | None = None,
    width: float = WIDTH,
    height: float = 3.6,
    heights: Sequence[float] | None = None,
    title: str = "",
) -> bytes:
    """A figure with several panels as the bytes of a file.

    Args:
        draws: one function a panel, row by row; each fills its axes.
        kind: ``png``, ``pdf`` or ``svg``.
        columns: panels side by side; default two, or one for a single panel.
        width: of the figure, inches.
        height: of every row, inches.
        heights: of the rows, inches, in place of ``height``.
        title: above all panels.

    >>> panels_bytes([lambda ax: ax], width=1, height=1)[1:4]
    b'PNG'
    """
    figure, axes = make_figure(
        len(draws), columns=columns, width=width, height=height, heights=heights
    )
    for draw, ax in zip(draws, axes, strict=True):
        draw(ax)
    if title:
        figure.suptitle(title, fontsize=12)
    return file_bytes(figure, kind)
