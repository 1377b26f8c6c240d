"""Lean operators: a 1x1 convolution and stencils that are added to it in the cache (theory §2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pdenet.operators.fast import rules
from pdenet.operators.fast.rules import Pair, lean_piece, pieces
from pdenet.operators.geometry import Geometry


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
        # No gradient lies in memory yet: large pieces.
        for part in pieces(x, rules.CHUNK):
            _first(result, part, m).add_(self.geometry.convolve(_first(x, part, m), stencils, m))
        return result

    def adjoint(self, y: Tensor, size: Pair, matrix: Tensor, stencils: Tensor) -> Tensor:
        """``K^T y``, piece by piece."""
        m, result = self.diagonal, self.geometry.convolve_adjoint(y, matrix, size)
        for part in self._pieces(result):
            added = self.geometry.convolve_adjoint(_first(y, part, m), stencils, size, m)
            _first(result, part, m).add_(added)
            del added  # not to be held while the next one is computed
        return result

    def gradients(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives by matrix and stencils."""
        m, shape = self.diagonal, self.stencil_shape
        matrix = self.geometry.weight_gradient(y, x, self.matrix_shape)
        parts = (
            self.geometry.weight_gradient(_first(y, part, m), _first(x, part, m), shape, m)
            for part in self._pieces(x)
        )
        return matrix, total(parts)

    def _pieces(self, x: Tensor) -> Iterator[Pair]:
        return pieces(x, lean_piece(self.diagonal))


def _first(images: Tensor, part: Pair, channels: int) -> Tensor:
    """The first channels of a piece of the batch."""
    return images.narrow(0, *part).narrow(1, 0, channels)


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
