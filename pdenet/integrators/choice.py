"""From a method to its stepper, and what kind of field it asks for."""

from __future__ import annotations

from functools import lru_cache

from analysis.errors import InputError
from analysis.methods import Method, lasting_name, method
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.splitting import SplittingMethod
from analysis.stabilised import MAXIMUM_TABLE_STAGES, StabilisedMethod
from analysis.tableau import ButcherTableau, ImexTableau
from pdenet.integrators.additive import additive_stepper
from pdenet.integrators.explicit import ExplicitStepper, coefficients_of
from pdenet.integrators.multistep import multistep_stepper
from pdenet.integrators.splitting import splitting_stepper
from pdenet.integrators.stepper import Stepper

FAMILIES = {
    "explicit": "evaluates the field alone",
    "implicit": "solves for the whole field",
    "implicit-explicit": "solves for one part of the field and evaluates the other",
    "splitting": "takes the flows of two parts in turn",
    "partitioned": "takes drift and kick in turn",
}
"""What a method does with a field; a field names the families it can serve."""


def family_of(found: Method) -> str:
    """The name in ``FAMILIES`` of what a method does.

    >>> family_of(method("verlet")), family_of(method("sbdf2"))
    ('partitioned', 'implicit-explicit')
    """
    if isinstance(found, SplittingMethod):
        return "partitioned" if found.partitioned else "splitting"
    if isinstance(found, ImexTableau | ImexMultistep):
        return "implicit-explicit"
    return "explicit" if found.explicit else "implicit"


@lru_cache(maxsize=128)
def stepper_of(found: Method) -> Stepper:
    """The stepper of a method.

    Raises:
        InputError: for coupled stages, for more stages than a table can have, and for multistep
            methods without a start of their order.

    >>> type(stepper_of(method("strang"))).__name__
    'SplittingStepper'
    """
    if isinstance(found, SplittingMethod):
        return splitting_stepper(found)
    if isinstance(found, MultistepMethod | ImexMultistep):
        return multistep_stepper(found)
    if found.stages > MAXIMUM_TABLE_STAGES:
        raise InputError(
            f"at most {MAXIMUM_TABLE_STAGES} stages for the steps of a network",
            f"{found.stages} of {found.name!r}",
            "take more steps instead",
        )
    if isinstance(found, ButcherTableau | StabilisedMethod) and found.explicit:
        return ExplicitStepper(coefficients_of(found))
    assert isinstance(found, ButcherTableau | ImexTableau)
    return additive_stepper(found)


def step_method(name: str) -> tuple[str, Method]:
    """A name that lasts and the method, of any kind that a network can step with.

    The name of a table that is not in the registry (a file, say) is the table itself, so that what
    is stored with a network can be read everywhere.

    Raises:
        InputError: as ``stepper_of``, and for unknown methods.

    >>> step_method("imex-euler")[0]
    'ars111'
    """
    found = method(str(name))
    stepper_of(found)
    return lasting_name(found), found
