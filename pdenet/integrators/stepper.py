"""What every time stepper of a network offers, and what a right-hand side offers to it.

A stepper is a method in float64 without state of its own: one object serves all layers. What it
carries from step to step (a tensor, two halves, a history) is made by ``begin`` and read by
``end``, so that a layer with other weights can go on where the last one stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

Map = Callable[[Tensor], Tensor]


class Field(Protocol):
    """A right-hand side ``y' = f(y)`` on images of ``state`` (theory §3).

    Which of the methods beyond ``__call__`` exist depends on the field: split fields
    ``f = explicit + implicit`` have ``explicit``, ``implicit``, ``solve`` and ``flow``, partitioned
    ones ``y' = drift(z), z' = kick(y)`` those two.
    """

    def __call__(self, y: Tensor) -> Tensor:
        """``f(y)``."""

    def initial(self, y: Tensor) -> Tensor:
        """The state that begins with images ``y``."""

    def observed(self, state: Tensor) -> Tensor:
        """The images that a state shows."""

    def explicit(self, y: Tensor) -> Tensor:
        """The part of ``f`` that is evaluated."""

    def implicit(self, y: Tensor) -> Tensor:
        """The part of ``f`` that equations are solved for."""

    def solve(self, known: Tensor, scale: float) -> Tensor:
        """``x`` with ``x = known + scale implicit(x)``."""

    def flow(self, part: str, y: Tensor, time: float, substep: Callable[..., Tensor]) -> Tensor:
        """The flow of one part, exact where it is known, else by ``substep(f, y, time)``."""

    def drift(self, z: Tensor) -> Tensor:
        """``y'`` of a partitioned field."""

    def kick(self, y: Tensor) -> Tensor:
        """``z'`` of a partitioned field."""

    def multiply_adds(self, height: int, width: int, part: str = "whole") -> int:
        """Multiply-adds of one evaluation, solve or flow of a part for one image."""


class Stepper(ABC):
    """A time stepper with its coefficients in float64."""

    @abstractmethod
    def advance(self, field: Field, state: Any, h: float) -> Any:
        """The state after one step of size ``h``, units of time."""

    def begin(self, field: Field, state: Tensor) -> Any:
        """What ``advance`` carries, from the images of the state."""
        return state

    def end(self, carried: Any) -> Tensor:
        """The images of the state, from what ``advance`` carries."""
        return carried

    @abstractmethod
    def multiply_adds(self, field: Field, height: int, width: int, earlier: int) -> int:
        """Multiply-adds of one step for one image, after so many ``earlier`` steps."""
