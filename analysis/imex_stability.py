"""Stability of additive Runge-Kutta methods on y' = lambda y + mu y, lambda explicit, mu implicit.

One step multiplies y by the function of two variables z = h lambda and w = h mu

    R(z, w) = N(z, w) / D(w),     D(w) = prod_i (1 - a~_ii w),

a polynomial in z. Stable means |R| <= 1; how large z may be, whatever w in a half-line or a wedge
of the left half-plane, is decided by exact polynomials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.exact import Exact, sign_of
from analysis.half_line import Exit, first_positive
from analysis.imex_limits import ImexLimits, largest_stable, wedge_tangent
from analysis.polynomial_roots import complex_roots, first_sign_change, sign_after
from analysis.polynomials import Polynomial, add, multiply
from analysis.stability import (
    imaginary_stability_interval,
    real_stability_interval,
    stability_function,
)
from analysis.tableau import ImexTableau

_UNITS = 32
_ROUNDING = 2.0**-53


@dataclass(frozen=True)
class ImexStabilityFunction:
    """R(z, w) of an additive method: numerator[k] is the polynomial in w that multiplies z^k.

    Called on two arrays z and w that broadcast, it returns R element by element, complex.
    """

    numerator: tuple[Polynomial, ...]
    denominator: Polynomial

    def __call__(self, z: ArrayLike, w: ArrayLike) -> Any:
        """R(z, w)."""
        explicit, implicit = np.asarray(z, dtype=complex), np.asarray(w, dtype=complex)
        value = np.zeros(np.broadcast(explicit, implicit).shape, dtype=complex)
        with np.errstate(all="ignore"):
            below = _value(self.denominator, implicit)
            for p in reversed(self.numerator):
                value = value * explicit + _value(p, implicit) / below
        return value[()]

    @cached_property
    def degree(self) -> int:
        """The largest power of h in numerator or denominator."""
        powers = [k + len(p) - 1 for k, p in enumerate(self.numerator) if p]
        return max(*powers, len(self.denominator) - 1)

    def first_exit(
        self, z: NDArray[np.complex128], w: NDArray[np.complex128], limit: float
    ) -> Exit:
        """The smallest h <= limit at which |R(h z_i, h w_i)| > 1 for some pair i, and that i."""
        if not len(z):
            return Exit(limit, -1)
        anti = np.flatnonzero(w.real > 0)
        if anti.size:
            best = self._exit_before_poles(z, w, anti, limit)
            rest = np.flatnonzero(w.real <= 0)
            found = self.first_exit(z[rest], w[rest], best.step)
            return found._replace(which=int(rest[found.which])) if found.which >= 0 else best
        powers = range(self.degree + 1)
        terms = np.zeros((len(z), self.degree + 1), dtype=complex)
        sizes = np.zeros((len(z), self.degree + 1))
        below = np.zeros_like(terms)
        for k, p in enumerate(self.numerator):
            for m, a in enumerate(p):
                term = float(a) * z**k * w**m
                terms[:, k + m] += term
                sizes[:, k + m] += np.abs(term)
        for m, a in enumerate(self.denominator):
            below[:, m] = float(a) * w**m
        excess = np.zeros((len(z), 2 * self.degree + 1))
        size = np.zeros_like(excess)
        for j in powers:
            for k in powers:
                excess[:, j + k] += (terms[:, j] * np.conj(terms[:, k])).real
                excess[:, j + k] -= (below[:, j] * np.conj(below[:, k])).real
                size[:, j + k] += sizes[:, j] * sizes[:, k] + np.abs(below[:, j] * below[:, k])
        return first_positive(excess[:, 1:], size[:, 1:], limit)

    def _exit_before_poles(
        self,
        z: NDArray[np.complex128],
        w: NDArray[np.complex128],
        rows: NDArray[np.int64],
        limit: float,
    ) -> Exit:
        """`first_exit` of growing implicit parts: sampled up to the first pole, and halved.

        Expanded powers cancel next to a pole of several stages; the stages themselves do not.
        """
        poles = complex_roots(self.denominator)
        reach = float(np.abs(poles).min()) if poles.size else math.inf
        best = Exit(limit, -1)
        for row in rows:
            top = min(best.step, reach / float(np.abs(w[row])))
            top = top if math.isfinite(top) else 1e3 / float(np.abs(w[row]))
            steps = top * np.linspace(0, 1, 2049)[1:-1]
            outside = self.exceeds_one(steps * z[row], steps * w[row])
            k = int(np.argmax(outside)) if outside.any() else len(steps)
            low, high = (float(steps[k - 1]) if k else 0.0), float(steps[min(k, len(steps) - 1)])
            for _ in range(50 if k < len(steps) else 0):
                middle = (low + high) / 2
                grows = bool(
                    self.exceeds_one(middle * z[row : row + 1], middle * w[row : row + 1])[0]
                )
                low, high = (low, middle) if grows else (middle, high)
            step = low if k < len(steps) else top
            best = Exit(step, int(row)) if step < best.step else best
        return best

    def exceeds_one(
        self, z: NDArray[np.complex128], w: NDArray[np.complex128]
    ) -> NDArray[np.bool_]:
        """Whether |R| > 1 beyond the rounding errors of its terms."""
        moduli = [
            _value(tuple(abs(a) for a in p), np.abs(w)) * np.abs(z) ** k
            for k, p in enumerate(self.numerator)
        ]
        below = np.abs(_value(self.denominator, w))
        noise = _UNITS * _ROUNDING * np.sum(moduli, axis=0) / below
        return np.asarray(np.abs(self(z, w)) > 1 + noise)


def _value(p: Polynomial, x: NDArray[Any]) -> NDArray[Any]:
    return np.polyval([float(a) for a in reversed(p)] or [0.0], x)


class ExactFlows:
    """Splitting with exact flows: a step multiplies by exp(z + w), whatever its order.

    What it cannot show is the error of the splitting, which vanishes for numbers and not for
    matrices that do not commute.
    """

    def __call__(self, z: ArrayLike, w: ArrayLike) -> Any:
        """exp(z + w)."""
        return np.exp(np.asarray(z, dtype=complex) + np.asarray(w, dtype=complex))[()]

    def first_exit(
        self, z: NDArray[np.complex128], w: NDArray[np.complex128], limit: float
    ) -> Exit:
        """No pair without growth of its own ever leaves."""
        return Exit(limit, -1)

    def exceeds_one(
        self, z: NDArray[np.complex128], w: NDArray[np.complex128]
    ) -> NDArray[np.bool_]:
        """Whether the sum has a positive real part beyond rounding."""
        return np.asarray((z + w).real > _UNITS * _ROUNDING * (np.abs(z) + np.abs(w)))


@lru_cache(maxsize=64)
def imex_stability_function(method: ImexTableau) -> ImexStabilityFunction:
    """The exact function R(z, w) of an additive Runge-Kutta method.

    Source: Ascher, Ruuth & Spiteri, Appl. Numer. Math. 25 (1997), section 2.

    >>> from analysis.tableau import ButcherTableau
    >>> explicit = ButcherTableau("e", [[0, 0], [1, 0]], [1, 0])
    >>> implicit = ButcherTableau("i", [[0, 0], [0, 1]], [0, 1])
    >>> R = imex_stability_function(ImexTableau("ars111", explicit, implicit))
    >>> R(-1.0, -1.0), R(-3.0, -1.0)
    (np.complex128(0j), np.complex128(-1+0j))
    """
    E, H = method.explicit, method.implicit
    factors: list[Polynomial] = [add((1,), (0, -H.A[i][i])) for i in range(method.stages)]
    # Stage i is P_i / (d_0 ... d_i): every sum is brought to that denominator.
    stages: list[tuple[Polynomial, ...]] = []
    for i in range(method.stages):
        stages.append(_combine(E.A[i][:i], H.A[i][:i], stages, factors, i))
    numerator = _combine(E.b, H.b, stages, factors, method.stages)
    denominator: Polynomial = (1,)
    for factor in factors:
        denominator = multiply(denominator, factor)
    return ImexStabilityFunction(numerator, denominator)


def _combine(
    explicit: tuple[Exact, ...],
    implicit: tuple[Exact, ...],
    stages: list[tuple[Polynomial, ...]],
    factors: list[Polynomial],
    count: int,
) -> tuple[Polynomial, ...]:
    """The numerator of 1 + sum_j (explicit_j z + implicit_j w) Y_j over d_0 ... d_(count - 1)."""

    def product(start: int) -> Polynomial:
        result: Polynomial = (1,)
        for factor in factors[start:count]:
            result = multiply(result, factor)
        return result

    total: list[Polynomial] = [product(0)]
    for j, stage in enumerate(stages[: len(explicit)]):
        rest = product(j + 1)
        for k, p in enumerate(stage):
            scaled = multiply(p, rest)
            total += [()] * (k + 2 - len(total))
            total[k] = add(total[k], multiply((0, implicit[j]), scaled))
            total[k + 1] = add(total[k + 1], scaled, explicit[j])
    while len(total) > 1 and not total[-1]:
        total.pop()
    return tuple(total)


@lru_cache(maxsize=64)
def imex_runge_kutta_limits(method: ImexTableau, angle: float = 0.0) -> ImexLimits:
    """Intervals of the explicit eigenvalue that are stable for all implicit ones of a wedge.

    By the maximum principle |R(z, w)| <= 1 in the wedge where it holds on its two edges, and on an
    edge w = -t (1 +- i tan(angle)) it is the sign of an exact polynomial in t >= 0. The interval is
    bracketed at 32 points and halved to 1e-13: a gap of instability between two of them, with
    stability behind it, would be missed. Raises InputError for an angle outside [0, pi/2).

    Source: Frank, Hundsdorfer & Verwer, Appl. Numer. Math. 25 (1997).
    """
    tangent = wedge_tangent(angle)
    R, own = imex_stability_function(method), stability_function(method.explicit)
    if any(sign_of(method.implicit.A[i][i]) < 0 for i in range(method.stages)):
        return ImexLimits(0.0, 0.0, angle)  # a pole in the wedge

    def real(x: Fraction) -> bool:
        return _stable_on_edge(R, (-x, Fraction(0)), tangent)

    def imaginary(y: Fraction) -> bool:
        # The other edge is the complex conjugate of this one with -y.
        return all(_stable_on_edge(R, (Fraction(0), s * y), tangent) for s in (1, -1))

    return ImexLimits(
        largest_stable(real, real_stability_interval(own)),
        largest_stable(imaginary, imaginary_stability_interval(own)),
        angle,
    )


def _stable_on_edge(
    R: ImexStabilityFunction, z: tuple[Fraction, Fraction], tangent: Fraction
) -> bool:
    """Whether |N|^2 <= |D|^2 for w = -t (1 + i tangent) and every t >= 0, exactly."""
    edge = (Fraction(-1), -tangent)
    above: tuple[Polynomial, Polynomial] = ((), ())
    power = (Fraction(1), Fraction(0))
    for p in R.numerator:
        part = _on_line(p, edge)
        above = (
            add(add(above[0], part[0], power[0]), part[1], -power[1]),
            add(add(above[1], part[1], power[0]), part[0], power[1]),
        )
        power = _times(power, z)
    below = _on_line(R.denominator, edge)
    room = add(_square(below), _square(above), -1)
    return sign_after(room, 0) >= 0 and first_sign_change(room) is None


def _times(a: tuple[Fraction, Fraction], b: tuple[Fraction, Fraction]) -> tuple[Fraction, Fraction]:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _on_line(p: Polynomial, direction: tuple[Fraction, Fraction]) -> tuple[Polynomial, Polynomial]:
    """Real and imaginary part of p(t direction) as polynomials in t."""
    power, real, imaginary = (Fraction(1), Fraction(0)), [], []
    for a in p:
        real.append(a * power[0])
        imaginary.append(a * power[1])
        power = _times(power, direction)
    return add(real, ()), add(imaginary, ())


def _square(p: tuple[Polynomial, Polynomial]) -> Polynomial:
    return add(multiply(p[0], p[0]), multiply(p[1], p[1]))
