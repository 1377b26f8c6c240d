"""Symbols of ``K^T K``: a number or a Hermitian matrix a mode, by the structure of the coupling.

Source: theory §1, §2. Modes are given by the tables of ``solves.transforms``: cosines and
sines of frequency times offset for circular padding, cosines alone for the DCT.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import (
    CirculantConv2d,
    DepthwiseConv2d,
    FullConv2d,
    GroupedConv2d,
    LeanConv2d,
    PointwiseConv2d,
)
from pdenet.operators.solves.transforms import circular_tables, cosine_table


def weights_of(operator: StencilOperator) -> tuple[Tensor, ...]:
    """The weights without the bias, in the order of the parameters."""
    return tuple(p for name, p in operator.named_parameters() if name != "bias")


def is_diagonal(operator: StencilOperator) -> bool:
    """Whether the symbol is a number a mode, perhaps after a transform of the channels."""
    return isinstance(operator, DepthwiseConv2d | CirculantConv2d)


def is_constant(operator: StencilOperator) -> bool:
    """Whether the symbol is the same matrix for every mode: no neighbours, hence no boundary."""
    return isinstance(operator, PointwiseConv2d)


def even_stencils(operator: StencilOperator) -> bool:
    """Whether every stencil is even in each axis, ``k[p, q] = k[-p, q] = k[p, -q]``, to rounding.

    Read from the values of the weights, so not inside a compiled graph.
    """
    with torch.no_grad():
        stencils = _all_stencils(operator)
        tolerance = 4 * torch.finfo(stencils.dtype).eps * stencils.abs().amax()
        return all(
            bool(((stencils - stencils.flip(axis)).abs() <= tolerance).all()) for axis in (-2, -1)
        )


def squared_symbol(operator: StencilOperator, size: tuple[int, int], like: Tensor) -> Tensor:
    """``|d(w)|^2`` of a depthwise or circulant operator at half of the Fourier modes.

    Args:
        operator: one for which ``is_diagonal``.
        size: pixels ``(H, W)``.
        like: gives the precision.

    Returns:
        Shape ``(C, H, W // 2 + 1)``; for circulant the first axis are frequencies over channels.
    """
    tables = circular_tables(size, operator.kernel_size, operator.dilation, like, half=True)
    return _squares(operator, *tables).reshape(-1, size[0], size[1] // 2 + 1)


def squared_symbol_of_all_modes(
    operator: StencilOperator, size: tuple[int, int], like: Tensor
) -> Tensor:
    """The same at all ``H W`` frequencies, shape ``(C, H W)``."""
    tables = circular_tables(size, operator.kernel_size, operator.dilation, like, half=False)
    return _squares(operator, *tables)


def squared_cosine_symbol(operator: StencilOperator, size: tuple[int, int], like: Tensor) -> Tensor:
    """``d(w)^2`` at the modes of the DCT-II for stencils even in each axis, shape ``(C, H W)``."""
    return _squares(operator, cosine_table(size, operator.kernel_size, like), None)


def _squares(operator: StencilOperator, cosines: Tensor, sines: Tensor | None) -> Tensor:
    """``|sum_p k[p] exp(i w.p)|^2``, ``(C, modes)``, in real arithmetic."""
    assert isinstance(operator, DepthwiseConv2d | CirculantConv2d)  # by the callers
    stencils = operator.dense_stencils().to(cosines.dtype).flatten(1)
    parts = [stencils]
    if isinstance(operator, CirculantConv2d):
        over_channels = torch.fft.fft(stencils, dim=0)
        parts = [over_channels.real, over_channels.imag]
    by_cosine = [part @ cosines.T for part in parts]
    if sines is None:
        return sum((part.square() for part in by_cosine[1:]), by_cosine[0].square())
    by_sine = [part @ sines.T for part in parts]
    if len(parts) == 1:
        return by_cosine[0].square() + by_sine[0].square()
    real, imaginary = by_cosine[0] - by_sine[1], by_sine[0] + by_cosine[1]
    return real.square() + imaginary.square()


def gram_matrices(operator: StencilOperator, size: tuple[int, int], like: Tensor) -> Tensor:
    """``K^(w)* K^(w)`` at half of the Fourier modes as complex matrices: ``gram_parts`` together.

    Real for pointwise.
    """
    real, imaginary = gram_parts(operator, size, like)
    return real if imaginary is None else torch.complex(real, imaginary)


def gram_parts(
    operator: StencilOperator, size: tuple[int, int], like: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Real and imaginary part of ``K^(w)* K^(w)`` at half of the Fourier modes.

    Full and grouped: a trigonometric polynomial whose coefficients are correlations of the stencils
    with themselves, ``G(w) = sum_d exp(i w.d) sum_p K_p^T K_{p+d}``, which costs as many matrix
    products as a stencil has pairs of taps whatever the number of modes. Lean, ``K^ = W + diag d``:
    ``W^T W + conj(d) W + (conj(d) W)^* + diag |d|^2``, one product. Pointwise: ``W^T W``.

    Returns:
        Symmetric and skew matrices ``(H (W // 2 + 1), groups, c, c)`` with ``c`` channels a group;
        for pointwise one mode and None.
    """
    if isinstance(operator, PointwiseConv2d):
        matrix = operator.weight[:, :, 0, 0].to(like.dtype)
        return (matrix.T @ matrix)[None, None], None
    if isinstance(operator, LeanConv2d):
        tables = circular_tables(size, operator.kernel_size, operator.dilation, like, half=True)
        return _lean_gram(operator, *tables)
    stencils = _grouped_stencils(operator).to(like.dtype)
    k1, k2 = operator.kernel_size
    correlations = _correlations(stencils)
    taps = (2 * k1 - 1, 2 * k2 - 1)
    cosines, sines = circular_tables(size, taps, operator.dilation, like, half=True)
    flat = correlations.flatten(1)
    shape = (-1, *correlations.shape[1:])
    return (cosines @ flat).reshape(shape), (sines @ flat).reshape(shape)


def cosine_gram_matrices(operator: StencilOperator, size: tuple[int, int], like: Tensor) -> Tensor:
    """``K^(w)^T K^(w)`` at the modes of the DCT-II for stencils even in each axis.

    Returns:
        Real symmetric ``(H W, groups, c, c)``.
    """
    table = cosine_table(size, operator.kernel_size, like)
    if isinstance(operator, LeanConv2d):
        return _lean_gram(operator, table, None)[0]
    stencils = _grouped_stencils(operator).to(like.dtype)  # (groups, o, i, k1, k2)
    symbol = torch.einsum("goit,ft->fgoi", stencils.flatten(3), table)
    return symbol.mT @ symbol


def _lean_gram(
    operator: LeanConv2d, cosines: Tensor, sines: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """``W^T W + X + X^* + diag |d|^2`` with ``X = conj(d) W`` row by row, in real arithmetic."""
    matrix = operator.pointwise.to(cosines.dtype)
    stencils = operator._dense_stencils(operator.stencils).to(cosines.dtype).flatten(1)
    real = cosines @ stencils.T  # (modes, c)
    mixed, square = real[:, :, None] * matrix, real.square()
    imaginary = None
    if sines is not None:
        along = sines @ stencils.T
        square = square + along.square()
        skew = along[:, :, None] * matrix
        imaginary = (skew.mT - skew)[:, None]
    return (matrix.T @ matrix + mixed + mixed.mT + torch.diag_embed(square))[:, None], imaginary


def _correlations(stencils: Tensor) -> Tensor:
    """``sum_p K_p^T K_{p+d}`` of stencils ``(g, o, i, k1, k2)``, shape ``(differences, g, i, i)``.

    One product of all pairs of taps, then sums of those of equal difference.
    """
    groups, _, channels, k1, k2 = stencils.shape
    taps = stencils.permute(0, 3, 4, 2, 1).reshape(groups, k1 * k2 * channels, -1)
    pairs = (taps @ taps.mT).reshape(groups, k1 * k2, channels, k1 * k2, channels)
    pairs = pairs.permute(1, 3, 0, 2, 4).reshape((k1 * k2) ** 2, groups, channels, channels)
    position = torch.arange(k1 * k2, device=stencils.device)
    rows, columns = position // k2, position % k2
    down = rows[None, :] - rows[:, None] + k1 - 1
    across = columns[None, :] - columns[:, None] + k2 - 1
    index = (down * (2 * k2 - 1) + across).flatten()
    # By a product with zeros and ones, not index_add, whose order on a GPU changes.
    chosen = (
        index[None, :] == torch.arange((2 * k1 - 1) * (2 * k2 - 1), device=index.device)[:, None]
    )
    total = chosen.to(pairs.dtype) @ pairs.flatten(1)
    return total.reshape(-1, groups, channels, channels)


def _grouped_stencils(operator: StencilOperator) -> Tensor:
    """Stencils of the diagonal blocks of channels, ``(groups, o, i, k1, k2)``."""
    if isinstance(operator, CirculantConv2d):
        return operator.dense_stencils()[operator.block_index][None]
    if isinstance(operator, DepthwiseConv2d):
        return operator.dense_stencils()[:, None, None]
    assert isinstance(operator, FullConv2d | GroupedConv2d)
    stencils = operator._dense_stencils(operator.weight)
    return stencils.unflatten(0, (operator.groups, -1))


def _all_stencils(operator: StencilOperator) -> Tensor:
    """Every stencil of the operator, ``(..., k1, k2)``."""
    if isinstance(operator, PointwiseConv2d):
        return operator.weight
    if isinstance(operator, LeanConv2d):
        return operator._dense_stencils(operator.stencils)
    if isinstance(operator, DepthwiseConv2d | CirculantConv2d):
        return operator.dense_stencils()
    return _grouped_stencils(operator)
