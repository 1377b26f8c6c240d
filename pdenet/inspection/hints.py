"""Where a monotone step expands most: inputs and directions at which its theorem is sharp.

``-K^T sigma(S K y + b)`` overshoots most along the leading singular vector of ``S^(1/2) K`` at an
input where every unit has its full slope: at the bend of tanh, ``S K y + b = 0``, and far on the
active side of ReLU and softplus, ``S K y + b >> 0`` (theory §4.1). Random inputs are seldom there.
These are hints for a search; what counts is the growth that is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pdenet.layers.normalization import inference_affine
from pdenet.operators.base import StencilOperator

LANCZOS_STEPS = 30
LEAST_SQUARES_STEPS = 30
BEYOND = 10.0
"""How far units are driven to their active side, in units of their largest shift."""

Part = tuple[StencilOperator, nn.Module]
"""An operator and the normalisation behind it."""
Linear = Callable[[Tensor], Tensor]


def gains_of(operator: StencilOperator, normalization: nn.Module) -> Tensor:
    """Inference scale ``s`` of a normalisation, float64, shape ``(c,)``."""
    scale, _ = inference_affine(normalization, operator.out_channels)
    return scale.detach().double().cpu()


@torch.no_grad()
def overshoot_directions(parts: Sequence[Part], rates: Tensor, features: Tensor) -> Tensor:
    """Unit perturbations that a step contracts, and overshoots, or expands most.

    The leading singular vectors of ``diag(rates)^(1/2) K``, those of negative rates apart, and
    ``K^T 1``, which moves many units the same way.

    Args:
        parts: operators in float64, stacked.
        rates: largest slopes of their rows, negative for anti-diffusive ones.
        features: inputs of the step ``(B, C, H, W)``, for their shape.

    Returns:
        Shape ``(N, C, H, W)``.
    """
    apply, adjoint = _stacked(parts, features)

    def gram(weight: Tensor) -> Linear:
        return lambda y: adjoint(weight * apply(y))

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(features[:1].shape, generator=generator, dtype=features.dtype)
    weights = [signed.clamp(min=0)[:, None, None] for signed in (rates, -rates)]
    leading = [leading_vector(gram(weight), start) for weight in weights if weight.any()]
    return torch.cat([*leading, _unit(adjoint(torch.ones_like(apply(start))))])


@torch.no_grad()
def full_slope_points(parts: Sequence[Part], features: Tensor) -> Tensor:
    """Inputs at which the units of a monotone step have their full slope, as far as that goes.

    Least squares solutions of ``S K y + b = 0`` and of ``S K y + b >> 0``.

    Args:
        parts: operators in float64 with an activation behind their normalisation, stacked.
        features: inputs of the step ``(B, C, H, W)``, for their shape.

    Returns:
        Shape ``(2, C, H, W)``.
    """
    apply, adjoint = _stacked(parts, features)
    gains = torch.cat([gains_of(*part) for part in parts])[:, None, None]
    zero = torch.zeros_like(features[:1])
    shift = torch.cat([normalization(operator(zero)) for operator, normalization in parts], dim=1)

    def solve(target: Tensor) -> Tensor:
        return least_squares(lambda y: adjoint(gains**2 * apply(y)), adjoint(gains * target))

    bend, active = solve(-shift), solve(torch.ones_like(shift))
    return torch.cat([bend, bend + BEYOND * max(1.0, float(shift.abs().max())) * active])


def _stacked(parts: Sequence[Part], features: Tensor) -> tuple[Linear, Linear]:
    """``K`` with the outputs of all parts one below the other, and ``K^T``."""
    size = (int(features.shape[-2]), int(features.shape[-1]))
    rows = [operator.out_channels for operator, _ in parts]

    def apply(y: Tensor) -> Tensor:
        return torch.cat([operator.linear(y) for operator, _ in parts], dim=1)

    def adjoint(z: Tensor) -> Tensor:
        images = zip(parts, z.split(rows, dim=1), strict=True)
        terms = [operator.adjoint(image, size) for (operator, _), image in images]
        return torch.stack(terms).sum(dim=0)

    return apply, adjoint


def leading_vector(gram: Linear, start: Tensor, steps: int = LANCZOS_STEPS) -> Tensor:
    """Leading eigenvector of a symmetric positive semidefinite map, unit length (Lanczos).

    Args:
        gram: the map.
        start: a tensor of the shape it acts on.
        steps: size of the Krylov space, whose basis is kept orthogonal.
    """
    basis, images = [_unit(start)], [gram(_unit(start))]
    for _ in range(min(steps, start.numel()) - 1):
        rows, rest = torch.stack(basis).flatten(1), images[-1].flatten()
        scale = torch.linalg.vector_norm(rest)
        for _ in range(2):  # once more against rounding
            rest = rest - rows.T @ (rows @ rest)
        if torch.linalg.vector_norm(rest) <= 1e-10 * scale:
            break
        basis.append(_unit(rest.view_as(start)))
        images.append(gram(basis[-1]))
    rows = torch.stack(basis).flatten(1)
    projected = rows @ torch.stack(images).flatten(1).T
    vectors = torch.linalg.eigh((projected + projected.T) / 2).eigenvectors
    return _unit(vectors[:, -1] @ rows).view_as(start)


def least_squares(normal: Linear, right: Tensor, steps: int = LEAST_SQUARES_STEPS) -> Tensor:
    """Conjugate gradients for ``A^T A y = A^T c`` from zero.

    Stopped early: what the operator hardly sees is left out.
    """
    solution, residual, direction = torch.zeros_like(right), right, right
    square = torch.sum(right * right)
    enough = 1e-20 * square
    for _ in range(steps):
        if square <= enough:
            break
        image = normal(direction)
        length = square / torch.sum(direction * image).clamp_min(1e-300)
        solution, residual = solution + length * direction, residual - length * image
        before, square = square, torch.sum(residual * residual)
        direction = residual + (square / before) * direction
    return solution


def _unit(vector: Tensor) -> Tensor:
    return vector / torch.linalg.vector_norm(vector).clamp_min(1e-300)
