"""Inverses and exponentials of matrices by products alone, for formats without factorisations.

ONNX has neither Cholesky factors nor eigenvalues nor complex matrices. What depends on the weights
alone is folded into constants when such a graph is loaded, so its cost does not matter.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NEWTON_STEPS = 30
_SQUARINGS = 10
_TAYLOR_TERMS = 8


def inverse_by_products(matrix: Tensor) -> Tensor:
    """Inverses of symmetric matrices ``(..., c, c)`` with eigenvalues of at least one.

    Newton's method ``X <- X (2 I - A X)`` from a multiple of the identity, to rounding for
    condition numbers up to ``2^25``.

    >>> A = torch.tensor([[2.0, 0.0], [0.0, 4.0]])
    >>> inverse_by_products(A).diagonal().tolist()
    [0.5, 0.25]
    """
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    largest = matrix.abs().sum(-1).amax(-1)[..., None, None]
    inverse = identity * (2 / (1 + largest))
    for _ in range(_NEWTON_STEPS):
        inverse = inverse @ (2 * identity - matrix @ inverse)
    return inverse


def exponential_by_products(matrix: Tensor) -> Tensor:
    """``exp(-A)`` of symmetric positive semidefinite matrices of norm up to about 1000.

    A Taylor polynomial of ``A / 1024``, squared ten times.

    >>> A = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    >>> [round(x, 9) for x in exponential_by_products(A).diagonal().tolist()]
    [0.367879441, 1.0]
    """
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    small = matrix * (-(0.5**_SQUARINGS))
    total = identity.expand_as(matrix)
    for order in range(_TAYLOR_TERMS, 0, -1):
        total = identity + small @ total / order
    for _ in range(_SQUARINGS):
        total = total @ total
    return total


def embedded(real: Tensor, imaginary: Tensor) -> Tensor:
    """Hermitian ``A + i B`` as the symmetric ``[[A, -B], [B, A]]``."""
    upper, lower = torch.cat((real, -imaginary), -1), torch.cat((imaginary, real), -1)
    return torch.cat((upper, lower), -2)


def apply_embedded(matrix: Tensor, y: Tensor) -> Tensor:
    """Images with their Fourier modes times matrices ``(modes, groups, 2 c, 2 c)``."""
    batch, channels, height, width = y.shape
    groups, half = matrix.shape[1], width // 2 + 1
    parts = torch.view_as_real(torch.fft.rfft2(y))  # (B, C, H, W // 2 + 1, 2)
    parts = parts.reshape(batch, groups, channels // groups, height * half, 2)
    vectors = parts.permute(3, 1, 4, 2, 0).reshape(height * half, groups, -1, batch)
    result = (matrix @ vectors).reshape(height * half, groups, 2, channels // groups, batch)
    parts = result.permute(4, 1, 3, 0, 2).reshape(batch, channels, height, half, 2)
    return torch.fft.irfft2(torch.view_as_complex(parts.contiguous()), s=(height, width))
