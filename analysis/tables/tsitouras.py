"""The method of Tsitouras of order 5, exact: the published decimals are one of its roundings.

The coefficients are published with 16 digits, and with those no order condition holds exactly. But
c_2 .. c_5, b_2 and a_43 determine the method: the quadrature conditions give the weights, and with

    s = A c,   q = A c^2,   r = A A c,      sum_i b_i a_ij = b_j (1 - c_j)

(the simplifying assumption D(1), which the method satisfies) the conditions of order 5 give s up to
one quadratic equation, then q and r, then A. Taken as exact decimals, they lead to a method over
Q(sqrt d) of order 5, proved by the order conditions, which agrees with the published digits.

Source: Tsitouras, Comput. Math. Appl. 62 (2011) 770-775.
"""

from __future__ import annotations

from fractions import Fraction

from analysis.exact import Exact, root, solve
from analysis.tableau import ButcherTableau

_C = tuple(map(Fraction, ("0", "0.161", "0.327", "0.9", "0.9800255409045097", "1")))
_B2 = Fraction("0.01")
_A43 = Fraction("4.362295432869581")
_ZERO = Fraction(0)


def tsit5(name: str) -> ButcherTableau:
    """The propagated solution, six stages.

    >>> method = tsit5("tsit5")
    >>> method.order, float(method.A[2][1])
    (5, 0.335480655492357)
    """
    c, b = _C, _weights()
    s = _first_moments(b)
    a32 = s[2] / c[1]
    a42 = (s[3] - _A43 * c[2]) / c[1]
    # b q = 1/12 and b r = 1/24 are D(1) times c^2 and A c; b c q = 1/15 and b c r = 1/30.
    q = [_ZERO, _ZERO, a32 * c[1] ** 2, a42 * c[1] ** 2 + _A43 * c[2] ** 2]
    q += _last_two(b, q, Fraction(1, 12), Fraction(1, 15))
    r: list[Exact] = [_ZERO, _ZERO, _ZERO, _A43 * s[2]]
    r += _last_two(b, r, Fraction(1, 24), Fraction(1, 30))
    fifth = solve([c[1:4], [x**2 for x in c[1:4]], s[1:4]], [s[4], q[4], r[4]])
    rows: list[list[Exact]] = [[], [a32], [a42, _A43], fifth]  # a_ij with j > 1, from i = 2 on
    rows.append([(b[j] * (1 - c[j]) - _column(b, rows, j)) / b[5] for j in range(1, 5)])
    A = [[x - sum(row, _ZERO), *row] for x, row in zip(c[1:], rows, strict=True)]
    return ButcherTableau(name, [row + [_ZERO] * (6 - len(row)) for row in ([], *A)], b)


def _weights() -> list[Exact]:
    """b from sum_i b_i c_i^k = 1 / (k + 1), k = 0 .. 4, and the published b_2."""
    others = [0, 2, 3, 4, 5]
    rest = solve(
        [[_C[i] ** k for i in others] for k in range(5)],
        [Fraction(1, k + 1) - _B2 * _C[1] ** k for k in range(5)],
    )
    return [rest[0], _B2, *rest[1:]]


def _first_moments(b: list[Exact]) -> list[Exact]:
    """s = A c: b s = 1/6, b c s = 1/8 and b c^2 s = 1/10 leave a line, b s^2 = 1/20 cuts it twice.

    The published method is the larger root; the smaller one, a_32 = 0.33368, is another method of
    order 5 nearby.
    """
    c = _C
    matrix = [[b[i] * c[i] ** k for i in (3, 4, 5)] for k in range(3)]
    start = solve(matrix, [Fraction(1, 6), Fraction(1, 8), Fraction(1, 10)])
    slope = solve(matrix, [-b[2] * c[2] ** k for k in range(3)])
    # The sum of b_i (start_i + t slope_i)^2 with t = s_3, all rational.
    last = b[3:]
    squares = [b[2], _ZERO, Fraction(-1, 20)]
    for w, x, t in zip(last, start, slope, strict=True):
        squares = [squares[0] + w * t * t, squares[1] + 2 * w * x * t, squares[2] + w * x * x]
    third = _upper_root(*squares)
    return [_ZERO, _ZERO, third, *(x + third * t for x, t in zip(start, slope, strict=True))]


def _upper_root(a: Exact, b: Exact, c: Exact) -> Exact:
    """The larger root of a x^2 + b x + c with rational coefficients."""
    discriminant = b * b - 4 * a * c
    assert isinstance(discriminant, Fraction)
    whole = root(discriminant.numerator * discriminant.denominator) / discriminant.denominator
    return max((-b + whole) / (2 * a), (-b - whole) / (2 * a))


def _last_two(b: list[Exact], known: list[Exact], total: Fraction, moment: Fraction) -> list[Exact]:
    """x_5 and x_6 with sum_i b_i x_i = total and sum_i b_i c_i x_i = moment."""
    matrix = [[b[i] * _C[i] ** k for i in (4, 5)] for k in (0, 1)]
    found = [sum((b[i] * _C[i] ** k * x for i, x in enumerate(known)), _ZERO) for k in (0, 1)]
    return solve(matrix, [total - found[0], moment - found[1]])


def _column(b: list[Exact], rows: list[list[Exact]], j: int) -> Exact:
    """sum_i b_i a_ij over the rows so far, which begin with i = 1 and j = 1 (counted from 0)."""
    pairs = zip(b[1:], rows, strict=False)
    return sum((w * row[j - 1] for w, row in pairs if j <= len(row)), _ZERO)
