"""Splitting methods as data: exact flows of two parts, one after the other.

For y' = f(y) + g(y) with the flows phi^f and phi^g a step is phi_m(c_m h) o ... o phi_1(c_1 h).
For a separable Hamiltonian, or y'' = F(y) with v = y', the two parts are the drift (y' = v) and the
kick (v' = F(y)), whose flows are exact: symplectic Euler and Stormer-Verlet are splittings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from analysis.errors import InputError
from analysis.exact import Exact
from analysis.tableau import Number, exact_entry

Part = Literal["explicit", "implicit", "drift", "kick"]
PARTS = (("explicit", "implicit"), ("drift", "kick"))


@dataclass(frozen=True, init=False)
class SplittingMethod:
    """Flows of two parts in turn: `flows` lists (part, fraction of the step), first to last.

    The parts are "explicit" and "implicit" (a field f + g, as in the IMEX methods), or "drift" and
    "kick" (a separable second-order or Hamiltonian system). Raises InputError for other parts,
    and for fractions of a part that do not sum to 1.

    >>> SplittingMethod("strang", [("explicit", "1/2"), ("implicit", 1), ("explicit", "1/2")]).order
    2
    """

    name: str
    flows: tuple[tuple[Part, Exact], ...]

    def __init__(self, name: str, flows: Sequence[tuple[Part, Number]]) -> None:
        exact = tuple((part, exact_entry(fraction)) for part, fraction in flows)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "flows", exact)
        present = {part for part, _ in exact}
        if present not in (set(PARTS[0]), set(PARTS[1])):
            raise InputError(
                "flows of explicit and implicit, or of drift and kick",
                ", ".join(sorted(present)) or "none",
                f"check the flows of '{name}'",
            )
        for part in present:
            total = sum((x for p, x in exact if p == part), Fraction(0))
            if total != 1:
                raise InputError(
                    "fractions of each part that sum to 1",
                    f"{total} for {part}",
                    f"check the flows of '{name}'",
                )

    @property
    def partitioned(self) -> bool:
        """Whether the parts are drift and kick: a method for second-order systems."""
        return self.flows[0][0] in PARTS[1]

    @cached_property
    def order(self) -> int:
        """The order of consistency, by the words of the two parts in exact arithmetic.

        A product of exponentials exp(c_i X_i) has order p where the coefficient of every word of
        at most p letters equals that of exp(X + Y), one over the factorial of its length. Parts
        that satisfy relations (drift and kick do) can have a higher order than this general one.
        """
        limit = len(self.flows) + 1
        series = _word_series(self.flows, limit)
        letters = sorted({part for part, _ in self.flows})
        for length in range(1, limit + 1):
            wanted = Fraction(1, math.factorial(length))
            words = itertools.product(letters, repeat=length)
            if any(series.get(word, Fraction(0)) != wanted for word in words):
                return length - 1
        return limit


def _word_series(flows: Sequence[tuple[Part, Exact]], limit: int) -> dict[tuple[Part, ...], Exact]:
    """Coefficients of the words of at most `limit` letters in the product of exponentials."""
    series: dict[tuple[Part, ...], Exact] = {(): Fraction(1)}
    for part, fraction in flows:
        grown: dict[tuple[Part, ...], Exact] = {}
        for word, coefficient in series.items():
            for power in range(limit - len(word) + 1):
                longer = word + (part,) * power
                term = coefficient * fraction**power / Fraction(math.factorial(power))
                grown[longer] = grown.get(longer, Fraction(0)) + term
        series = grown
    return series
