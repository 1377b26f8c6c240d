"""Solvers of ``(I + h D^T D) x = y`` as plain maps of tensors, without gradients (theory §4.5).

Registered by name for ``solves.implicit_point``. The iterative one is an operation that
compilers do not look into, as its loop depends on values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pdenet.operators.base import StencilOperator
from pdenet.operators.solves.conjugate_gradient import conjugate_gradient
from pdenet.operators.solves.implicit_point import SOLVERS, one_by_one
from pdenet.operators.solves.mode_solves import (
    circular_modes,
    cosine_modes,
    from_circular_modes,
    from_cosine_modes,
    shifted_factor,
    solve_by_factor,
)
from pdenet.operators.solves.normal_symbols import (
    cosine_gram_matrices,
    even_stencils,
    gram_matrices,
    is_diagonal,
    squared_symbol,
)
from pdenet.operators.solves.rebuilding import rebuild
from pdenet.operators.solves.transforms import filter_circular


def has_cosine_modes(operator: StencilOperator) -> bool:
    """Whether the edge is a mirror for the stencils: one replicated pixel, even in each axis.

    Read from the values of the weights, so not inside a compiled graph.
    """
    reach = [(k // 2) * d for k, d in zip(operator.kernel_size, operator.dilation, strict=True)]
    mirrored = operator.padding_mode == "replicate" and max(reach) <= 1
    return mirrored and even_stencils(operator)


def periodic_solve(
    operator: StencilOperator, like: Tensor, step_size: float
) -> Callable[[Tensor], Tensor]:
    """``(I + h D^T D)^{-1}`` with the stencils of ``D`` and circular padding.

    Equal to the solve with another padding up to the edge, so a preconditioner for it.
    """
    size = (like.shape[-2], like.shape[-1])
    if is_diagonal(operator):
        axes = (1, 2, 3) if operator.name == "circulant" else (2, 3)
        multiplier = 1 / (1 + step_size * squared_symbol(operator, size, like))
        return lambda y: filter_circular(y, multiplier, axes)
    factor = shifted_factor(gram_matrices(operator, size, like), step_size)
    return lambda y: _solve_by_modes(y, step_size, "", (factor,))


def _solve_by_modes(
    y: Tensor, step_size: float, description: str, tensors: Sequence[Tensor]
) -> Tensor:
    """By the Cholesky factors of all Fourier modes, the first of the tensors."""
    factor = tensors[0]
    solved = solve_by_factor(factor, circular_modes(y, factor.shape[1]))
    return from_circular_modes(solved, y.shape)


def _solve_by_cosines(operator: StencilOperator, y: Tensor, step_size: float) -> Tensor:
    """By the Cholesky factors of all cosine modes; one by one for depthwise."""
    size = (y.shape[-2], y.shape[-1])
    groups = operator.groups
    factor = shifted_factor(cosine_gram_matrices(operator, size, y), step_size)
    return from_cosine_modes(solve_by_factor(factor, cosine_modes(y, groups)), y.shape)


@torch.library.custom_op("pdenet::implicit_diffusion", mutates_args=())
def implicit_diffusion(
    y: Tensor, weights: Sequence[Tensor], description: str, step_size: float
) -> Tensor:
    """``(I + h D^T D)^{-1} y`` by cosine modes where they exist, else by conjugate gradients."""
    operator = rebuild(description, weights)
    if has_cosine_modes(operator):
        return _solve_by_cosines(operator, y, step_size).contiguous()

    def apply(x: Tensor) -> Tensor:
        return x + step_size * operator.adjoint(operator.linear(x), (x.shape[-2], x.shape[-1]))

    # In a depthwise operator every channel is a system for itself.
    axes = (2, 3) if operator.name == "depthwise" else (1, 2, 3)
    precondition = periodic_solve(operator, y, step_size)
    return conjugate_gradient(apply, y, precondition, system_axes=axes)[0].contiguous()


@implicit_diffusion.register_fake
def _(y: Tensor, weights: Sequence[Tensor], description: str, step_size: float) -> Tensor:
    return torch.empty_like(y, memory_format=torch.contiguous_format)


def _solve_by_iteration(
    y: Tensor, step_size: float, description: str, tensors: Sequence[Tensor]
) -> Tensor:
    solved: Tensor = torch.ops.pdenet.implicit_diffusion(y, tensors, description, step_size)
    return solved


one_by_one(implicit_diffusion)
SOLVERS["modes"] = _solve_by_modes
SOLVERS["iterative"] = _solve_by_iteration
