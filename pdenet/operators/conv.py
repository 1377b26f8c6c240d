"""The six couplings of channels as modules, drop-in for ``torch.nn.Conv2d`` (theory §2)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.couplings import (
    Circulant,
    Depthwise,
    Full,
    Grouped,
    Lean,
    Pointwise,
    circulant_index,
)
from analysis.errors import InputError, unknown_name
from pdenet.operators.base import StencilOperator
from pdenet.operators.fast import bilinear
from pdenet.operators.fast.circulant import CirculantKernel
from pdenet.operators.fast.lean import LeanKernel
from pdenet.operators.fast.rules import (
    by_transform,
    in_pieces,
    in_precision_of,
    in_single_precision,
)


class FullConv2d(StencilOperator):
    """A stencil in every block of the channel matrix: the ordinary convolution (theory §2).

    ``(K y)[o, x] = sum_i sum_p k[o, i, p] y[i, s x + d p - m]``; ``9 c_out c_in`` weights for 3x3,
    5 in place of 9 for five-point stencils. Arguments and errors as ``StencilOperator``.

    Attributes:
        weight: parameter ``(c_out, c_in, k1, k2)`` with the key and layout of ``torch.nn.Conv2d``,
            so that its weights load; ``(c_out, c_in, 5)`` for five-point stencils.

    >>> FullConv2d(4, 8).weights
    288
    """

    name = "full"
    weight: nn.Parameter

    def _make_weights(self, factory: dict[str, Any]) -> None:
        self.weight = self._new_stencils(self.out_channels, self.in_channels, factory=factory)

    @property
    def fan_in(self) -> int:
        """``taps c_in``."""
        return self.in_channels * int(self._tap_mask().sum())

    def _correlate(self, x: Tensor) -> Tensor:
        return self.geometry.convolve(x, self._dense_stencils(self.weight))

    def _correlate_adjoint(self, y: Tensor, size: tuple[int, int]) -> Tensor:
        return self.geometry.convolve_adjoint(y, self._dense_stencils(self.weight), size)

    def coupling(self) -> Full:
        """The weights as ``analysis.couplings.Full``."""
        weight = self._dense_stencils(self.weight)
        return Full(weight, **self._grid_options())


class DepthwiseConv2d(StencilOperator):
    """A stencil in the diagonal blocks only: every channel for itself (theory §2).

    ``(K y)[o, x] = sum_p k[o, p] y[o, s x + d p - m]``; ``9 c`` weights for 3x3. Needs as many
    output as input channels; ``groups`` may be 1 or their number. Arguments and errors as
    ``StencilOperator``.

    Attributes:
        weight: parameter ``(c, 1, k1, k2)`` as ``torch.nn.Conv2d(c, c, k, groups=c)`` has it;
            ``(c, 1, 5)`` for five-point stencils.

    >>> DepthwiseConv2d(8, 8).weights
    72
    """

    name = "depthwise"
    weight: nn.Parameter

    def _check_structure(self) -> None:
        if self.in_channels != self.out_channels:
            raise InputError(
                "as many output as input channels for the depthwise coupling",
                f"{self.in_channels} -> {self.out_channels}",
                "use the lean or pointwise coupling to change them",
            )
        if self.groups not in (1, self.in_channels):
            raise InputError(
                f"groups=1 or {self.in_channels} for the depthwise coupling",
                self.groups,
                "use GroupedConv2d for other groups",
            )
        self.groups = self.in_channels

    def _make_weights(self, factory: dict[str, Any]) -> None:
        self.weight = self._new_stencils(self.out_channels, 1, factory=factory)

    @property
    def fan_in(self) -> int:
        """``taps``."""
        return int(self._tap_mask().sum())

    def _correlate(self, x: Tensor) -> Tensor:
        return self.geometry.convolve(x, self._dense_stencils(self.weight), self.groups)

    def _correlate_adjoint(self, y: Tensor, size: tuple[int, int]) -> Tensor:
        return self.geometry.convolve_adjoint(
            y, self._dense_stencils(self.weight), size, self.groups
        )

    def dense_stencils(self) -> Tensor:
        """The stencil of every channel, ``(c, k1, k2)``."""
        return self._dense_stencils(self.weight)[:, 0]

    def coupling(self) -> Depthwise:
        """The weights as ``analysis.couplings.Depthwise``."""
        stencils = self.dense_stencils()
        return Depthwise(stencils, **self._grid_options())


class PointwiseConv2d(StencilOperator):
    """One number in every block: channels mix within a pixel (1x1 convolution, theory §2).

    ``(K y)[o, x] = sum_i W[o, i] y[i, s x - m]``; ``c_out c_in`` weights. A larger ``kernel_size``
    is accepted, so that the class can take the place of any convolution, and reduced to its centre;
    so is the padding, whose rest is the margin ``m`` and may be negative.
    Arguments and errors as ``StencilOperator``.

    Attributes:
        weight: parameter ``(c_out, c_in, 1, 1)``.

    >>> PointwiseConv2d(8, 4).weights
    32
    """

    name = "pointwise"
    weight: nn.Parameter

    def _make_weights(self, factory: dict[str, Any]) -> None:
        self.kernel_size, self.dilation = (1, 1), (1, 1)  # the margin stays
        self.weight = self._new_stencils(self.out_channels, self.in_channels, factory=factory)

    @property
    def fan_in(self) -> int:
        """``c_in``."""
        return self.in_channels

    def _correlate(self, x: Tensor) -> Tensor:
        return self.geometry.convolve(x, self.weight)

    def _correlate_adjoint(self, y: Tensor, size: tuple[int, int]) -> Tensor:
        return self.geometry.convolve_adjoint(y, self.weight, size)

    def coupling(self) -> Pointwise:
        """The weights as ``analysis.couplings.Pointwise``."""
        return Pointwise(self.weight[:, :, 0, 0], stride=self.stride[0])


class LeanConv2d(StencilOperator):
    """Stencils on the diagonal, one number off it (arXiv 1805.07821; theory §2).

    ``(K y)[o, x] = sum_i W[o, i] y[i, s x - m] + sum_{p != 0} k[o, p] y[o, s x + d p - m]``, the
    second sum for the first ``min(c_out, c_in)`` channels; ``c^2 + 8 c`` weights for 3x3. The
    centre of a stencil is the diagonal of ``W`` and stored once. Arguments and errors as
    ``StencilOperator``.

    Attributes:
        pointwise: parameter ``W``, ``(c_out, c_in)``.
        stencils: parameter ``(min(c_out, c_in), 8)``, the taps around the centre in row-major
            order; 4 in place of 8 for five-point stencils.

    >>> LeanConv2d(8, 8).weights
    128
    """

    name = "lean"
    pointwise: nn.Parameter
    stencils: nn.Parameter

    def _tap_mask(self) -> np.ndarray:
        mask = super()._tap_mask()
        mask[self.kernel_size[0] // 2, self.kernel_size[1] // 2] = (
            False  # the centre belongs to the matrix
        )
        return mask

    def _make_weights(self, factory: dict[str, Any]) -> None:
        self.pointwise = nn.Parameter(torch.empty(self.out_channels, self.in_channels, **factory))
        self.stencils = self._new_stencils(self._diagonal, factory=factory)
        shapes = (self.out_channels, self.in_channels, 1, 1), (self._diagonal, 1, *self.kernel_size)
        self.kernel = LeanKernel(self.geometry, self._diagonal, *shapes)

    @property
    def _diagonal(self) -> int:
        return min(self.in_channels, self.out_channels)

    @property
    def fan_in(self) -> int:
        """``c_in + taps - 1``."""
        return self.in_channels + int(self._tap_mask().sum())

    def _correlate(self, x: Tensor) -> Tensor:
        weights = self._two_weights()
        if in_pieces(x):
            return in_precision_of(x, partial(bilinear.apply, self.kernel), x, *weights)
        return self.kernel.plain(x, *weights)

    def _correlate_adjoint(self, y: Tensor, size: tuple[int, int]) -> Tensor:
        weights = self._two_weights()
        if not in_pieces(y):
            return self.kernel.plain_adjoint(y, size, *weights)

        def adjoint(y: Tensor, *weights: Tensor) -> Tensor:
            return bilinear.adjoint(self.kernel, y, size, *weights)

        return in_precision_of(y, adjoint, y, *weights)

    def _two_weights(self) -> tuple[Tensor, Tensor]:
        """The matrix as a 1x1 convolution and the stencils as a depthwise one."""
        return self.pointwise[:, :, None, None], self._dense_stencils(self.stencils)[:, None]

    def coupling(self) -> Lean:
        """The weights as ``analysis.couplings.Lean``."""
        stencils = self._dense_stencils(self.stencils)
        return Lean(self.pointwise, stencils, **self._grid_options())


class CirculantConv2d(StencilOperator):
    """Block ``(o, i)`` depends on ``(o - i) mod C`` only, ``C = max(c_out, c_in)`` (theory §2).

    ``(K y)[o, x] = sum_i sum_p k[(o - i) mod C, p] y[i, s x + d p - m]``; ``9 C`` weights for 3x3.
    Applied through its dense weight where channels are few, by a Fourier transform of the channels
    and two depthwise convolutions where they are many (``pdenet.operators.fast.rules``); the
    transform in float32 at least. Arguments and errors as ``StencilOperator``.

    Attributes:
        stencils: parameter ``(C, k1, k2)``; ``(C, 5)`` for five-point stencils.

    >>> CirculantConv2d(8, 8).weights
    72
    """

    name = "circulant"
    stencils: nn.Parameter
    block_index: Tensor

    def _make_weights(self, factory: dict[str, Any]) -> None:
        size = max(self.in_channels, self.out_channels)
        self.stencils = self._new_stencils(size, factory=factory)
        index = circulant_index(self.out_channels, self.in_channels)
        self.register_buffer(
            "block_index", torch.as_tensor(index, device=factory["device"]), persistent=False
        )
        channels = self.out_channels, self.in_channels
        self.kernel = CirculantKernel(self.geometry, *channels, self.kernel_size)
        # Counted once: to a compiler a count of array entries is a value of the data.
        self.taps = int(self._tap_mask().sum())

    @property
    def fan_in(self) -> int:
        """``taps c_in``."""
        return self.in_channels * self.taps

    def _correlate(self, x: Tensor) -> Tensor:
        stencils = self.dense_stencils()
        if not self._by_transform(x):
            return self.geometry.convolve(x, stencils[self.block_index])
        way = partial(bilinear.apply, self.kernel) if in_pieces(x) else self.kernel.plain
        return in_single_precision(x, way, x, stencils)

    def _correlate_adjoint(self, y: Tensor, size: tuple[int, int]) -> Tensor:
        stencils = self.dense_stencils()
        if not self._by_transform(y):
            return self.geometry.convolve_adjoint(y, stencils[self.block_index], size)

        def adjoint(y: Tensor, stencils: Tensor) -> Tensor:
            if in_pieces(y):
                return bilinear.adjoint(self.kernel, y, size, stencils)
            return self.kernel.plain_adjoint(y, size, stencils)

        return in_single_precision(y, adjoint, y, stencils)

    def _by_transform(self, images: Tensor) -> bool:
        return by_transform(images, self.out_channels, self.in_channels, self.taps)

    def dense_stencils(self) -> Tensor:
        """The stencil of every channel difference, ``(max(c_out, c_in), k1, k2)``."""
        return self._dense_stencils(self.stencils)

    def coupling(self) -> Circulant:
        """The weights as ``analysis.couplings.Circulant``."""
        return Circulant(
            self.dense_stencils(),
            (self.out_channels, self.in_channels),
            **self._grid_options(),
        )


class GroupedConv2d(StencilOperator):
    """``groups`` diagonal blocks, each of them full (theory §2).

    ``9 c_out c_in / groups`` weights for 3x3; both numbers of channels must be multiples of
    ``groups``. Arguments and errors as ``StencilOperator``.

    Attributes:
        weight: parameter ``(c_out, c_in / groups, k1, k2)`` as ``torch.nn.Conv2d`` has it; the last
            two axes are one of 5 for five-point stencils.

    >>> GroupedConv2d(8, 8, groups=4).weights
    144
    """

    name = "grouped"
    weight: nn.Parameter

    def _check_structure(self) -> None:
        g = self.groups
        if g < 1 or self.in_channels % g or self.out_channels % g:
            raise InputError(
                f"channels that are multiples of groups={g}",
                f"{self.in_channels} -> {self.out_channels}",
                "change the channels or the groups",
            )

    def _make_weights(self, factory: dict[str, Any]) -> None:
        shape = (self.out_channels, self.in_channels // self.groups)
        self.weight = self._new_stencils(*shape, factory=factory)

    @property
    def fan_in(self) -> int:
        """``taps c_in / groups``."""
        return self.in_channels // self.groups * int(self._tap_mask().sum())

    def _correlate(self, x: Tensor) -> Tensor:
        return self.geometry.convolve(x, self._dense_stencils(self.weight), self.groups)

    def _correlate_adjoint(self, y: Tensor, size: tuple[int, int]) -> Tensor:
        return self.geometry.convolve_adjoint(
            y, self._dense_stencils(self.weight), size, self.groups
        )

    def coupling(self) -> Grouped:
        """The weights as ``analysis.couplings.Grouped``."""
        weight = self._dense_stencils(self.weight)
        return Grouped(weight, self.groups, **self._grid_options())


OPERATORS: dict[str, type[StencilOperator]] = {
    cls.name: cls
    for cls in (
        FullConv2d,
        DepthwiseConv2d,
        PointwiseConv2d,
        LeanConv2d,
        CirculantConv2d,
        GroupedConv2d,
    )
}
"""The modules by the name of their coupling, the names of ``analysis.couplings.COUPLINGS``."""


def make_operator(
    coupling: str,
    in_channels: int,
    out_channels: int,
    *,
    kernel_size: int | tuple[int, int] = 3,
    stride: int | tuple[int, int] = 1,
    padding: str | int | tuple[int, int] = "same",
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    bias: bool = True,
    padding_mode: str = "zeros",
    five_point: bool = False,
) -> StencilOperator:
    """The module of a coupling by its name; arguments and errors as ``StencilOperator``.

    >>> make_operator("lean", 8, 8, bias=False)
    LeanConv2d(8, 8, kernel_size=(3, 3), bias=False)
    """
    if coupling not in OPERATORS:
        raise unknown_name("coupling", coupling, OPERATORS)
    return OPERATORS[coupling](
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding,
        dilation,
        groups,
        bias=bias,
        padding_mode=padding_mode,
        five_point=five_point,
    )
