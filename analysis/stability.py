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

from analysis import polynomials
from analysis.methods import tableau
from analysis.polynomials import Rational
from analysis.tableau import ButcherTableau

Fractions = tuple[Fraction, ...]
_EXACT_STAGES = 12  # beyond, exact determinants cost seconds and an eigenvalue solver serves


@dataclass(frozen=True)
class StabilityFunction:
    """R = numerator / denominator: exact coefficients, ascending, no common root, both 1 at 0.

    Called on a complex array it returns a complex array of the same shape. Evaluation multiplies
    the factors 1 - z / root, which keeps its relative accuracy where powers of z cancel (twenty
    digits for a Chebyshev method of 30 stages).

    >>> stability_function(tableau("crank-nicolson"))(-2.0)
    np.complex128(0j)
    """

    numerator: Fractions
    denominator: Fractions

    @cached_property
    def zeros(self) -> NDArray[np.complex128]:
        """Roots of the numerator, repeated by multiplicity."""
        return _read_only(polynomials.complex_roots(self.numerator))

    @cached_property
    def poles(self) -> NDArray[np.complex128]:
        """Roots of the denominator, repeated by multiplicity."""
        return _read_only(polynomials.complex_roots(self.denominator))

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
    def a_stable(self) -> bool:
        """Whether |R| <= 1 in the left half-plane: on its edge, and no pole in it."""
        on_edge = math.isinf(imaginary_stability_interval(self))
        return on_edge and bool(np.all(self.poles.real > 0))


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
    denominator = _determinant(method.A)
    numerator = _determinant(
        [[a - w for a, w in zip(row, method.b, strict=True)] for row in method.A]
    )
    common = polynomials.gcd(numerator, denominator)
    return StabilityFunction(
        _normalised(polynomials.quotient(numerator, common)),
        _normalised(polynomials.quotient(denominator, common)),
    )


def _normalised(p: Sequence[Rational]) -> Fractions:
    """p / p(0)."""
    return tuple(Fraction(a) / p[0] for a in p)


def _explicit_polynomial(method: ButcherTableau) -> Fractions:
    """1 + sum_k z^k b^T A^{k-1} 1, where the powers of A end."""
    stage = [Fraction(1)] * method.stages
    coefficients = [Fraction(1)]
    for k in range(method.stages):
        coefficients.append(sum((w * x for w, x in zip(method.b, stage, strict=True)), Fraction(0)))
        # A^k 1 vanishes in the first k stages.
        stage = [
            sum((a * x for a, x in zip(row[k:i], stage[k:i], strict=True)), Fraction(0))
            for i, row in enumerate(method.A)
        ]
    return tuple(Fraction(a) for a in polynomials.trim(coefficients))


def _determinant(matrix: Sequence[Sequence[Fraction]]) -> Fractions:
    """det(I - z M), ascending in z, by the recurrence of Faddeev and Le Verrier."""
    s = len(matrix)
    coefficients = [Fraction(1)]
    product = [[Fraction(0)] * s for _ in range(s)]
    for k in range(1, s + 1):
        for i in range(s):
            product[i][i] += coefficients[-1]
        product = [
            [sum((row[m] * product[m][j] for m in range(s)), Fraction(0)) for j in range(s)]
            for row in matrix
        ]
        coefficients.append(-sum((product[i][i] for i in range(s)), Fraction(0)) / k)
    return tuple(Fraction(a) for a in polynomials.trim(coefficients))


@lru_cache(maxsize=128)
def real_stability_interval(R: StabilityFunction) -> float:
    """The largest x such that |R| <= 1 on [-x, 0], exact up to one rounding, or infinite.

    |R(-t)| = 1 is left where (N - D)(N + D)(-t) changes sign: points where |R| only touches 1 do
    not count, whatever their number (theory §4, last paragraph).

    >>> real_stability_interval(stability_function(tableau("rkc1:stages=12,damping=0")))
    288.0
    """
    numerator, denominator = (_reflected(p) for p in (R.numerator, R.denominator))
    # The factors are coprime, so each sign change of the product is one of a factor.
    factors = [polynomials.add(numerator, denominator, sign) for sign in (-1, 1)]
    if not all(factors):
        return math.inf
    if math.prod(polynomials.sign_after(factor, 0) for factor in factors) > 0:
        return 0.0
    return _first_change(factors)


def _reflected(p: Fractions) -> Fractions:
    """p(-t)."""
    return tuple(-a if k % 2 else a for k, a in enumerate(p))


def _first_change(factors: Sequence[Sequence[Rational]]) -> float:
    changes = (polynomials.first_sign_change(factor) for factor in factors)
    return min((x for x in changes if x is not None), default=math.inf)


@lru_cache(maxsize=128)
def imaginary_stability_interval(R: StabilityFunction) -> float:
    """The largest y such that |R| <= 1 on [-iy, iy], exact up to one rounding, or infinite.

    E(w) = |N(iy)|^2 - |D(iy)|^2 is a polynomial in w = y^2. The interval is 0 where its first
    coefficient that does not vanish is positive, however small the excess; else it ends at the
    first sign change.

    >>> imaginary_stability_interval(stability_function(tableau("heun")))
    0.0
    """
    excess = polynomials.add(
        _squared_on_imaginary_axis(R.numerator), _squared_on_imaginary_axis(R.denominator), -1
    )
    if polynomials.sign_after(excess, 0) > 0:
        return 0.0
    return math.sqrt(_first_change([excess]))


def _squared_on_imaginary_axis(p: Fractions) -> tuple[Rational, ...]:
    """|p(i sqrt w)|^2 = even(-w)^2 + w odd(-w)^2."""
    even, odd = _reflected(p[0::2]), _reflected(p[1::2])
    return polynomials.add(
        polynomials.multiply(even, even), (Fraction(0), *polynomials.multiply(odd, odd))
    )


def circle_contractivity_radius(method: ButcherTableau) -> float:
    """The largest r such that a step h contracts whenever an Euler step h / r does.

    r = -1 / lambda_min(B^{-1/2} (B A + A^T B - b b^T) B^{-1/2}) with B = diag(b) > 0; 0 where a
    stage that counts has b_i <= 0; infinite where the matrix is positive semi-definite (algebraic
    stability). Steps with h L ||K||^2 <= 2 r are non-expansive on y' = -K^T sigma(K y + b) (theory
    §4.2; Dahlquist & Jeltsch 1979). Stages that do not influence the step are left out. Correctly
    rounded up to 12 stages, up to rounding errors beyond.

    >>> circle_contractivity_radius(tableau("euler"))
    1.0
    >>> circle_contractivity_radius(tableau("midpoint"))
    0.0
    """
    used = _stages_that_count(method)
    b = [method.b[i] for i in used]
    if min(b) <= 0:
        return 0.0
    A = [[method.A[i][j] for j in used] for i in used]
    matrix = [
        [b[i] * A[i][j] + b[j] * A[j][i] - b[i] * b[j] for j in range(len(b))]
        for i in range(len(b))
    ]
    if _positive_semidefinite(matrix):
        return math.inf
    if len(b) <= _EXACT_STAGES:
        # B + r M, singular first at r_cc, has the determinant det(B) det(I + r B^{-1} M).
        ratio = [[-x / w for x in row] for row, w in zip(matrix, b, strict=True)]
        return min(r for r in polynomials.real_roots(_determinant(ratio)) if r > 0)
    root = np.sqrt([float(w) for w in b])
    scaled = np.array([[float(x) for x in row] for row in matrix]) / np.outer(root, root)
    return float(-1 / np.linalg.eigvalsh(scaled)[0])


def _stages_that_count(method: ButcherTableau) -> list[int]:
    """Stages with a weight, and those that such a stage reads."""
    used = {i for i, w in enumerate(method.b) if w}
    while more := {j for i in used for j, a in enumerate(method.A[i]) if a} - used:
        used |= more
    return sorted(used)


def _positive_semidefinite(matrix: list[list[Fraction]]) -> bool:
    """Whether a symmetric rational matrix is positive semi-definite, by exact elimination."""
    while matrix:
        diagonal = [row[i] for i, row in enumerate(matrix)]
        if min(diagonal) < 0:
            return False
        pivot = diagonal.index(max(diagonal))
        if diagonal[pivot] == 0:
            return not any(any(row) for row in matrix)
        rest = [i for i in range(len(matrix)) if i != pivot]
        row = matrix[pivot]
        matrix = [[matrix[i][j] - row[i] * row[j] / row[pivot] for j in rest] for i in rest]
    return True
