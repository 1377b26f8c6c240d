"""Stability regions of nine time steppers of every kind, and the order stars of three.

    python paper_figures/stability_regions.py      writes stability_regions.png, .pdf and .txt

Regions: Runge-Kutta methods by |R(z)|, multistep ones by their largest root, Stoermer-Verlet by its
interval on the imaginary axis. Stars: where the method is larger than the exponential.
"""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.figure import Figure

from analysis.methods import kind, method
from analysis.plots import (
    file_bytes,
    make_figure,
    plot_method_region,
    plot_order_star,
)
from analysis.plots.orders import error_term
from analysis.plots.planes import single
from analysis.plots.style import TITLE
from analysis.stability import StabilityFunction
from pdenet.files import write_atomic

HERE = Path(__file__).parent

REGIONS = (
    "euler",
    "rk4",
    "dopri5",
    "rkc2:stages=12",
    "ab3",
    "verlet",
    "radau-iia2",
    "bdf4",
    "gauss2",
)
STARS = ("rk4", "radau-iia2", "gauss2")


def spoken(name: str) -> str:
    """A name without its parameters but the number of stages."""
    base, _, listed = name.partition(":")
    return base if not listed else f"{base}, {listed.partition('=')[2]} stages"


def draw() -> Figure:
    """Three columns of regions, and the stars below them."""
    rows = len(REGIONS) // 3
    heights = [2.25] * rows + [2.95]
    figure, axes = make_figure(len(REGIONS) + len(STARS), columns=3, heights=heights)
    for name, ax in zip(REGIONS, axes, strict=False):
        plot_method_region(name, ax)
        ax.set_title(spoken(name), loc="left", fontsize=TITLE)
    for name, ax in zip(STARS, axes[len(REGIONS) :], strict=True):
        plot_order_star(name, ax)
        order, _ = error_term(star_function(name))
        ax.set_title(f"order star of {name}, p = {order}", loc="left", fontsize=TITLE)
    for k, ax in enumerate(axes):
        ax.set_xlabel("Re z" if k >= len(REGIONS) else "")
        if k % 3:
            ax.set_ylabel("")
        legend = ax.get_legend()
        if legend is not None and ax is not axes[-1]:  # the last one has zeros and poles
            legend.remove()
    return figure


def star_function(name: str) -> StabilityFunction:
    """The stability function of a Runge-Kutta method."""
    _, function = single(name)
    assert isinstance(function, StabilityFunction)
    return function


def caption() -> str:
    """What the figure shows, and the exact intervals behind it."""
    lines = [
        "Stability regions of nine time steppers in the plane of z = h lambda: blue where",
        "|R(z)| <= 1 (of multistep methods, where all roots |zeta(z)| <= 1), darker where a step",
        "damps more.",
        "Of Stoermer-Verlet the thick line is the stable interval on the imaginary axis and dotted",
        "lines are the growth of a step beside it. The vertical axis of rkc2 is stretched.",
        "Below: order stars, purple where |R(z) exp(-z)| > 1; p + 1 sectors meet at the origin.",
        "",
        f"{'method':<28} {'kind':<32} order  real interval  imaginary interval",
    ]
    for name in REGIONS:
        found, (_, function) = method(name), single(name)
        ends = [function.real_interval, function.imaginary_interval]
        words = ["unbounded" if math.isinf(end) else f"{end:.6g}" for end in ends]
        lines.append(
            f"{found.name:<28} {kind(found):<32} {found.order:>5}  {words[0]:>13}  {words[1]:>18}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    figure = draw()
    for kind_of_file in ("png", "pdf"):
        file = HERE / f"stability_regions.{kind_of_file}"
        write_atomic(file, file_bytes(figure, kind_of_file))
    write_atomic(HERE / "stability_regions.txt", caption())


if __name__ == "__main__":
    main()
