"""Runge-Kutta methods as data: exact Butcher tables with a proved order, for theory and networks.

    k_i = f(y_n + h sum_j a_ij k_j),     y_{n+1} = y_n + h sum_i b_i k_i

>>> tableau("heun").order, tableau("rkc1:stages=12,damping=0").stages
(2, 12)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from analysis.chebyshev_methods import rkc1, rkc2
from analysis.errors import InputError, unknown_name
from analysis.exact import parse_number
from analysis.tableau import ButcherTableau

MAXIMUM_STAGES = 50  # of the Chebyshev families: their exact tables grow to thousands of digits


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
    value = parse_number(text, f"'{key}' of '{base}'")
    fits = isinstance(value, Fraction) and not (parameter.whole and value.denominator != 1)
    if not isinstance(value, Fraction) or not (
        fits and parameter.lowest <= value <= parameter.highest
    ):
        raise InputError(
            f"'{key}' of '{base}' {'a whole number ' if parameter.whole else ''}"
            f"from {parameter.lowest} to {parameter.highest}",
            text,
            f"the default is {parameter.default}",
        )
    return value
