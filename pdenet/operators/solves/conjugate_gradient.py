"""Preconditioned conjugate gradients for many independent symmetric positive definite systems."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from analysis.errors import InputError

MAXIMUM_ITERATIONS = 10_000
"""After so many iterations the solve is given up."""
_RESTARTS = 4


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    right_side: Tensor,
    precondition: Callable[[Tensor], Tensor],
    *,
    system_axes: tuple[int, ...],
    tolerance: float | None = None,
    maximum_iterations: int = MAXIMUM_ITERATIONS,
) -> tuple[Tensor, int]:
    """Solve ``A x = b`` for symmetric positive definite ``A`` of which only products are known.

    All systems of a batch run together, each with its own step lengths, until the residual of every
    one is below the tolerance. The residual is then computed anew, and where rounding had spoilt it
    the rest is solved for again, until that no longer helps. Every right side is divided by its
    largest modulus before, so that no scale of it overflows or underflows.

    Args:
        apply: ``A``, images to images of equal shape.
        right_side: ``b``, images ``(B, C, H, W)``.
        precondition: a symmetric positive definite approximation of ``A^{-1}``.
        system_axes: the axes over which one system extends; the others count systems.
        tolerance: of ``||b - A x|| / ||b||``; by default 16 times the rounding unit.
        maximum_iterations: of all restarts together.

    Returns:
        ``x`` and the number of iterations. Right sides that are not finite give NaN.

    Raises:
        InputError: where the iterations did not suffice.

    >>> b = torch.tensor([[[[2.0, 8.0]]]])
    >>> conjugate_gradient(lambda v: 4 * v, b, lambda r: r, system_axes=(1, 2, 3))[0].tolist()
    [[[[0.5, 2.0]]]]
    """
    scale = right_side.abs().amax(system_axes, keepdim=True)
    if not bool(torch.isfinite(scale).all()):
        return torch.full_like(right_side, torch.nan), 0
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    if tolerance is None:
        tolerance = 16 * torch.finfo(right_side.dtype).eps
    solution, used = _solve_scaled(
        apply, right_side / scale, precondition, system_axes, tolerance, maximum_iterations
    )
    return solution * scale, used


def _solve_scaled(
    apply: Callable[[Tensor], Tensor],
    right_side: Tensor,
    precondition: Callable[[Tensor], Tensor],
    system_axes: tuple[int, ...],
    tolerance: float,
    maximum_iterations: int,
) -> tuple[Tensor, int]:
    """The solve with its restarts, for right sides whose squares can be summed."""
    size = right_side.square().sum(system_axes, keepdim=True)
    goal = tolerance**2 * size
    solution, residual, used = torch.zeros_like(right_side), right_side, 0
    error = size
    for _ in range(_RESTARTS):
        correction, iterations = _descend(
            apply, residual, precondition, system_axes, goal, maximum_iterations - used
        )
        used += iterations
        candidate = solution + correction
        residual = right_side - apply(candidate)
        left = residual.square().sum(system_axes, keepdim=True)
        better = left < error
        solution = torch.where(better, candidate, solution)
        if bool(((left <= goal) | (left > error / 4)).all()):
            return solution, used
        residual = torch.where(better, residual, torch.zeros_like(residual))
        error = torch.minimum(left, error)
    return solution, used


def _descend(
    apply: Callable[[Tensor], Tensor],
    residual: Tensor,
    precondition: Callable[[Tensor], Tensor],
    axes: tuple[int, ...],
    goal: Tensor,
    maximum_iterations: int,
) -> tuple[Tensor, int]:
    """The iteration from zero, by its own recurrence of the residual."""

    def product(u: Tensor, v: Tensor) -> Tensor:
        return (u * v).sum(axes, keepdim=True)

    solution = torch.zeros_like(residual)
    active = product(residual, residual) > goal
    preconditioned = precondition(residual)
    direction, slope = preconditioned, product(residual, preconditioned)
    for iteration in range(maximum_iterations + 1):
        if not bool(active.any()):
            return solution, iteration
        image = apply(direction)
        curvature = product(direction, image)
        # A finished system, or one whose direction has underflowed, stands still.
        moving = active & (curvature > 0)
        length = torch.where(moving, slope / curvature, torch.zeros_like(slope))
        solution = solution + length * direction
        residual = residual - length * image
        active = moving & (product(residual, residual) > goal)
        preconditioned = precondition(residual)
        following = product(residual, preconditioned)
        factor = torch.where(active, following / slope, torch.zeros_like(slope))
        direction, slope = preconditioned + factor * direction, following
    raise InputError(
        f"a system that {MAXIMUM_ITERATIONS} iterations of conjugate gradients solve",
        "one that they do not",
        "take smaller steps, circular padding or float64",
    )
