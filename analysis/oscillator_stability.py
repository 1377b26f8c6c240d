"""Stability of splittings into drift and kick on the oscillator y'' = -omega^2 y.

In (y, h y') a drift is [[1, a], [0, 1]] and a kick [[1, 0], [-b w, 1]], w = (h omega)^2. A step is
their product M(w), of determinant one: its eigenvalues are on the unit circle where |trace M| <= 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.errors import InputError
from analysis.half_line import Exit
from analysis.polynomial_roots import first_sign_change
from analysis.polynomials import Polynomial, add, multiply
from analysis.splitting import SplittingMethod

_DOUBLE_ROOT = 4e-8  # a double eigenvalue is known to the square root of the rounding errors


@dataclass(frozen=True)
class OscillatorStability:
    """The trace of a step as a polynomial in w = (h omega)^2, ascending and exact.

    Called on z = h lambda with lambda = +-i omega, an eigenvalue of the first-order system, it
    returns the largest modulus of the eigenvalues of the step: with w = -z^2 any complex z has one.

    >>> from analysis.splitting import SplittingMethod
    >>> verlet = [("kick", "1/2"), ("drift", 1), ("kick", "1/2")]
    >>> R = OscillatorStability.of(SplittingMethod("verlet", verlet))
    >>> R.trace, R.imaginary_interval
    ((Fraction(2, 1), Fraction(-1, 1)), 2.0)
    """

    trace: Polynomial

    @classmethod
    def of(cls, method: SplittingMethod) -> OscillatorStability:
        """The trace of a method's step, by multiplying its drifts and kicks."""
        if not method.partitioned:
            raise InputError("flows of drift and kick", method.name, "name a method such as verlet")
        rows: list[list[Polynomial]] = [[(1,), ()], [(), (1,)]]
        for part, fraction in method.flows:
            first, second = rows
            if part == "drift":
                rows = [[add(x, y, fraction) for x, y in zip(first, second, strict=True)], second]
            else:
                kick = (0, -fraction)
                pairs = zip(first, second, strict=True)
                rows = [first, [add(y, multiply(kick, x)) for x, y in pairs]]
        return cls(add(rows[0][0], rows[1][1]))

    def __call__(self, z: ArrayLike) -> Any:
        """Largest modulus of the two eigenvalues mu + 1 / mu = trace, element by element."""
        w = -(np.asarray(z, dtype=complex) ** 2)
        half = np.polyval([float(a) for a in reversed(self.trace)], w) / 2
        root = np.sqrt(half - 1) * np.sqrt(half + 1)
        return np.maximum(np.abs(half + root), np.abs(half - root))[()]

    real_interval = 0.0
    """Real eigenvalues (y'' = +lambda^2 y) grow, in truth as well."""

    a_stable = False
    at_infinity = math.inf

    @cached_property
    def imaginary_interval(self) -> float:
        """The largest h omega up to which |trace| <= 2, exact up to rounding.

        At the end itself the double eigenvalue lets errors grow linearly: stay strictly below.
        """
        # A consistent step has the trace 2 - w + ..., so that 4 - trace^2 begins positive.
        change = first_sign_change(add((4,), multiply(self.trace, self.trace), -1))
        return math.inf if change is None else math.sqrt(change)

    def exceeds_one(self, z: NDArray[np.complex128]) -> NDArray[np.bool_]:
        """Whether an eigenvalue of the step lies outside the unit circle."""
        # At the interval's end itself the double eigenvalue lets errors grow linearly.
        at_end = (z.real == 0) & (np.abs(z.imag) >= self.imaginary_interval)
        return np.asarray((self(z) > 1 + _DOUBLE_ROOT) | at_end)

    def first_exit(self, eigenvalues: NDArray[np.complex128], limit: float) -> Exit:
        """Steps are unstable for every eigenvalue off the imaginary axis: one of its pair grows."""
        return Exit(0.0, 0) if len(eigenvalues) else Exit(limit, -1)
