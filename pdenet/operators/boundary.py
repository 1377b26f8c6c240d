"""Padding of images as boundary conditions, and the exact adjoint of every padding (theory §1)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from analysis.errors import InputError, unknown_name
from analysis.stencils import source_index

BOUNDARY_OF_PADDING = {
    "zeros": "zeros",
    "circular": "periodic",
    "reflect": "reflect",
    "replicate": "replicate",
}
"""PyTorch's ``padding_mode`` and the boundary condition of ``analysis.grid`` it stands for."""

_SPATIAL_AXES = (-2, -1)


def check_padding_mode(padding_mode: str) -> None:
    """Raise InputError for a padding that is not in ``BOUNDARY_OF_PADDING``."""
    if padding_mode not in BOUNDARY_OF_PADDING:
        raise unknown_name("padding mode", padding_mode, BOUNDARY_OF_PADDING)


def check_image_size(size: tuple[int, int], radius: tuple[int, int], padding_mode: str) -> None:
    """Raise InputError where an axis of ``size`` (H, W) has fewer pixels than its padding needs."""
    # Circular padding copies r pixels, reflection r pixels beside the edge.
    copied = {"circular": 0, "reflect": 1}
    needed = [r + copied[padding_mode] if r > 0 and padding_mode in copied else 1 for r in radius]
    if size[0] < needed[0] or size[1] < needed[1]:
        raise InputError(
            f"images of at least {needed[0]} x {needed[1]} pixels for {padding_mode} padding",
            f"{size[0]} x {size[1]}",
            "use larger images or fewer poolings",
        )


def pad(x: Tensor, radius: tuple[int, int], padding_mode: str) -> Tensor:
    """Extend images by the values the boundary condition gives, ``P x``.

    Args:
        x: images ``(B, C, H, W)``.
        radius: pixels added on either side of the two axes; negative ones are taken away.
        padding_mode: a key of ``BOUNDARY_OF_PADDING``.

    Returns:
        Images ``(B, C, H + 2 r1, W + 2 r2)``.

    Raises:
        InputError: for an unknown padding and for images smaller than the padding.

    >>> pad(torch.tensor([[[[1.0, 2.0, 3.0]]]]), (0, 1), "reflect")
    tensor([[[[2., 1., 2., 3., 2.]]]])
    """
    check_padding_mode(padding_mode)
    check_image_size((x.shape[-2], x.shape[-1]), radius, padding_mode)
    x = _crop(x, radius)
    radius = (max(radius[0], 0), max(radius[1], 0))
    if not any(radius):
        return x
    if padding_mode in _UNORDERED and x.device.type != "cpu":
        extended: Tensor = OrderedPadding.apply(x, radius, padding_mode)
        return extended
    return _extend(x, radius, padding_mode)


def _crop(x: Tensor, radius: tuple[int, int]) -> Tensor:
    """Images without the outer pixels of axes whose radius is negative."""
    for axis, r in zip(_SPATIAL_AXES, radius, strict=True):
        if r < 0:
            x = x.narrow(axis, -r, x.shape[axis] + 2 * r)
    return x


def _extend(x: Tensor, radius: tuple[int, int], padding_mode: str) -> Tensor:
    mode = "constant" if padding_mode == "zeros" else padding_mode
    return functional.pad(x, (radius[1], radius[1], radius[0], radius[0]), mode=mode)


_UNORDERED = ("reflect", "replicate")
"""Paddings whose gradient PyTorch sums on a GPU in an order that changes from run to run."""


class OrderedPadding(torch.autograd.Function):
    """``pad`` with ``pad_adjoint`` as its gradient, whose order of summation is fixed."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, radius: tuple[int, int], padding_mode: str) -> Tensor:
        """``P x``."""
        return _extend(x, radius, padding_mode)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the adjoint needs."""
        ctx.radius, ctx.padding_mode = inputs[1:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """``P^T g``."""
        return pad_adjoint(gradient, ctx.radius, ctx.padding_mode), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        """``P t``: the padding is linear."""
        return _extend(tangent, ctx.radius, ctx.padding_mode)


def pad_adjoint(y: Tensor, radius: tuple[int, int], padding_mode: str) -> Tensor:
    """Exact adjoint of ``pad``: every padded pixel is added to the pixel it was copied from.

    ``<P x, y> = <x, P^T y>`` for all ``x`` and ``y``.

    Args:
        y: images ``(B, C, H + 2 r1, W + 2 r2)``.
        radius: pixels that ``pad`` added on either side of the two axes.
        padding_mode: a key of ``BOUNDARY_OF_PADDING``.

    Returns:
        Images ``(B, C, H, W)``.

    >>> pad_adjoint(torch.tensor([[[[1.0, 2.0, 3.0, 4.0, 5.0]]]]), (0, 1), "reflect")
    tensor([[[[2., 9., 4.]]]])
    """
    check_padding_mode(padding_mode)
    for axis, r in zip(_SPATIAL_AXES, radius, strict=True):
        if r > 0:
            y = _fold_axis(y, axis, r, BOUNDARY_OF_PADDING[padding_mode])
    cropped = (max(-radius[0], 0), max(-radius[1], 0))
    return _extend(y, cropped, "zeros") if any(cropped) else y


def _fold_axis(y: Tensor, axis: int, radius: int, boundary: str) -> Tensor:
    """Adjoint of the padding of one axis."""
    n = y.shape[axis] - 2 * radius
    interior = y.narrow(axis, radius, n)
    if boundary == "zeros":
        return interior
    # Added pixel by pixel, in a fixed order: index_add would sum in an order that changes from
    # run to run on a GPU, and seeds must reproduce.
    folded = interior.clone()
    for position, source in _copies(radius, boundary):
        folded.select(axis, source).add_(y.select(axis, position))
    return folded


# A compiler would trace the NumPy of the index map as tensors, and looks through a bare cache.
@torch.compiler.assume_constant_result
def _copies(radius: int, boundary: str) -> tuple[tuple[int, int], ...]:
    return _cached_copies(radius, boundary)


@lru_cache(maxsize=256)
def _cached_copies(radius: int, boundary: str) -> tuple[tuple[int, int], ...]:
    """Positions that a padded axis has beyond its pixels, each with the pixel it copies.

    Counted from the nearer end of the axis, negative from the far one, so that they hold for every
    number of pixels: a compiled network takes images of any size.
    """
    n = 4 * (radius + 1)  # pixels enough to tell which end an index belongs to
    index = source_index(n, radius, boundary)
    sources = [int(i) if i < n // 2 else int(i) - n for i in index]
    positions = (*range(radius), *range(-radius, 0))
    return tuple((position, sources[position]) for position in positions)
