"""Stability functions of Runge-Kutta methods: exact real and imaginary intervals, contractivity.

On y' = lambda y one step is y+ = R(h lambda) y with the rational function

    R(z) = N(z) / D(z) = det(I - z A + z 1 b^T) / det(I - z A)        (explicit: D = 1).

>>> R = stability_function(tableau("rk4"))
>>> real_stability_interval(R), imaginary_stability_interval(R)
(2.785293563405282, 2.8284271247461903)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis import polynomial_roots, polynomials
from analysis.exact import Exact
from analysis.methods import tableau
from analysis.polynomials import Scalar
from analysis.tableau import ButcherTableau

Coefficients = tuple[Exact, ...]


@dataclass(frozen=True)
class StabilityFunction:
    """R = numerator / denominator: exact coefficients, ascending, no common root, both 1 at 0.

    Called on a complex array it returns a complex array of the same shape. Evaluation multiplies
    the factors 1 - z / root, which keeps its relative accuracy where powers of z cancel (twenty
    digits for a Chebyshev method of 30 stages).

    >>> stability_function(tableau("crank-nicolson"))(-2.0)
    np.complex128(0j)
    """

    numerator: Coefficients
    denominator: Coefficients

    @cached_property
    def zeros(self) -> NDArray[np.complex128]:
        """Roots of the numerator, repeated by multiplicity."""
        return _read_only(polynomial_roots.complex_roots(self.numerator))

    @cached_property
    def poles(self) -> NDArray[np.complex128]:
        """Roots of the denominator, repeated by multiplicity."""
        return _read_only(polynomial_roots.complex_roots(self.denominator))

    def __call__(self, z: ArrayLike) -> Any:
        """R(z), element by element; infinite at a pole."""
        points = np.asarray(z, dtype=complex)
        value = np.ones_like(points)
        with np.errstate(all="ignore"):
            # Alternating keeps the partial products in range where both degrees are high.
            for k in range(max(len(self.zeros), len(self.poles))):
                if k < len(self.zeros):
                    value = value * (1 - points / self.zeros[k])
                if k < len(self.poles):
                    value = value / (1 - points / self.poles[k])
        return value[()]

    @cached_property
    def real_interval(self) -> float:
        """See `real_stability_interval`."""
        numerator, denominator = (_reflected(p) for p in (self.numerator, self.denominator))
        # The factors are coprime, so each sign change of the product is one of a factor.
        factors = [polynomials.add(numerator, denominator, sign) for sign in (-1, 1)]
        if not all(factors):
            return math.inf
        if math.prod(polynomial_roots.sign_after(factor, 0) for factor in factors) > 0:
            return 0.0
        return _first_change(factors)

    @cached_property
    def imaginary_interval(self) -> float:
        """See `imaginary_stability_interval`."""
        excess = polynomials.add(
            _squared_on_imaginary_axis(self.numerator),
            _squared_on_imaginary_axis(self.denominator),
            -1,
        )
        if polynomial_roots.sign_after(excess, 0) > 0:
            return 0.0
        return math.sqrt(_first_change([excess]))

    @cached_property
    def a_stable(self) -> bool:
        """Whether |R| <= 1 in the left half-plane: on its edge, and no pole in it."""
        return math.isinf(self.imaginary_interval) and bool(np.all(self.poles.real > 0))

    @property
    def at_infinity(self) -> float:
        """|R| for z to infinity: 0 is L-stability where the method is A-stable."""
        degrees = len(self.numerator), len(self.denominator)
        if degrees[0] != degrees[1]:
            return math.inf if degrees[0] > degrees[1] else 0.0
        return float(abs(self.numerator[-1] / self.denominator[-1]))


def _read_only(array: NDArray[np.complex128]) -> NDArray[np.complex128]:
    array.flags.writeable = False
    return array


def as_tableau(method: str | ButcherTableau) -> ButcherTableau:
    """The table itself, or the table of that name."""
    return method if isinstance(method, ButcherTableau) else tableau(method)


@lru_cache(maxsize=128)
def stability_function(method: ButcherTableau) -> StabilityFunction:
    """The exact stability function of a Runge-Kutta method.

    Source: Hairer & Wanner, Solving Ordinary Differential Equations II, section IV.3.

    >>> stability_function(tableau("heun")).numerator
    (Fraction(1, 1), Fraction(1, 1), Fraction(1, 2))
    """
    if method.explicit:
        return StabilityFunction(_explicit_polynomial(method), (Fraction(1),))
    denominator = determinant(method.A)
    numerator = determinant(
        [[a - w for a, w in zip(row, method.b, strict=True)] for row in method.A]
    )
    common = polynomials.gcd(numerator, denominator)
    return StabilityFunction(
        _normalised(polynomials.quotient(numerator, common)),
        _normalised(polynomials.quotient(denominator, common)),
    )


def _normalised(p: Sequence[Scalar]) -> Coefficients:
    """p / p(0)."""
    scale = 1 / (Fraction(1) * p[0])
    return tuple(a * scale for a in p)


def _explicit_polynomial(method: ButcherTableau) -> Coefficients:
    """1 + sum_k z^k b^T A^{k-1} 1, where the powers of A end."""
    stage: list[Exact] = [Fraction(1)] * method.stages
    coefficients: list[Exact] = [Fraction(1)]
    for k in range(method.stages):
        coefficients.append(sum((w * x for w, x in zip(method.b, stage, strict=True)), Fraction(0)))
        # A^k 1 vanishes in the first k stages.
        stage = [
            sum((a * x for a, x in zip(row[k:i], stage[k:i], strict=True)), Fraction(0))
            for i, row in enumerate(method.A)
        ]
    return tuple(Fraction(1) * a for a in polynomials.trim(coefficients))


def determinant(matrix: Sequence[Sequence[Exact]]) -> Coefficients:
    """det(I - z M), ascending in z, by the recurrence of Faddeev and Le Verrier."""
    s = len(matrix)
    coefficients: list[Exact] = [Fraction(1)]
    product: list[list[Exact]] = [[Fraction(0)] * s for _ in range(s)]
    for k in range(1, s + 1):
        for i in range(s):
            product[i][i] += coefficients[-1]
        product = [
            [sum((row[m] * product[m][j] for m in range(s)), Fraction(0)) for j in range(s)]
            for row in matrix
        ]
        coefficients.append(-sum((product[i][i] for i in range(s)), Fraction(0)) / k)
    return tuple(Fraction(1) * a for a in polynomials.trim(coefficients))


def real_stability_interval(R: StabilityFunction) -> float:
    """The largest x such that |R| <= 1 on [-x, 0], exact up to one rounding, or infinite.

    |R(-t)| = 1 is left where (N - D)(N + D)(-t) changes sign: points where |R| only touches 1 do
    not count, whatever their number (theory §4, last paragraph).

    >>> real_stability_interval(stability_function(tableau("rkc1:stages=12,damping=0")))
    288.0
    """
    return R.real_interval


def _reflected(p: Coefficients) -> Coefficients:
    """p(-t)."""
    return tuple(-a if k % 2 else a for k, a in enumerate(p))


def _first_change(factors: Sequence[Sequence[Scalar]]) -> float:
    changes = (polynomial_roots.first_sign_change(factor) for factor in factors)
    return min((x for x in changes if x is not None), default=math.inf)


def imaginary_stability_interval(R: StabilityFunction) -> float:
    """The largest y such that |R| <= 1 on [-iy, iy], exact up to one rounding, or infinite.

    E(w) = |N(iy)|^2 - |D(iy)|^2 is a polynomial in w = y^2. The interval is 0 where its first
    coefficient that does not vanish is positive, however small the excess; else it ends at the
    first sign change.

    >>> imaginary_stability_interval(stability_function(tableau("heun")))
    0.0
    """
    return R.imaginary_interval


def _squared_on_imaginary_axis(p: Coefficients) -> tuple[Scalar, ...]:
    """|p(i sqrt w)|^2 = even(-w)^2 + w odd(-w)^2."""
    even, odd = _reflected(p[0::2]), _reflected(p[1::2])
    return polynomials.add(
        polynomials.multiply(even, even), (Fraction(0), *polynomials.multiply(odd, odd))
    )
