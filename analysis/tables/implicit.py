"""Implicit Runge-Kutta methods, derived from their nodes wherever a few lines of algebra do it.

Source: Hairer & Wanner, Solving Ordinary Differential Equations II, section IV.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from analysis.exact import Exact, root, solve
from analysis.families import Family, Method, Parameter, count
from analysis.tableau import ButcherTableau

_HALF = Fraction(1, 2)
_ZERO, _ONE = Fraction(0), Fraction(1)

# The zeros of the shifted Legendre polynomials, of P_s - P_(s-1), and of P_s - P_(s-2).
_GAUSS: dict[int, list[Exact]] = {
    1: [_HALF],
    2: [_HALF - root(3) / 6, _HALF + root(3) / 6],
    3: [_HALF - root(15) / 10, _HALF, _HALF + root(15) / 10],
}
_RADAU: dict[int, list[Exact]] = {
    1: [_ONE],
    2: [Fraction(1, 3), _ONE],
    3: [(4 - root(6)) / 10, (4 + root(6)) / 10, _ONE],
}
_LOBATTO: dict[int, list[Exact]] = {
    2: [_ZERO, _ONE],
    3: [_ZERO, _HALF, _ONE],
    4: [_ZERO, (5 - root(5)) / 10, (5 + root(5)) / 10, _ONE],
}


def _weights(nodes: Sequence[Exact], end: Exact) -> list[Exact]:
    """Weights w with sum_j w_j p(c_j) = integral of p from 0 to end for degrees below s."""
    powers = range(len(nodes))
    return solve(
        [[c**k for c in nodes] for k in powers], [end ** (k + 1) / (k + 1) for k in powers]
    )


def collocation(name: str, nodes: Sequence[Exact]) -> ButcherTableau:
    """The collocation method of the nodes: every stage integrates the interpolating polynomial.

    >>> collocation("crank-nicolson", [Fraction(0), Fraction(1)]).A[1]
    (Fraction(1, 2), Fraction(1, 2))
    """
    return ButcherTableau(name, [_weights(nodes, c) for c in nodes], _weights(nodes, _ONE))


def _gauss(name: str, stages: Fraction) -> Method:
    return collocation(name, _GAUSS[int(stages)])


def _radau_iia(name: str, stages: Fraction) -> Method:
    return collocation(name, _RADAU[int(stages)])


def _lobatto_iiic(name: str, stages: Fraction) -> Method:
    """a_i1 = b_1, and the stages integrate polynomials of degree s - 2 (Chipman 1971)."""
    nodes, s = _LOBATTO[int(stages)], int(stages)
    b = _weights(nodes, _ONE)
    first: list[Exact] = [_ONE, *[_ZERO] * (s - 1)]
    matrix = [first, *([c**k for c in nodes] for k in range(s - 1))]
    A = [solve(matrix, [b[0], *(c ** (k + 1) / (k + 1) for k in range(s - 1))]) for c in nodes]
    return ButcherTableau(name, A, b)


def _theta(name: str, value: Fraction) -> ButcherTableau:
    """y+ = y + h ((1 - theta) f(y) + theta f(y+))."""
    return ButcherTableau(name, [[0, 0], [1 - value, value]], [1 - value, value])


def _sdirk2(name: str) -> ButcherTableau:
    """Two stages with one gamma = 1 - sqrt(2) / 2, the second at the new step (Alexander 1977)."""
    gamma = 1 - root(2) / 2
    return ButcherTableau(name, [[gamma, 0], [1 - gamma, gamma]], [1 - gamma, gamma])


IMPLICIT: dict[str, Family] = {
    "backward-euler": Family(
        lambda name: ButcherTableau(name, [[1]], [1]), "implicit Euler, A-stable and damping"
    ),
    "crank-nicolson": Family(
        lambda name: _theta(name, _HALF), "implicit trapezoidal rule, A-stable, order 2"
    ),
    "theta": Family(
        _theta,
        "y + h ((1 - value) f(y) + value f(y+)): 0 Euler, 1/2 trapezoidal, 1 backward Euler",
        {"value": Parameter(_HALF, _ZERO, _ONE)},
    ),
    "implicit-midpoint": Family(
        lambda name: ButcherTableau(name, [[_HALF]], [1]),
        "implicit midpoint rule, A-stable, order 2, keeps quadratic invariants",
    ),
    "sdirk2": Family(_sdirk2, "singly diagonally implicit, L-stable, order 2 (Alexander 1977)"),
    "gauss": Family(
        _gauss,
        "Gauss-Legendre collocation, {} stages, order twice that",
        {"stages": count(2, 1, 3)},
        listed=(1, 2, 3),
    ),
    "radau-iia": Family(
        _radau_iia,
        "Radau IIA collocation, {} stages, L-stable, order twice that less one",
        {"stages": count(2, 1, 3)},
        listed=(1, 2, 3),
    ),
    "lobatto-iiic": Family(
        _lobatto_iiic,
        "Lobatto IIIC, {} stages, L-stable, order twice that less two",
        {"stages": count(2, 2, 4)},
        listed=(2, 3, 4),
    ),
}
