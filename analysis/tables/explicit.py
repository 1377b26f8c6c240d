"""Explicit Runge-Kutta methods of the literature, written as on paper.

A last stage of weight zero that serves error control and the next step only is left out, unless
the embedded method needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from analysis.families import Family, Method, count
from analysis.tableau import ButcherTableau
from analysis.tables.tsitouras import tsit5


def explicit_table(name: str, rows: Sequence[str], weights: str) -> ButcherTableau:
    """A table from its sub-diagonal rows (from the second stage on) and its weights.

    >>> explicit_table("midpoint", ["1/2"], "0 1").order
    2
    """
    s = len(rows) + 1
    A = [row.split() + ["0"] * (s - k) for k, row in enumerate(["", *rows])]
    return ButcherTableau(name, A, weights.split())


def _fixed(rows: Sequence[str], weights: str, description: str) -> Family:
    return Family(lambda name: explicit_table(name, rows, weights), description)


# Fehlberg, NASA TR R-315 (1969), formula 4(5): six stages, the last for the fifth order only.
_FEHLBERG = (
    "1/4",
    "3/32 9/32",
    "1932/2197 -7200/2197 7296/2197",
    "439/216 -8 3680/513 -845/4104",
    "-8/27 2 -3544/2565 1859/4104 -11/40",
)
# Dormand & Prince, J. Comput. Appl. Math. 6 (1980), RK5(4)7M.
_DOPRI5 = (
    "1/5",
    "3/40 9/40",
    "44/45 -56/15 32/9",
    "19372/6561 -25360/2187 64448/6561 -212/729",
    "9017/3168 -355/33 46732/5247 49/176 -5103/18656",
)
_DOPRI5_WEIGHTS = "35/384 0 500/1113 125/192 -2187/6784 11/84"
# Ketcheson, SIAM J. Sci. Comput. 30 (2008) 2113-2136: two groups of five Euler steps of h / 6.
_SSPRK104 = (
    *(" ".join(["1/6"] * k) for k in range(1, 5)),
    *(" ".join(["1/15"] * 5 + ["1/6"] * k) for k in range(5)),
)


def _ssprk2(name: str, stages: Fraction) -> Method:
    """s - 1 Euler steps of h / (s - 1), one more, and a mean (Kraaijevanger 1991).

    a_ij = 1 / (s - 1), b_i = 1 / s.
    """
    s = int(stages)
    A = [[Fraction(1, s - 1) if j < i else Fraction(0) for j in range(s)] for i in range(s)]
    return ButcherTableau(name, A, [Fraction(1, s)] * s)


EXPLICIT: dict[str, Family] = {
    "euler": _fixed((), "1", "forward Euler, y + h f(y): one layer of a residual network"),
    "midpoint": _fixed(("1/2",), "0 1", "explicit midpoint rule (Runge 1895), order 2"),
    "heun": _fixed(("1",), "1/2 1/2", "Heun's explicit trapezoidal rule, order 2"),
    "ssprk22": _fixed(
        ("1",), "1/2 1/2", "strong-stability-preserving, 2 stages, order 2 (the table of Heun)"
    ),
    "ssprk33": _fixed(
        ("1", "1/4 1/4"),
        "1/6 1/6 2/3",
        "strong-stability-preserving, 3 stages, order 3 (Shu & Osher 1988)",
    ),
    # Kraaijevanger, BIT 31 (1991): Euler steps of h / 2 up to the last mean.
    "ssprk43": _fixed(
        ("1/2", "1/2 1/2", "1/6 1/6 1/6"),
        "1/6 1/6 1/6 1/2",
        "strong-stability-preserving, 4 stages, order 3 (Kraaijevanger 1991)",
    ),
    "ssprk104": _fixed(
        _SSPRK104,
        " ".join(["1/10"] * 10),
        "strong-stability-preserving, 10 stages, order 4 (Ketcheson 2008)",
    ),
    "ssprk2": Family(
        _ssprk2,
        "strong-stability-preserving, order 2, any number of stages (the default 5)",
        {"stages": count(5, 2, 50)},
    ),
    "rk4": _fixed(
        ("1/2", "0 1/2", "0 0 1"), "1/6 1/3 1/3 1/6", "the classical method of Kutta 1901, order 4"
    ),
    # Bogacki & Shampine, Appl. Math. Lett. 2 (1989).
    "bogacki-shampine": _fixed(
        ("1/2", "0 3/4"),
        "2/9 1/3 4/9",
        "Bogacki & Shampine 1989, propagated solution, order 3 (3 stages, fixed step)",
    ),
    # Merson 1957; Hairer, Norsett & Wanner, Solving ODEs I, table II.4.1.
    "merson": _fixed(
        ("1/3", "1/6 1/6", "1/8 0 3/8", "1/2 0 -3/2 2"),
        "1/6 0 0 2/3 1/6",
        "Merson 1957, propagated solution, 5 stages, order 4 (fixed step)",
    ),
    "fehlberg": _fixed(
        _FEHLBERG,
        "16/135 0 6656/12825 28561/56430 -9/50 2/55",
        "Fehlberg 1969, the fifth-order solution, 6 stages (fixed step)",
    ),
    "fehlberg4": _fixed(
        _FEHLBERG[:4],
        "25/216 0 1408/2565 2197/4104 -1/5",
        "Fehlberg 1969, the fourth-order solution, 5 stages (fixed step)",
    ),
    "dopri5": _fixed(
        _DOPRI5,
        _DOPRI5_WEIGHTS,
        "Dormand & Prince 1980, propagated solution, order 5 (6 stages, fixed step)",
    ),
    "dopri5-embedded": _fixed(
        (*_DOPRI5, _DOPRI5_WEIGHTS),
        "5179/57600 0 7571/16695 393/640 -92097/339200 187/2100 1/40",
        "Dormand & Prince 1980, the embedded solution, order 4 (7 stages, fixed step)",
    ),
    "tsit5": Family(tsit5, "Tsitouras 2011, propagated solution, order 5 (6 stages, fixed step)"),
}
