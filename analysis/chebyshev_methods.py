"""Runge-Kutta-Chebyshev methods of order 1 and 2: Butcher tables in exact rational arithmetic.

With the Chebyshev polynomials T_j, damping epsilon >= 0 and w0 = 1 + epsilon / s^2, the stages are

    Y_j = (1 - mu_j - nu_j) Y_0 + mu_j Y_{j-1} + nu_j Y_{j-2} + h mut_j F_{j-1} + h gat_j F_0,
    mu_j = 2 w0 b_j / b_{j-1},  nu_j = -b_j / b_{j-2},  mut_j = 2 w1 b_j / b_{j-1},
    gat_j = -(1 - b_{j-1} T_{j-1}(w0)) mut_j,

so that Y_j has the stability polynomial P_j(z) = 1 - b_j T_j(w0) + b_j T_j(w0 + w1 z). Sources:
Verwer, Appl. Numer. Math. 22 (1996), section 2; Sommeijer, Shampine & Verwer, J. Comput. Appl.
Math. 88 (1997), section 2.
"""

from __future__ import annotations

from fractions import Fraction

Table = tuple[list[list[Fraction]], list[Fraction]]


def chebyshev_values(
    degree: int, x: Fraction
) -> tuple[list[Fraction], list[Fraction], list[Fraction]]:
    """T_j(x), T_j'(x) and T_j''(x) for j = 0 .. degree, by the differentiated recurrence.

    >>> [float(values[3]) for values in chebyshev_values(3, Fraction(1))]
    [1.0, 9.0, 24.0]
    """
    value = [Fraction(1), x]
    first = [Fraction(0), Fraction(1)]
    second = [Fraction(0), Fraction(0)]
    for j in range(2, degree + 1):
        value.append(2 * x * value[j - 1] - value[j - 2])
        first.append(2 * value[j - 1] + 2 * x * first[j - 1] - first[j - 2])
        second.append(4 * first[j - 1] + 2 * x * second[j - 1] - second[j - 2])
    return value[: degree + 1], first[: degree + 1], second[: degree + 1]


def rkc1(stages: int, damping: Fraction) -> Table:
    """(A, b) of the first-order method: b_j = 1 / T_j(w0), w1 = T_s(w0) / T_s'(w0).

    The real stability interval is 2 s^2 without damping, about (2 - 4 damping / 3) s^2 with little.

    >>> rkc1(1, Fraction(0))
    ([[Fraction(0, 1)]], [Fraction(1, 1)])
    """
    w0 = 1 + damping / stages**2
    value, first, _ = chebyshev_values(stages, w0)
    return _table(w0, value[stages] / first[stages], [1 / t for t in value], value)


def rkc2(stages: int, damping: Fraction) -> Table:
    """(A, b) of the second-order method: b_j = T_j''(w0) / T_j'(w0)^2, b_0 = b_1 = b_2.

    With w1 = T_s'(w0) / T_s''(w0). The real stability interval is about
    (2/3) (s^2 - 1) (1 - 2 damping / 15).

    >>> A, b = rkc2(2, Fraction(0))
    >>> sum(w * sum(row) for w, row in zip(b, A))
    Fraction(1, 2)
    """
    w0 = 1 + damping / stages**2
    value, first, second = chebyshev_values(stages, w0)
    scale = [second[j] / first[j] ** 2 for j in range(2, stages + 1)]
    return _table(w0, first[stages] / second[stages], [scale[0], scale[0], *scale], value)


def _table(w0: Fraction, w1: Fraction, b: list[Fraction], value: list[Fraction]) -> Table:
    """The table of the recurrence: row j holds the weights of F_0 .. F_{s-1} in (Y_j - Y_0) / h."""
    stages = len(b) - 1
    rows = [[Fraction(0)] * stages, [b[1] * w1] + [Fraction(0)] * (stages - 1)]
    for j in range(2, stages + 1):
        mu, nu, mu_slope = 2 * w0 * b[j] / b[j - 1], -b[j] / b[j - 2], 2 * w1 * b[j] / b[j - 1]
        row = [mu * x + nu * y for x, y in zip(rows[j - 1], rows[j - 2], strict=True)]
        row[j - 1] += mu_slope
        row[0] -= (1 - b[j - 1] * value[j - 1]) * mu_slope
        rows.append(row)
    return rows[:stages], rows[stages]
