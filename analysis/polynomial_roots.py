"""Real and complex roots of exact polynomials: Sturm counts, sign changes, correctly rounded roots.

All algebra is exact, so double roots (|R| = 1 touched by undamped Chebyshev methods) and roots at
end points are seen for what they are; only the finished roots are rounded, and only once.

>>> real_roots((-2, 0, 1))
[-1.4142135623730951, 1.4142135623730951]
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from analysis.exact import Quadratic, sign_of
from analysis.polynomials import (
    Coefficients,
    Integers,
    Polynomial,
    derivative,
    evaluate,
    multiply,
    normalised,
    primitive,
    rational,
    remainder,
    square_free,
    square_free_factors,
    trim,
)

Interval = tuple[Fraction, Fraction]


def sign_at(p: Coefficients, x: Fraction | int) -> int:
    """The exact sign of p(x): -1, 0 or 1."""
    x = Fraction(x)
    if not rational(p):
        return sign_of(evaluate(p, x))
    value, power = 0, 1
    for a in reversed(primitive(p)):
        value = value * x.numerator + a * power
        power *= x.denominator
    return (value > 0) - (value < 0)


def sign_after(p: Coefficients, x: Fraction | int) -> int:
    """The sign of p just to the right of x: that of the first derivative that does not vanish.

    >>> sign_after((0, 0, -1), 0)
    -1
    """
    while p:
        sign = sign_at(p, x)
        if sign:
            return sign
        p = derivative(p)
    return 0


def sturm_sequence(p: Coefficients) -> list[Polynomial]:
    """The Sturm sequence p, p', -(p mod p'), ... of a square-free p, positively rescaled."""
    sequence = [normalised(p), normalised(derivative(p))]
    while len(sequence[-1]) > 1:
        rest = remainder(sequence[-2], sequence[-1])
        sequence.append(tuple(-a for a in rest))
    return [q for q in sequence if q]


def _variations(sequence: list[Polynomial], x: Fraction | int) -> int:
    """Sign changes along the Sturm sequence at x, zeros skipped."""
    signs = [s for s in (sign_at(q, x) for q in sequence) if s]
    return sum(a != b for a, b in pairwise(signs))


def _norm(p: Polynomial) -> Integers:
    """A rational polynomial that vanishes where p does: p times its conjugate."""
    if rational(p):
        return primitive(p)
    conjugate = [a.conjugate if isinstance(a, Quadratic) else a for a in p]
    return primitive(multiply(p, conjugate))


def _root_bound(p: Integers) -> Fraction:
    """A power of two above the modulus of every root (Fujiwara's bound by bit lengths)."""
    top = p[-1].bit_length()
    exponents = [
        -((top - 1 - a.bit_length()) // k) for k, a in enumerate(reversed(p[:-1]), start=1) if a
    ]
    return Fraction(2) ** (max(exponents, default=0) + 1)


def _refine(p: Polynomial, interval: Interval) -> float:
    """The only root of p in (lower, upper], a simple one, correctly rounded."""
    lower, upper = interval
    sign = sign_at(p, upper)
    if not sign:
        return float(upper)
    while float(lower) != float(upper):
        # End points are dyadic, so a root that is a double, or half-way between two, is hit.
        middle = (lower + upper) / 2
        here = sign_at(p, middle)
        if not here:
            return float(middle)
        lower, upper = (lower, middle) if here == sign else (middle, upper)
    return float(upper)


def isolate(p: Coefficients, lower: Fraction | int | None = None) -> list[Interval]:
    """Dyadic intervals (a, b], ascending, each with one of the real roots of a square-free p.

    All real roots, or those above `lower`. A polynomial with a square root is isolated by the
    roots of its product with its conjugate: in each interval p has a root where its sign changes.

    >>> isolate((-2, 0, 1), lower=0)
    [(Fraction(0, 1), Fraction(4, 1))]
    """
    simple = normalised(p)
    carrier = simple if rational(simple) else square_free(_norm(simple))
    if len(carrier) < 2:
        return []
    bound = _root_bound(primitive(carrier))
    sequence = sturm_sequence(carrier)
    start = -bound if lower is None else Fraction(lower)
    stack = [(start, bound, _variations(sequence, start), _variations(sequence, bound))]
    isolated = []
    while stack:
        a, b, before, after = stack.pop()
        if before - after == 1:
            isolated.append((a, b))
        elif before > after:
            middle = (a + b) / 2
            between = _variations(sequence, middle)
            stack += [(middle, b, between, after), (a, middle, before, between)]
    if carrier is simple:
        return isolated
    return [(a, b) for a, b in isolated if sign_after(simple, a) != sign_at(simple, b)]


def count_real_roots(
    p: Coefficients, lower: Fraction | int | None = None, upper: Fraction | int | None = None
) -> int:
    """Number of distinct real roots of a rational p != 0 in (lower, upper] by Sturm's theorem.

    >>> count_real_roots((0, -1, 0, 1)), count_real_roots((0, -1, 0, 1), 0, 1)
    (3, 1)
    """
    simple = square_free(p)
    if len(simple) < 2:
        return 0
    bound, sequence = _root_bound(primitive(simple)), sturm_sequence(simple)
    ends = (-bound if lower is None else lower, bound if upper is None else upper)
    return max(_variations(sequence, ends[0]) - _variations(sequence, ends[1]), 0)


def real_roots(p: Coefficients) -> list[float]:
    """The distinct real roots of p != 0 in ascending order, each correctly rounded to double.

    >>> real_roots((0, 0, -1, 3))
    [0.0, 0.3333333333333333]
    """
    simple = square_free(p)
    return [_refine(simple, interval) for interval in isolate(simple)]


def close_roots(p: Coefficients, bits: int = 120) -> list[Fraction]:
    """Rationals within 2^-bits of the distinct real roots of p != 0, ascending.

    >>> [float(x) for x in close_roots((-2, 0, 1))]
    [-1.4142135623730951, 1.4142135623730951]
    """
    simple, near = square_free(p), []
    for lower, upper in isolate(simple):
        sign = sign_at(simple, upper)
        while sign and upper - lower > Fraction(1, 2**bits):
            middle = (lower + upper) / 2
            here = sign_at(simple, middle)
            if not here:
                lower = upper = middle
            else:
                lower, upper = (lower, middle) if here == sign else (middle, upper)
        near.append(upper)
    return near


def first_sign_change(p: Coefficients) -> float | None:
    """The smallest x > 0 at which p changes sign (no root of even multiplicity), or None.

    >>> first_sign_change(multiply(multiply((-1, 1), (-1, 1)), (-2, 1)))
    2.0
    """
    p = trim(p)
    while p and p[0] == 0:
        p = p[1:]
    changes = []
    for factor, multiplicity in square_free_factors(p):
        if multiplicity % 2:
            intervals = isolate(factor, lower=0)
            if intervals:
                changes.append(_refine(factor, intervals[0]))
    return min(changes, default=None)


def _newton_step(p: Integers, z: complex) -> complex:
    """p(z) / p'(z) at the double z, evaluated exactly and rounded once."""
    re, im = Fraction(z.real), Fraction(z.imag)
    scale = math.lcm(re.denominator, im.denominator)
    a, b = int(re * scale), int(im * scale)
    x = y = dx = dy = 0
    power = 1
    for coefficient in reversed(p):
        dx, dy = dx * a - dy * b + x, dx * b + dy * a + y
        x, y = x * a - y * b + coefficient * power, x * b + y * a
        power *= scale
    # p is scaled by scale^n, p' by scale^(n-1): the quotient carries one factor.
    size = (dx * dx + dy * dy) * scale
    if not size:
        return complex(abs(z) or 1.0)
    return complex((x * dx + y * dy) / size, (y * dx - x * dy) / size)


def _simple_roots(p: Integers) -> NDArray[np.complex128]:
    """All roots of a square-free p with p(0) != 0: Ehrlich-Aberth with exact Newton steps."""
    degree = len(p) - 1
    # A circle through the geometric mean of the roots keeps the companion matrix in range.
    scale = Fraction(2) ** round((abs(p[0]).bit_length() - abs(p[-1]).bit_length()) / degree)
    scaled = primitive([a * scale**k for k, a in enumerate(p)])
    top = max(map(abs, scaled))
    # Far more digits than cancel near the roots; the exact ones can be hundreds of times as long.
    excess = max(top.bit_length() - 128 - 16 * degree, 0)
    scaled = tuple(a >> excess for a in scaled)
    top = max(map(abs, scaled))
    with np.errstate(all="ignore"):
        z = np.roots([a / top for a in reversed(scaled)]).astype(complex)
    if len(z) != degree or not np.all(np.isfinite(z)):
        z = np.exp(2j * np.pi * (np.arange(degree) + 0.25) / degree)
    for _ in range(200):
        moved = False
        for i in range(degree):
            newton = _newton_step(scaled, complex(z[i]))
            apart = z[i] - np.delete(z, i)
            apart[apart == 0] = 1e-8 * (abs(z[i]) or 1.0)
            step = newton / (1 - newton * np.sum(1 / apart))
            z[i] -= step
            moved |= bool(abs(step) > 2e-16 * abs(z[i]))
        if not moved:
            break
    return np.asarray(z * float(scale))


def _approximate(p: Polynomial, digits: int = 512) -> Integers:
    """A rational polynomial with the coefficients of p to many more digits than roots need."""
    close = [a.between(digits)[0] if isinstance(a, Quadratic) else a for a in p]
    return primitive(close)


def complex_roots(p: Coefficients) -> NDArray[np.complex128]:
    """All complex roots of p with p(0) != 0, repeated by multiplicity, to nearly full precision.

    >>> complex_roots((1, 2, 1))
    array([-1.+0.j, -1.+0.j])
    """
    parts = [np.zeros(0, dtype=complex)]
    for factor, multiplicity in square_free_factors(p):
        parts.append(np.repeat(_simple_roots(_approximate(factor)), multiplicity))
    return np.concatenate(parts)
