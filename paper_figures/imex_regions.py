"""Implicit-explicit methods over the eigenvalue pairs of diffusion, advection and reaction.

    python paper_figures/imex_regions.py      writes imex_regions.png, .pdf and .txt beside it

Shaded: the explicit z that are stable for every implicit w of a wedge. Dots: pairs of a problem in
two dimensions, advection (upwind) and reaction explicit, diffusion implicit. A pair outside can be
stable: its own w damps it, and only pairs with a small one are lost.
"""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.figure import Figure

from analysis.clouds import Pairs
from analysis.model_problems import LinearProblem
from analysis.plots import file_bytes, make_figure, plot_imex_region
from analysis.plots.style import NOTE, TITLE
from analysis.stability_of import Paired, imex_limits, stability_of
from analysis.steps import largest_stable_step
from pdenet.files import write_atomic

HERE = Path(__file__).parent
METHODS = ("ars222", "ars443", "sbdf2", "cnab")
STEP = 1.4
PROBLEM = LinearProblem(
    (20, 20),
    diffusivity=0.4,
    velocity=[0.7, 0.35],
    reaction=-0.1,
    advection="upwind",
)


def pairs() -> Pairs:
    """The eigenvalues of both parts of the problem."""
    both = PROBLEM.split_spectrum()
    return Pairs(both[:, 0], both[:, 1])


def verdicts(name: str) -> tuple[int, int]:
    """How many pairs are stable and unstable at the step."""
    R = stability_of(name)
    assert isinstance(R, Paired)
    z, w = pairs().arrays()
    grows = R.exceeds_one(STEP * z, STEP * w)
    return int((~grows).sum()), int(grows.sum())


def draw() -> Figure:
    """Two rows of two methods, with one legend below them."""
    figure, axes = make_figure(len(METHODS), width=7.6, height=2.9)
    handles = []
    for name, ax in zip(METHODS, axes, strict=True):
        plot_imex_region(name, ax, pairs=pairs(), step_size=STEP)
        stable, unstable = verdicts(name)
        words = f"{name}: {unstable} of {stable + unstable} pairs unstable"
        ax.set_title(words, loc="left", fontsize=TITLE)
        ax.set_xlabel("Re z" if ax in axes[2:] else "")
        legend = ax.get_legend()
        assert legend is not None
        handles = legend.legend_handles
        legend.remove()
    words = [str(handle.get_label()) for handle in handles if handle is not None]
    words = [word.partition(" ")[2] if "pairs" in word else word for word in words]
    figure.legend(handles, words, loc="outside lower center", ncols=3, frameon=False, fontsize=NOTE)
    return figure


def caption() -> str:
    """What the figure shows, with the exact limits on the axes and the largest stable steps."""
    lines = [
        "Shaded: explicit z = h lambda for which a step is stable with every implicit w = h mu of",
        "the wedge |arg(-w)| <= 0, 30 and 60 degrees (pale to dark); dashed: the explicit part",
        "alone, w = 0. Dots and crosses: pairs of y' = D Laplace y - v . grad y + mu y, periodic,",
        f"on a grid of 20 x 20 points, D = 0.4, v = (0.7, 0.35) upwind, mu = -0.1, h = {STEP:g};",
        "advection and reaction explicit, diffusion implicit. Each has the mark of its own pair:",
        "outside the region many are stable, because their own w damps them.",
        "",
    ]
    for name in METHODS:
        stable, unstable = verdicts(name)
        limits = [imex_limits(name, math.radians(angle)) for angle in (0, 60)]
        step = largest_stable_step(name, pairs()).step_size
        lines.append(f"{name}: {stable} pairs stable, {unstable} not; stable for h <= {step:.6g}")
        for angle, found in zip((0, 60), limits, strict=True):
            ends = f"real {found.real:.6g}, imaginary {found.imaginary:.6g}"
            lines.append(f"    every w within {angle:>2} degrees: {ends}")
    return "\n".join(lines) + "\n"


def main() -> None:
    figure = draw()
    for kind in ("png", "pdf"):
        write_atomic(HERE / f"imex_regions.{kind}", file_bytes(figure, kind))
    write_atomic(HERE / "imex_regions.txt", caption())


if __name__ == "__main__":
    main()
