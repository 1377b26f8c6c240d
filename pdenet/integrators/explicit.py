"""Explicit steps in torch, read from the exact methods of ``analysis.methods``.

Runge-Kutta methods step by their table, stabilised ones by their three-term recurrence: that takes
two old stages instead of all of them, and rounding errors stay small where the weights of a table
cancel (50 stages of rkc2 in float32: 1e-5 instead of 1e-3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from analysis.errors import InputError
from analysis.stabilised import StabilisedMethod
from analysis.tableau import ButcherTableau
from pdenet.integrators.stepper import Field, Map, Stepper


@dataclass(frozen=True)
class StepCoefficients:
    """An explicit table rounded to float64, without the stages nobody uses.

    Attributes:
        rows: the part of ``A`` below the diagonal; row ``i`` has ``i`` entries.
        weights: ``b``, as many entries as rows.
    """

    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    @property
    def evaluations(self) -> int:
        """How often a step evaluates the right-hand side."""
        return len(self.rows)


@lru_cache(maxsize=64)
def step_coefficients(tableau: ButcherTableau) -> StepCoefficients:
    """Coefficients of an explicit method for ``explicit_step``.

    Raises:
        InputError: for a method whose stages are implicit.

    >>> from analysis.methods import tableau
    >>> step_coefficients(tableau("heun"))
    StepCoefficients(rows=((), (1.0,)), weights=(0.5, 0.5))
    """
    if not tableau.explicit:
        raise InputError("an explicit Runge-Kutta method", tableau.name, "choose euler or rk4")
    stages = tableau.stages
    # The last stage of a first-same-as-last method has weight zero: it serves the next step of an
    # adaptive integrator and would cost a network one evaluation for nothing.
    while tableau.b[stages - 1] == 0:
        stages -= 1
    rows = tuple(tuple(float(a) for a in tableau.A[i][:i]) for i in range(stages))
    return StepCoefficients(rows, tuple(float(b) for b in tableau.b[:stages]))


@dataclass(frozen=True)
class RecurrenceCoefficients:
    """The recurrence of a stabilised method rounded to float64.

    Attributes:
        stages: for each stage the factors ``(1 - mu - nu, mu, nu, mut, gat)`` of ``Y_0``,
            ``Y_{j-1}``, ``Y_{j-2}``, ``h F_{j-1}`` and ``h F_0`` (``analysis.stabilised``).
    """

    stages: tuple[tuple[float, float, float, float, float], ...]

    @property
    def evaluations(self) -> int:
        """How often a step evaluates the right-hand side."""
        return len(self.stages)


@lru_cache(maxsize=64)
def recurrence_coefficients(method: StabilisedMethod) -> RecurrenceCoefficients:
    """Coefficients of a stabilised method for ``recurrence_step``.

    >>> from analysis.methods import method
    >>> recurrence_coefficients(method("rkl1:stages=2"))  # doctest: +ELLIPSIS
    RecurrenceCoefficients(stages=((0.0, 1.0, 0.0, 0.333..., 0.0), (0.0, 1.5, -0.5, 0.5, 0.0)))
    """
    return RecurrenceCoefficients(
        tuple(
            (float(1 - mu - nu), float(mu), float(nu), float(slope), float(first))
            for mu, nu, slope, first in method.recurrence
        )
    )


Coefficients = StepCoefficients | RecurrenceCoefficients


def coefficients_of(method: ButcherTableau | StabilisedMethod) -> Coefficients:
    """Coefficients of an explicit method for ``take_step``.

    Raises:
        InputError: for a method whose stages are implicit.
    """
    if isinstance(method, StabilisedMethod):
        return recurrence_coefficients(method)
    return step_coefficients(method)


def take_step(coefficients: Coefficients, f: Map, y: Tensor, h: float) -> Tensor:
    """One step of ``y' = f(y)`` by the form that the coefficients are of."""
    if isinstance(coefficients, RecurrenceCoefficients):
        return recurrence_step(coefficients, f, y, h)
    return explicit_step(coefficients, f, y, h)


def rk_step(tableau: ButcherTableau, f: Map, y: Tensor, h: float) -> Tensor:
    """One step of an explicit Runge-Kutta method for the autonomous equation ``y' = f(y)``.

    ``k_i = f(y + h sum_{j < i} a_ij k_j)``, ``y+ = y + h sum_i b_i k_i`` (theory §3).

    Args:
        tableau: an explicit method with exact coefficients.
        f: right-hand side; any shape to the same shape.
        y: state at the beginning of the step.
        h: step size, units of time.

    Returns:
        The state at the end of the step, in the precision of ``y``.

    Raises:
        InputError: for a method whose stages are implicit.

    >>> from analysis.methods import tableau
    >>> rk_step(tableau("rk4"), lambda y: -y, torch.ones(1, dtype=torch.float64), 1.0)
    tensor([0.3750], dtype=torch.float64)
    """
    return explicit_step(step_coefficients(tableau), f, y, h)


def stabilised_step(method: StabilisedMethod, f: Map, y: Tensor, h: float) -> Tensor:
    """One step of a stabilised method for the autonomous equation ``y' = f(y)``.

    Its real stability interval grows with the square of the stages (theory §3).

    Args:
        method: a method with an exact recurrence.
        f: right-hand side; any shape to the same shape.
        y: state at the beginning of the step.
        h: step size, units of time.

    Returns:
        The state at the end of the step, in the precision of ``y``.

    >>> from analysis.methods import method
    >>> stabilised_step(method("rkl1:stages=3"), lambda y: -y, torch.ones(1), 12.0)
    tensor([-1.])
    """
    return recurrence_step(recurrence_coefficients(method), f, y, h)


def recurrence_step(coefficients: RecurrenceCoefficients, f: Map, y: Tensor, h: float) -> Tensor:
    """``stabilised_step`` with the coefficients at hand."""
    first = f(y)
    before, now = y, torch.add(y, first, alpha=h * coefficients.stages[0][3])
    for kept, mu, nu, slope, first_slope in coefficients.stages[1:]:
        value = f(now)
        # In place: the product is a tensor of our own, and no backward pass reads its values.
        new = (now * mu).add_(before, alpha=nu).add_(value, alpha=h * slope)
        if kept:
            new.add_(y, alpha=kept)
        if first_slope:
            new.add_(first, alpha=h * first_slope)
        before, now = now, new
    return now


def explicit_step(coefficients: StepCoefficients, f: Map, y: Tensor, h: float) -> Tensor:
    """``rk_step`` with the coefficients at hand.

    Looking them up hashes exact fractions, which can cost as much as a layer.
    """
    slopes: list[Tensor] = []
    for row in coefficients.rows:
        slopes.append(f(_advance(y, row, slopes, h)))
    return _advance(y, coefficients.weights, slopes, h)


def _advance(y: Tensor, weights: tuple[float, ...], slopes: list[Tensor], h: float) -> Tensor:
    """``y + h sum_j weights_j slopes_j`` without the terms that are zero."""
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            y = torch.add(y, slope, alpha=h * weight)
    return y


@dataclass(frozen=True)
class ExplicitStepper(Stepper):
    """An explicit Runge-Kutta or stabilised method, of the whole field.

    Attributes:
        coefficients: of the table or of the recurrence.
    """

    coefficients: Coefficients

    def advance(self, field: Field, state: Tensor, h: float) -> Tensor:
        """One step of ``y' = f(y)``."""
        return take_step(self.coefficients, field, state, h)

    def multiply_adds(self, field: Field, height: int, width: int, earlier: int) -> int:
        """Stages times those of the field."""
        return self.coefficients.evaluations * field.multiply_adds(height, width)
