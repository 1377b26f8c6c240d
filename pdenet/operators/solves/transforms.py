"""Transforms in which convolutions are numbers or small matrices a mode (theory §1).

Circular padding: Fourier modes. Padding by half-sample reflection with stencils that are even in
each axis: cosine modes (DCT-II). Stencils are summed over their offsets, not embedded in an image,
because they may be wider than it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pdenet.operators.fast import rules
from pdenet.operators.fast.rules import Pair, in_pieces, pieces, transformed

DENSE_PIXELS = 128
"""Largest image whose modes are had by one matrix product faster than by an FFT (measured)."""


def filter_circular(y: Tensor, multiplier: Tensor, axes: tuple[int, ...]) -> Tensor:
    """``F^-1 diag(q) F y``: every Fourier mode times a real number.

    The gradient in ``y`` is the filter itself, since real multipliers that are even in the
    frequency make it symmetric; the one in ``q`` is a sum of products of modes.

    Args:
        y: real images ``(B, C, H, W)``.
        multiplier: ``q``, of the shape of ``rfftn(y, dim=axes)`` without its first axis.
        axes: the axes that are transformed, the last of them the last of ``y``.

    >>> q = torch.tensor([[[1.0, 0.0, 0.0]]])  # keeps the mean of four pixels
    >>> filter_circular(torch.tensor([[[[1.0, 2.0, 3.0, 6.0]]]]), q, (2, 3)).flatten().tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    if torch.compiler.is_exporting():  # by operations that other formats know
        return _filter(y, multiplier, axes)
    # Compilers do not trace functions that know their forward derivative.
    function = CircularFilter if torch.compiler.is_compiling() else ForwardCircularFilter
    filtered: Tensor = function.apply(y, multiplier, axes)
    return filtered


def _filter(y: Tensor, multiplier: Tensor, axes: tuple[int, ...]) -> Tensor:
    modes = torch.fft.rfftn(y, dim=axes) * multiplier
    return torch.fft.irfftn(modes, s=[y.shape[axis] for axis in axes], dim=axes)


def _pieces(y: Tensor) -> list[Pair]:
    """The batch in pieces whose modes stay in the cache, or in one where it cannot be cut.

    Complex modes take twice the memory of the images: of a piece that is little.
    """
    cut = in_pieces(y) and not transformed()
    return list(pieces(y, rules.LEAST_CHUNK)) if cut else [(0, y.shape[0])]


class CircularFilter(torch.autograd.Function):
    """``filter_circular`` with its own gradient: autograd's would transform complex images."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, multiplier: Tensor, axes: tuple[int, ...]) -> Tensor:
        """``F^-1 diag(q) F y``, piece by piece of the batch."""
        parts = _pieces(y)
        if len(parts) == 1:
            return _filter(y, multiplier, axes)
        filtered = torch.empty_like(y, memory_format=torch.contiguous_format)
        for part in parts:
            filtered.narrow(0, *part).copy_(_filter(y.narrow(0, *part), multiplier, axes))
        return filtered

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the images, not their modes: as much as a convolution keeps."""
        y, multiplier, ctx.axes = inputs
        ctx.save_for_backward(y, multiplier)
        ctx.save_for_forward(y, multiplier)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """The filtered gradient, and ``Re sum_b conj(F y) F g`` over half of the modes."""
        y, multiplier = ctx.saved_tensors
        if not ctx.needs_input_grad[1]:
            return filter_circular(gradient, multiplier, ctx.axes), None, None
        parts = _pieces(y)
        if len(parts) == 1:
            return *_gradients(y, gradient, multiplier, ctx.axes), None
        along_y = torch.empty_like(y, memory_format=torch.contiguous_format)
        along_multiplier = torch.zeros_like(multiplier)
        for part in parts:
            images = y.narrow(0, *part), gradient.narrow(0, *part)
            filtered, products = _gradients(*images, multiplier, ctx.axes)
            along_y.narrow(0, *part).copy_(filtered)
            del filtered  # not to be held while the next one is computed
            along_multiplier = along_multiplier + products
        return along_y, along_multiplier, None


def _gradients(
    y: Tensor, gradient: Tensor, multiplier: Tensor, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Gradients in a piece of the batch and in the multiplier."""
    modes, others = (torch.fft.rfftn(images, dim=axes) for images in (gradient, y))
    product = torch.view_as_real(others) * torch.view_as_real(modes)
    del others  # what is not needed makes room
    sizes = [y.shape[axis] for axis in axes]
    counts = _mode_counts(y.shape[-1], multiplier) / math.prod(sizes)
    # One axis after the other: both at once take ten times as long.
    along_multiplier = product.sum(0).sum(-1) * counts
    del product
    modes = modes * multiplier
    return torch.fft.irfftn(modes, s=sizes, dim=axes), along_multiplier


class ForwardCircularFilter(CircularFilter):
    """The same with its forward derivative."""

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, by_multiplier: Tensor | None, _: Any) -> Tensor:
        """The filter of the tangent plus the other filter of the images."""
        y, multiplier = ctx.saved_tensors
        total = torch.zeros_like(y)
        if tangent is not None:
            total = total + filter_circular(tangent, multiplier, ctx.axes)
        if by_multiplier is not None:
            total = total + filter_circular(y, by_multiplier, ctx.axes)
        return total


def _mode_counts(width: int, like: Tensor) -> Tensor:
    """How often a stored mode occurs: twice except those that are their own mirror image."""
    counts = torch.full((width // 2 + 1,), 2.0, dtype=like.dtype, device=like.device)
    edge = torch.arange(width // 2 + 1, device=like.device) * 2 % width == 0
    return counts - edge.to(like.dtype)


def filter_dense(y: Tensor, multiplier: Tensor, basis: Tensor) -> Tensor:
    """``Q diag(q) Q^T y`` for an orthogonal basis of whole images.

    Args:
        y: images ``(B, C, H, W)``.
        multiplier: ``q``, ``(C, H W)``.
        basis: ``Q``, ``(H W, H W)``, a mode a column.
    """
    modes = (y.flatten(2) @ basis) * multiplier
    return (modes @ basis.T).reshape(y.shape)


def hartley_basis(size: tuple[int, int], like: Tensor) -> Tensor:
    """Real Fourier modes ``(cos + sin)(w.x) / sqrt(H W)``: orthogonal and symmetric.

    Every symmetric circular operator has them as eigenvectors, as its symbol is even in ``w``.

    Returns:
        Shape ``(H W, H W)``, rows pixels and columns frequencies, both in row-major order.

    >>> Q = hartley_basis((2, 3), torch.zeros(0, dtype=torch.float64))
    >>> bool(torch.allclose(Q @ Q, torch.eye(6, dtype=torch.float64)))
    True
    """
    height, width = size
    rows, columns = (torch.arange(n, device=like.device) for n in size)
    # Products are reduced modulo n in integers, so that the angles keep their digits.
    down = (torch.outer(rows, rows) % height).double() * (2 * math.pi / height)
    across = (torch.outer(columns, columns) % width).double() * (2 * math.pi / width)
    angle = down[:, None, :, None] + across[None, :, None, :]
    basis = (torch.cos(angle) + torch.sin(angle)) / math.sqrt(height * width)
    return basis.reshape(height * width, -1).to(like.dtype)


def cosine_basis(n: int, like: Tensor) -> Tensor:
    """Orthonormal DCT-II modes ``cos(pi k (x + 1/2) / n)``, shape ``(n, n)``, a mode a column.

    >>> Q = cosine_basis(4, torch.zeros(0, dtype=torch.float64))
    >>> bool(torch.allclose(Q.T @ Q, torch.eye(4, dtype=torch.float64)))
    True
    """
    x = torch.arange(n, device=like.device)
    angle = (torch.outer(2 * x + 1, x) % (4 * n)).double() * (math.pi / (2 * n))
    squares = (2.0 - (x == 0).double()) / n
    return (torch.cos(angle) * squares.sqrt()).to(like.dtype)


def circular_tables(
    size: tuple[int, int],
    taps: tuple[int, int],
    dilation: tuple[int, int],
    like: Tensor,
    *,
    half: bool,
) -> tuple[Tensor, Tensor]:
    """``cos(w.p)`` and ``sin(w.p)`` for all frequencies of an image and offsets of a stencil.

    Args:
        size: pixels ``(H, W)``.
        taps: the odd numbers of taps of the stencil.
        dilation: distance of the taps in pixels.
        like: gives device and dtype.
        half: only the ``W // 2 + 1`` frequencies of the real transform along the last axis.

    Returns:
        Two tensors ``(frequencies, taps)``, both in row-major order.
    """
    counts = (size[0], size[1] // 2 + 1 if half else size[1])
    angles = [
        (_turns(count, k, d, like.device) % n).double() * (2 * math.pi / n)
        for count, k, d, n in zip(counts, taps, dilation, size, strict=True)
    ]
    angle = angles[0][:, None, :, None] + angles[1][None, :, None, :]
    angle = angle.reshape(counts[0] * counts[1], taps[0] * taps[1])
    return torch.cos(angle).to(like.dtype), torch.sin(angle).to(like.dtype)


def cosine_table(size: tuple[int, int], taps: tuple[int, int], like: Tensor) -> Tensor:
    """``cos(w1 p1) cos(w2 p2)`` at the frequencies ``pi k / n`` of the DCT-II.

    Returns:
        Shape ``(H W, taps)``, both in row-major order.
    """
    rows, columns = (
        torch.cos((_turns(n, k, 1, like.device) % (2 * n)).double() * (math.pi / n))
        for n, k in zip(size, taps, strict=True)
    )
    table = rows[:, None, :, None] * columns[None, :, None, :]
    return table.reshape(size[0] * size[1], taps[0] * taps[1]).to(like.dtype)


def _turns(count: int, taps: int, dilation: int, device: torch.device) -> Tensor:
    """Index of the frequency times offset, ``(count, taps)``, in integers."""
    p = torch.arange(-(taps // 2), taps // 2 + 1, device=device) * dilation
    return torch.outer(torch.arange(count, device=device), p)
