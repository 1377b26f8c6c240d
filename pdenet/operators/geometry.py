"""Where stencils meet pixels: padding, stride and dilation of one operator (theory §1).

    (K y)[o, x] = sum_i sum_p k[o, i, p] y[i, s x + d p - m]

with stride ``s``, dilation ``d`` and margin ``m``; all of it with the exact adjoint and with the
derivative by the stencils, for stencils of any odd size with the same centres.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from pdenet.operators.boundary import pad, pad_adjoint
from pdenet.operators.fast.rules import BLOCK_SIDE, Pair, by_shifts, mixes_in_blocks


@dataclass(frozen=True)
class Geometry:
    """Padding, stride and dilation that all stencils of an operator share.

    Attributes:
        margin: ``m``, padding less the reach of the stencil on either side of the axes; negative
            where pixels at the edge are no centre of an output.
        stride: distance of the output pixels.
        dilation: distance of neighbouring taps in pixels.
        padding_mode: a key of ``BOUNDARY_OF_PADDING``.
    """

    margin: Pair = (0, 0)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding_mode: str = "zeros"

    def output_size(self, height: int, width: int) -> Pair:
        """Pixels of the output, ``floor((n + 2 m - 1) / s) + 1`` an axis.

        >>> Geometry(stride=(2, 2)).output_size(8, 5)
        (4, 3)
        """
        (m, n), (s, t) = self.margin, self.stride
        return (height + 2 * m - 1) // s + 1, (width + 2 * n - 1) // t + 1

    def padding(self, kernel_size: Sequence[int]) -> Pair:
        """Padding that puts the centres of stencils of this size where they belong."""
        (m, n), d = self.margin, self.dilation[0]
        return m + d * (kernel_size[0] // 2), n + d * (kernel_size[1] // 2)

    def extend(self, x: Tensor, kernel_size: Sequence[int]) -> tuple[Tensor, Pair]:
        """Padded images and the padding that is left to the convolution, which saves a copy."""
        padding = self.padding(kernel_size)
        own = self._own(padding)
        return (x if own == padding else pad(x, padding, self.padding_mode)), own

    def restrict(self, x: Tensor, kernel_size: Sequence[int]) -> Tensor:
        """Adjoint of the padding that ``extend`` does."""
        padding = self.padding(kernel_size)
        return x if self._own(padding) == padding else pad_adjoint(x, padding, self.padding_mode)

    def convolve(self, x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
        """``K x`` for dense stencils ``(o, i / groups, *k)``.

        Args:
            x: images ``(B, i, H, W)``.
            weight: stencils.
            groups: diagonal blocks of the channels.
        """
        if self._only_mixes(weight.shape, groups) and mixes_in_blocks(x):
            return from_blocks(functional.conv2d(in_blocks(x), weight), x.shape)
        extended, own = self.extend(x, weight.shape[2:])
        if self.stride == (1, 1) and by_shifts(extended, weight, groups):
            return sum_of_shifts(extended, weight, own, self.dilation)
        return functional.conv2d(extended, weight, None, self.stride, own, self.dilation, groups)

    def convolve_adjoint(self, y: Tensor, weight: Tensor, size: Pair, groups: int = 1) -> Tensor:
        """``K^T y``, of images of the given size: transposed convolution, adjoint of padding."""
        if self._only_mixes(weight.shape, groups):
            # A transposed convolution takes up to 1.7 times as long.
            return self.convolve(y, weight.transpose(0, 1))
        spread = self.spread(y, weight, size, groups)
        return self.restrict(spread, weight.shape[2:])

    def spread(self, y: Tensor, weight: Tensor, size: Pair, groups: int = 1) -> Tensor:
        """The transposed convolution before ``restrict``."""
        stride, m = self.stride, self.margin
        own = self._own(self.padding(weight.shape[2:]))
        if self.stride == (1, 1) and by_shifts(y, weight, groups):
            reach = [d * (n - 1) for d, n in zip(self.dilation, weight.shape[2:], strict=True)]
            turned = weight.flip(2, 3)
            return sum_of_shifts(y, turned, (reach[0] - own[0], reach[1] - own[1]), self.dilation)
        # Rows that the stride leaves over at the end of the axis: no output pixel saw them.
        rest = ((size[0] + 2 * m[0] - 1) % stride[0], (size[1] + 2 * m[1] - 1) % stride[1])
        return functional.conv_transpose2d(
            y, weight, None, stride, own, rest, groups, self.dilation
        )

    def weight_gradient(
        self, y: Tensor, x: Tensor, shape: tuple[int, ...], groups: int = 1
    ) -> Tensor:
        """``d <y, K x> / dk`` for stencils of the given shape; not to be differentiated again."""
        if self._only_mixes(shape, groups) and mixes_in_blocks(x) and mixes_in_blocks(y):
            return conv2d_weight(in_blocks(x), shape, in_blocks(y))
        extended, own = self.extend(x, shape[2:])
        options = (self.stride, own, self.dilation, groups)
        gradient: Tensor = conv2d_weight(extended, shape, y, *options)
        return gradient

    def _own(self, padding: Pair) -> Pair:
        return padding if self.padding_mode == "zeros" and min(padding) >= 0 else (0, 0)

    def _only_mixes(self, shape: Sequence[int], groups: int) -> bool:
        """Whether channels mix within every pixel and nothing else happens."""
        still = self.margin == (0, 0) and self.stride == (1, 1)
        return still and groups == 1 and tuple(shape[2:]) == (1, 1)


def sum_of_shifts(x: Tensor, weight: Tensor, padding: Pair, dilation: Pair) -> Tensor:
    """``sum_p k_p x[. + d p]`` of every channel with a stencil of its own, zeros outside.

    Args:
        x: images ``(B, C, H, W)``.
        weight: stencils ``(C, 1, k1, k2)``.
        padding: zeros on either side of the axes.
        dilation: distance of the taps.

    Returns:
        Images ``(B, C, H + 2 m - d (k1 - 1), W + 2 n - e (k2 - 1))``.
    """
    (m, n), (d, e), (taps, more) = padding, dilation, weight.shape[2:]
    extended = functional.pad(x, (n, n, m, m))
    height = extended.shape[2] - d * (taps - 1)
    width = extended.shape[3] - e * (more - 1)

    def shifted(row: int, column: int) -> tuple[Tensor, Tensor]:
        seen = extended[:, :, d * row : d * row + height, e * column : e * column + width]
        return seen, weight[:, 0, row, column, None, None]

    first, *others = itertools.product(range(taps), range(more))
    total = torch.mul(*shifted(*first))
    for tap in others:
        total.addcmul_(*shifted(*tap))
    return total


def in_blocks(x: Tensor) -> Tensor:
    """Channels-last images ``(B, C, H, W)`` as small ones of the same pixels, without a copy."""
    pixels = x.permute(0, 2, 3, 1).reshape(-1, BLOCK_SIDE, BLOCK_SIDE, x.shape[1])
    return pixels.permute(0, 3, 1, 2)


def from_blocks(y: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of ``in_blocks`` for any number of channels."""
    pixels = y.permute(0, 2, 3, 1).reshape(shape[0], shape[2], shape[3], y.shape[1])
    return pixels.permute(0, 3, 1, 2)
