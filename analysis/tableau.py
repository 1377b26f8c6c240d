"""Runge-Kutta methods as data: one table, or an explicit and an implicit one that step together.

    k_i = f(y_n + h sum_j a_ij k_j),     y_{n+1} = y_n + h sum_i b_i k_i

>>> ButcherTableau("heun", A=[[0, 0], [1, 0]], b=["1/2", "1/2"]).order
2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from analysis.errors import InputError
from analysis.exact import Exact, Quadratic, parse_number, written
from analysis.order_conditions import proved_additive_order, proved_order

Number = Exact | int | str
INLINE = "table"
"""What the name of a method begins with, before a colon, that is its whole table."""


def exact_entry(value: object) -> Exact:
    """A table entry as an exact number; floats are refused, because 1/3 is not a float.

    >>> exact_entry("sqrt(2)/2")
    Quadratic(Fraction(0, 1), Fraction(1, 2), 2)
    """
    if isinstance(value, Quadratic):
        return value
    if isinstance(value, Fraction | int) and not isinstance(value, bool):
        return Fraction(value)
    if isinstance(value, str):
        return parse_number(value, "a table entry")
    raise InputError(
        "exact table entries (Fraction, int, '1/3' or 'sqrt(2)/2')",
        f"{value!r} of type {type(value).__name__}",
        "write the entry as fractions.Fraction",
    )


@dataclass(frozen=True, init=False)
class ButcherTableau:
    """A Runge-Kutta method: `A` (s rows of s), `b` (s), `c` (s, the row sums of A), all exact.

    Sequences of exact numbers, int or strings such as "1/3" are accepted and stored as tuples; `c`
    may be left out. Raises InputError for shapes that do not fit, inexact entries, `c` other than
    the row sums, or weights that do not sum to one (such a method converges to nothing).

    >>> ButcherTableau("euler", A=[[0]], b=[1]).order
    1
    """

    name: str
    A: tuple[tuple[Exact, ...], ...]
    b: tuple[Exact, ...]
    c: tuple[Exact, ...]

    def __init__(
        self,
        name: str,
        A: Sequence[Sequence[Number]],
        b: Sequence[Number],
        c: Sequence[Number] | None = None,
    ) -> None:
        matrix = tuple(tuple(exact_entry(a) for a in row) for row in A)
        weights = tuple(exact_entry(w) for w in b)
        sums = tuple(sum(row, Fraction(0)) for row in matrix)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "A", matrix)
        object.__setattr__(self, "b", weights)
        object.__setattr__(self, "c", sums if c is None else tuple(exact_entry(x) for x in c))
        self.__post_init__()

    def __post_init__(self) -> None:
        s = len(self.b)
        if s == 0 or len(self.A) != s or any(len(row) != s for row in self.A):
            rows = "x".join(str(len(row)) for row in self.A) or "no rows"
            raise InputError(
                f"a square matrix A with one row and column per weight ({s})",
                f"{len(self.A)} rows of lengths {rows}",
                f"check the table of '{self.name}'",
            )
        if self.c != tuple(sum(row, Fraction(0)) for row in self.A):
            raise InputError(
                "abscissae c equal to the row sums of A",
                f"c = {', '.join(map(str, self.c))}",
                "leave c out, it follows from A",
            )
        if sum(self.b) != 1:
            raise InputError(
                "weights b that sum to 1", f"the sum {sum(self.b)}", f"check b of '{self.name}'"
            )

    @property
    def stages(self) -> int:
        """Number of stages s."""
        return len(self.b)

    @cached_property
    def explicit(self) -> bool:
        """Whether A is strictly lower triangular."""
        return not any(a for i, row in enumerate(self.A) for a in row[i:])

    @cached_property
    def diagonally_implicit(self) -> bool:
        """Whether A is lower triangular: the stages are solved one after the other."""
        return not any(a for i, row in enumerate(self.A) for a in row[i + 1 :])

    @property
    def fsal(self) -> bool:
        """First same as last: stage 1 is explicit and stage s is evaluated at y_{n+1} (s > 1)."""
        return self.stages > 1 and not any(self.A[0]) and self.A[-1] == self.b

    @cached_property
    def order(self) -> int:
        """The order of consistency, proved by the rooted-tree conditions in exact arithmetic.

        An s-stage method has order at most s if explicit and 2 s if implicit, so the search ends.
        """
        return proved_order(self.A, self.b, self.stages if self.explicit else 2 * self.stages)

    @property
    def inline_name(self) -> str:
        """The whole table as a name, from which `analysis.methods.method` makes it again.

        >>> ButcherTableau("ralston", A=[[0, 0], ["2/3", 0]], b=["1/4", "3/4"]).inline_name
        'table:A=0 0;2/3 0,b=1/4 3/4'
        """
        rows = ";".join(" ".join(map(written, row)) for row in self.A)
        return f"{INLINE}:A={rows},b={' '.join(map(written, self.b))}"


@dataclass(frozen=True)
class ImexTableau:
    """An additive Runge-Kutta method for y' = f(y) + g(y), f explicit and g implicit.

        Y_i = y + h sum_j (a_ij f(Y_j) + a~_ij g(Y_j))
        y+ = y + h sum_i (b_i f(Y_i) + b~_i g(Y_i))

    `explicit` (strictly lower triangular) and `implicit` (lower triangular: a DIRK) have the same
    number of stages and the same abscissae. Raises InputError for tables that do not fit together.

    Source: Ascher, Ruuth & Spiteri, Appl. Numer. Math. 25 (1997), section 2.
    """

    name: str
    explicit: ButcherTableau
    implicit: ButcherTableau

    def __post_init__(self) -> None:
        s, t = self.explicit.stages, self.implicit.stages
        if s != t:
            raise InputError(
                "an explicit and an implicit table of equally many stages",
                f"{s} and {t}",
                f"pad the tables of '{self.name}' with zeros",
            )
        if not self.explicit.explicit or not self.implicit.diagonally_implicit:
            raise InputError(
                "a strictly and a weakly lower triangular matrix",
                "entries above the diagonal",
                f"check the tables of '{self.name}'",
            )
        if self.explicit.c != self.implicit.c:
            raise InputError(
                "equal abscissae of the explicit and the implicit table",
                f"{', '.join(map(str, self.explicit.c))} and "
                f"{', '.join(map(str, self.implicit.c))}",
                f"check the row sums of '{self.name}'",
            )

    @property
    def stages(self) -> int:
        """Number of stages s, those without an implicit part included."""
        return self.explicit.stages

    @cached_property
    def order(self) -> int:
        """The order of consistency of the pair, by all conditions that couple its two parts."""
        parts = [(table.A, table.b) for table in (self.explicit, self.implicit)]
        return proved_additive_order(parts, self.explicit.order)
