"""How far a ray from the origin stays in the stability region, for many rays at once.

Along z = r exp(i phi) stability is the sign of

    g(r) = |N(z)|^2 - |D(z)|^2 = r q(r),     q(0) = 2 cos(phi) for every consistent method.

Near the origin q is a polynomial in r whose coefficients keep their relative accuracy up to the
imaginary axis: a part on the axis, exact, and a part proportional to the distance from it. Its
Bernstein coefficients bound it on a piece of the ray, so that a piece is known to be stable, not
sampled. Further out, where powers cancel, log|R| is bounded on polar boxes by the distances to
zeros and poles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.exact import Exact
from analysis.half_line import Exit, bernstein_halves, first_positive
from analysis.stabilised_stability import StabilisedFunction
from analysis.stability import StabilityFunction

Array = NDArray[np.float64]

# Largest sum of moduli in g: its rounding errors stay below 1e-11. Long polynomials are left
# earlier: boxes serve them better, and at a small radius their high powers can be dropped.
_CANCELLATION, _CANCELLATION_LONG, _LONG = 1e4, 20.0, 8
_LONG_EXACT = 30
_NEGLIGIBLE = 1e-40
_ROUNDING = 2.0**-53
# Excesses of g or log|R| below this many units of the rounding errors of their terms are let pass:
# undamped Chebyshev methods touch one, and exceed it by the square of a small angle to the axis.
_UNITS = 8
_CHUNK = 16384
_FEW_POLES = 13  # coefficients of a denominator up to which powers do not cancel far out


@dataclass(frozen=True, eq=False)
class RayPolynomial:
    """q(r) for any angle: coefficient m is axis[m] + sum_k weights[m, k] (cos k phi - cos k pi/2).

    `radius` is where rounding errors begin to matter. Angles are given as psi = phi - pi/2.
    """

    axis: Array
    weights: Array
    radius: float

    def coefficients(self, psi: Array) -> Array:
        """Coefficients of q, shape (rays, powers of r)."""
        return np.asarray(self.axis + self._off_axis(psi) @ self.weights.T)

    def magnitudes(self, psi: Array) -> Array:
        """Sums of the moduli of the terms of each coefficient."""
        return np.asarray(np.abs(self.axis) + np.abs(self._off_axis(psi)) @ np.abs(self.weights.T))

    def _off_axis(self, psi: Array) -> Array:
        """cos k phi - cos k pi/2, shape (rays, k)."""
        k = np.arange(self.weights.shape[1])
        half = np.multiply.outer(psi, k / 2)
        # sin(k pi/2 + k psi/2) without rounding k pi/2, which would hide a small psi.
        shifted = np.choose(k % 4, [np.sin(half), np.cos(half), -np.sin(half), -np.cos(half)])
        return np.asarray(-2 * shifted * np.sin(half))

    def outside(self, psi: Array, r: Array) -> NDArray[np.bool_]:
        """Whether g > 0 at the points, beyond the effect of rounding the points themselves."""
        terms = self.coefficients(psi) * r[:, None] ** np.arange(len(self.axis))
        noise = np.abs(terms) @ np.arange(2.0, len(self.axis) + 2)
        return np.asarray(np.sum(terms, axis=1) > _UNITS * _ROUNDING * noise)


@lru_cache(maxsize=32)
def ray_polynomial(R: StabilityFunction) -> RayPolynomial:
    """The polynomial q of a stability function, from its exact coefficients."""
    degree = max(len(R.numerator), len(R.denominator)) - 1
    table: list[list[Exact]] = [[Fraction(0)] * (degree + 1) for _ in range(2 * degree + 1)]
    for exact, sign in ((R.numerator, 1), (R.denominator, -1)):
        # Thousands of digits of damped methods would cost seconds and tell nothing.
        coefficients = exact if degree <= _LONG_EXACT else tuple(map(_rounded, exact))
        for j, a in enumerate(coefficients):
            for k, b in enumerate(coefficients):
                table[j + k][abs(j - k)] += sign * a * b
    axis = [
        sum((row[k] * (1 - k % 4) for k in range(0, degree + 1, 2)), Fraction(0)) for row in table
    ]
    radius = _radius(R, _CANCELLATION if degree <= _LONG else _CANCELLATION_LONG)
    size = [float(sum(map(abs, row))) * radius**m for m, row in enumerate(table)]
    end = max(m for m, terms in enumerate(size) if terms > _NEGLIGIBLE) + 1
    weights = np.array([[float(x) for x in row] for row in table[1:end]])
    return RayPolynomial(np.array([float(x) for x in axis[1:end]]), weights[:, :end], radius)


def _rounded(a: Exact, bits: int = 512) -> Fraction:
    """A dyadic rational within 2^-512 of a number, relatively."""
    near = a if isinstance(a, Fraction) else a.between(2 * bits)[0]
    shift = bits - near.numerator.bit_length() + near.denominator.bit_length()
    scale = Fraction(2) ** shift
    return Fraction(round(near * scale)) / scale


def _radius(R: StabilityFunction, limit: float) -> float:
    """Where the sum of the moduli of all terms of g reaches the limit."""
    moduli = [[abs(float(a)) for a in p] for p in (R.numerator, R.denominator)]

    def size(r: float) -> float:
        return sum(sum(a * r**k for k, a in enumerate(p)) ** 2 for p in moduli)

    low, high = 0.0, 64.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) < limit else (low, middle)
    return low


def first_exit(R: StabilityFunction, modulus: Array, psi: Array, limit: float) -> Exit:
    """The smallest h <= limit at which some h modulus exp(i (pi/2 + psi)) leaves the region.

    Rays must lie in the open left half-plane, 0 < psi <= pi/2; `limit` may be infinite. Rays that
    cannot beat the smallest exit found so far are dropped on the way.
    """
    best = Exit(limit, -1)
    if not len(modulus) or R.a_stable:
        return best
    # Only the longest vector of a direction can limit, and the longest of all are the most likely
    # to: a small first batch of them prunes the others.
    by_angle = np.lexsort((-modulus, psi))
    first = np.concatenate([[True], np.diff(psi[by_angle]) > 0])
    longest = by_angle[first]
    if 1 < len(R.denominator) <= _FEW_POLES:
        return _implicit_exit(R, modulus, psi, longest, best)
    order = longest[np.argsort(-modulus[longest], kind="stable")]
    starts = [0, *range(min(256, len(order)), len(order), _CHUNK), len(order)]
    for a, b in pairwise(starts):
        best = _near_exit(R, modulus, psi, order[a:b], best)
    best = _far_exit(R, modulus, psi, longest, best)
    # The end of the last piece is outside by a digit; its stable side is the answer.
    return best._replace(step=best.step * (1 - 4 * _ROUNDING)) if best.which >= 0 else best


def _implicit_exit(
    R: StabilityFunction, modulus: Array, psi: Array, chosen: NDArray[np.int64], best: Exit
) -> Exit:
    """`first_exit` of an implicit method: rays to infinity, where |R| can approach one."""
    polynomial = ray_polynomial(R)
    for start in range(0, len(chosen), _CHUNK):
        rays = chosen[start : start + _CHUNK]
        powers = modulus[rays, None] ** np.arange(len(polynomial.axis))
        found = first_positive(
            polynomial.coefficients(psi[rays]) * powers,
            polynomial.magnitudes(psi[rays]) * powers,
            best.step,
        )
        if found.which >= 0:
            best = Exit(found.step, int(rays[found.which]))
    return best


def _near_exit(
    R: StabilityFunction, modulus: Array, psi: Array, chosen: NDArray[np.int64], best: Exit
) -> Exit:
    """`first_exit` within the radius of the ray polynomial, by subdivision of Bernstein forms."""
    polynomial = ray_polynomial(R)
    low = np.zeros(len(chosen))
    high = np.minimum(best.step * modulus[chosen], polynomial.radius)
    coefficients = polynomial.coefficients(psi[chosen])
    size = coefficients.shape[1]
    to_bernstein = _power_to_bernstein(size)
    left, right = bernstein_halves(size)
    b = (coefficients * high[:, None] ** np.arange(size)) @ to_bernstein
    # Cells are pieces low..high of the ray chosen[ray], with the Bernstein coefficients b.
    ray = np.arange(len(chosen))
    while len(ray):
        at_end = np.flatnonzero(b[:, -1] > 0)
        at_end = at_end[b[at_end, -1] > _noise(coefficients[ray[at_end]], high[at_end])]
        if len(at_end):
            steps = high[at_end] / modulus[chosen[ray[at_end]]]
            k = int(np.argmin(steps))
            if steps[k] <= best.step:
                best = Exit(float(steps[k]), int(chosen[ray[at_end[k]]]))
        keep = np.flatnonzero(
            (low < best.step * modulus[chosen[ray]]) & (high - low > 2 * _ROUNDING * high)
        )
        keep = keep[np.max(b[keep], axis=1) > 0]
        # Noise at the inner end: next to the origin it vanishes with q, and nothing is let pass.
        keep = keep[np.max(b[keep], axis=1) > _noise(coefficients[ray[keep]], low[keep])]
        middle = (low[keep] + high[keep]) / 2
        ray = np.concatenate([ray[keep], ray[keep]])
        low, high = np.concatenate([low[keep], middle]), np.concatenate([middle, high[keep]])
        b = np.concatenate([b[keep] @ left, b[keep] @ right])
    return best


def _noise(coefficients: Array, r: Array) -> Array:
    """Rounding errors of q(r), one polynomial per point."""
    total = np.zeros(len(r))
    for column in np.abs(coefficients).T[::-1]:
        total = total * r + column
    return _UNITS * _ROUNDING * total


@lru_cache(maxsize=32)
def _power_to_bernstein(size: int) -> Array:
    """Powers to Bernstein form on [0, 1], for row vectors."""
    n = size - 1
    return np.array([[math.comb(j, m) / math.comb(n, m) for j in range(size)] for m in range(size)])


class _Boxes(NamedTuple):
    """Polar boxes: radii low..high and the rays first..last (inclusive) of the sorted angles."""

    low: Array
    high: Array
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def take(self, keep: NDArray[np.bool_]) -> _Boxes:
        return _Boxes(self.low[keep], self.high[keep], self.first[keep], self.last[keep])


def _far_exit(
    R: StabilityFunction, modulus: Array, psi: Array, chosen: NDArray[np.int64], best: Exit
) -> Exit:
    """`first_exit` beyond the radius of the ray polynomial, by subdivision of polar boxes."""
    radius = ray_polynomial(R).radius
    chosen = chosen[best.step * modulus[chosen] > radius]  # in ascending order of the angle
    if not len(chosen):
        return best
    length, angle = modulus[chosen], psi[chosen] + np.pi / 2
    best = _coarse_exit(R, length, angle, chosen, radius, best)
    runs = _longest_of_runs(length)
    cap = min(best.step, 2.0**60 / float(length.max())) * float(length.max())
    boxes = _Boxes(*map(np.atleast_1d, (radius, cap, 0, len(chosen) - 1)))
    while len(boxes.low):
        # The longest ray of a box reaches into it, or none does.
        ray = _longest(runs, length, boxes)
        at = np.minimum(boxes.high, best.step * length[ray])
        inside = at > boxes.low
        boxes, ray, at = boxes.take(inside), ray[inside], at[inside]
        outside = _exceeds(R, at * np.exp(1j * angle[ray]), _UNITS)
        if np.any(outside):
            steps = np.where(outside, at / length[ray], np.inf)
            k = int(np.argmin(steps))
            if steps[k] <= best.step:
                best = Exit(float(steps[k]), int(chosen[ray[k]]))
        boxes = _split(boxes.take(_upper_bound(R, boxes, angle) > 0), angle)
    return best


def _coarse_exit(
    R: StabilityFunction,
    length: Array,
    angle: Array,
    chosen: NDArray[np.int64],
    start: float,
    best: Exit,
) -> Exit:
    """A finite step at which some ray is outside, by doubling, where one is found before 2^60."""
    if math.isfinite(best.step):
        return best
    directions = length * np.exp(1j * angle)
    for exponent in range(60):
        step = start / float(length.max()) * 2.0**exponent
        outside = _exceeds(R, step * directions, _UNITS)
        if np.any(outside):
            return Exit(step, int(chosen[int(np.argmax(outside))]))
    return best


def exceeds_one(R: StabilityFunction, z: NDArray[np.complex128]) -> NDArray[np.bool_]:
    """Whether |R(z)| > 1 beyond rounding errors, at any points (right half-plane included).

    Next to the origin the sign is that of q, which is right however small the excess.
    """
    if isinstance(R, StabilisedFunction):
        return R.exceeds_one(z)
    polynomial, r = ray_polynomial(R), np.abs(z)
    result = r > polynomial.radius
    result[result] = _exceeds(R, z[result], 4 * _UNITS)
    near = np.flatnonzero(r <= polynomial.radius)
    for part in np.array_split(near, len(near) // _CHUNK + 1):
        psi = np.arctan2(-z.real[part], np.abs(z.imag[part]))
        result[part] = polynomial.outside(psi, r[part])
    return np.asarray(result)


def _exceeds(R: StabilityFunction, z: NDArray[np.complex128], units: float) -> NDArray[np.bool_]:
    """Whether |R(z)| > 1 by more than the errors of factors 1 - z / root, in units of rounding."""
    with np.errstate(all="ignore"):
        condition = sum(1 + np.abs(z / (z - root)) for root in (*R.zeros, *R.poles))
        excess = np.log(np.abs(R(z)))
    return np.asarray(excess > units * _ROUNDING * condition)


def _longest_of_runs(length: Array) -> list[NDArray[np.int64]]:
    """Index of the longest ray in all runs of 1, 2, 4, ... neighbours."""
    levels = [np.arange(len(length))]
    while 2 ** len(levels) <= len(length):
        half = 2 ** (len(levels) - 1)
        a, b = levels[-1][:-half], levels[-1][half:]
        levels.append(np.where(length[a] >= length[b], a, b))
    return levels


def _longest(runs: list[NDArray[np.int64]], length: Array, boxes: _Boxes) -> NDArray[np.int64]:
    """Index of the longest ray of each box, from two overlapping runs."""
    level = np.log2(boxes.last - boxes.first + 1).astype(np.int64)
    result = np.empty(len(boxes.first), dtype=np.int64)
    for k in np.unique(level):
        at = level == k
        a, b = runs[k][boxes.first[at]], runs[k][boxes.last[at] - 2**k + 1]
        result[at] = np.where(length[a] >= length[b], a, b)
    return result


def _upper_bound(R: StabilityFunction, boxes: _Boxes, angle: Array) -> Array:
    """An upper bound of log|R| on each box, less its rounding errors.

    By derivatives at the centre where no root is near, else by the distances to the roots alone.
    """
    radius, depth = (boxes.low + boxes.high) / 2, (boxes.high - boxes.low) / 2
    phi = (angle[boxes.first] + angle[boxes.last]) / 2
    width = (angle[boxes.last] - angle[boxes.first]) / 2
    omega = np.exp(1j * phi)
    along = depth + boxes.high * width**2 / 2
    across = boxes.high * width
    reach = along + across
    value, by_distance, curvature, noise = (np.zeros(len(radius)) for _ in range(4))
    slope = np.zeros(len(radius), dtype=complex)
    with np.errstate(all="ignore"):
        for roots, sign in ((R.zeros, 1), (R.poles, -1)):
            for root in roots:
                gap = radius * omega - root
                distance = np.abs(gap)
                value += sign * np.log(distance / abs(root))
                moved = np.maximum(distance + sign * reach, 0)
                by_distance += sign * np.log(moved / abs(root))
                slope += sign / gap
                noise += _UNITS * _ROUNDING * (1 + radius / distance)
                curvature += np.where(distance > reach, 1 / (distance - reach) ** 2, np.inf)
        turned = slope * omega
        by_slope = value + along * np.abs(turned.real) + across * np.abs(turned.imag)
        by_slope += reach**2 / 2 * curvature
    bound = np.fmin(np.where(np.isnan(by_slope), np.inf, by_slope), by_distance)
    return np.where(np.isfinite(noise), bound - noise, bound)


def _split(boxes: _Boxes, angle: Array) -> _Boxes:
    """Halve each box along its longer side; single rays at the last digit are dropped."""
    low, high, first, last = boxes
    fan = high * (angle[last] - angle[first])
    by_angle = (last > first) & ((fan > high - low) | (high - low <= 4 * _ROUNDING * high))
    by_radius = ~by_angle & (high - low > 4 * _ROUNDING * high)
    a, r = boxes.take(by_angle), boxes.take(by_radius)
    half = np.searchsorted(angle, (angle[a.first] + angle[a.last]) / 2, side="right") - 1
    half = np.clip(half, a.first, a.last - 1)
    # Long boxes are halved in the logarithm, for regions that reach far out.
    middle = np.where(r.high > 4 * r.low, np.sqrt(r.low * r.high), (r.low + r.high) / 2)
    parts = [
        a._replace(last=half),
        a._replace(first=half + 1),
        r._replace(high=middle),
        r._replace(low=middle),
    ]
    return _Boxes(*(np.concatenate(x) for x in zip(*parts, strict=True)))
