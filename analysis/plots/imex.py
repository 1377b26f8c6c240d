"""Stability of implicit-explicit methods in the plane of the explicit eigenvalue (theory §4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from analysis.clouds import Eigenvalues, Pairs
from analysis.errors import InputError
from analysis.imex_limits import wedge_tangent
from analysis.imex_stability import ExactFlows, ImexStabilityFunction
from analysis.methods import Method, kind
from analysis.methods import method as named
from analysis.multistep_stability import ImexRootCondition
from analysis.plots.planes import Complex, keep_shape, region_window, set_scale, thin
from analysis.plots.style import FAINT, GRADE_COLOURS, INK, REGION_EDGE, legend_beside, short, tidy
from analysis.stability import StabilityFunction
from analysis.stability_of import Paired, Single, imex_limits, stability_of

ANGLES = (0.0, math.pi / 6, math.pi / 3)
"""Half-angles of the wedges of implicit eigenvalues that are drawn, radians."""
_COLUMNS, _ROWS = 201, 101  # of the upper half of a window
_PER_DECADE, _LEAST, _MOST = 20, -3, 4
_TIED = 1e-5  # a supremum this close to one is the limit for w to infinity


def plot_imex_region(
    method: str | Method,
    ax: Axes,
    *,
    angles: Sequence[float] = ANGLES,
    pairs: Pairs | None = None,
    step_size: float = 1.0,
) -> Axes:
    """Where ``z = h lambda``, explicit, is stable whatever ``w = h mu``, implicit, of a wedge.

    One region for each wedge ``|arg(-w)| <= angle``, the half-line ``w <= 0`` at angle 0, nested in
    the region of the explicit part alone (dashed, ``w = 0``). A pair of eigenvalues may be stable
    outside: each is marked by its own verdict.

    Args:
        method: a method with an explicit and an implicit part, or its name.
        ax: the axes; the legend stands to the right of them.
        angles: half-angles in radians, from 0 to below ``pi / 2``.
        pairs: eigenvalues of both parts, 1 / time.
        step_size: ``h`` by which they are multiplied, above zero.

    Raises:
        InputError: for another method, an angle out of range, no angles, and pairs or a step size
            that are not finite.
    """
    found, R = _paired(method)
    _check(angles, step_size)
    cloud = None if pairs is None else _Judged(R, pairs, step_size)
    reach = _set_window(R, cloud, ax)
    ordered = sorted(set(angles))
    handles: list[Any] = []
    for k, angle in enumerate(ordered):
        colour = _blue(k, len(ordered))
        _draw_region(found, angle, colour, reach, ax)
        handles.append(Patch(facecolor=colour, edgecolor=REGION_EDGE, label=_wedge(angle)))
    handles += _draw_explicit(R, reach, ax)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.axvline(0, color=FAINT, linewidth=0.8)
    if cloud is not None:
        handles += cloud.draw(ax)
    legend_beside(ax, handles)
    equal = keep_shape(ax, "W")
    step = "" if cloud is None else f", h = {step_size:g}"
    return tidy(
        ax,
        title=f"{short(found.name)}: explicit z stable for every implicit w{step}",
        xlabel="Re z,   z = h λ of the explicit part",
        ylabel="Im z" if equal else "Im z (other scale)",
    )


def _paired(stepper: str | Method) -> tuple[Method, Paired]:
    found = named(stepper) if isinstance(stepper, str) else stepper
    function = stability_of(found)
    if not isinstance(function, Paired):
        raise InputError(
            "a method with an explicit and an implicit part",
            f"'{short(found.name)}', {kind(found)}",
            "name one such as ars222, or draw it with its region of z alone",
        )
    return found, function


def _check(angles: Sequence[float], step_size: float) -> None:
    if not angles:
        raise InputError("at least one angle of a wedge", "none", "leave angles out")
    for angle in angles:
        wedge_tangent(angle)
    if not (step_size > 0 and math.isfinite(step_size)):
        raise InputError("a positive step size", step_size, "pass step_size=0.5")


def _wedge(angle: float) -> str:
    if angle == 0:
        return "every w ≤ 0"
    return f"every |arg(−w)| ≤ {math.degrees(angle):.3g}°"


def _blue(k: int, count: int) -> str:
    """Paler for the half-line, darker for wide wedges."""
    share = 0.12 + 0.36 * (k / max(count - 1, 1))
    red, green, blue = (1 - share * (1 - c) for c in to_rgb(REGION_EDGE))
    return to_hex((red, green, blue))


class _Judged:
    """Pairs times the step, and which of them a step lets grow."""

    def __init__(self, R: Paired, pairs: Pairs, step_size: float) -> None:
        first, second = (Eigenvalues.of(part).snapped for part in pairs.arrays())
        self.z, w = step_size * first, step_size * second
        self.grows = R.exceeds_one(self.z, w)

    def draw(self, ax: Axes) -> list[Line2D]:
        """The explicit eigenvalues, in the colour of violated where their own pair is unstable."""
        handles = []
        for chosen, marker, colour, word in (
            (~self.grows, ".", INK, "stable"),
            (self.grows, "x", GRADE_COLOURS["violated"], "unstable"),
        ):
            look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": ""}
            ax.plot(self.z[chosen].real, self.z[chosen].imag, markersize=4, mew=0.9, **look)
            label = f"{int(chosen.sum())} pairs (z, w) {word}"
            handles.append(Line2D([], [], markersize=6, label=label, **look))
        return handles


def _explicit_part(R: Paired) -> Single | None:
    """The function of z alone, at w = 0; None of exact flows."""
    if isinstance(R, ImexStabilityFunction):
        at_zero = [Fraction(1) * p[0] if p else Fraction(0) for p in R.numerator]
        while len(at_zero) > 1 and not at_zero[-1]:
            at_zero.pop()
        return StabilityFunction(tuple(at_zero), (Fraction(1),))
    return R.explicit_part if isinstance(R, ImexRootCondition) else None


Reach = tuple[float, float, float]


def _set_window(R: Paired, cloud: _Judged | None, ax: Axes) -> Reach:
    """Limits of the axes; returns left, right and top of the region of the explicit part."""
    part = _explicit_part(R)
    left, right, top = (-4.0, 4.0, 4.0) if part is None else region_window(part)
    more = max(2.4 * top - (right - left), 0.0) / 2
    reach = (left - more, right + more, top)
    z = np.zeros(1, dtype=complex) if cloud is None else cloud.z
    if part is None:
        top = max(top, 1.1 * float(np.abs(z.imag).max()))
        reach = (min(-top, 1.1 * z.real.min()), max(top, 1.1 * z.real.max()), top)
    low, high = min(reach[0], float(z.real.min())), max(reach[1], float(z.real.max()))
    edge_x, edge_y = (float(f"{size:.1g}") for size in (-reach[0], top))
    set_scale(ax, "x", low, high, edge_x, steps=(1,))
    far = max(top, float(np.abs(z.imag).max()))
    set_scale(ax, "y", -far, far, edge_y, steps=(1,))
    return reach


def _draw_region(method: Method, angle: float, colour: str, reach: Reach, ax: Axes) -> None:
    """One region filled, with its edge; a line where the explicit part is stable on one only."""
    _, R = _paired(method)
    part = _explicit_part(R)
    if part is not None and thin(part):
        end = imex_limits(method, angle).imaginary
        ax.plot([0, 0], [-end, end], color=REGION_EDGE, linewidth=3.2, solid_capstyle="butt")
        return
    left, right, top = reach
    x, y = np.linspace(left, right, _COLUMNS), np.linspace(0, top, _ROWS)
    half = worst_excess(R, x[None, :] + 1j * y[:, None], angle)
    excess = np.concatenate([half[:0:-1], half])
    y = np.concatenate([-y[:0:-1], y])
    limits = ax.get_xlim(), ax.get_ylim()
    ax.contourf(x, y, excess, levels=[-np.inf, 0], colors=[colour])
    ax.contour(x, y, excess, levels=[0], colors=REGION_EDGE, linewidths=1.2)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])


def _draw_explicit(R: Paired, reach: Reach, ax: Axes) -> list[Line2D]:
    """The edge of the explicit part alone, dashed."""
    part = _explicit_part(R)
    if part is None or thin(part):
        return []
    left, right, top = reach
    x, y = np.linspace(left, right, 301), np.linspace(-top, top, 301)
    limits = ax.get_xlim(), ax.get_ylim()
    modulus = np.abs(part(x[None, :] + 1j * y[:, None]))
    ax.contour(x, y, modulus, levels=[1], colors=FAINT, linewidths=1.1, linestyles="dashed")
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    return [Line2D([], [], color=FAINT, ls="dashed", linewidth=1.1, label="explicit part, w = 0")]


def worst_excess(R: Paired, z: Complex, angle: float = 0.0) -> NDArray[np.float64]:
    """A number that is positive where some w of the wedge lets a step grow, for drawing.

    By the maximum principle the worst w lies on an edge ``w = -r exp(+-i angle)``. The edges are
    sampled at ``r = 0``, at 20 points a decade from 1e-3 to 1e4, and at infinity: a maximum between
    two samples is missed by less than the width of a line. The exact limits on the axes are those
    of ``analysis.stability_of.imex_limits``.

    Args:
        R: stability of a method with two parts.
        z: complex, any shape.
        angle: half-angle of the wedge, radians.

    Returns:
        Of additive methods ``max |R(z, w)| - 1``; of multistep ones the largest ratio of the
        Schur-Cohn test, less one, of the same sign. Clipped to ``[-1, 1]``.
    """
    if isinstance(R, ExactFlows):
        return np.clip(z.real, -1.0, 1.0)
    points = np.ravel(z)
    modulus = partial(_additive, R) if isinstance(R, ImexStabilityFunction) else partial(_schur, R)
    decades = np.arange(_LEAST * _PER_DECADE, _MOST * _PER_DECADE + 1) / _PER_DECADE
    weighted = modulus(points, 0.0) - 1
    plain = np.maximum(weighted, modulus(points, math.inf) - 1)  # there all directions are one
    for r in 10.0**decades:
        for w in {-r * np.exp(1j * angle), -r * np.exp(-1j * angle)}:
            excess = modulus(points, w) - 1
            plain = np.maximum(plain, excess)
            weighted = np.maximum(weighted, (1 + r) * excess)
    # Where all is stable but |R| tends to one, its approach and not its limit tells the distance.
    tied = (plain <= 1e-9) & (plain > -_TIED)
    value = np.where(tied, weighted, plain)
    return np.asarray(np.clip(value, -1.0, 1.0).reshape(np.shape(z)))


def _additive(R: ImexStabilityFunction, z: Complex, w: complex) -> NDArray[np.float64]:
    """|R(z, w)| at all z and one w, which may be infinite."""
    degree, below = len(R.denominator) - 1, [float(a) for a in R.denominator]
    parts = [[float(a) for a in p] or [0.0] for p in R.numerator]
    if math.isinf(w.real):
        # A power of w above that of the denominator lets R grow without bound.
        if any(len(p) - 1 > degree for p in parts):
            return np.full(z.shape, np.inf)
        c = [complex(p[degree] / below[degree]) if len(p) > degree else 0j for p in parts]
    else:
        c = [complex(np.polyval(p[::-1], w) / np.polyval(below[::-1], w)) for p in parts]
    return np.asarray(np.abs(np.polyval(c[::-1], z)))


def _schur(R: ImexRootCondition, z: Complex, w: complex) -> NDArray[np.float64]:
    """The largest ratio |a_0 / a_k| of the Schur-Cohn test, at most one if all roots are.

    Ten times faster than the roots, whose size is not needed.
    """
    alpha, beta, implicit = (
        np.array([float(a) for a in p]) for p in (R.alpha, R.beta, R.beta_implicit)
    )
    if math.isinf(w.real):
        p = np.broadcast_to(implicit[:, None].astype(complex), (len(implicit), z.size))
    else:
        p = (alpha - w * implicit)[:, None] - np.multiply.outer(beta, z)
    worst = np.zeros(z.size)
    with np.errstate(all="ignore"):
        while len(p) > 1:
            ratio = np.nan_to_num(np.abs(p[0]) / np.abs(p[-1]), nan=1.0, posinf=1e6)
            # Behind a ratio above one the test says nothing more.
            worst = np.where(worst > 1, worst, np.maximum(worst, ratio))
            p = np.conj(p[-1]) * p[1:] - p[0] * np.conj(p[-2::-1])
    return worst
