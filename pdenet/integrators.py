"""Explicit Runge-Kutta steps in torch, read from the exact tables of ``analysis.methods``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from analysis.errors import InputError
from analysis.tableau import ButcherTableau


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


def rk_step(tableau: ButcherTableau, f: Callable[[Tensor], Tensor], y: Tensor, h: float) -> Tensor:
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


def explicit_step(
    coefficients: StepCoefficients, f: Callable[[Tensor], Tensor], y: Tensor, h: float
) -> Tensor:
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
