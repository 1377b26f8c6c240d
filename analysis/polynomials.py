"""Exact algebra of polynomials: products, common divisors, square-free factors.

A polynomial is a sequence of coefficients in ascending powers: `int`, `fractions.Fraction`, or
`analysis.exact.Quadratic` numbers of one root. Polynomials over the rationals are kept as whole
coprime coefficients, which is the fastest way; the others as monic ones.

>>> gcd((-1, 0, 1), (1, 2, 1))
(1, 1)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import zip_longest

from analysis.exact import Exact, Quadratic, sign_of

Scalar = int | Exact
Coefficients = Sequence[Scalar]
Integers = tuple[int, ...]
Polynomial = tuple[Scalar, ...]


def rational(p: Coefficients) -> bool:
    """Whether no coefficient has a square root."""
    return not any(isinstance(a, Quadratic) for a in p)


def trim(p: Coefficients) -> Polynomial:
    """The coefficients without zeros at the top; the zero polynomial is `()`."""
    end = len(p)
    while end and p[end - 1] == 0:
        end -= 1
    return tuple(p[:end])


def add(p: Coefficients, q: Coefficients, factor: Scalar = 1) -> Polynomial:
    """p + factor q.

    >>> add((1, 2), (1, 2), -1)
    ()
    """
    return trim([a + factor * b for a, b in zip_longest(p, q, fillvalue=0)])


def multiply(p: Coefficients, q: Coefficients) -> Polynomial:
    """The product p q.

    >>> multiply((1, 1), (-1, 1))
    (-1, 0, 1)
    """
    product: list[Scalar] = [0] * max(len(p) + len(q) - 1, 0)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return trim(product)


def derivative(p: Coefficients) -> Polynomial:
    """The derivative p'."""
    return trim([k * a for k, a in enumerate(p)][1:])


def evaluate(p: Coefficients, x: Scalar) -> Scalar:
    """p(x) by Horner's rule, exact.

    >>> evaluate((1, 0, 1), Fraction(1, 2))
    Fraction(5, 4)
    """
    value: Scalar = 0
    for a in reversed(p):
        value = value * x + a
    return value


def primitive(p: Coefficients) -> Integers:
    """The positive multiple of a rational p with coprime integer coefficients (signs are kept).

    >>> primitive((Fraction(-1, 2), Fraction(1, 3)))
    (-3, 2)
    """
    exact = [Fraction(a) for a in trim(p) if not isinstance(a, Quadratic)]
    common = math.lcm(*(a.denominator for a in exact)) if exact else 1
    whole = [int(a * common) for a in exact]
    content = math.gcd(*whole) if whole else 1
    return tuple(a // content for a in whole)


def normalised(p: Coefficients) -> Polynomial:
    """A positive multiple of p in its simplest form: whole coprime, or leading with 1 or -1."""
    p = trim(p)
    if rational(p):
        return primitive(p)
    scale = 1 / abs(Fraction(1) * p[-1])
    return tuple(a * scale for a in p)


def _field_remainder(p: Polynomial, q: Polynomial) -> Polynomial:
    """A positive multiple of p mod q over a field with a square root."""
    rest, top, scale = list(p), len(q) - 1, 1 / (Fraction(1) * q[-1])
    while len(rest) > top:
        factor = rest.pop() * scale
        shift = len(rest) - top
        for k in range(top):
            rest[shift + k] -= factor * q[k]
    return normalised(rest)


def remainder(p: Polynomial, q: Polynomial) -> Polynomial:
    """A positive multiple of p mod q, in its simplest form.

    >>> remainder((1, 0, 0, 1), (1, 2))
    (1,)
    """
    if not (rational(p) and rational(q)):
        return _field_remainder(p, q)
    return _whole_remainder(primitive(p), primitive(q))


def _whole_remainder(p: Integers, q: Integers) -> Integers:
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


def gcd(p: Coefficients, q: Coefficients) -> Polynomial:
    """Greatest common divisor in its simplest form with a positive leading coefficient.

    >>> gcd((-1, 0, 1), (1, 2, 1))
    (1, 1)
    """
    a, b = normalised(p), normalised(q)
    while b:
        a, b = b, (remainder(a, b) if len(a) >= len(b) else a)
    return tuple(-x for x in a) if a and sign_of(a[-1]) < 0 else a


def quotient(p: Coefficients, q: Coefficients) -> tuple[Exact, ...]:
    """p / q where the division leaves no rest.

    >>> quotient((-1, 0, 1), (1, 1))
    (Fraction(-1, 1), Fraction(1, 1))
    """
    rest: list[Exact] = [Fraction(1) * a for a in trim(p)]
    divisor = trim(q)
    result: list[Exact] = []
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


def square_free(p: Coefficients) -> Polynomial:
    """The product of the distinct irreducible factors of p."""
    p = normalised(p)
    return normalised(quotient(p, gcd(p, derivative(p)))) if len(p) > 1 else p


def square_free_factors(p: Coefficients) -> list[tuple[Polynomial, int]]:
    """Square-free, coprime factors with their multiplicities (Yun 1976), without the constant.

    >>> square_free_factors(multiply((-1, 1), multiply((2, 1), (2, 1))))
    [((-1, 1), 1), ((2, 1), 2)]
    """
    p = normalised(p)
    if len(p) < 2:
        return []
    slope = derivative(p)
    common = gcd(p, slope)
    w: Polynomial = quotient(p, common)
    y: Polynomial = quotient(slope, common)
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
