"""Time steps of a right-hand side, and blocks of them (theory §3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from analysis.errors import InputError
from analysis.methods import lasting_name, method
from analysis.stabilised import MAXIMUM_TABLE_STAGES, StabilisedMethod
from analysis.tableau import ButcherTableau
from pdenet.integrators import Coefficients, coefficients_of, take_step
from pdenet.layers.terms import DiffusionReactionTerm, Term
from pdenet.operators.implicit import solve_multiply_adds

IMEX_METHODS = ("ars111",)
"""Canonical names of the methods with implicit linear diffusion and explicit reaction."""


def step_method(name: str) -> tuple[str, ButcherTableau | StabilisedMethod | None]:
    """Canonical name of a method that a network can step with, and the exact method.

    Returns:
        The name and the explicit method, None for ``IMEX_METHODS``. The name of a table that is
        not in the registry (a file, say) is the table itself, so that what is stored with a network
        can be read everywhere.

    Raises:
        InputError: for unknown and for implicit methods, and for more stages than a table can have,
            by which networks are inspected.

    >>> step_method("imex-euler")
    ('ars111', None)
    """
    found = method(str(name))
    if found.name in IMEX_METHODS:
        return found.name, None
    if not isinstance(found, ButcherTableau | StabilisedMethod) or not found.explicit:
        raise InputError(
            "an explicit method or ars111 for the steps of a network",
            repr(name),
            "choose euler, heun, ssprk33 or rk4, or ars111 with linear diffusion",
        )
    if found.stages > MAXIMUM_TABLE_STAGES:
        raise InputError(
            f"at most {MAXIMUM_TABLE_STAGES} stages for the steps of a network",
            f"{found.stages} of {name!r}",
            "take more steps instead",
        )
    return lasting_name(found), found


def check_step_size(step_size: float) -> None:
    """Raise InputError unless the step size is a positive finite number."""
    number = isinstance(step_size, int | float) and not isinstance(step_size, bool)
    if not (number and math.isfinite(step_size) and step_size > 0):
        raise InputError("a positive step size", repr(step_size), "pass step_size=0.5, say")


class TimeStep(nn.Module):
    """One step of a time stepper for ``y' = f(y)``: the layer of a network.

    Explicit methods take their exact table, stabilised ones their recurrence; ``ars111`` (alias
    ``imex-euler``) is ``y+ = (I + h D^T D)^{-1} (y + h R(y))`` for linear diffusion.

    Args:
        term: the right-hand side ``f``.
        method: name of an explicit method of ``analysis.methods``, or of ``IMEX_METHODS``.
        step_size: ``h > 0``, units of time.

    Attributes:
        term: the right-hand side, with its operators as attributes.
        method: canonical name of the method.
        step_size: ``h``.
        exact_method: the explicit method in exact numbers, None for ``ars111``.
        coefficients: the same in float64, None for ``ars111``.

    Raises:
        InputError: for an unknown method, a step that is not positive, or a term that the method
            cannot treat.
    """

    term: Term

    def __init__(self, term: Term, method: str, step_size: float) -> None:
        super().__init__()
        check_step_size(step_size)
        self.method, self.exact_method = step_method(method)
        self.step_size = float(step_size)
        self.coefficients: Coefficients | None = None
        if self.exact_method is not None:
            self.coefficients = coefficients_of(self.exact_method)
        else:
            if not isinstance(term, DiffusionReactionTerm):
                raise InputError(
                    f"a diffusion-reaction term for {self.method}",
                    type(term).__name__,
                    "choose an explicit method",
                )
            term.check_implicit()
        self.term = term

    @property
    def tableau(self) -> ButcherTableau | None:
        """Exact Butcher table of the explicit method, None for ``ars111``."""
        if isinstance(self.exact_method, StabilisedMethod):
            return self.exact_method.tableau
        return self.exact_method

    def forward(self, y: Tensor) -> Tensor:
        """State after the step, images ``(B, C, H, W)`` to the same shape."""
        if self.coefficients is not None:
            return take_step(self.coefficients, self.term, y, self.step_size)
        assert isinstance(self.term, DiffusionReactionTerm)  # by the constructor
        explicit = y.add(self.term.react(y), alpha=self.step_size)
        return self.term.solve_implicit(explicit, self.step_size)

    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds of one step for one image: stages times those of the term."""
        if self.coefficients is not None:
            return self.coefficients.evaluations * self.term.multiply_adds(height, width)
        assert isinstance(self.term, DiffusionReactionTerm)  # by the constructor
        solve = solve_multiply_adds(self.term.diffusion_operator, height, width)
        return self.term.reaction_multiply_adds(height, width) + solve

    def extra_repr(self) -> str:
        """Method and step size."""
        return f"method={self.method!r}, step_size={self.step_size}"


class Block(nn.Module):
    """Several time steps in a row, with weights of their own or shared in time.

    Args:
        time_steps: as many as ``applications`` (weights per step), or one (shared).
        applications: number of steps taken.

    Attributes:
        steps: the distinct time steps, a ``ModuleList``. A shared one is stored once and applied
            several times, so that no tensors are tied.
        applications: number of steps taken.

    Raises:
        InputError: for another number of time steps.
    """

    def __init__(self, time_steps: Iterable[TimeStep], applications: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(time_steps)
        self.applications = applications
        if applications < 1 or len(self.steps) not in (1, applications):
            raise InputError(
                f"one time step, or one for each of {applications} applications",
                len(self.steps),
                "pass as many as are applied",
            )

    @property
    def shared(self) -> bool:
        """Whether one set of weights serves several steps."""
        return len(self.steps) < self.applications

    def sequence(self) -> Iterator[TimeStep]:
        """The time steps in the order they are applied; a shared one comes again and again."""
        for index in range(self.applications):
            step = self.steps[0 if self.shared else index]
            assert isinstance(step, TimeStep)
            yield step

    def forward(self, y: Tensor) -> Tensor:
        """State after all steps, images ``(B, C, H, W)`` to the same shape."""
        for step in self.sequence():
            y = step(y)
        return y

    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds of all steps for one image."""
        return sum(step.multiply_adds(height, width) for step in self.sequence())
