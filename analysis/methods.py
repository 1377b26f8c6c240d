"""The registry of time steppers: every method by name, exact, for theory and networks.

>>> method("bdf3").order, tableau("heun").order, method("rkc1:stages=12,damping=0").stages
(3, 2, 12)
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from analysis.errors import InputError, unknown_name
from analysis.families import KINDS, Family, Parameter, count, read_parameters
from analysis.families import Method as Method
from analysis.method_files import inline_table, read_method
from analysis.stabilised import MAXIMUM_STAGES, StabilisedMethod
from analysis.tableau import INLINE, ButcherTableau
from analysis.tables.additive import ADDITIVE
from analysis.tables.explicit import EXPLICIT
from analysis.tables.implicit import IMPLICIT
from analysis.tables.multistep import MULTISTEP
from analysis.tables.splittings import SPLITTINGS


def _stabilised(family: str, least: int, damping: Fraction, description: str) -> Family:
    def build(name: str, stages: Fraction, damping: Fraction) -> Method:
        return StabilisedMethod(name, family, int(stages), damping)

    limits = Parameter(damping, Fraction(0), Fraction(100))
    parameters = {"stages": count(10, least, MAXIMUM_STAGES), "damping": limits}
    return Family(build, description, parameters)


_STABILISED = {
    "rkc1": _stabilised(
        "rkc1", 1, Fraction(1, 20), "Runge-Kutta-Chebyshev, order 1, real interval about 2 stages^2"
    ),
    "rkc2": _stabilised(
        "rkc2", 2, Fraction(2, 13), "Runge-Kutta-Chebyshev, order 2, about 0.653 (stages^2 - 1)"
    ),
    "rkl1": _stabilised(
        "rkl1", 1, Fraction(0), "Runge-Kutta-Legendre, order 1, real interval stages^2 + stages"
    ),
    "rkl2": _stabilised(
        "rkl2", 2, Fraction(0), "Runge-Kutta-Legendre, order 2, (stages^2 + stages - 2) / 2"
    ),
}
_FAMILIES: dict[str, Family] = {
    **EXPLICIT,
    **_STABILISED,
    **IMPLICIT,
    **MULTISTEP,
    **ADDITIVE,
    **SPLITTINGS,
}
ALIASES = {
    "forward-euler": "euler",
    "imex-euler": "ars111",
    "stormer-verlet": "verlet",
}
"""Other names of methods."""
METHODS: dict[str, str] = {
    name: line
    for base, family in _FAMILIES.items()
    for name, line in family.descriptions(base).items()
}
"""Names of all methods with a one-line description, those added by `register` included."""
_REGISTERED: dict[str, Method] = {}
_NUMBERED = re.compile(r"([a-z-]+?)(\d{1,6})", flags=re.ASCII)


def method(name: str) -> Method:
    """The named method, of any kind.

    Parameters follow a colon and are exact: in `rkc1:stages=12,damping=0.05` the damping is 1/20.
    A member of a numbered family is bdf3 or bdf:steps=3. A name that ends in `.toml` is a file
    (`analysis.method_files`), one that begins with `table:` is a whole table.

    Raises InputError for an unknown method or parameter, a value that is no number or out of
    range, and a file that cannot be read.

    >>> method("imex-euler").name, method("ab:steps=2").name, method("table:A=0 0;1 0,b=0 1").order
    ('ars111', 'ab2', 1)
    """
    if not isinstance(name, str):
        raise InputError("the name of a method", repr(name), "pass a string such as 'heun'")
    text = name.strip()
    if text.lower().endswith(".toml"):
        return read_method(text)
    base, _, listed = text.partition(":")
    base = base.strip().lower()
    base = ALIASES.get(base, base)
    if base == INLINE:
        return inline_table(listed)
    if base in _REGISTERED:
        read_parameters(base, {}, listed)
        return _REGISTERED[base]
    base, family, listed = _found(base, listed)
    values = read_parameters(base, family.parameters, listed)
    return _built(base, tuple(values.items()))


def _found(base: str, listed: str) -> tuple[str, Family, str]:
    """The family of a name, with the number of a numbered member as its parameter."""
    if base in _FAMILIES:
        return base, _FAMILIES[base], listed
    parts = _NUMBERED.fullmatch(base)
    family = _FAMILIES.get(parts[1]) if parts else None
    if parts is None or family is None or not family.listed:
        raise unknown_name("method", base, [*METHODS, *ALIASES])
    read_parameters(base, {}, listed)
    (parameter,) = family.parameters
    return parts[1], family, f"{parameter}={parts[2]}"


@lru_cache(maxsize=256)
def _built(base: str, values: tuple[tuple[str, Fraction], ...]) -> Method:
    """The method of a family at given parameters."""
    family = _FAMILIES[base]
    return family.build(family.canonical(base, dict(values)), **dict(values))


def tableau(name: str) -> ButcherTableau:
    """The Butcher table of a named Runge-Kutta method.

    Raises InputError as `method` does, and for a method of another kind.

    >>> tableau("theta:value=1/2").b
    (Fraction(1, 2), Fraction(1, 2))
    """
    found = method(name)
    if isinstance(found, StabilisedMethod):
        return found.tableau
    if not isinstance(found, ButcherTableau):
        raise InputError(
            "a Runge-Kutta method", f"'{found.name}', {kind(found)}", "choose one such as heun"
        )
    return found


def kind(found: Method) -> str:
    """What a method is, in words.

    >>> kind(method("bdf2"))
    'a linear multistep method'
    """
    return KINDS[type(found)]


def register(added: Method, description: str = "added by the user") -> None:
    """Make a method known by its name, for this process.

    A method that was added under the same name is replaced. Raises InputError for an object of
    another type, a name that is no plain word, and one that the registry holds already.

    >>> register(ButcherTableau("my-heun", [[0, 0], [1, 0]], ["1/2", "1/2"]), "Heun again")
    >>> method("my-heun").order, METHODS["my-heun"]
    (2, 'Heun again')
    >>> unregister("my-heun")
    """
    if type(added) not in KINDS:
        kinds = ", ".join(sorted(cls.__name__ for cls in KINDS))
        raise InputError(f"a method: one of {kinds}", type(added).__name__, "build one of them")
    name = added.name
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name, flags=re.ASCII) or name == INLINE:
        raise InputError(
            "a name of small letters, digits and hyphens", f"'{name}'", "rename the method"
        )
    if name in ALIASES or _built_in(name) is not None:
        raise InputError("a name that is free", f"'{name}'", f"take one such as 'my-{name}'")
    _REGISTERED[name] = added
    METHODS[name] = " ".join(description.split())


def unregister(name: str) -> None:
    """Forget a method that `register` has added; InputError where there is none."""
    if name not in _REGISTERED:
        raise unknown_name("method added by register", name, _REGISTERED)
    del _REGISTERED[name], METHODS[name]


def _built_in(name: str) -> Method | None:
    """The method that the registry builds for a canonical name, if it does."""
    base, _, listed = name.partition(":")
    try:
        base, family, listed = _found(base, listed)
        return _built(base, tuple(read_parameters(base, family.parameters, listed).items()))
    except InputError:
        return None


def lasting_name(found: Method) -> str:
    """A name by which every process finds the method again: the registry's, or the whole table.

    Raises InputError for a method of another kind than Runge-Kutta that the registry lacks.

    >>> lasting_name(ButcherTableau("mine", [[0, 0], ["1/3", 0]], [0, 1]))
    'table:A=0 0;1/3 0,b=0 1'
    """
    if _built_in(found.name) == found:
        return found.name
    if isinstance(found, StabilisedMethod):
        return method(f"{found.family}:stages={found.stages},damping={found.damping}").name
    if isinstance(found, ButcherTableau):
        return found.inline_name
    raise InputError(
        "a method of the registry, or a Runge-Kutta table",
        f"'{found.name}', {kind(found)}",
        "only tables have an inline form",
    )
