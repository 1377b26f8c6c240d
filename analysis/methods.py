"""Runge-Kutta methods as data: exact Butcher tables with a proved order, for theory and networks.

    k_i = f(y_n + h sum_j a_ij k_j),     y_{n+1} = y_n + h sum_i b_i k_i

>>> tableau("heun").order, tableau("rkc1:stages=12,damping=0").stages
(2, 12)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from analysis.chebyshev_methods import rkc1, rkc2
from analysis.errors import InputError, unknown_name
from analysis.order_conditions import proved_order

Number = Fraction | int | str
MAXIMUM_STAGES = 50  # of the Chebyshev families: their exact tables grow to thousands of digits


def _exact(value: object) -> Fraction:
    """A table entry as a Fraction; floats are refused, because 1/3 is not a float."""
    if isinstance(value, Fraction | int) and not isinstance(value, bool):
        return Fraction(value)
    if isinstance(value, str):
        return parse_rational(value, "a table entry")
    raise InputError(
        "exact table entries (Fraction, int or '1/3')",
        f"{value!r} of type {type(value).__name__}",
        "write the entry as fractions.Fraction",
    )


def parse_rational(text: str, what: str) -> Fraction:
    """A decimal or a quotient of integers as an exact Fraction.

    >>> parse_rational("0.05", "damping"), parse_rational("2/13", "damping")
    (Fraction(1, 20), Fraction(2, 13))
    """
    # The pattern bounds the digits: Fraction("1e999999999") would fill the memory.
    pattern = r"[+-]?(\d{1,40}/(?!0+$)\d{1,40}|(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,2})?)"
    if re.fullmatch(pattern, text.strip(), flags=re.ASCII):
        return Fraction(text.strip())
    raise InputError(
        f"a number for {what}", f"'{text}'", "write a decimal or a quotient such as 0.05 or 1/20"
    )


@dataclass(frozen=True, init=False)
class ButcherTableau:
    """A Runge-Kutta method: `A` (s rows of s), `b` (s), `c` (s, the row sums of A), all Fractions.

    Sequences of Fraction, int or strings such as "1/3" are accepted and stored as tuples; `c` may
    be left out. Raises InputError for shapes that do not fit, inexact entries, `c` other than the
    row sums, or weights that do not sum to one (such a method converges to nothing).

    >>> ButcherTableau("euler", A=[[0]], b=[1]).order
    1
    """

    name: str
    A: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]
    c: tuple[Fraction, ...]

    def __init__(
        self,
        name: str,
        A: Sequence[Sequence[Number]],
        b: Sequence[Number],
        c: Sequence[Number] | None = None,
    ) -> None:
        matrix = tuple(tuple(_exact(a) for a in row) for row in A)
        weights = tuple(_exact(w) for w in b)
        sums = tuple(sum(row, Fraction(0)) for row in matrix)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "A", matrix)
        object.__setattr__(self, "b", weights)
        object.__setattr__(self, "c", sums if c is None else tuple(_exact(x) for x in c))
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


def _explicit(name: str, rows: Sequence[str], weights: str) -> ButcherTableau:
    """An explicit table from its sub-diagonal rows and its weights, written as on paper."""
    s = len(rows) + 1
    A = [row.split() + ["0"] * (s - k) for k, row in enumerate(["", *rows])]
    return ButcherTableau(name, A, weights.split())


def _theta(name: str, value: Fraction) -> ButcherTableau:
    """y+ = y + h ((1 - theta) f(y) + theta f(y+))."""
    return ButcherTableau(name, [[0, 0], [1 - value, value]], [1 - value, value])


# Dormand & Prince 1980, RK5(4)7M: the fifth-order solution that is propagated. Its seventh stage
# has weight zero; it serves the error estimate and the next step only and is left out here.
_DOPRI5 = (
    "1/5",
    "3/40 9/40",
    "44/45 -56/15 32/9",
    "19372/6561 -25360/2187 64448/6561 -212/729",
    "9017/3168 -355/33 46732/5247 49/176 -5103/18656",
)


@dataclass(frozen=True)
class _Parameter:
    """A parameter of a family: default and admissible range; whole numbers where `whole`."""

    default: Fraction
    lowest: Fraction
    highest: Fraction
    whole: bool = False


@dataclass(frozen=True)
class _Family:
    """A named method: what builds it from (name, parameters), and what it is in one line."""

    build: Callable[..., ButcherTableau]
    description: str
    parameters: tuple[tuple[str, _Parameter], ...] = ()


def _fixed(rows: Sequence[str], weights: str, description: str) -> _Family:
    return _Family(lambda name: _explicit(name, rows, weights), description)


def _chebyshev(
    build: Callable[[int, Fraction], tuple[Sequence[Sequence[Fraction]], Sequence[Fraction]]],
    lowest_stages: int,
    damping: Fraction,
    description: str,
) -> _Family:
    whole = _Parameter(Fraction(10), Fraction(lowest_stages), Fraction(MAXIMUM_STAGES), whole=True)
    return _Family(
        lambda name, stages, damping: ButcherTableau(name, *build(int(stages), damping)),
        description,
        (("stages", whole), ("damping", _Parameter(damping, Fraction(0), Fraction(100)))),
    )


_HALF = Fraction(1, 2)
_FAMILIES = {
    "euler": _fixed((), "1", "forward Euler, y + h f(y): one layer of a residual network"),
    "midpoint": _fixed(("1/2",), "0 1", "explicit midpoint rule (Runge 1895), order 2"),
    "heun": _fixed(("1",), "1/2 1/2", "Heun's explicit trapezoidal rule, order 2"),
    "ssprk22": _fixed(
        ("1",), "1/2 1/2", "strong-stability-preserving, 2 stages, order 2 (the table of Heun)"
    ),
    "ssprk33": _fixed(
        ("1", "1/4 1/4"),
        "1/6 1/6 2/3",
        "strong-stability-preserving, 3 stages, order 3 (Shu & Osher 1988)",
    ),
    "rk4": _fixed(
        ("1/2", "0 1/2", "0 0 1"), "1/6 1/3 1/3 1/6", "the classical method of Kutta 1901, order 4"
    ),
    "dopri5": _fixed(
        _DOPRI5,
        "35/384 0 500/1113 125/192 -2187/6784 11/84",
        "Dormand & Prince 1980, propagated solution, order 5 (6 stages, fixed step)",
    ),
    "rkc1": _chebyshev(
        rkc1, 1, Fraction(1, 20), "Runge-Kutta-Chebyshev, order 1, real interval about 2 stages^2"
    ),
    "rkc2": _chebyshev(
        rkc2, 2, Fraction(2, 13), "Runge-Kutta-Chebyshev, order 2, about 0.653 (stages^2 - 1)"
    ),
    "backward-euler": _Family(
        lambda name: ButcherTableau(name, [[1]], [1]), "implicit Euler, A-stable and damping"
    ),
    "crank-nicolson": _Family(
        lambda name: _theta(name, _HALF), "implicit trapezoidal rule, A-stable, order 2"
    ),
    "theta": _Family(
        _theta,
        "y + h ((1 - value) f(y) + value f(y+)): 0 Euler, 1/2 trapezoidal, 1 backward Euler",
        (("value", _Parameter(_HALF, Fraction(0), Fraction(1))),),
    ),
}
_ALIASES = {"forward-euler": "euler"}

METHODS: dict[str, str] = {name: family.description for name, family in _FAMILIES.items()}
"""Names of all methods with a one-line description."""


def tableau(name: str) -> ButcherTableau:
    """The table of a named method; parameters follow a colon, `rkc1:stages=12,damping=0`.

    Parameters are exact: "0.05" means 1/20. Raises InputError for an unknown method or parameter, a
    value that is no number, and a value out of range.

    >>> tableau("theta:value=1/2").b
    (Fraction(1, 2), Fraction(1, 2))
    """
    if not isinstance(name, str):
        raise InputError("the name of a method", repr(name), "pass a string such as 'heun'")
    base, _, listed = name.strip().partition(":")
    base = base.strip().lower()
    base = _ALIASES.get(base, base)
    if base not in _FAMILIES:
        raise unknown_name("method", base, [*_FAMILIES, *_ALIASES])
    values = _parameters(base, dict(_FAMILIES[base].parameters), listed)
    return _built(base, tuple(values.items()))


@lru_cache(maxsize=128)
def _built(base: str, values: tuple[tuple[str, Fraction], ...]) -> ButcherTableau:
    """The table of a family at given parameters; its name repeats them all."""
    written = ",".join(f"{key}={value}" for key, value in values)
    return _FAMILIES[base].build(f"{base}:{written}" if written else base, **dict(values))


def _parameters(base: str, known: dict[str, _Parameter], listed: str) -> dict[str, Fraction]:
    """Defaults overridden by the `key=value` pairs of the text after the colon."""
    values = {key: parameter.default for key, parameter in known.items()}
    seen: set[str] = set()
    for pair in filter(None, (part.strip() for part in listed.split(","))):
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not known:
            raise InputError(f"'{base}' without parameters", f"'{pair}'", f"write '{base}'")
        if key not in known:
            raise unknown_name(f"parameter of '{base}'", key, known)
        if not equals or key in seen:
            raise InputError(
                f"each parameter of '{base}' once, as {key}=NUMBER",
                f"'{pair}'" + (" again" if key in seen else ""),
                f"write '{base}:{key}={known[key].default}'",
            )
        seen.add(key)
        values[key] = _checked(base, key, known[key], text)
    return values


def _checked(base: str, key: str, parameter: _Parameter, text: str) -> Fraction:
    """The value of one parameter, in its range."""
    value = parse_rational(text, f"'{key}' of '{base}'")
    whole = parameter.whole and value.denominator != 1
    if whole or not parameter.lowest <= value <= parameter.highest:
        raise InputError(
            f"'{key}' of '{base}' {'a whole number ' if parameter.whole else ''}"
            f"from {parameter.lowest} to {parameter.highest}",
            text,
            f"the default is {parameter.default}",
        )
    return value
