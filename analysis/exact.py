"""Exact numbers of method tables: rationals, and a + b sqrt(d) where a method needs a root.

>>> gamma = parse_number("1 - sqrt(2)/2", "gamma")
>>> gamma, 2 * gamma * gamma - 4 * gamma + 1, float(gamma)
(Quadratic(Fraction(1, 1), Fraction(-1, 2), 2), Fraction(0, 1), 0.2928932188134525)
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import total_ordering

from analysis.errors import InputError


@total_ordering
@dataclass(frozen=True, eq=False, repr=False)
class Quadratic:
    """The real number a + b sqrt(d) with rational a, b != 0 and a whole d that is no square.

    Sums, products and quotients with rationals and with numbers of the same root are exact; a
    result without a root is a Fraction. Made by `root` and arithmetic. Raises InputError where
    numbers of two different roots meet, which no method of the literature needs.

    >>> (1 + root(2)) * (1 - root(2))
    Fraction(-1, 1)
    """

    rational: Fraction
    factor: Fraction
    radicand: int

    def __repr__(self) -> str:
        return f"Quadratic({self.rational!r}, {self.factor!r}, {self.radicand})"

    def __str__(self) -> str:
        sign, size = ("-", -self.factor) if self.factor < 0 else ("+", self.factor)
        times = "" if size == 1 else f"{size} "
        if not self.rational:
            return f"{'-' if sign == '-' else ''}{times}sqrt({self.radicand})"
        return f"{self.rational} {sign} {times}sqrt({self.radicand})"

    @property
    def conjugate(self) -> Quadratic:
        """a - b sqrt(d)."""
        return Quadratic(self.rational, -self.factor, self.radicand)

    def _parts(self, other: Exact | int) -> tuple[Fraction, Fraction] | None:
        """Another number as (a, b) with the root of this one."""
        if isinstance(other, int | Fraction):
            return Fraction(other), Fraction(0)
        if not isinstance(other, Quadratic):
            return None
        if other.radicand == self.radicand:
            return other.rational, other.factor
        shared = math.isqrt(self.radicand * other.radicand)
        if shared * shared != self.radicand * other.radicand:
            raise InputError(
                "numbers with one square root in a method",
                f"sqrt({self.radicand}) and sqrt({other.radicand})",
                "a table may hold rationals and multiples of one root",
            )
        return other.rational, other.factor * Fraction(shared, self.radicand)

    def __add__(self, other: Exact | int) -> Exact:
        parts = self._parts(other)
        if parts is None:
            return NotImplemented
        return _number(self.rational + parts[0], self.factor + parts[1], self.radicand)

    __radd__ = __add__

    def __neg__(self) -> Quadratic:
        return Quadratic(-self.rational, -self.factor, self.radicand)

    def __sub__(self, other: Exact | int) -> Exact:
        return self + -other

    def __rsub__(self, other: Exact | int) -> Exact:
        return -self + other

    def __mul__(self, other: Exact | int) -> Exact:
        parts = self._parts(other)
        if parts is None:
            return NotImplemented
        a, b = parts
        return _number(
            self.rational * a + self.factor * b * self.radicand,
            self.rational * b + self.factor * a,
            self.radicand,
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Exact | int) -> Exact:
        if isinstance(other, Quadratic):
            norm = Fraction(other.rational**2 - other.factor**2 * other.radicand)
            return self * other.conjugate * (1 / norm)
        return self * (1 / Fraction(other))

    def __rtruediv__(self, other: Exact | int) -> Exact:
        norm = Fraction(self.rational**2 - self.factor**2 * self.radicand)
        return self.conjugate * other * (1 / norm)

    def __pow__(self, exponent: int) -> Exact:
        result: Exact = Fraction(1)
        for _ in range(exponent):
            result = result * self
        return result

    def __abs__(self) -> Exact:
        return -self if sign_of(self) < 0 else self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quadratic):
            return False if isinstance(other, int | Fraction) else NotImplemented
        shared = math.isqrt(self.radicand * other.radicand)
        if shared * shared != self.radicand * other.radicand:
            return False  # two roots and 1 are independent over the rationals
        same = self.factor == other.factor * Fraction(shared, self.radicand)
        return same and self.rational == other.rational

    def __lt__(self, other: Exact | int) -> bool:
        return sign_of(self - other) < 0

    def __hash__(self) -> int:
        return hash((self.rational, self.factor**2 * self.radicand, self.factor > 0))

    def __float__(self) -> float:
        """The nearest double."""
        digits = 128
        while True:
            low, high = self.between(digits)
            if float(low) == float(high):
                return float(low)
            digits *= 2

    def between(self, digits: int) -> tuple[Fraction, Fraction]:
        """Rationals on both sides, 2^-digits times the factor apart."""
        scale = 1 << digits
        whole = math.isqrt(self.radicand * scale * scale)
        ends = [self.rational + self.factor * Fraction(whole + k, scale) for k in (0, 1)]
        return min(ends), max(ends)


Exact = Fraction | Quadratic
"""An entry of a method: a rational or quadratic number."""


def _number(rational: Fraction, factor: Fraction, radicand: int) -> Exact:
    return Quadratic(rational, factor, radicand) if factor else rational


def root(radicand: int) -> Exact:
    """sqrt(radicand), exact.

    >>> root(8), root(9)
    (Quadratic(Fraction(0, 1), Fraction(2, 1), 2), Fraction(3, 1))
    """
    if radicand < 0:
        raise InputError("a root of a number >= 0", radicand, "methods have real coefficients")
    whole = math.isqrt(radicand)
    if whole * whole == radicand:
        return Fraction(whole)
    # Square factors of small primes are enough for readable tables; values do not depend on it.
    factor = 1
    for prime in (2, 3, 5, 7):
        while radicand % prime**2 == 0:
            radicand, factor = radicand // prime**2, factor * prime
    return Quadratic(Fraction(0), Fraction(factor), radicand)


def sign_of(x: Exact | int) -> int:
    """The exact sign: -1, 0 or 1.

    >>> sign_of(root(2) - Fraction(141421356, 100000000))
    1
    """
    if not isinstance(x, Quadratic):
        return (x > 0) - (x < 0)
    a, b = sign_of(x.rational), sign_of(x.factor)
    if a * b >= 0:
        return b
    # The larger of a^2 and b^2 d decides; they differ, since d is no square.
    return a if x.rational**2 > x.factor**2 * x.radicand else b


def written(x: Exact) -> str:
    """The number as text without blanks that `parse_number` reads back.

    >>> written(Fraction(1, 2) - root(3) / 6)
    '1/2-1/6*sqrt(3)'
    """
    return str(x).replace(" sqrt", "*sqrt").replace("+*", "+").replace("-*", "-").replace(" ", "")


def solve(matrix: Sequence[Sequence[Exact]], right: Sequence[Exact]) -> list[Exact]:
    """The solution of a small regular linear system, by elimination in exact arithmetic.

    >>> solve([[Fraction(1), root(2)], [root(2), Fraction(1)]], [Fraction(3), 2 * root(2)])
    [Fraction(1, 1), Quadratic(Fraction(0, 1), Fraction(1, 1), 2)]
    """
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k in range(len(rows)):
        pivot = next(i for i in range(k, len(rows)) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [x / rows[k][k] for x in rows[k]]
        for i, row in enumerate(rows):
            if i != k and row[k]:
                rows[i] = [x - row[k] * y for x, y in zip(row, rows[k], strict=True)]
    return [row[-1] for row in rows]


_DIGITS = r"\d{1,400}"
_NOT_ZERO = r"(?!0+(?!\d))"
_RATIONAL = (
    rf"({_DIGITS}/{_NOT_ZERO}{_DIGITS}"
    r"|(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,2})?)"
)
_ROOT = rf"sqrt\(?({_DIGITS})\)?(?:\s*/\s*{_NOT_ZERO}(\d{{1,40}}))?"
_TERM = rf"\s*([+-])?\s*(?:({_RATIONAL})\s*(?:\*\s*(?=sqrt))?)?(?:{_ROOT})?\s*"


def parse_number(text: str, what: str) -> Exact:
    """A decimal, a quotient of integers, or such with one square root, as an exact number.

    >>> parse_number("0.05", "damping"), parse_number("2/13", "damping")
    (Fraction(1, 20), Fraction(2, 13))
    >>> str(parse_number("1/2 - sqrt(3)/6", "an abscissa"))
    '1/2 - 1/6 sqrt(3)'
    """
    total, position, pattern = Fraction(0), 0, re.compile(_TERM, flags=re.ASCII)
    number: Exact = total
    # The patterns bound the digits: Fraction("1e999999999") would fill the memory.
    while position < len(text):
        match = pattern.match(text, position)
        if match is None or match.end() == position:
            break
        sign, rational, radicand, divisor = match[1], match[2], match[6], match[7]
        if (rational is None and radicand is None) or (position and sign is None):
            break
        term: Exact = Fraction(rational) if rational is not None else Fraction(1)
        if radicand is not None:
            term = term * root(int(radicand)) / Fraction(int(divisor or 1))
        number = number - term if sign == "-" else number + term
        position = match.end()
    if position < len(text) or not text.strip():
        raise InputError(
            f"a number for {what}",
            f"'{text}'",
            "write a decimal or a quotient such as 0.05 or 1/20, a root as sqrt(2)",
        )
    return number
