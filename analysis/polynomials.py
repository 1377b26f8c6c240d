"""Exact polynomials over the rationals: square-free factors, Sturm counts, correctly rounded roots.

A polynomial is a sequence of coefficients in ascending powers, `int` or `fractions.Fraction`. All
algebra is exact, so double roots (|R| = 1 touched by undamped Chebyshev methods) and roots at end
points are seen for what they are; only the finished roots are rounded, and only once.

>>> real_roots((-2, 0, 1))
[-1.4142135623730951, 1.4142135623730951]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, zip_longest

import numpy as np
from numpy.typing import NDArray

Rational = int | Fraction
Coefficients = Sequence[Rational]
Integers = tuple[int, ...]


def trim(p: Coefficients) -> tuple[Rational, ...]:
    """The coefficients without zeros at the top; the zero polynomial is `()`."""
    end = len(p)
    while end and p[end - 1] == 0:
        end -= 1
    return tuple(p[:end])


def add(p: Coefficients, q: Coefficients, factor: Rational = 1) -> tuple[Rational, ...]:
    """p + factor q.

    >>> add((1, 2), (1, 2), -1)
    ()
    """
    return trim([a + factor * b for a, b in zip_longest(p, q, fillvalue=0)])


def multiply(p: Coefficients, q: Coefficients) -> tuple[Rational, ...]:
    """The product p q.

    >>> multiply((1, 1), (-1, 1))
    (-1, 0, 1)
    """
    product: list[Rational] = [0] * max(len(p) + len(q) - 1, 0)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return trim(product)


def derivative(p: Coefficients) -> tuple[Rational, ...]:
    """The derivative p'."""
    return trim([k * a for k, a in enumerate(p)][1:])


def evaluate(p: Coefficients, x: Rational) -> Rational:
    """p(x) by Horner's rule, exact.

    >>> evaluate((1, 0, 1), Fraction(1, 2))
    Fraction(5, 4)
    """
    value: Rational = 0
    for a in reversed(p):
        value = value * x + a
    return value


def primitive(p: Coefficients) -> Integers:
    """The positive multiple of p with coprime integer coefficients (signs are kept).

    >>> primitive((Fraction(-1, 2), Fraction(1, 3)))
    (-3, 2)
    """
    p = trim(p)
    common = math.lcm(*(Fraction(a).denominator for a in p)) if p else 1
    whole = [int(a * common) for a in p]
    content = math.gcd(*whole) if whole else 1
    return tuple(a // content for a in whole)


def _remainder(p: Integers, q: Integers) -> Integers:
    """A positive multiple of p mod q as a primitive integer polynomial."""
    rest, scale, top = list(p), abs(q[-1]), len(q) - 1
    sign = 1 if q[-1] > 0 else -1
    while len(rest) > top:
        lead = rest.pop() * sign
        if lead:
            shared = math.gcd(lead, scale)
            lead, multiplier = lead // shared, scale // shared
            shift = len(rest) - top
            rest = [a * multiplier for a in rest]
            for k in range(top):
                rest[shift + k] -= lead * q[k]
    return primitive(rest)


def gcd(p: Coefficients, q: Coefficients) -> Integers:
    """Greatest common divisor as a primitive polynomial with positive leading coefficient.

    >>> gcd((-1, 0, 1), (1, 2, 1))
    (1, 1)
    """
    a, b = primitive(p), primitive(q)
    while b:
        a, b = b, (_remainder(a, b) if len(a) >= len(b) else a)
    return tuple(-x for x in a) if a and a[-1] < 0 else a


def quotient(p: Coefficients, q: Coefficients) -> tuple[Fraction, ...]:
    """p / q where the division leaves no rest.

    >>> quotient((-1, 0, 1), (1, 1))
    (Fraction(-1, 1), Fraction(1, 1))
    """
    rest = [Fraction(a) for a in trim(p)]
    divisor = trim(q)
    result: list[Fraction] = []
    while len(rest) >= len(divisor):
        factor = rest[-1] / divisor[-1]
        result.append(factor)
        shift = len(rest) - len(divisor)
        for k, a in enumerate(divisor):
            rest[shift + k] -= factor * a
        rest.pop()
    if any(rest):
        raise ArithmeticError("the polynomial division leaves a rest")
    return tuple(reversed(result))


def square_free_factors(p: Coefficients) -> list[tuple[Integers, int]]:
    """Square-free, coprime factors with their multiplicities (Yun 1976), without the constant.

    >>> square_free_factors(multiply((-1, 1), multiply((2, 1), (2, 1))))
    [((-1, 1), 1), ((2, 1), 2)]
    """
    p = primitive(p)
    if len(p) < 2:
        return []
    slope = derivative(p)
    common = gcd(p, slope)
    w = quotient(p, common)
    y: tuple[Rational, ...] = quotient(slope, common)
    factors, multiplicity = [], 1
    while len(w) > 1:
        z = add(y, derivative(w), -1)
        factor = gcd(w, z)
        if len(factor) > 1:
            factors.append((factor, multiplicity))
        w = quotient(w, factor)
        y = quotient(z, factor) if z else ()
        multiplicity += 1
    return factors


def sign_at(p: Coefficients, x: Rational) -> int:
    """The exact sign of p(x): -1, 0 or 1."""
    whole, x = primitive(p), Fraction(x)
    value, power = 0, 1
    for a in reversed(whole):
        value = value * x.numerator + a * power
        power *= x.denominator
    return (value > 0) - (value < 0)


def sign_after(p: Coefficients, x: Rational) -> int:
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


def sturm_sequence(p: Coefficients) -> list[Integers]:
    """The Sturm sequence p, p', -(p mod p'), ... of a square-free p, positively rescaled."""
    sequence = [primitive(p), primitive(derivative(p))]
    while len(sequence[-1]) > 1:
        rest = _remainder(sequence[-2], sequence[-1])
        sequence.append(tuple(-a for a in rest))
    return [q for q in sequence if q]


def _variations(sequence: list[Integers], x: Rational) -> int:
    """Sign changes along the Sturm sequence at x, zeros skipped."""
    signs = [s for s in (sign_at(q, x) for q in sequence) if s]
    return sum(a != b for a, b in pairwise(signs))


def _root_bound(p: Integers) -> Fraction:
    """A power of two above the modulus of every root (Fujiwara's bound by bit lengths)."""
    top = p[-1].bit_length()
    exponents = [
        -((top - 1 - a.bit_length()) // k) for k, a in enumerate(reversed(p[:-1]), start=1) if a
    ]
    return Fraction(2) ** (max(exponents, default=0) + 1)


def _refine(p: Integers, lower: Fraction, upper: Fraction) -> float:
    """The only root of p in (lower, upper], a simple one, correctly rounded."""
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


def _isolate(p: Integers, lower: Fraction, upper: Fraction) -> list[tuple[Fraction, Fraction]]:
    """Intervals (a, b], in ascending order, each with one root of the square-free p."""
    sequence = sturm_sequence(p)
    stack = [(lower, upper, _variations(sequence, lower), _variations(sequence, upper))]
    isolated = []
    while stack:
        a, b, before, after = stack.pop()
        if before - after == 1:
            isolated.append((a, b))
        elif before > after:
            middle = (a + b) / 2
            between = _variations(sequence, middle)
            stack += [(middle, b, between, after), (a, middle, before, between)]
    return isolated


def _square_free(p: Coefficients) -> Integers:
    """The product of the distinct irreducible factors of p."""
    p = primitive(p)
    return primitive(quotient(p, gcd(p, derivative(p)))) if len(p) > 1 else p


def count_real_roots(
    p: Coefficients, lower: Rational | None = None, upper: Rational | None = None
) -> int:
    """Number of distinct real roots of p != 0 in (lower, upper] by Sturm's theorem.

    >>> count_real_roots((0, -1, 0, 1)), count_real_roots((0, -1, 0, 1), 0, 1)
    (3, 1)
    """
    simple = _square_free(p)
    if len(simple) < 2:
        return 0
    bound, sequence = _root_bound(simple), sturm_sequence(simple)
    ends = (-bound if lower is None else lower, bound if upper is None else upper)
    return max(_variations(sequence, ends[0]) - _variations(sequence, ends[1]), 0)


def real_roots(p: Coefficients) -> list[float]:
    """The distinct real roots of p != 0 in ascending order, each correctly rounded to double.

    >>> real_roots((0, 0, -1, 3))
    [0.0, 0.3333333333333333]
    """
    simple = _square_free(p)
    if len(simple) < 2:
        return []
    bound = _root_bound(simple)
    return [_refine(simple, *ends) for ends in _isolate(simple, -bound, bound)]


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
            intervals = _isolate(factor, Fraction(0), _root_bound(factor))
            if intervals:
                changes.append(_refine(factor, *intervals[0]))
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


def complex_roots(p: Coefficients) -> NDArray[np.complex128]:
    """All complex roots of p with p(0) != 0, repeated by multiplicity, to nearly full precision.

    >>> complex_roots((1, 2, 1))
    array([-1.+0.j, -1.+0.j])
    """
    parts = [np.zeros(0, dtype=complex)]
    for factor, multiplicity in square_free_factors(p):
        parts.append(np.repeat(_simple_roots(factor), multiplicity))
    return np.concatenate(parts)
