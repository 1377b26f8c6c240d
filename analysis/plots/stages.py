"""Stable intervals of stabilised methods against their number of stages (theory §4.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.contractivity import circle_contractivity_radius
from analysis.errors import InputError
from analysis.methods import kind
from analysis.methods import method as named
from analysis.plots.style import FAINT, NOTE, method_look, short, tidy
from analysis.stabilised import FAMILIES, MAXIMUM_STAGES, MAXIMUM_TABLE_STAGES, StabilisedMethod
from analysis.stabilised_stability import StabilisedFunction

Formula = Callable[[NDArray[np.float64]], NDArray[np.float64]]

FORMULAS: dict[str, tuple[str, Formula]] = {
    "rkc1": ("2 s²", lambda s: 2 * s**2),
    "rkc2": ("0.653 (s² − 1)", lambda s: 0.653 * (s**2 - 1)),
    "rkl1": ("s² + s", lambda s: s**2 + s),
    "rkl2": ("(s² + s − 2) / 2", lambda s: (s**2 + s - 2) / 2),
}
"""Real intervals as the literature gives them: of rkc1 without damping, of rkc2 with 2/13, for
many stages; that of rkl1 is exact, and that of rkl2 for even s: odd s have a little more."""

_TABLE_STAGES = (2, 3, 4, 6, 8, 10, 14, 20, 28, 38, 50)  # each a table in exact numbers


@dataclass(frozen=True, eq=False)
class StageLimits:
    """Limits of one family with one damping; of h L ||K||^2, both read-only.

    Attributes:
        name: of the family, with its damping.
        stages: numbers of stages, shape (n,).
        real: real stability intervals, shape (n,).
        table_stages: numbers of stages with a Butcher table, shape (m,).
        nonexpansive: ``2 r_cc``, the non-expansive limits, shape (m,).
    """

    name: str
    stages: NDArray[np.int64]
    real: NDArray[np.float64]
    table_stages: NDArray[np.int64]
    nonexpansive: NDArray[np.float64]


def stage_limits(family: str, stages: int = 100) -> StageLimits:
    """Limits of a family up to a number of stages, by closed forms and exact tables.

    Args:
        family: the name of a stabilised method, whose damping is kept: ``rkc1``, or
            ``rkc1:damping=0``.
        stages: the largest number.

    Raises:
        InputError: for a method of another kind, and a number out of range.

    >>> limits = stage_limits("rkc1:damping=0", 4)
    >>> limits.real, limits.nonexpansive.round(6)
    (array([ 2.,  8., 18., 32.]), array([2.666667, 2.790918, 2.834815]))
    """
    found = named(family)
    if not isinstance(found, StabilisedMethod):
        known = ", ".join(FAMILIES)
        raise InputError(
            f"a stabilised family: {known}", f"'{short(found.name)}', {kind(found)}", "name one"
        )
    least = FAMILIES[found.family].order
    if not least < stages <= MAXIMUM_STAGES:
        raise InputError(f"{least + 1} to {MAXIMUM_STAGES} stages", stages, "leave them at 100")
    count = np.arange(least, stages + 1)
    few = np.array([s for s in _TABLE_STAGES if least <= s <= min(stages, MAXIMUM_TABLE_STAGES)])
    real = [StabilisedFunction(_member(found, int(s))).real_interval for s in count]
    radii = [circle_contractivity_radius(_member(found, int(s)).tableau) for s in few]
    damping = f", damping {found.damping}" if found.damping else ", undamped"
    return StageLimits(f"{found.family}{damping}", count, np.array(real), few, 2 * np.array(radii))


def _member(found: StabilisedMethod, stages: int) -> StabilisedMethod:
    return StabilisedMethod(found.family, found.family, stages, Fraction(found.damping))


def _draw_nonexpansive(
    limits: StageLimits, share: Callable[[Any], Any], ax: Axes, colour: str
) -> None:
    """Dots where the radius is positive: a zero has no place on a logarithmic axis."""
    held = limits.nonexpansive > 0
    family, _, _ = limits.name.partition(",")
    if not held.any():
        ax.plot([], [], " ", label=f"   {family}: 2 r_cc = 0")
        return
    s = limits.table_stages[held]
    value = limits.nonexpansive[held] / share(s)
    ax.plot(s, value, "o:", color=colour, markersize=4, linewidth=1.0, label=f"   {family}: 2 r_cc")


def plot_stage_limits(
    families: Sequence[str], ax: Axes, *, stages: int = 100, per_stage: bool = False
) -> Axes:
    """Real intervals over the number of stages, both logarithmic, with the formulas as thin lines.

    Beside them the non-expansive limits ``2 r_cc`` (dots, theory §4.2), and ``s`` Euler steps,
    whose ``2 s`` no explicit method of ``s`` stages exceeds in that sense.

    Args:
        families: names of stabilised methods, as for ``stage_limits``.
        ax: the axes; the legend stands to the right of them.
        stages: the largest number.
        per_stage: divide by the number of stages: what a step gains for its work.

    Raises:
        InputError: as ``stage_limits``, and for no families.
    """
    if not families:
        raise InputError("at least one stabilised family", "none", f"name {', '.join(FAMILIES)}")
    found = [stage_limits(family, stages) for family in families]
    share: Callable[[Any], Any] = np.asarray if per_stage else np.ones_like
    s = np.geomspace(2, stages, 200)
    for k, limits in enumerate(found):
        colour, dashes = method_look(k)
        family, _, _ = limits.name.partition(",")
        words, formula = FORMULAS[family]
        ax.plot(
            limits.stages,
            limits.real / share(limits.stages),
            color=colour,
            linestyle=dashes,
            linewidth=2.2,
            alpha=0.55,
            label=f"{limits.name}",
        )
        ax.plot(s, formula(s) / share(s), color=colour, linewidth=0.8, label=f"   {words}")
        _draw_nonexpansive(limits, share, ax, colour)
    ax.plot(
        s, 2 * s / share(s), color=FAINT, linestyle="dashed", linewidth=1.4, label="s Euler steps"
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.legend(
        frameon=False,
        fontsize=NOTE,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
    )
    ylabel = "limit of h L ‖K‖²" + (" / s" if per_stage else "")
    title = "Limits per stage" if per_stage else "Limits against the number of stages"
    ax.set_xticks([t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if t <= stages])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    return tidy(ax, title=title, xlabel="stages s", ylabel=ylabel, grid="both")
