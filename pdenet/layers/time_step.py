"""One step of a time stepper for a right-hand side (theory §3)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from analysis.errors import InputError
from analysis.methods import Method
from analysis.stabilised import StabilisedMethod
from analysis.tableau import ButcherTableau
from pdenet.integrators.choice import family_of, step_method, stepper_of
from pdenet.integrators.stepper import Stepper
from pdenet.layers.terms import Term


def check_step_size(step_size: float) -> None:
    """Raise InputError unless the step size is a positive finite number."""
    number = isinstance(step_size, int | float) and not isinstance(step_size, bool)
    if not (number and math.isfinite(step_size) and step_size > 0):
        raise InputError("a positive step size", repr(step_size), "pass step_size=0.5, say")


class TimeStep(nn.Module):
    """One step of a time stepper for ``y' = f(y)``: the layer of a network.

    Any method of ``analysis.methods`` that fits the field: explicit Runge-Kutta methods by their
    exact table and stabilised ones by their recurrence on every field; diagonally implicit ones by
    proximal steps of a parabolic field; implicit-explicit pairs and Lie or Strang splitting on
    diffusion and reaction; symplectic Euler and Stormer-Verlet on fields in two halves; multistep
    methods in a ``Block``, which carries their history.

    Args:
        term: the right-hand side ``f``.
        method: name of the method.
        step_size: ``h > 0``, units of time.

    Attributes:
        term: the right-hand side, with its operators as attributes.
        method: canonical name of the method.
        step_size: ``h``.
        exact_method: the method in exact numbers.
        stepper: the method in float64.

    Raises:
        InputError: for an unknown method, a step that is not positive, or a term that the method
            cannot treat.
    """

    term: Term

    def __init__(self, term: Term, method: str, step_size: float) -> None:
        super().__init__()
        check_step_size(step_size)
        self.method, self.exact_method = step_method(method)
        self.stepper: Stepper = stepper_of(self.exact_method)
        self.step_size = float(step_size)
        term.check_method(family_of(self.exact_method))
        self.term = term

    @property
    def family(self) -> str:
        """What the method does, a name of ``pdenet.integrators.choice.FAMILIES``."""
        return family_of(self.exact_method)

    @property
    def tableau(self) -> ButcherTableau | None:
        """Exact Butcher table of a Runge-Kutta method, None for the others."""
        return table_of(self.exact_method)

    def forward(self, state: Any) -> Any:
        """What the step makes of a state.

        A tensor, the images ``(B, C, H, W)`` of a state, goes to the images after one step (of the
        starting method, where the method needs a history). What ``stepper.begin`` returned goes to
        the same for the next step.
        """
        term: Any = self.term
        if not isinstance(state, Tensor):
            return self.stepper.advance(term, state, self.step_size)
        carried = self.stepper.begin(term, state)
        return self.stepper.end(self.stepper.advance(term, carried, self.step_size))

    def multiply_adds(self, height: int, width: int, earlier: int = 1_000) -> int:
        """Multiply-adds of one step for one image, after so many earlier steps of its block."""
        term: Any = self.term
        return self.stepper.multiply_adds(term, height, width, earlier)

    def extra_repr(self) -> str:
        """Method and step size."""
        return f"method={self.method!r}, step_size={self.step_size}"


def table_of(method: Method) -> ButcherTableau | None:
    """The Butcher table of a Runge-Kutta method, None for the other kinds."""
    if isinstance(method, StabilisedMethod):
        return method.tableau
    return method if isinstance(method, ButcherTableau) else None
