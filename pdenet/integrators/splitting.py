"""Splitting methods: flows of two parts in turn, and the steps of partitioned fields."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.methods import tableau
from analysis.splitting import Part, SplittingMethod
from pdenet.integrators.explicit import StepCoefficients, explicit_step, step_coefficients
from pdenet.integrators.stepper import Field, Map, Stepper

Halves = tuple[Tensor, Tensor]
"""``(y, z)`` of a partitioned field, each ``(B, C, H, W)``."""

SUBSTEP_METHODS = ("euler", "heun", "ssprk33", "rk4", "dopri5")
"""One step of the first of these whose order suffices stands for a flow that is not known."""


@dataclass(frozen=True)
class SplittingStepper(Stepper):
    """Lie, Strang and the like: the flow of each part, exact or by a step of the same order.

    Attributes:
        flows: parts and their fractions of the step, first to last.
        substep: the explicit method for flows that are not known exactly.
    """

    flows: tuple[tuple[Part, float], ...]
    substep: StepCoefficients

    def advance(self, field: Field, state: Tensor, h: float) -> Tensor:
        """The flows one after the other."""
        for part, fraction in self.flows:
            state = field.flow(part, state, fraction * h, self._substep)
        return state

    def _substep(self, f: Map, y: Tensor, time: float) -> Tensor:
        return explicit_step(self.substep, f, y, time)

    def multiply_adds(self, field: Field, height: int, width: int, earlier: int) -> int:
        """Those of all flows; one that is not exact costs the stages of its step."""
        total = 0
        for part, _ in self.flows:
            exact = field.multiply_adds(height, width, f"{part} flow")
            evaluation = field.multiply_adds(height, width, part)
            total += exact or self.substep.evaluations * evaluation
        return total


@dataclass(frozen=True)
class PartitionedStepper(Stepper):
    """Symplectic Euler, Stormer-Verlet and the like for ``y' = drift(z), z' = kick(y)``.

    Every flow is exact and has an inverse, the same with the sign of time changed.

    Attributes:
        flows: parts and their fractions of the step, first to last.
    """

    flows: tuple[tuple[Part, float], ...]

    def begin(self, field: Field, state: Tensor) -> Halves:
        """The two halves of the channels."""
        y, z = state.chunk(2, dim=1)
        return y, z

    def end(self, carried: Halves) -> Tensor:
        """Both halves, one after the other."""
        return torch.cat(carried, dim=1)

    def advance(self, field: Field, state: Halves, h: float) -> Halves:
        """Drifts ``y += t drift(z)`` and kicks ``z += t kick(y)`` in turn."""
        y, z = state
        for part, fraction in self.flows:
            if part == "drift":
                y = torch.add(y, field.drift(z), alpha=fraction * h)
            else:
                z = torch.add(z, field.kick(y), alpha=fraction * h)
        return y, z

    def multiply_adds(self, field: Field, height: int, width: int, earlier: int) -> int:
        """Those of all drifts and kicks."""
        return sum(field.multiply_adds(height, width, part) for part, _ in self.flows)


def splitting_stepper(method: SplittingMethod) -> SplittingStepper | PartitionedStepper:
    """The stepper of a splitting method.

    >>> from analysis.methods import method
    >>> splitting_stepper(method("verlet"))
    PartitionedStepper(flows=(('kick', 0.5), ('drift', 1.0), ('kick', 0.5)))
    """
    flows = tuple((part, float(fraction)) for part, fraction in method.flows)
    if method.partitioned:
        return PartitionedStepper(flows)
    return SplittingStepper(flows, step_coefficients(tableau(method_of_order(method.order))))


def method_of_order(order: int, names: tuple[str, ...] = SUBSTEP_METHODS) -> str:
    """The first of the methods that has the order, else the last.

    >>> method_of_order(2)
    'heun'
    """
    return next((name for name in names if tableau(name).order >= order), names[-1])
