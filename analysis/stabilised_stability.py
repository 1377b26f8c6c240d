"""Stability functions of stabilised methods with many stages, from a + b P_s(w0 + w1 z) itself.

Exact polynomials of fifty damped stages cost seconds and those of two hundred minutes; the closed
form of the same function costs nothing at any length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.stabilised import StabilisedMethod, polynomial_factors
from analysis.stability import StabilityFunction

EXACT_STAGES = 30
"""Up to so many stages intervals come from exact polynomials."""


@dataclass(frozen=True, init=False, eq=False)
class StabilisedFunction(StabilityFunction):
    """R(z) = a + b P_s(w0 + w1 z) with zeros and real interval in closed form.

    Left of x = -1 the polynomial P_s is monotone, so that |R| leaves one where R = 1 (s even) or
    R = -1 (s odd); in between |P_s| <= 1 holds and with it |R| <= 1.
    """

    method: StabilisedMethod

    def __init__(self, method: StabilisedMethod) -> None:
        object.__setattr__(self, "method", method)
        object.__setattr__(self, "denominator", (Fraction(1),))

    def __getattribute__(self, name: str) -> Any:
        # The field of the base class, made when it is asked for: seconds for 200 damped stages.
        if name == "numerator":
            return super().__getattribute__("method").polynomial
        return super().__getattribute__(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StabilisedFunction) and self.method == other.method

    def __hash__(self) -> int:
        return hash(self.method)

    @cached_property
    def zeros(self) -> NDArray[np.complex128]:
        """Zeros of R: those of P_s(x) + a / b, moved to z."""
        a, b, w0, w1 = self.method.parameters
        level = float(-a / b)
        below = self._below_one(level)
        zeros = (below - float(w0 - 1)) / float(w1)
        zeros.flags.writeable = False
        return zeros

    def _below_one(self, level: float) -> NDArray[np.complex128]:
        """x - 1 where P_s(x) = level: small differences that x itself would round away."""
        s = self.method.stages
        if not self.method.legendre:
            angle = (np.arccos(complex(level)) + 2 * np.pi * np.arange(s)) / s
            return np.asarray(-2 * np.sin(angle / 2) ** 2)
        companion = np.polynomial.legendre.legcompanion([-level] + [0.0] * (s - 1) + [1.0])
        x = np.linalg.eigvals(companion).astype(complex)
        for _ in range(3):
            value, slope = _legendre(s, x)
            x = x - (value - level) / slope
        return np.asarray(x - 1)

    @cached_property
    def real_interval(self) -> float:
        """The largest x such that |R| <= 1 on [-x, 0], to rounding errors."""
        a, b, w0, w1 = self.method.parameters
        if self.method.stages % 2 == 0 or not a:
            return float(2 * w0 / w1)
        return (float(w0) + self._beyond_one(float((1 + a) / b))) / float(w1)

    def _beyond_one(self, level: float) -> float:
        """The x >= 1 at which P_s(x) = level >= 1."""
        s = self.method.stages
        if not self.method.legendre:
            return math.cosh(math.acosh(level) / s)
        # T_s >= P_s above one, so its root is a lower bound; above the root of P_s, where P_s is
        # convex, Newton's iteration falls monotonically.
        reach = math.acosh(max(level, 1 + 1e-12)) / s
        while _legendre(s, np.array([math.cosh(reach)], dtype=complex))[0][0].real < level:
            reach *= 1.5
        x = math.cosh(reach)
        for _ in range(200):
            value, slope = _legendre(s, np.array([x], dtype=complex))
            moved = float((value[0].real - level) / slope[0].real)
            x -= moved
            if abs(moved) <= 1e-15 * x:
                break
        return x

    @cached_property
    def imaginary_interval(self) -> float:
        """0 where |R(iy)| - 1 begins with a positive power of y; else from the exact polynomial."""
        r = self._low_coefficients()
        second = r[1] ** 2 - 2 * r[2]
        fourth = r[2] ** 2 - 2 * r[1] * r[3] + 2 * r[4]
        if second > 0 or (second == 0 and fourth > 0):
            return 0.0
        return StabilityFunction(self.numerator, self.denominator).imaginary_interval

    def exceeds_one(self, z: NDArray[np.complex128]) -> NDArray[np.bool_]:
        """Whether |R(z)| > 1: on the axes by the intervals, elsewhere beyond rounding errors.

        `analysis.rays.exceeds_one` of other functions needs their coefficients, which takes
        minutes for 200 stages.
        """
        stages = self.method.stages
        off = np.abs(self(z)) > 1 + 1e-12 * stages
        real = (z.imag == 0) & (z.real <= 0)
        imaginary = (z.real == 0) & (z.imag != 0)
        off = np.where(real, -z.real > self.real_interval * (1 + 1e-13 * stages), off)
        beyond = np.abs(z.imag) > self.imaginary_interval
        return np.asarray(np.where(imaginary, beyond, off))

    def _low_coefficients(self) -> list[Fraction]:
        """r_0 .. r_4 of R = sum r_k z^k, from the first derivatives of P_s at w0."""
        a, b, w0, w1 = self.method.parameters
        before, now = [Fraction(1)] + [Fraction(0)] * 4, [w0, Fraction(1)] + [Fraction(0)] * 3
        for j in range(2, self.method.stages + 1):
            growth, rest = polynomial_factors(self.method.legendre, j)
            lower = [Fraction(0), *(k * x for k, x in enumerate(now[:-1], start=1))]
            pairs = zip(lower, now, before, strict=True)
            before, now = now, [growth * (x + w0 * y) - rest * z for x, y, z in pairs]
        scaled = [b * w1**k * x / math.factorial(k) for k, x in enumerate(now)]
        return [a + scaled[0], *scaled[1:]]


def _legendre(
    degree: int, x: NDArray[np.complex128]
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """P_s and its derivative by the recurrence."""
    before, value = np.ones_like(x), x
    slope_before, slope = np.zeros_like(x), np.ones_like(x)
    for j in range(2, degree + 1):
        slope_before, slope = slope, slope_before + (2 * j - 1) * value
        before, value = value, ((2 * j - 1) * x * value - (j - 1) * before) / j
    return value, slope
