"""Hermitian matrices, one a mode, applied to images: solves and exponentials (theory §4.5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pdenet.operators.solves.transforms import cosine_basis


def circular_modes(y: Tensor, groups: int) -> Tensor:
    """Fourier modes of images ``(B, C, H, W)``: ``(H (W // 2 + 1), groups, C / groups, B)``."""
    return _by_mode(torch.fft.rfft2(y), groups)


def from_circular_modes(modes: Tensor, shape: torch.Size) -> Tensor:
    """Images of the given shape ``(B, C, H, W)``, the inverse of ``circular_modes``."""
    spectrum = _by_image(modes, (shape[0], shape[1], shape[2], shape[3] // 2 + 1))
    return torch.fft.irfft2(spectrum, s=(shape[2], shape[3]))


def cosine_modes(y: Tensor, groups: int) -> Tensor:
    """Cosine modes (DCT-II) of images ``(B, C, H, W)``: ``(H W, groups, C / groups, B)``."""
    down, across = (cosine_basis(n, y) for n in y.shape[2:])
    return _by_mode(down.T @ (y @ across), groups)


def from_cosine_modes(modes: Tensor, shape: torch.Size) -> Tensor:
    """Images of the given shape ``(B, C, H, W)``, the inverse of ``cosine_modes``."""
    spectrum = _by_image(modes, tuple(shape))
    down, across = (cosine_basis(n, spectrum) for n in shape[2:])
    return down @ (spectrum @ across.T)


def _by_mode(spectrum: Tensor, groups: int) -> Tensor:
    grouped = spectrum.flatten(2).unflatten(1, (groups, -1))
    return grouped.permute(3, 1, 2, 0)


def _by_image(modes: Tensor, shape: tuple[int, ...]) -> Tensor:
    return modes.permute(3, 1, 2, 0).reshape(shape)


def shifted_factor(gram: Tensor, step_size: float) -> Tensor:
    """Lower Cholesky factor of ``I + h G``, which is positive definite for every ``h >= 0``."""
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky(identity + step_size * gram)


def solve_by_factor(factor: Tensor, modes: Tensor) -> Tensor:
    """``(L L^*)^{-1} v`` a mode; two triangular solves are faster than ``cholesky_solve``."""
    half = torch.linalg.solve_triangular(factor, modes, upper=False)
    return torch.linalg.solve_triangular(factor.mH, half, upper=True)


def hermitian_exponential(matrix: Tensor, time: float) -> Tensor:
    """``exp(-t A)`` of Hermitian positive semidefinite matrices ``(..., c, c)``.

    By eigenvalues, those below zero by rounding set to zero: its 2-norm is at most one. The
    gradient takes divided differences of the exponential (Daleckii & Krein), so that equal
    eigenvalues do no harm.

    >>> A = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    >>> hermitian_exponential(A, 1.0).diagonal().tolist()
    [0.36787944117144233, 1.0]
    """
    # Compilers do not trace functions that know their forward derivative.
    compiling = torch.compiler.is_compiling()
    function = HermitianExponential if compiling else ForwardHermitianExponential
    exponential: Tensor = function.apply(time * matrix)[0]
    return exponential


class HermitianExponential(torch.autograd.Function):
    """``exp(-A)`` with its eigenvalues and eigenvectors, which carry no gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``V exp(-D) V^*``, ``D`` and ``V``."""
        values, vectors = torch.linalg.eigh(matrix)
        values = values.clamp_min(0)
        return (vectors * torch.exp(-values)[..., None, :]) @ vectors.mH, values, vectors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the eigenvalues and eigenvectors."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])
        ctx.save_for_forward(*output[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> Tensor:
        """The derivative is self-adjoint: ``V ((V^* G V) o [exp(-D)]) V^*``."""
        return _exponential_derivative(gradient, *ctx.saved_tensors)


class ForwardHermitianExponential(HermitianExponential):
    """The same with its forward derivative."""

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> tuple[Tensor, None, None]:
        """The same of the tangent."""
        return _exponential_derivative(tangent, *ctx.saved_tensors), None, None


def _exponential_derivative(direction: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
    """Derivative of ``exp(-A)`` along a direction, of which the Hermitian part counts."""
    hermitian = (direction + direction.mH) / 2
    rows, columns = values[..., :, None], values[..., None, :]
    distance = (rows - columns).abs()
    # (exp(-a) - exp(-b)) / (a - b) = exp(-min) expm1(-|a - b|) / |a - b|, -exp(-a) where a = b.
    apart = distance > 0
    safe = torch.where(apart, distance, torch.ones_like(distance))
    ratio = torch.where(apart, torch.expm1(-safe) / safe, -torch.ones_like(distance))
    differences = torch.exp(-torch.minimum(rows, columns)) * ratio
    return vectors @ (differences * (vectors.mH @ hermitian @ vectors)) @ vectors.mH
