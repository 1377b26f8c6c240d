"""Gradients of solutions of equations by the implicit function theorem (theory §4.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Solver = Callable[[Tensor, float, str, Sequence[Tensor]], Tensor]
"""Right side, number, description and tensors to the solution of a symmetric linear system."""
SOLVERS: dict[str, Solver] = {}
"""Solvers by name: a compiled function keeps names where it cannot keep functions."""


def attach_gradient(
    solution: Tensor,
    residual: Tensor,
    solver: str,
    number: float,
    description: str,
    tensors: Sequence[Tensor],
) -> Tensor:
    """A solution ``x`` of ``F(x, theta) = 0`` with its derivative ``dx = A^{-1} (-dF/dtheta)``.

    Args:
        solution: ``x``, found in any way and without a gradient.
        residual: ``-F(x, theta)`` at that fixed ``x``, differentiable in all ``theta``.
        solver: name in ``SOLVERS`` of ``A^{-1}``, where ``A = dF/dx`` is symmetric.
        number, description, tensors: its other arguments.

    Returns:
        The values of ``x``. First derivatives are exact, forward and reverse; second derivatives
        with respect to ``tensors`` raise. Gradients by ``theta`` must not be differentiated again:
        ``residual`` holds ``x`` fixed, so those mixed in weights and right side are not exact.
    """
    # Compilers do not trace functions that know their forward derivative.
    function = ImplicitPoint if torch.compiler.is_compiling() else ForwardImplicitPoint
    attached: Tensor = function.apply(
        residual, solution.detach(), solver, number, description, *tensors
    )
    return attached


def solve_without_gradient(
    right_side: Tensor, solver: str, number: float, description: str, tensors: Sequence[Tensor]
) -> Tensor:
    """``A^{-1} b`` as a constant, under every transform of ``torch.func``."""
    frozen = [tensor.detach() for tensor in tensors]
    return _solve(right_side.detach(), solver, number, description, *frozen).detach()


def _solve(right_side: Tensor, solver: str, *arguments: Any) -> Tensor:
    # A backward pass may run where autocast is on, whatever it was in the forward pass.
    with torch.autocast(right_side.device.type, enabled=False):
        if torch.compiler.is_compiling():  # what a compiled backward pass does has no derivative
            number, description, *tensors = arguments
            return SOLVERS[solver](right_side, number, description, tensors)
        solved: Tensor = SymmetricSolve.apply(right_side, solver, *arguments)
        return solved


class ImplicitPoint(torch.autograd.Function):
    """The values of one tensor with the derivative of a linear solve of another."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        residual: Tensor,
        solution: Tensor,
        solver: str,
        number: float,
        description: str,
        *tensors: Tensor,
    ) -> Tensor:
        """``x``."""
        return solution.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the second solve needs."""
        ctx.arguments = inputs[2:5]
        ctx.save_for_backward(*inputs[5:])
        ctx.save_for_forward(*inputs[5:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        """``A^{-1} g`` for the residual; the weights have their gradient through it."""
        tensors = ctx.saved_tensors
        solved = _solve(gradient, *ctx.arguments, *tensors)
        return solved, None, None, None, None, *[None] * len(tensors)


class ForwardImplicitPoint(ImplicitPoint):
    """The same with its forward derivative."""

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        """``A^{-1} t``."""
        return _solve(tangent, *ctx.arguments, *ctx.saved_tensors)


class SymmetricSolve(torch.autograd.Function):
    """``A^{-1} b`` as a function of ``b`` alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        right_side: Tensor, solver: str, number: float, description: str, *tensors: Tensor
    ) -> Tensor:
        """``A^{-1} b``."""
        return SOLVERS[solver](right_side, number, description, tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the system."""
        ctx.arguments = inputs[1:4]
        ctx.save_for_backward(*inputs[4:])
        ctx.save_for_forward(*inputs[4:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        """``A^{-1} g``: the solve is symmetric."""
        if any(ctx.needs_input_grad[4:]):
            raise NotImplementedError("second derivatives in the weights of an implicit solve")
        solved = _solve(gradient, *ctx.arguments, *ctx.saved_tensors)
        return solved, None, None, None, *[None] * len(ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        """``A^{-1} t``."""
        return _solve(tangent, *ctx.arguments, *ctx.saved_tensors)


def one_by_one(operation: Any) -> None:
    """Let ``vmap`` take a custom operation of a tensor, a list of tensors, text and a number."""

    def rule(info: Any, in_dims: Any, y: Tensor, tensors: Any, *rest: Any) -> tuple[Tensor, int]:
        def pick(tensor: Tensor, dimension: int | None, index: int) -> Tensor:
            return tensor if dimension is None else tensor.select(dimension, index)

        results = []
        for index in range(info.batch_size):
            chosen = [pick(t, d, index) for t, d in zip(tensors, in_dims[1], strict=True)]
            results.append(operation(pick(y, in_dims[0], index), chosen, *rest))
        return torch.stack(results), 0

    operation.register_vmap(rule)
