"""Implicit-explicit Runge-Kutta pairs of Ascher, Ruuth & Spiteri, Appl. Numer. Math. 25 (1997).

ars(s, sigma, p) has s implicit stages, sigma explicit ones and order p; the tables are theirs, the
implicit one padded by a stage without implicit part (section 2 there). The step from t_n costs one
explicit stage more than it has implicit ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from analysis.exact import Exact, root
from analysis.families import Family
from analysis.tableau import ButcherTableau, ImexTableau, Number

Rows = Sequence[Sequence[Number]]


def _square(rows: Rows, stages: int) -> list[list[Number]]:
    """Rows filled up with zeros."""
    return [[*row, *[0] * (stages - len(row))] for row in rows]


def _pair(
    name: str, explicit: Rows, b: Sequence[Number], implicit: Rows, b_implicit: Sequence[Number]
) -> ImexTableau:
    """Both tables by their lower triangles, from the second row on; the implicit column 1 is 0."""
    s = len(b)
    padded = [[], *([0, *row] for row in implicit)]
    return ImexTableau(
        name,
        ButcherTableau(f"{name}, explicit part", _square([[], *explicit], s), b),
        ButcherTableau(f"{name}, implicit part", _square(padded, s), [0, *b_implicit]),
    )


_GAMMA2: Exact = 1 - root(2) / 2
_GAMMA3: Exact = (3 + root(3)) / 6
_DIRK2: Rows = [[_GAMMA2], [1 - _GAMMA2, _GAMMA2]]


def _ars222(name: str) -> ImexTableau:
    """Section 2.6: the explicit part ends at the new step too, b = a_3."""
    delta = 1 - 1 / (2 * _GAMMA2)
    last = [delta, 1 - delta]
    return _pair(name, [[_GAMMA2], last], [*last, 0], _DIRK2, [1 - _GAMMA2, _GAMMA2])


def _ars232(name: str) -> ImexTableau:
    """Section 2.5: the implicit part of ars222 with an explicit part of order 3 if alone."""
    delta = -2 * root(2) / 3
    weights = [1 - _GAMMA2, _GAMMA2]
    return _pair(name, [[_GAMMA2], [delta, 1 - delta]], [0, *weights], _DIRK2, weights)


def _ars233(name: str) -> ImexTableau:
    """Section 2.4."""
    g = _GAMMA3
    half = Fraction(1, 2)
    explicit = [[g], [g - 1, 2 * (1 - g)]]
    return _pair(name, explicit, [0, half, half], [[g], [1 - 2 * g, g]], [half, half])


def _ars443(name: str) -> ImexTableau:
    """Section 2.8: an L-stable implicit part with gamma = 1/2."""
    explicit = ["1/2", "11/18 1/18", "5/6 -5/6 1/2", "1/4 7/4 3/4 -7/4"]
    implicit = ["1/2", "1/6 1/2", "-1/2 1/2 1/2", "3/2 -3/2 1/2 1/2"]
    rows, rows_implicit = ([row.split() for row in table] for table in (explicit, implicit))
    return _pair(name, rows, [*rows[-1], 0], rows_implicit, rows_implicit[-1])


ADDITIVE: dict[str, Family] = {
    "ars111": Family(
        lambda name: _pair(name, [[1]], [1, 0], [[1]], [1]),
        "implicit-explicit Euler, (I - h g)^-1 (y + h f(y)) for linear g, order 1",
    ),
    "ars222": Family(_ars222, "implicit-explicit pair, L-stable implicit part, order 2"),
    "ars232": Family(_ars232, "implicit-explicit pair with a third explicit stage, order 2"),
    "ars233": Family(_ars233, "implicit-explicit pair, A-stable implicit part, order 3"),
    "ars443": Family(_ars443, "implicit-explicit pair, L-stable implicit part, order 3"),
}
