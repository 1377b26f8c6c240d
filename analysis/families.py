"""Named methods and families of them: what builds one, its parameters, and how text gives these.

>>> stages = Parameter(Fraction(10), Fraction(1), Fraction(50), whole=True)
>>> read_parameters("rkc1", {"stages": stages}, "stages=12")
{'stages': Fraction(12, 1)}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from analysis.errors import InputError, unknown_name
from analysis.exact import parse_number
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.splitting import SplittingMethod
from analysis.stabilised import StabilisedMethod
from analysis.tableau import ButcherTableau, ImexTableau

Method = (
    ButcherTableau
    | StabilisedMethod
    | ImexTableau
    | MultistepMethod
    | ImexMultistep
    | SplittingMethod
)
"""A time stepper of any kind."""

KINDS: dict[type, str] = {
    ButcherTableau: "a Runge-Kutta method",
    StabilisedMethod: "a stabilised Runge-Kutta method",
    ImexTableau: "an additive Runge-Kutta pair",
    MultistepMethod: "a linear multistep method",
    ImexMultistep: "an implicit-explicit multistep method",
    SplittingMethod: "a splitting method",
}
"""What an object is called in messages."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a family: default and admissible range; whole numbers where `whole`."""

    default: Fraction
    lowest: Fraction
    highest: Fraction
    whole: bool = False


def count(default: int, lowest: int, highest: int) -> Parameter:
    """A whole-number parameter: stages or steps."""
    return Parameter(Fraction(default), Fraction(lowest), Fraction(highest), whole=True)


@dataclass(frozen=True)
class Family:
    """A named method or a family of them.

    Attributes:
        build: makes the method from its name and the parameters as keyword arguments.
        description: what it is, in one line.
        parameters: what the text after the colon may set.
        listed: members that are known by a number after the name of the family, as bdf3 for
            bdf:steps=3; empty where the canonical name keeps its colon.
    """

    build: Callable[..., Method]
    description: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    listed: tuple[int, ...] = ()

    def canonical(self, base: str, values: Mapping[str, Fraction]) -> str:
        """The name that repeats all parameters: bdf3, or rkc1:stages=10,damping=1/20."""
        if self.listed:
            return base + "".join(map(str, values.values()))
        written = ",".join(f"{key}={value}" for key, value in values.items())
        return f"{base}:{written}" if written else base

    def descriptions(self, base: str) -> dict[str, str]:
        """The names to list, each with its line; `{}` in the line is the number of a member."""
        if not self.listed:
            return {base: self.description}
        return {f"{base}{number}": self.description.format(number) for number in self.listed}


def read_parameters(base: str, known: Mapping[str, Parameter], listed: str) -> dict[str, Fraction]:
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


def _checked(base: str, key: str, parameter: Parameter, text: str) -> Fraction:
    """The value of one parameter, a rational in its range."""
    value = parse_number(text, f"'{key}' of '{base}'")
    fits = isinstance(value, Fraction) and not (parameter.whole and value.denominator != 1)
    if not isinstance(value, Fraction) or not (
        fits and parameter.lowest <= value <= parameter.highest
    ):
        raise InputError(
            f"'{key}' of '{base}' a {'whole' if parameter.whole else 'rational'} number "
            f"from {parameter.lowest} to {parameter.highest}",
            text,
            f"the default is {parameter.default}",
        )
    return value
