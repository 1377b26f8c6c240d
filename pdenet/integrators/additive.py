"""Diagonally implicit Runge-Kutta methods, alone or beside an explicit one (IMEX).

    Y_i = y + h sum_j (a_ij f(Y_j) + a~_ij g(Y_j)),   y+ = y + h sum_i (b_i f(Y_i) + b~_i g(Y_i))

``g`` is what the field solves for. A stage that is solved for gives its slope for nothing:
``g(Y_i) = (Y_i - known) / (h a~_ii)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.errors import InputError
from analysis.exact import Exact
from analysis.tableau import ButcherTableau, ImexTableau
from pdenet.integrators.stepper import Field, Stepper

Rows = tuple[tuple[float, ...], ...]

IMEX_EULER = "ars111"
"""The implicit-explicit method whose explicit part is one Euler step (theory §4.5)."""


@dataclass(frozen=True)
class AdditiveStepper(Stepper):
    """A pair of tables in float64; the explicit one is all zeros for a method of ``g`` alone.

    Attributes:
        explicit, implicit: rows of the two matrices up to the diagonal.
        explicit_weights, implicit_weights: ``b`` and ``b~``.
        explicit_needed, implicit_needed: whether a later stage or the end reads a slope.
        last_stage: whether ``y+`` is the last stage (stiffly accurate in both tables).
        paired: whether ``f`` and ``g`` are the explicit and implicit part of the field; otherwise
            ``g`` is the whole field.
    """

    explicit: Rows
    implicit: Rows
    explicit_weights: tuple[float, ...]
    implicit_weights: tuple[float, ...]
    explicit_needed: tuple[bool, ...]
    implicit_needed: tuple[bool, ...]
    last_stage: bool
    paired: bool

    def advance(self, field: Field, state: Tensor, h: float) -> Tensor:
        """One step of ``y' = f(y) + g(y)``."""
        f_slopes: list[Tensor | None] = []
        g_slopes: list[Tensor | None] = []
        stage = state
        for i, (row, implicit_row) in enumerate(zip(self.explicit, self.implicit, strict=True)):
            known = combine(state, ((row, f_slopes), (implicit_row[:-1], g_slopes)), h)
            diagonal = h * implicit_row[-1]
            stage = field.solve(known, diagonal) if diagonal else known
            f_slopes.append(field.explicit(stage) if self.explicit_needed[i] else None)
            g_slopes.append(self._slope(field, stage, known, diagonal, i))
        if self.last_stage:
            return stage
        parts = ((self.explicit_weights, f_slopes), (self.implicit_weights, g_slopes))
        return combine(state, parts, h)

    def _slope(
        self, field: Field, stage: Tensor, known: Tensor, diagonal: float, i: int
    ) -> Tensor | None:
        """``g`` of a stage: what the solve found, or an evaluation where nothing was solved."""
        if not self.implicit_needed[i]:
            return None
        if diagonal:
            return (stage - known) / diagonal
        return field.implicit(stage) if self.paired else field(stage)

    def multiply_adds(self, field: Field, height: int, width: int, earlier: int) -> int:
        """Evaluations of both parts and the solves."""
        solved = [bool(row[-1]) for row in self.implicit]
        evaluated = [n and not s for n, s in zip(self.implicit_needed, solved, strict=True)]
        counts = {
            "explicit": sum(self.explicit_needed),
            "implicit" if self.paired else "whole": sum(evaluated),
            "solve": sum(solved),
        }
        return sum(n * field.multiply_adds(height, width, part) for part, n in counts.items() if n)


def additive_stepper(method: ButcherTableau | ImexTableau) -> AdditiveStepper:
    """The stepper of a diagonally implicit method or of an implicit-explicit pair.

    Raises:
        InputError: for a method whose stages are coupled.

    >>> from analysis.methods import method
    >>> additive_stepper(method("ars111")).last_stage, additive_stepper(method("theta")).implicit
    (True, ((0.0,), (0.5, 0.5)))
    """
    implicit = method.implicit if isinstance(method, ImexTableau) else method
    if not implicit.diagonally_implicit:
        raise InputError(
            "a method whose stages are solved for one after the other",
            f"{method.name!r}, whose stages are coupled",
            "choose backward-euler, crank-nicolson or sdirk2",
        )
    s = implicit.stages
    zeros: tuple[Exact, ...] = tuple(implicit.b[0] * 0 for _ in range(s))
    A, b = ((zeros,) * s, zeros)
    if isinstance(method, ImexTableau):
        A, b = method.explicit.A, method.explicit.b
    last_stage = A[-1] == b and implicit.A[-1] == implicit.b

    def needed(matrix: tuple[tuple[Exact, ...], ...], weights: tuple[Exact, ...], i: int) -> bool:
        later = any(matrix[j][i] for j in range(i + 1, s))
        return later or bool(weights[i] and not last_stage)

    return AdditiveStepper(
        explicit=tuple(tuple(map(float, row[:i])) for i, row in enumerate(A)),
        implicit=tuple(tuple(map(float, row[: i + 1])) for i, row in enumerate(implicit.A)),
        explicit_weights=tuple(map(float, b)),
        implicit_weights=tuple(map(float, implicit.b)),
        explicit_needed=tuple(needed(A, b, i) for i in range(s)),
        implicit_needed=tuple(needed(implicit.A, implicit.b, i) for i in range(s)),
        last_stage=last_stage,
        paired=isinstance(method, ImexTableau),
    )


Weighted = tuple[tuple[float, ...], list["Tensor | None"]]


def combine(y: Tensor, parts: tuple[Weighted, ...], h: float) -> Tensor:
    """``y + h sum w k`` over the slopes of several parts, without those of weight zero."""
    for weights, slopes in parts:
        for weight, slope in zip(weights, slopes, strict=True):
            if weight:
                assert slope is not None  # by ``needed``
                y = torch.add(y, slope, alpha=h * weight)
    return y
