"""Order stars: where a stability function is larger than the exponential (theory §4)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from analysis.errors import InputError
from analysis.exact import Exact
from analysis.methods import Method
from analysis.plots.planes import keep_shape, single
from analysis.plots.style import FAINT, INK, NOTE, tidy
from analysis.stability import StabilityFunction

STAR_COLOUR = "#EBD3E1"
"""Pale purple, where the method is larger than the exponential."""
STAR_EDGE = "#CC79A7"
_KINDS = (1, 2)
_SMALLEST = 1e-11  # of an excess that is a number and not the rounding of one


def plot_order_star(method: str | Method, ax: Axes, *, kind: int = 1) -> Axes:
    """The order star of a one-step method, with the zeros and poles of ``R``.

    Of the first kind ``{z : |R(z) exp(-z)| > 1}``, of the second ``{z : Re(R(z) - exp(z)) > 0}``.
    Where ``R(z) - exp(z) = C z^(p+1) + ...`` both have ``p + 1`` sectors at the origin, and as many
    lie between them.

    Source: Wanner, Hairer & Norsett, BIT 18 (1978); Hairer & Wanner, Solving ODEs II, section IV.4.

    Args:
        method: a Runge-Kutta method or its name.
        ax: the axes.
        kind: of the star, 1 or 2.

    Raises:
        InputError: for another kind, and for a method whose steps have no stability function (the
            star of a multistep method lies on a Riemann surface).
    """
    name, function = single(method)
    excess = star_excess(function, kind)
    p, zeros, poles = excess.order, excess.function.zeros, excess.function.poles
    roots = np.concatenate([zeros, poles])
    # The star of a Pade approximation is about as large as its order; far zeros tell nothing of it.
    half = min(max(3.0, 1.3 * float(np.abs(roots).max(initial=0.0))), 3.0 + 1.5 * p)
    x = np.linspace(-half, half, 601)
    value = np.clip(excess(x[None, :] + 1j * x[:, None]), -1e6, 1e6)
    ax.contourf(x, x, value, levels=[0, 1e9], colors=[STAR_COLOUR])
    ax.contour(x, x, value, levels=[0], colors=STAR_EDGE, linewidths=1.4)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.axvline(0, color=FAINT, linewidth=0.8)
    for places, marker, word in ((zeros, "o", "zero"), (poles, "x", "pole")):
        if len(places):
            look: dict[str, Any] = {
                "color": INK,
                "markersize": 5,
                "fillstyle": "none",
                "linestyle": "",
            }
            ax.plot(places.real, places.imag, marker=marker, label=f"{word} of R", **look)
    ax.set_xlim(-half, half)
    ax.set_ylim(-half, half)
    keep_shape(ax)
    ax.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=NOTE, loc="upper left")
    words = "|R(z) exp(−z)| > 1" if kind == 1 else "Re (R(z) − exp z) > 0"
    title = f"{name}: order {p}, {p + 1} sectors\npurple where {words}"
    return tidy(ax, title=title, xlabel="Re z", ylabel="Im z")


class StarExcess:
    """What is positive in an order star: log|R exp(-z)|, or Re(R - exp z).

    Next to the origin it is the real part of ``C z^(p+1)``, where the difference would be rounding.
    """

    def __init__(self, function: StabilityFunction, kind: int) -> None:
        self.function, self.kind = function, kind
        self.order, self.constant = error_term(function)

    def __call__(self, z: ArrayLike) -> NDArray[np.float64]:
        """The excess, element by element."""
        points = np.asarray(z, dtype=complex)
        first = float(self.constant) * points ** (self.order + 1)
        with np.errstate(all="ignore"):
            R = self.function(points)
            by_kind = np.log(np.abs(R)) - points.real, (R - np.exp(points)).real
        value = np.nan_to_num(by_kind[self.kind - 1], nan=1e6, posinf=1e6, neginf=-1e6)
        near = (np.abs(first) < _SMALLEST) & (np.abs(points) < 1)
        return np.asarray(np.where(near, first.real, value))


def star_excess(function: object, kind: int = 1) -> StarExcess:
    """The function whose sign draws the star.

    Raises:
        InputError: as ``plot_order_star``.
    """
    if kind not in _KINDS:
        raise InputError("the kind 1 or 2 of an order star", kind, "leave it at 1")
    if not isinstance(function, StabilityFunction):
        raise InputError(
            "a Runge-Kutta method for an order star",
            "steps that no one function R(z) describes",
            "draw the region instead",
        )
    return StarExcess(function, kind)


def error_term(function: StabilityFunction) -> tuple[int, Exact]:
    """Order ``p`` and constant ``C`` of ``R(z) - exp(z) = C z^(p+1) + ...``, exactly.

    The order of a method on linear problems, which no order on others exceeds.

    >>> from analysis.methods import tableau
    >>> from analysis.stability import stability_function
    >>> error_term(stability_function(tableau("rk4")))
    (4, Fraction(-1, 120))
    """
    N, D = function.numerator, function.denominator
    k = 0
    while True:
        # N - D exp(z) begins with the same term, since D(0) = 1.
        series = sum(
            (d * Fraction(1, math.factorial(k - j)) for j, d in enumerate(D[: k + 1])), Fraction(0)
        )
        term = (N[k] if k < len(N) else Fraction(0)) - series
        if term:
            return k - 1, term
        k += 1
