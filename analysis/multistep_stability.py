"""Stability of linear multistep methods: exact intervals, and the first exit of any eigenvalue.

On y' = lambda y the roots of rho(zeta) - z sigma(zeta), z = h lambda, decide: stable where all lie
in the closed unit disc and those on its edge are simple. A root crosses the edge where z is on the
root locus rho / sigma of the unit circle, so that stability changes at points of the locus only.

>>> R = RootCondition.of(MultistepMethod("ab2", [0, -1, 1], ["-1/2", "3/2", 0]))
>>> R.real_interval, R.imaginary_interval
(1.0, 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.exact import Exact
from analysis.half_line import Exit
from analysis.imex_limits import ImexLimits, largest_stable, wedge_tangent
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.polynomial_roots import close_roots, complex_roots
from analysis.polynomials import (
    Polynomial,
    Scalar,
    add,
    derivative,
    evaluate,
    gcd,
    multiply,
    quotient,
    square_free_factors,
    trim,
)
from analysis.root_locus import OFF_CIRCLE, locus_exit, outside_disc, root_radius

Complex = NDArray[np.complex128]

_UNCERTAIN = 4e-8  # of a double root on the circle
_SAMPLES = (0.237, 0.519, 0.781)  # no round numbers, where roots of tables like to meet


@dataclass(frozen=True)
class RootCondition:
    """The root condition of a multistep method, a function of z = h lambda.

    Called on a complex array it returns the largest modulus of the roots zeta(z), one real number
    a point, infinite where the leading coefficient vanishes.
    """

    alpha: tuple[Exact, ...]
    beta: tuple[Exact, ...]

    @classmethod
    def of(cls, method: MultistepMethod) -> RootCondition:
        """The condition of a method."""
        return cls(method.alpha, method.beta)

    def __call__(self, z: ArrayLike) -> Any:
        """max |zeta(z)|, element by element."""
        points = np.asarray(z, dtype=complex)
        return root_radius(_floats(self.alpha) - points[..., None] * _floats(self.beta))[()]

    @cached_property
    def zero_stable(self) -> bool:
        """Whether the roots of rho lie in the closed disc, those on its edge simple."""
        return _root_condition(self.alpha)

    @cached_property
    def at_infinity(self) -> float:
        """The largest root for z to infinity: of sigma, infinite where its degree is lower."""
        if not self.beta[-1]:
            return math.inf
        return float(np.abs(_roots(self.beta)).max(initial=0.0))

    @cached_property
    def real_interval(self) -> float:
        """The largest x such that the root condition holds on [-x, 0], or infinite."""
        return self._reach(-1.0, [-z for z in self._crossings_of_real_axis()])

    @cached_property
    def imaginary_interval(self) -> float:
        """The largest y such that the root condition holds on [-iy, iy], or infinite."""
        return self._reach(1j, [abs(y) for y in self._crossings_of_imaginary_axis()])

    @cached_property
    def a_stable(self) -> bool:
        """Whether the left half-plane is stable (Dahlquist: of order 2 at most)."""
        return math.isinf(self.imaginary_interval) and math.isinf(self.real_interval)

    @cached_property
    def angle(self) -> float:
        """Half-angle a of the stable wedge |arg(-z)| < a, radians: A(a)-stability, 0 for none.

        The least angle of the root locus in the left half-plane, at 20,001 points and refined
        twice, so known to about 1e-9.
        """
        if self.a_stable or not math.isinf(self.real_interval):
            return math.pi / 2 if self.a_stable else 0.0
        theta, width = np.linspace(0, np.pi, 20002)[1:], np.pi / 20001
        for _ in range(3):
            zeta = np.exp(1j * theta)[:, None] ** np.arange(len(self.alpha))
            with np.errstate(all="ignore"):
                z = (zeta @ _floats(self.alpha)) / (zeta @ _floats(self.beta))
            away = np.where(z.real < -1e-12 * np.abs(z), np.abs(np.angle(-z)), np.pi / 2)
            k = int(np.argmin(away))
            theta = theta[k] + width * np.linspace(-1, 1, 2001)
            width /= 1000
        return float(away[k])

    @cached_property
    def _reduced(self) -> tuple[Polynomial, Polynomial]:
        """rho and sigma without common factors, whose roots stay where they are for every z."""
        common = gcd(self.alpha, self.beta)
        return quotient(self.alpha, common), quotient(self.beta, common)

    @cached_property
    def _locus(self) -> tuple[Polynomial, Polynomial, Polynomial]:
        """p, q, s in x = cos(theta): rho conj(sigma) = p + i sin(theta) q, |sigma|^2 = s."""
        rho, sigma = self._reduced
        first, second = _chebyshev(max(len(rho), len(sigma), 2))
        p, q, s = (), (), ()  # type: tuple[Polynomial, Polynomial, Polynomial]
        for i, a in enumerate(sigma):
            for j, b in enumerate(sigma):
                s = add(s, first[abs(i - j)], a * b)
        for i, a in enumerate(rho):
            for j, b in enumerate(sigma):
                m, product = abs(i - j), a * b
                p = add(p, first[m], product)
                if m:
                    q = add(q, second[m - 1], product if i > j else -product)
        return p, q, s

    def _crossings_of_real_axis(self) -> Iterator[float]:
        """Real z on the root locus: theta = 0, pi, and the roots of q."""
        p, q, s = self._locus
        for x in [Fraction(1), Fraction(-1), *_cosines(q)]:
            below = evaluate(s, x)
            if abs(below) > Fraction(1, 2**80):
                yield float(evaluate(p, x) / (Fraction(1) * below))

    def _crossings_of_imaginary_axis(self) -> Iterator[float]:
        """Imaginary parts of imaginary z on the root locus, the roots of p.

        Where the whole locus is imaginary, roots travel on the circle and stability changes where
        two meet: where the locus turns.
        """
        p, q, s = self._locus
        turns = p if trim(p) else _turning_points(q, s)
        for x in _cosines(turns):
            below = evaluate(s, x)
            if abs(below) > Fraction(1, 2**80):
                sine = math.sqrt(max(1 - x * x, Fraction(0)))
                yield sine * float(evaluate(q, x) / (Fraction(1) * below))

    def _reach(self, direction: complex, crossings: Sequence[float]) -> float:
        """How far a ray stays stable: up to the first crossing behind which it is not."""
        if not self.zero_stable:
            return 0.0
        low = 0.0
        for high in [*sorted(x for x in crossings if x > 1e-12), math.inf]:
            if math.isfinite(high) and high - low <= 1e-12 * high:
                continue
            width = high - low if math.isfinite(high) else 4 * (low + 1)
            if np.any(self(direction * (low + width * np.array(_SAMPLES))) > 1 + OFF_CIRCLE):
                return low
            low = high
        return math.inf

    def exceeds_one(self, z: Complex) -> NDArray[np.bool_]:
        """Whether a root lies outside the disc by more than it is uncertain."""
        return outside_disc(_floats(self.alpha) - z[..., None] * _floats(self.beta))

    def first_exit(self, eigenvalues: Complex, limit: float) -> Exit:
        """The smallest h <= limit at which some h lambda leaves the region, and its index."""
        if not len(eigenvalues) or not self.zero_stable:
            return Exit(0.0, 0) if len(eigenvalues) else Exit(limit, -1)
        # Those well inside the stable wedge never leave.
        loose = np.flatnonzero(np.abs(np.angle(-eigenvalues)) > self.angle - 1e-6)
        rho = _floats(self._reduced[0])
        sigma = np.zeros_like(rho)
        sigma[: len(self._reduced[1])] = _floats(self._reduced[1])
        found = locus_exit(rho, eigenvalues[loose, None] * sigma, limit)
        return found._replace(which=int(loose[found.which])) if found.which >= 0 else found


@dataclass(frozen=True)
class ImexRootCondition:
    """The root condition of an implicit-explicit multistep method, of two variables z and w.

    Called on two arrays that broadcast, it returns the largest modulus of the roots of
    rho - z sigma - w sigma~, z = h lambda explicit and w = h mu implicit.
    """

    alpha: tuple[Exact, ...]
    beta: tuple[Exact, ...]
    beta_implicit: tuple[Exact, ...]

    @classmethod
    def of(cls, method: ImexMultistep) -> ImexRootCondition:
        """The condition of a method."""
        return cls(method.alpha, method.beta, method.beta_implicit)

    @property
    def explicit_part(self) -> RootCondition:
        """The condition for w = 0."""
        return RootCondition(self.alpha, self.beta)

    def __call__(self, z: ArrayLike, w: ArrayLike) -> Any:
        """max |zeta(z, w)|, element by element."""
        explicit, implicit = np.broadcast_arrays(
            np.asarray(z, dtype=complex), np.asarray(w, dtype=complex)
        )
        return root_radius(_floats(self.alpha) - self._sigma(explicit, implicit))[()]

    def _sigma(self, z: Complex, w: Complex) -> Complex:
        implicit = w[..., None] * _floats(self.beta_implicit)
        return np.asarray(z[..., None] * _floats(self.beta) + implicit)

    def exceeds_one(self, z: Complex, w: Complex) -> NDArray[np.bool_]:
        """Whether a root lies outside the disc by more than it is uncertain."""
        return outside_disc(_floats(self.alpha) - self._sigma(z, w))

    def first_exit(self, z: Complex, w: Complex, limit: float) -> Exit:
        """The smallest h <= limit at which the pair (h z_i, h w_i) is unstable, and that i."""
        return locus_exit(_floats(self.alpha), self._sigma(z, w), limit)

    def limits(self, angle: float = 0.0) -> ImexLimits:
        """Intervals of the explicit eigenvalue that are stable for all implicit ones of a wedge.

        On an edge w = -t (1 +- i tan(angle)) roots cross the circle at finitely many t, between
        which one test decides; up to rounding errors, at 32 points and by halving as
        `analysis.imex_stability.imex_runge_kutta_limits`. Raises InputError for an angle outside
        [0, pi/2).
        """
        tangent = complex(1, float(wedge_tangent(angle)))
        own = self.explicit_part

        def stable(z: complex) -> bool:
            rho = _floats(self.alpha) - z * _floats(self.beta)
            sigma = -tangent * _floats(self.beta_implicit)
            if root_radius(rho) > 1 + _UNCERTAIN:
                return False
            return locus_exit(rho, sigma[None], math.inf, fixed_root=False).which < 0

        return ImexLimits(
            largest_stable(lambda x: stable(-float(x)), own.real_interval),
            largest_stable(
                lambda y: stable(1j * float(y)) and stable(-1j * float(y)), own.imaginary_interval
            ),
            angle,
        )


def _floats(coefficients: Sequence[Scalar]) -> NDArray[np.float64]:
    return np.array([float(a) for a in coefficients])


def _roots(p: Sequence[Exact]) -> Complex:
    """All complex roots, those at zero included."""
    stripped = trim(p)
    zeros = next((k for k, a in enumerate(stripped) if a), 0)
    return np.concatenate([np.zeros(zeros, dtype=complex), complex_roots(stripped[zeros:])])


def _root_condition(p: Sequence[Exact]) -> bool:
    stripped = trim(p)
    while stripped and not stripped[0]:
        stripped = stripped[1:]
    for factor, multiplicity in square_free_factors(stripped):
        largest = float(np.abs(complex_roots(factor)).max())
        if largest > 1 + OFF_CIRCLE or (multiplicity > 1 and largest > 1 - OFF_CIRCLE):
            return False
    return True


def _chebyshev(count: int) -> tuple[list[Polynomial], list[Polynomial]]:
    """T_m and U_m for m < count, as polynomials in x."""
    first: list[Polynomial] = [(1,), (0, 1)]
    second: list[Polynomial] = [(1,), (0, 2)]
    for values in (first, second):
        for _ in range(2, count):
            values.append(add(multiply((0, 2), values[-1]), values[-2], -1))
    return first, second


def _cosines(p: Polynomial) -> list[Fraction]:
    """Roots of p in [-1, 1], close enough to be exact for doubles."""
    if len(trim(p)) < 2:
        return []
    return [x for x in close_roots(p) if abs(x) <= 1]


def _turning_points(q: Polynomial, s: Polynomial) -> Polynomial:
    """The numerator of d/dtheta (sin(theta) q / s): x q s - (1 - x^2) (q' s - q s')."""
    slope = add(multiply(derivative(q), s), multiply(q, derivative(s)), -1)
    return add(multiply((0, 1), multiply(q, s)), multiply((1, 0, -1), slope), -1)
