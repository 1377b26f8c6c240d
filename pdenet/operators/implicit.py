"""Implicit linear diffusion ``(I + h D^T D)^{-1}`` by FFT (theory §3, §4.5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from analysis.errors import InputError
from analysis.grid import offsets
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import CirculantConv2d, DepthwiseConv2d

SOLVABLE = (DepthwiseConv2d.name, CirculantConv2d.name)
"""Couplings whose symbol is scalar in a Fourier basis: one number a mode to divide by."""


def solve_implicit_diffusion(operator: StencilOperator, y: Tensor, step_size: float) -> Tensor:
    """Solve ``(I + h D^T D) x = y``, one step of implicit Euler for ``y' = -D^T D y``.

    Every Fourier mode is divided by ``1 + h |d(w)|^2``, where ``d`` is the symbol of the coupling
    (for circulant after a Fourier transform of the channels as well). Differentiable in ``y`` and
    in the weights; float32 and float64. Lower precisions are solved in float32, also under
    autocast, because the transform does not exist in them.

    Args:
        operator: a depthwise or circulant ``D`` with circular padding, stride 1 and as many output
            as input channels; its bias takes no part.
        y: images ``(B, C, H, W)``.
        step_size: ``h >= 0``, units of time.

    Returns:
        Images ``(B, C, H, W)`` in the precision of ``y``; ``||x|| <= ||y||`` for every ``h``.

    Raises:
        InputError: for an operator without such a transform, a negative step or other images.
    """
    check_solvable(operator)
    if not (step_size >= 0 and math.isfinite(step_size)):
        raise InputError("a step size of at least zero", step_size, "pass step_size=0.5")
    if y.ndim != 4 or y.shape[1] != operator.in_channels:
        expected = f"images of shape (B, {operator.in_channels}, H, W)"
        raise InputError(expected, tuple(y.shape), "match the channels of the operator")
    # Circulant operators are diagonal after a transform of the channels too, and the real
    # transform halves the last axis only.
    axes = (1, 2, 3) if isinstance(operator, CirculantConv2d) else (2, 3)
    sizes = [y.shape[axis] for axis in axes]
    with torch.autocast(y.device.type, enabled=False):
        working = y if y.dtype == torch.float64 else y.float()
        modes = torch.fft.rfftn(working, dim=axes)
        modes = modes / (1 + step_size * _squared_symbol(operator, working))
        return torch.fft.irfftn(modes, s=sizes, dim=axes).to(y.dtype)


def check_solvable(operator: StencilOperator) -> None:
    """Raise InputError where ``(I + h D^T D)^{-1}`` is not one division a Fourier mode."""
    if operator.name not in SOLVABLE:
        raise InputError(
            f"a {' or '.join(SOLVABLE)} coupling for implicit diffusion",
            operator.name,
            "choose one of them or an explicit method",
        )
    if operator.padding_mode != "circular":
        raise InputError(
            "padding_mode 'circular' for implicit diffusion",
            repr(operator.padding_mode),
            "choose it or an explicit method",
        )
    if operator.stride != (1, 1) or operator.in_channels != operator.out_channels:
        raise InputError(
            "stride 1 and as many output as input channels for implicit diffusion",
            f"stride {operator.stride[0]}, {operator.in_channels} -> {operator.out_channels}",
            "use a square operator",
        )


def _squared_symbol(operator: StencilOperator, y: Tensor) -> Tensor:
    """``|d(w)|^2`` at the modes of the real transform of ``y``, shape ``(C, H, W // 2 + 1)``."""
    # Not from a coupling, which checks values: inside a transform of torch.func there are none.
    assert isinstance(operator, DepthwiseConv2d | CirculantConv2d)  # by check_solvable
    stencils = operator.dense_stencils().to(y.dtype)
    if isinstance(operator, CirculantConv2d):
        stencils = torch.fft.fft(stencils, dim=0)
    height, width = y.shape[-2:]
    rows = _phases(height, height, operator.kernel_size[0], stencils)
    columns = _phases(width, width // 2 + 1, operator.kernel_size[1], stencils)
    symbol = torch.einsum("cpq,hp,wq->chw", stencils.to(rows.dtype), rows, columns)
    return symbol.real.square() + symbol.imag.square()


def _phases(n: int, count: int, taps: int, like: Tensor) -> Tensor:
    """``exp(i w p)`` for the first ``count`` frequencies of ``n`` pixels, ``(count, taps)``.

    Summed over offsets, not embedded in an image: stencils may be wider than the image.
    """
    p = torch.as_tensor(offsets((taps,)).ravel(), device=like.device)
    # The product is reduced modulo n in integers, so that the angle keeps its digits in float32.
    turns = torch.outer(torch.arange(count, device=like.device), p) % n
    real = like.real.dtype if like.is_complex() else like.dtype
    angle = turns.to(real) * (2 * math.pi / n)
    return torch.polar(torch.ones_like(angle), angle)


def solve_multiply_adds(operator: StencilOperator, height: int, width: int) -> int:
    """Multiply-adds of ``solve_implicit_diffusion`` for one image, nominal.

    ``5 N log2 N`` operations for a complex transform of ``N`` points, half for real data, twice for
    the way back, two operations a multiply-add: ``2.5 N log2 N`` in all, and one division a point.
    """
    pixels, channels = height * width, operator.in_channels
    points = pixels * channels if isinstance(operator, CirculantConv2d) else pixels
    return math.ceil(pixels * channels * (2.5 * math.log2(points) + 1))
