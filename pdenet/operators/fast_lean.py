"""Lean operators: a 1x1 convolution and stencils that are added to it in the cache (theory §2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pdenet.operators.fast_rules import lean_piece, pieces
from pdenet.operators.geometry import Geometry, Pair


@dataclass(frozen=True)
class LeanKernel:
    """``W y + stencils`` on the first channels.

    The stencils pass over a piece of the batch at a time, and are added while it is in the cache:
    no second image of the batch is written.

    Attributes:
        geometry: padding, stride and dilation.
        diagonal: channels that have a stencil, ``min(c_out, c_in)``.
        matrix_shape: ``(c_out, c_in, 1, 1)``.
        stencil_shape: ``(diagonal, 1, k1, k2)``.
    """

    geometry: Geometry
    diagonal: int
    matrix_shape: tuple[int, ...]
    stencil_shape: tuple[int, ...]

    def plain(self, x: Tensor, matrix: Tensor, stencils: Tensor) -> Tensor:
        """``K x`` in operations that PyTorch differentiates and traces."""
        m = self.diagonal
        local = self.geometry.convolve(x[:, :m], stencils, m)
        return _add(self.geometry.convolve(x, matrix), local)

    def plain_adjoint(self, y: Tensor, size: Pair, matrix: Tensor, stencils: Tensor) -> Tensor:
        """``K^T y`` likewise."""
        m = self.diagonal
        local = self.geometry.convolve_adjoint(y[:, :m], stencils, size, m)
        return _add(self.geometry.convolve_adjoint(y, matrix, size), local)

    def apply(self, x: Tensor, matrix: Tensor, stencils: Tensor) -> Tensor:
        """``K x``, piece by piece."""
        m, result = self.diagonal, self.geometry.convolve(x, matrix)
        for part in self._pieces(x):
            result[part, :m].add_(self.geometry.convolve(x[part, :m], stencils, m))
        return result

    def adjoint(self, y: Tensor, size: Pair, matrix: Tensor, stencils: Tensor) -> Tensor:
        """``K^T y``, piece by piece."""
        m, result = self.diagonal, self.geometry.convolve_adjoint(y, matrix, size)
        for part in self._pieces(result):
            local = self.geometry.convolve_adjoint(y[part, :m], stencils, size, m)
            result[part, :m].add_(local)
        return result

    def gradients(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives by matrix and stencils."""
        m, shape = self.diagonal, self.stencil_shape
        matrix = self.geometry.weight_gradient(y, x, self.matrix_shape)
        parts = (
            self.geometry.weight_gradient(y[part, :m], x[part, :m], shape, m)
            for part in self._pieces(x)
        )
        return matrix, total(parts)

    def _pieces(self, x: Tensor) -> Iterator[slice]:
        return pieces(x, lean_piece(self.diagonal))


def _add(images: Tensor, addition: Tensor) -> Tensor:
    """Sum of images with images that may have fewer channels."""
    m = addition.shape[1]
    if m == images.shape[1]:
        return images + addition
    return torch.cat((images[:, :m] + addition, images[:, m:]), dim=1)


def total(parts: Iterator[Tensor]) -> Tensor:
    """Sum in place."""
    result = next(parts)
    for part in parts:
        result += part
    return result
