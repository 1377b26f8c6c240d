"""How far stabilised methods reach by their number of stages, under two statements (theory §4.2).

    python paper_figures/stabilised_limits.py      writes stabilised_limits.png, .pdf and .txt

Lines: the real stability interval, the limit of h L ||K||^2 where eigenvalues decide. Dots: the
non-expansive limit 2 r_cc, which holds for nonlinear fields too and hardly grows with the stages.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from analysis.plots import file_bytes, make_figure, plot_stage_limits, stage_limits
from analysis.plots.stages import FORMULAS
from pdenet.files import write_atomic

HERE = Path(__file__).parent
FAMILIES = ("rkc1", "rkc2", "rkl1", "rkl2")
SHOWN = (2, 5, 10, 20, 50, 100)


def draw() -> Figure:
    """The limits, and the limits a stage below them."""
    figure, axes = make_figure(2, columns=1, height=3.7)
    for ax, per_stage in zip(axes, (False, True), strict=True):
        plot_stage_limits(FAMILIES, ax, per_stage=per_stage)
    axes[0].set_xlabel("")
    legend = axes[1].get_legend()
    assert legend is not None
    legend.set_visible(False)  # it keeps its room: both panels stay equally wide
    return figure


def caption() -> str:
    """What the figure shows, with the values at a few numbers of stages."""
    lines = [
        "Limits of h L ||K||^2 of stabilised Runge-Kutta methods over the number of stages s, and",
        "the same per stage. Thick lines: exact real stability intervals, under which every",
        "eigenvalue of a frozen symmetric field decays; thin lines: formulas of the literature.",
        "Dots: the non-expansive limit 2 r_cc (theory §4.2), from exact Butcher tables; 0 for rkc2",
        "and rkl2. Dashed: s steps of forward Euler, 2 s in both senses, which no explicit method",
        "of s stages exceeds in the second one. Stabilised methods win under the linear statement",
        "only.",
        "",
    ]
    for family in FAMILIES:
        limits = stage_limits(family)
        words, formula = FORMULAS[family]
        lines.append(f"{limits.name}; formula {words}")
        for s in SHOWN:
            k = list(limits.stages).index(s)
            held = dict(zip(limits.table_stages.tolist(), limits.nonexpansive, strict=True))
            beside = f", non-expansive {held[s]:.6g}" if s in held else ""
            exact, known = limits.real[k], float(formula(limits.stages[k : k + 1])[0])
            lines.append(f"    s = {s:<4} real {exact:<10.6g} formula {known:<8.6g}{beside}")
    return "\n".join(lines) + "\n"


def main() -> None:
    figure = draw()
    for kind in ("png", "pdf"):
        write_atomic(HERE / f"stabilised_limits.{kind}", file_bytes(figure, kind))
    write_atomic(HERE / "stabilised_limits.txt", caption())


if __name__ == "__main__":
    main()
