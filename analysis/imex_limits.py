"""Limits of implicit-explicit methods over a half-line or a wedge of the implicit eigenvalue."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from analysis.errors import InputError

_SAMPLES = 32
_HALVINGS = 42
_SMALLEST = 40


@dataclass(frozen=True)
class ImexLimits:
    """How far the explicit eigenvalue may reach, whatever the implicit one in a wedge.

    Attributes:
        real: largest x with |R(z, w)| <= 1 for z in [-x, 0] and every w of the wedge.
        imaginary: largest y with it for z in [-iy, iy].
        angle: half-angle of the wedge |arg(-w)| <= angle in radians; 0 is the half-line w <= 0.
    """

    real: float
    imaginary: float
    angle: float


def wedge_tangent(angle: float) -> Fraction:
    """tan(angle) as a rational; InputError for an angle outside [0, pi / 2)."""
    if not 0 <= angle < math.pi / 2:
        raise InputError("an angle from 0 to below pi / 2", angle, "pass radians such as 0.5")
    return Fraction(math.tan(angle))


def largest_stable(stable: Callable[[Fraction], bool], bound: float) -> float:
    """The end of the stable interval [0, x], x <= bound, by exact tests at dyadic points."""
    if bound == 0:
        return 0.0
    top = Fraction(bound) if math.isfinite(bound) else Fraction(2**10)
    points = [top * k / _SAMPLES for k in range(1, _SAMPLES + 1)]
    first = next((k for k, x in enumerate(points) if not stable(x)), None)
    if first is None:
        return bound
    low, high = (points[first - 1] if first else Fraction(0)), points[first]
    if first == 0:
        small = (high / 2**k for k in range(1, _SMALLEST))
        low = next((x for x in small if stable(x)), Fraction(0))
        if not low:
            return 0.0
        high = 2 * low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    return float(low)
