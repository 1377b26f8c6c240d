"""Test accuracy over the seconds of training: coarse to fine beside fine from the beginning.

    python paper_figures/multilevel.py      writes multilevel.png, .pdf and .txt

Draws benchmarks/results/multilevel.json, which benchmarks/multilevel.py measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import file_bytes, make_figure, tidy
from analysis.plots.style import FAINT, LABEL, METHOD_COLOURS, NOTE
from pdenet.files import write_atomic

HERE = Path(__file__).parent
RESULT = HERE.parent / "benchmarks" / "results" / "multilevel.json"
FINE, SHORT, MULTILEVEL, BRIEF = "fine", "fine, short", "multilevel", "multilevel, short"
LOOKS = {
    MULTILEVEL: ("coarse (hollow), then fine", METHOD_COLOURS[1], "-"),
    BRIEF: ("coarse (hollow), then fine, fewer epochs", METHOD_COLOURS[1], ":"),
    FINE: ("fine from the beginning", METHOD_COLOURS[0], "-"),
    SHORT: ("fine from the beginning, half of the epochs", METHOD_COLOURS[0], ":"),
}


@dataclass(frozen=True, eq=False)
class Curves:
    """One schedule over all its seeds.

    Attributes:
        seconds: of processor after every epoch, ``(seeds, epochs)``.
        accuracy: on the test images, in percent, ``(seeds, epochs)``.
        levels: of every epoch, ``(epochs,)``.
    """

    seconds: np.ndarray
    accuracy: np.ndarray
    levels: np.ndarray

    @property
    def end(self) -> tuple[float, float]:
        """Mean seconds and accuracy after the last epoch."""
        return float(self.seconds[:, -1].mean()), float(self.accuracy[:, -1].mean())


def curves(rows: list[dict[str, Any]], schedule: str) -> Curves:
    """The rows of a schedule as arrays."""
    own = [row for row in rows if row["schedule"] == schedule]
    seeds = sorted({row["seed"] for row in own})

    def table(key: str) -> np.ndarray:
        return np.array([[row[key] for row in own if row["seed"] == seed] for seed in seeds])

    return Curves(table("cpu_seconds"), 100 * table("test_accuracy"), table("level")[0])


def share_of_time(rows: list[dict[str, Any]]) -> list[float]:
    """Seconds until a seed reaches, coarse to fine, what fine training ends with; infinite if not.

    Returns:
        For every seed the share of the seconds of fine training, by the first epoch that is there.
    """
    fine, multilevel = curves(rows, FINE), curves(rows, MULTILEVEL)
    shares = []
    for k, target in enumerate(fine.accuracy[:, -1]):
        there = multilevel.accuracy[k] >= target
        first = int(there.argmax())
        seconds = multilevel.seconds[k, first] if there.any() else np.inf
        shares.append(float(seconds / fine.seconds[k, -1]))
    return shares


def plot(rows: list[dict[str, Any]], ax: Axes) -> Axes:
    """All schedules; the coarse epochs are hollow."""
    for schedule, (label, colour, line) in LOOKS.items():
        found = curves(rows, schedule)
        for seconds, accuracy in zip(found.seconds, found.accuracy, strict=True):
            ax.plot(seconds, accuracy, line, color=colour, linewidth=1.6, label=label)
            coarse = found.levels < found.levels.max()
            for part, face in ((coarse, "white"), (~coarse, colour)):
                marks = {"marker": "o", "markersize": 5, "markerfacecolor": face, "zorder": 3}
                ax.plot(seconds[part], accuracy[part], color=colour, linestyle="none", **marks)
            label = ""
    target = curves(rows, FINE).end[1]
    ax.axhline(target, color=FAINT, linestyle="--", linewidth=1.0, zorder=0)
    place = ax.get_yaxis_transform()
    words = f"what fine training ends with: {target:.1f} %"
    ax.text(0.01, target, words, transform=place, fontsize=NOTE, color=FAINT, va="bottom")
    ax.set_xlim(left=0)
    tidy(ax, xlabel="seconds of training, one thread", ylabel="test accuracy (%)", grid="both")
    ax.legend(frameon=False, fontsize=LABEL, loc="lower right")
    return ax


def caption(result: dict[str, Any]) -> str:
    """What the figure shows, in numbers."""
    rows, network = result["rows"], result["network"]
    found = {schedule: curves(rows, schedule) for schedule in LOOKS}
    coarse, fine = np.unique(found[MULTILEVEL].levels, return_counts=True)[1]
    seeds = len(found[FINE].seconds)
    widths, steps = ", ".join(map(str, network["widths"])), network["steps"]
    images = f"{result['train_images']:,} images of {result['data']}"
    lines = [
        f"Test accuracy of a {network['coupling']} {network['block']} network (widths {widths};",
        f"{steps} steps a block) on {images}, over the processor seconds of",
        f"training on one thread; {seeds} seeds, one line each. Coarse, then fine: {coarse} epochs",
        f"on 16x16 means with {steps // 2} steps of twice the size (hollow), then {fine} on 32x32",
        "(full). Dashed: the mean of what fine training ends with.",
        "",
    ]
    for schedule, curve in found.items():
        seconds, accuracy = curve.end
        each = ", ".join(f"{value:.2f}" for value in curve.accuracy[:, -1])
        lines.append(f"    {schedule:18} {accuracy:.2f} % ({each}) after {seconds:.0f} s")
    shares = ", ".join(f"{100 * share:.0f} %" for share in share_of_time(rows))
    lines += ["", f"Coarse to fine reaches the end of fine training after {shares} of its time."]
    others = sorted({row["schedule"] for row in rows} - set(LOOKS))
    if others:
        lines += ["", "With other transfers of the stencils to the fine level, first seed:", ""]
    for schedule in others:
        lines.append(f"    {schedule:28} {curves(rows, schedule).accuracy[0, -1]:.2f} %")
    return "\n".join(lines) + "\n"


def draw(result: dict[str, Any]) -> Figure:
    """The figure of a result."""
    figure, (ax,) = make_figure(height=4.2)
    plot(result["rows"], ax)
    return figure


def main() -> None:
    result = json.loads(RESULT.read_text())
    figure = draw(result)
    for kind in ("png", "pdf"):
        write_atomic(HERE / f"multilevel.{kind}", file_bytes(figure, kind))
    write_atomic(HERE / "multilevel.txt", caption(result))


if __name__ == "__main__":
    main()
