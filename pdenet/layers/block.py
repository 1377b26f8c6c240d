"""Blocks of time steps: several in a row, kept or recomputed (theory §3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import InputError, unknown_name
from pdenet.layers.reversible import check_reversible, reversible_steps
from pdenet.layers.time_step import TimeStep
from pdenet.operators.fast.rules import transformed

BACKPROPAGATIONS = ("stored", "reversible")
"""Activations are kept for the backward pass, or recomputed by running the steps backwards."""


def _traced(block: nn.Module) -> bool:
    """Whether the states must be kept all the same.

    Compilers and function transforms have gradients of their own, and a replica of a module for
    another device has no parameters to send gradients to.
    """
    return torch.compiler.is_compiling() or transformed() or next(block.parameters(), None) is None


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
