"""What all pictures share: colours with a fixed meaning, sizes of type, the look of axes.

Colours are those of Okabe and Ito (2008), told apart by readers with any colour vision. Figures are
9 inches wide unless told otherwise, so that they are 900 pixels wide at 100 dots an inch and type
of 9 points is 12 pixels high.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from analysis.dynamics import GRADES

Dashes = Literal["solid", "dashed", "dashdot", "dotted"]

GRADE_COLOURS = dict(zip(GRADES, ("#009E73", "#E69F00", "#D55E00", "#9A9A9A"), strict=True))
"""Colours of the grades, the same in every picture: green, amber, vermilion, grey."""

TRAIN_COLOUR, TEST_COLOUR = "#0072B2", "#CC79A7"
"""Blue and reddish purple, free of the meanings of the grades."""

BEFORE_COLOUR, AFTER_COLOUR = "#8C8C8C", "#0072B2"
"""Grey for a state before training, blue for the one after it."""

METHOD_COLOURS = ("#0072B2", "#CC79A7", "#1A1A1A", "#56B4E9")
"""Of methods beside one another: blue, reddish purple, black, sky blue, none of them a grade."""
METHOD_DASHES: tuple[Dashes, ...] = ("solid", "dashed", "dashdot", "dotted")
"""After four methods the colours come again with the next of these."""

REGION_EDGE = "#0072B2"
INK = "#1A1A1A"
FAINT = "#6B6B6B"

DAMPING = ListedColormap(["#B9D3EA", "#CBDFF0", "#DDEAF6", "#EDF4FB"])
"""Four steps of ``|R|`` in a stability region: darker damps more."""

WIDTH = 9.0
"""Width of a figure in inches."""

TITLE, LABEL, TICK, NOTE = 11.0, 10.0, 9.0, 9.0
"""Sizes of type in points."""

MINUS = "\N{MINUS SIGN}"


def layer_colours(count: int) -> np.ndarray:
    """One colour a layer in the order of depth, dark to light, shape ``(count, 4)``."""
    return np.asarray(colormaps["viridis"](np.linspace(0.0, 0.75, count)))


def method_look(index: int) -> tuple[str, Dashes]:
    """Colour and dashes of the method at a place in a list."""
    colours, dashes = METHOD_COLOURS, METHOD_DASHES
    return colours[index % len(colours)], dashes[index // len(colours) % len(dashes)]


def tidy(
    ax: Axes, *, title: str = "", xlabel: str = "", ylabel: str = "", grid: str | None = None
) -> Axes:
    """Give axes the common look, and their words.

    Args:
        ax: the axes.
        title: above them, to the left, where a reader begins.
        xlabel: below them.
        ylabel: beside them.
        grid: ``x``, ``y`` or ``both`` for faint lines.
    """
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=TICK)
    if title:
        ax.set_title(title, fontsize=TITLE, loc="left", color=INK)
    if xlabel:
        ax.set_xlabel(xlabel, fontsize=LABEL)
    if ylabel:
        ax.set_ylabel(ylabel, fontsize=LABEL)
    if grid is not None:
        ax.grid(axis=grid, alpha=0.3)  # type: ignore[arg-type]
        ax.set_axisbelow(True)
    return ax


def rows_height(rows: int) -> float:
    """Inches that axes with so many named rows need to be read."""
    return 1.4 + 0.34 * max(rows, 2)


def set_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name rows 0, 1, ... of axes from the top."""
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0, labelsize=TICK)
    ax.set_ylim(max(len(names), 1) - 0.4, -0.6)


def note(ax: Axes, row: float, text: str, colour: str = INK) -> None:
    """Text at the right end of a row, beside the axes."""
    place = ax.get_yaxis_transform()
    ax.text(1.015, row, text, transform=place, va="center", fontsize=NOTE, color=colour)


def say_empty(ax: Axes, text: str) -> Axes:
    """Axes that say why nothing is in them."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=FAINT)
    return ax


def short(name: str, length: int = 30) -> str:
    """A name that fits a title: of a long one, such as a whole table, the beginning.

    >>> short("rk4"), short("table:A=0 0;2/3 0,b=1/4 3/4", 16)
    ('rk4', 'table:A=0 0;2/3…')
    """
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def signed(value: float) -> str:
    """A number in three digits with the sign of minus that belongs to mathematics.

    >>> signed(-70.25), signed(2.0)
    ('\N{MINUS SIGN}70.2', '2')
    """
    text = f"{value:.3g}"
    if "e" in text and abs(value) < 1e6:
        text = f"{value:.0f}"
    return text.replace("-", MINUS)


def legend_beside(ax: Axes, handles: list[Any]) -> None:
    """A legend to the right of the axes, at their top."""
    ax.legend(
        handles=handles,
        frameon=False,
        fontsize=NOTE,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
    )
