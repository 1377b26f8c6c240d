"""Stabilised explicit methods of order 1 and 2, exact: Runge-Kutta-Chebyshev and -Legendre.

With P_j the Chebyshev (T_j) or Legendre polynomials, P_j = A_j x P_{j-1} - B_j P_{j-2}, a damping
epsilon >= 0 and w0 = 1 + epsilon / s^2, the stages are

    Y_j = (1 - mu_j - nu_j) Y_0 + mu_j Y_{j-1} + nu_j Y_{j-2} + h mut_j F_{j-1} + h gat_j F_0,
    mu_j = A_j w0 b_j / b_{j-1},  nu_j = -B_j b_j / b_{j-2},  mut_j = A_j w1 b_j / b_{j-1},
    gat_j = -(1 - b_{j-1} P_{j-1}(w0)) mut_j,

so that Y_j has the stability polynomial 1 - b_j P_j(w0) + b_j P_j(w0 + w1 z). Sources: Verwer,
Appl. Numer. Math. 22 (1996), section 2; Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88
(1997), section 2; Meyer, Balsara & Aslam, J. Comput. Phys. 257 (2014), section 2, whose Legendre
methods are those without damping.

>>> StabilisedMethod("rkc2", "rkc2", stages=2, damping=Fraction(0)).polynomial
(Fraction(1, 1), Fraction(1, 1), Fraction(1, 2))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from analysis.errors import InputError, unknown_name
from analysis.tableau import ButcherTableau

MAXIMUM_STAGES = 1000
"""Of a method: its recurrence is exact and takes seconds there."""
MAXIMUM_TABLE_STAGES = 50
"""Of a Butcher table, whose entries grow to thousands of digits."""
MAXIMUM_EXACT_DEGREE = 250
"""Of a damped polynomial in exact coefficients, which grow with the square of the stages."""


class StabilisedFamily(NamedTuple):
    """A family: its polynomials and its order.

    Attributes:
        legendre: whether P_j are the Legendre polynomials.
        order: 1 or 2; a method of order p has at least p stages.
    """

    legendre: bool
    order: int


FAMILIES = {
    "rkc1": StabilisedFamily(legendre=False, order=1),
    "rkc2": StabilisedFamily(legendre=False, order=2),
    "rkl1": StabilisedFamily(legendre=True, order=1),
    "rkl2": StabilisedFamily(legendre=True, order=2),
}


class Stage(NamedTuple):
    """The coefficients mu_j, nu_j, mut_j and gat_j of one stage."""

    mu: Fraction
    nu: Fraction
    mu_slope: Fraction
    gamma_slope: Fraction


class Shape(NamedTuple):
    """R(z) = a + b P_s(w0 + w1 z)."""

    a: Fraction
    b: Fraction
    w0: Fraction
    w1: Fraction


class _Values(NamedTuple):
    """P_j(x), P_j'(x) and P_j''(x) for j = 0 .. degree."""

    value: list[Fraction]
    first: list[Fraction]
    second: list[Fraction]


def polynomial_factors(legendre: bool, j: int) -> tuple[Fraction, Fraction]:
    """A_j and B_j of P_j = A_j x P_{j-1} - B_j P_{j-2}."""
    return (Fraction(2 * j - 1, j), Fraction(j - 1, j)) if legendre else (Fraction(2), Fraction(1))


def polynomial_values(legendre: bool, degree: int, x: Fraction) -> _Values:
    """P_j, P_j' and P_j'' at x up to a degree, by the differentiated recurrence.

    >>> [float(values[3]) for values in polynomial_values(False, 3, Fraction(1))]
    [1.0, 9.0, 24.0]
    """
    value, first, second = [Fraction(1), x], [Fraction(0), Fraction(1)], [Fraction(0)] * 2
    for j in range(2, degree + 1):
        A, B = polynomial_factors(legendre, j)
        value.append(A * x * value[-1] - B * value[-2])
        first.append(A * (value[j - 1] + x * first[-1]) - B * first[-2])
        second.append(A * (2 * first[j - 1] + x * second[-1]) - B * second[-2])
    return _Values(*(p[: degree + 1] for p in (value, first, second)))


@dataclass(frozen=True)
class StabilisedMethod:
    """A method of one family with any number of stages: data for recurrences and closed forms.

    Attributes:
        name: what the registry calls it.
        family: a name of FAMILIES.
        stages: s, from the order of the family to MAXIMUM_STAGES.
        damping: epsilon >= 0 of w0 = 1 + epsilon / s^2.

    Raises InputError for an unknown family and numbers out of range.

    >>> method = StabilisedMethod("rkl2", "rkl2", stages=5, damping=Fraction(0))
    >>> method.order, method.parameters.w1
    (2, Fraction(1, 7))
    """

    name: str
    family: str
    stages: int
    damping: Fraction

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise unknown_name("family of stabilised methods", self.family, FAMILIES)
        least = FAMILIES[self.family].order
        if not least <= self.stages <= MAXIMUM_STAGES:
            raise InputError(
                f"{least} to {MAXIMUM_STAGES} stages of {self.family}",
                self.stages,
                "take several steps instead of more stages",
            )
        if not (isinstance(self.damping, Fraction | int) and self.damping >= 0):
            raise InputError("a rational damping >= 0", self.damping, "write Fraction(1, 20)")

    @property
    def explicit(self) -> bool:
        """True: all stages are."""
        return True

    @property
    def legendre(self) -> bool:
        """Whether P_j are the Legendre polynomials, else those of Chebyshev."""
        return FAMILIES[self.family].legendre

    @property
    def _w0(self) -> Fraction:
        return 1 + Fraction(self.damping) / self.stages**2

    @cached_property
    def _values(self) -> _Values:
        return polynomial_values(self.legendre, self.stages, self._w0)

    @cached_property
    def _scales(self) -> list[Fraction]:
        """b_0 .. b_s: 1 / P_j of order 1, and P_j'' / P_j'^2 of order 2 with b_0 = b_1 = b_2."""
        value, first, second = self._values
        if FAMILIES[self.family].order == 1:
            return [1 / p for p in value]
        scales = [second[j] / first[j] ** 2 for j in range(2, self.stages + 1)]
        return [scales[0], scales[0], *scales]

    @cached_property
    def parameters(self) -> Shape:
        """a, b, w0 and w1 of R(z) = a + b P_s(w0 + w1 z), w1 = P_s / P_s' or P_s' / P_s''."""
        value, first, second = (p[-1] for p in self._values)
        if FAMILIES[self.family].order == 1:
            return Shape(Fraction(0), 1 / value, self._w0, value / first)
        b = second / first**2
        return Shape(1 - b * value, b, self._w0, first / second)

    @cached_property
    def recurrence(self) -> tuple[Stage, ...]:
        """The coefficients of the stages j = 1 .. s; the first is Y_1 = Y_0 + mut_1 h F_0."""
        b, value, (_, _, w0, w1) = self._scales, self._values.value, self.parameters
        stages = [Stage(Fraction(1), Fraction(0), b[1] * w1, Fraction(0))]
        for j in range(2, self.stages + 1):
            A, B = polynomial_factors(self.legendre, j)
            growth = A * b[j] / b[j - 1]
            slope = growth * w1
            shift = 1 - b[j - 1] * value[j - 1]
            stages.append(Stage(growth * w0, -B * b[j] / b[j - 2], slope, -shift * slope))
        return tuple(stages)

    @cached_property
    def polynomial(self) -> tuple[Fraction, ...]:
        """Exact coefficients of R(z), ascending, by the derivatives of P_s at w0.

        Raises InputError where they would fill the memory: a damped method of many stages, of
        which `parameters` is the useful form.
        """
        if self.damping and self.stages > MAXIMUM_EXACT_DEGREE:
            raise InputError(
                f"a damped polynomial of degree {MAXIMUM_EXACT_DEGREE} or less in exact numbers",
                self.name,
                "evaluate it by its parameters a, b, w0 and w1",
            )
        a, b, w0, w1 = self.parameters
        derivatives = _scaled_derivatives(self.legendre, self.stages, w0)
        coefficients = [a + b * derivatives[0]]
        power = b
        for k in range(1, self.stages + 1):
            power *= w1
            coefficients.append(power * derivatives[k])
        return tuple(coefficients)

    @cached_property
    def order(self) -> int:
        """The order of consistency, 1 or 2, from R(z) = exp(z) + O(z^{p+1}).

        There is one rooted tree with one node and one with two, so up to order 2 the linear
        problem decides. Third order is out of reach: R'''(0) R'(0) < R''(0)^2 since all zeros of
        R' are real (Laguerre's inequality).
        """
        a, b, _, w1 = self.parameters
        value, first, second = (p[-1] for p in self._values)
        matches = [a + b * value == 1, b * w1 * first == 1, b * w1**2 * second == 1]
        return matches.index(False) - 1 if False in matches else 2

    @cached_property
    def tableau(self) -> ButcherTableau:
        """The Butcher table: row j holds the weights of F_0 .. F_{s-1} in (Y_j - Y_0) / h.

        Raises InputError beyond MAXIMUM_TABLE_STAGES stages.
        """
        s = self.stages
        if s > MAXIMUM_TABLE_STAGES:
            raise InputError(
                f"at most {MAXIMUM_TABLE_STAGES} stages for a Butcher table in exact numbers",
                f"{s} of {self.name}",
                "use the recurrence of the method",
            )
        rows = [[Fraction(0)] * s]
        for j, (mu, nu, mu_slope, gamma_slope) in enumerate(self.recurrence):
            row = [mu * x + nu * y for x, y in zip(rows[j], rows[j - 1], strict=True)]
            row[j] += mu_slope
            row[0] += gamma_slope
            rows.append(row)
        return ButcherTableau(self.name, rows[:s], rows[s])


def _scaled_derivatives(legendre: bool, degree: int, x: Fraction) -> Sequence[Fraction]:
    """P^(k)(x) / k! for k = 0 .. degree, from the highest one down.

    The differential equation of P, differentiated k times, is
    (1 - x^2) P^(k+2) - (2 k + 1) x P^(k+1) + (s^2 - k^2) P^(k) = 0 for Chebyshev and
    (1 - x^2) P^(k+2) - 2 (k + 1) x P^(k+1) + (s (s + 1) - k (k + 1)) P^(k) = 0 for Legendre.
    In whole numbers, q^(s-k) 2^s P^(k)(p / q), no common factors need be found on the way.
    """
    p, q, s = x.numerator, x.denominator, degree
    leading = math.comb(2 * s, s) if legendre else 2 ** (2 * s - 1)  # of x^s, times 2^s
    whole = [0] * s + [leading * math.factorial(s), 0]
    for k in range(s - 1, -1, -1):
        both = (s * (s + 1) - k * (k + 1)) if legendre else (s * s - k * k)
        middle = 2 * (k + 1) if legendre else 2 * k + 1
        whole[k] = (middle * p * whole[k + 1] - (q * q - p * p) * whole[k + 2]) // both
    return [Fraction(whole[k], 2**s * q ** (s - k) * math.factorial(k)) for k in range(s + 1)]
