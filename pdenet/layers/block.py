"""Time steps of a right-hand side, and blocks of them (theory §3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import InputError, unknown_name
from analysis.methods import Method
from analysis.stabilised import StabilisedMethod
from analysis.tableau import ButcherTableau
from pdenet.integrators.choice import family_of, step_method, stepper_of
from pdenet.integrators.stepper import Stepper
from pdenet.layers.reversible import check_reversible, reversible_steps
from pdenet.layers.terms import Term
from pdenet.operators.fast.rules import transformed

BACKPROPAGATIONS = ("stored", "reversible")
"""Activations are kept for the backward pass, or recomputed by running the steps backwards."""


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


def _traced(block: nn.Module) -> bool:
    """Whether the states must be kept all the same.

    Compilers and function transforms have gradients of their own, and a replica of a module for
    another device has no parameters to send gradients to.
    """
    return torch.compiler.is_compiling() or transformed() or next(block.parameters(), None) is None


def table_of(method: Method) -> ButcherTableau | None:
    """The Butcher table of a Runge-Kutta method, None for the other kinds."""
    if isinstance(method, StabilisedMethod):
        return method.tableau
    return method if isinstance(method, ButcherTableau) else None


class Block(nn.Module):
    """Several time steps in a row, with weights of their own or shared in time.

    Args:
        time_steps: as many as ``applications`` (weights per step), or one (shared).
        applications: number of steps taken.
        backpropagation: a name in ``BACKPROPAGATIONS``.

    Attributes:
        steps: the distinct time steps, a ``ModuleList``. A shared one is stored once and applied
            several times, so that no tensors are tied.
        applications: number of steps taken.
        backpropagation: as given.

    Raises:
        InputError: for another number of time steps, and for steps that are not reversible where
            they have to be.
    """

    def __init__(
        self,
        time_steps: Iterable[TimeStep],
        applications: int,
        *,
        backpropagation: str = "stored",
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(time_steps)
        self.applications = applications
        self.backpropagation = backpropagation
        self._check()

    def _check(self) -> None:
        if self.applications < 1 or len(self.steps) not in (1, self.applications):
            raise InputError(
                f"one time step, or one for each of {self.applications} applications",
                len(self.steps),
                "pass as many as are applied",
            )
        if self.backpropagation not in BACKPROPAGATIONS:
            raise unknown_name("backpropagation", self.backpropagation, BACKPROPAGATIONS)
        if self.backpropagation == "reversible":
            check_reversible(self.first.method)

    @property
    def first(self) -> TimeStep:
        """The first time step; all have the same method."""
        step = self.steps[0]
        assert isinstance(step, TimeStep)
        return step

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

    def weights_in_time(self) -> Iterator[dict[str, Tensor]]:
        """The trained numbers of every step by name, in order; a shared step comes once."""
        for step in self.steps:
            yield dict(step.named_parameters())

    def forward(self, y: Tensor) -> Tensor:
        """What is seen after all steps, images ``(B, C, H, W)`` to the same shape."""
        stepper = self.first.stepper
        term: Any = self.first.term
        carried = stepper.begin(term, term.initial(y))
        if self.backpropagation == "reversible" and not _traced(self):
            carried = reversible_steps(tuple(self.sequence()), carried)
        else:
            for step in self.sequence():
                carried = step(carried)
        return term.observed(stepper.end(carried))

    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds of all steps for one image."""
        steps = enumerate(self.sequence())
        return sum(step.multiply_adds(height, width, earlier) for earlier, step in steps)
