"""One way from any method to what decides the stability of its steps.

>>> stability_of("bdf2").a_stable, stability_of("verlet").imaginary_interval
(True, 2.0)
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from analysis.errors import InputError
from analysis.imex_limits import ImexLimits, wedge_tangent
from analysis.imex_stability import (
    ExactFlows,
    ImexStabilityFunction,
    imex_runge_kutta_limits,
    imex_stability_function,
)
from analysis.methods import Method, method
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.multistep_stability import ImexRootCondition, RootCondition
from analysis.oscillator_stability import OscillatorStability
from analysis.splitting import SplittingMethod
from analysis.stabilised import StabilisedMethod
from analysis.stabilised_stability import EXACT_STAGES, StabilisedFunction
from analysis.stability import StabilityFunction, stability_function
from analysis.tableau import ButcherTableau, ImexTableau

Single = StabilityFunction | RootCondition | OscillatorStability
"""Functions of z = h lambda."""
Paired = ImexStabilityFunction | ImexRootCondition | ExactFlows
"""Functions of z = h lambda, explicit, and w = h mu, implicit."""


@lru_cache(maxsize=128)
def stability_of(stepper: str | Method) -> Single | Paired:
    """What decides the stability of a method, a function of one or of two eigenvalues.

    A `StabilityFunction` of Runge-Kutta methods, a `RootCondition` of multistep methods, an
    `OscillatorStability` of methods for second-order systems; for methods with an explicit and an
    implicit part an `ImexStabilityFunction`, `ImexRootCondition` or `ExactFlows`. Raises InputError
    for an unknown name.
    """
    found = method(stepper) if isinstance(stepper, str) else stepper
    if isinstance(found, ButcherTableau):
        return stability_function(found)
    if isinstance(found, StabilisedMethod):
        if found.stages > EXACT_STAGES:
            return StabilisedFunction(found)
        return StabilityFunction(found.polynomial, (Fraction(1),))
    if isinstance(found, MultistepMethod):
        return RootCondition.of(found)
    if isinstance(found, ImexTableau):
        return imex_stability_function(found)
    if isinstance(found, ImexMultistep):
        return ImexRootCondition.of(found)
    return OscillatorStability.of(found) if found.partitioned else ExactFlows()


def imex_limits(stepper: str | Method, angle: float = 0.0) -> ImexLimits:
    """How far the explicit eigenvalue may reach, whatever the implicit one within an angle.

    Args:
        stepper: a method with an explicit and an implicit part, or its name.
        angle: half-angle of the wedge |arg(-w)| <= angle of implicit eigenvalues, radians; 0 is
            the half-line w <= 0.

    Raises InputError for another method and for an angle outside [0, pi / 2).

    >>> imex_limits("ars111")
    ImexLimits(real=2.0, imaginary=0.0, angle=0.0)
    """
    found = method(stepper) if isinstance(stepper, str) else stepper
    if isinstance(found, ImexTableau):
        return imex_runge_kutta_limits(found, angle)
    if isinstance(found, ImexMultistep):
        return ImexRootCondition.of(found).limits(angle)
    if isinstance(found, SplittingMethod) and not found.partitioned:
        wedge_tangent(angle)
        return ImexLimits(math.inf, math.inf, angle)
    raise InputError("a method with an explicit and an implicit part", found.name, "as ars222")
