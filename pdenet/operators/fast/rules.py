"""Which way an operator is computed, decided from its shape, layout and device alone.

The rules rest on measurements with one thread of an AVX-512 processor in float32 (run
``pdenet bench operators`` to repeat them); nothing is timed while a network runs, so that the same
network computes the same numbers everywhere. Devices other than the CPU take the plain way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from analysis.block_couplings import circulant_by_transform

Pair = tuple[int, int]

BLOCK_SIDE = 8
"""1x1 convolutions of channels-last images run on blocks of 8 x 8 pixels.

The pixels of a 1x1 convolution may be regrouped at no cost, and the library is fastest where the
pixels of an image fit its tiles: at 256 channels 16 x 16 images take 4.5 ms in one piece and 3.1 ms
as four times as many of 8 x 8, at 64 channels 32 x 32 images 0.80 and 0.72 ms."""

CHUNK = 2**19
"""Most numbers of a piece of a batch that passes through several operations in the cache.

From a quarter to twice of it, lean operators of 64 to 512 channels differ by a tenth."""

LEAST_CHUNK = 2**17
"""Numbers of a piece below which the start of every operation is felt, by a fifth at half of it.

Circulant operators and filters of modes take it always: some four pieces of modes lie in memory at
once."""

PIECES_FROM = 2**16
"""Numbers of a batch from which lean and circulant operators work piece by piece.

Smaller ones are left to PyTorch, which enters and leaves its own derivatives a third of a
millisecond faster and whose memory does not matter there."""

PLANES_FACTOR = 2
"""How many times as many channels the transform needs where a channel is a plane in memory.

Two copies of the images put the channels side by side: at 48 channels it takes 3.5 ms beside 3.1 of
the dense weight, and 1.9 in the channels-last layout; at 64 channels 4.0 beside 5.6, and 1.9."""


SHIFTS = range(2**12, 2**18 + 1)
"""Numbers of a batch whose channels take their stencils shift by shift in float64.

PyTorch has a depthwise convolution of its own only up to float32. With 32 channels of 8 x 8 pixels,
eight images, its general one takes 290 us, transposed 540, the shifts 190; below, the start of
eighteen operations is felt, above, what they write leaves the cache."""


def tracing() -> bool:
    """Whether a graph of PyTorch operations is recorded, which takes plain operations."""
    return torch.compiler.is_compiling()


def transformed() -> bool:
    """Whether a function transform (``vmap``, ``jvp``, ...) is at work: nothing in place then."""
    return torch._C._are_functorch_transforms_active()


def differentiated(*tensors: Tensor) -> bool:
    """Whether anybody asks for derivatives."""
    if transformed() or (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)):
        return True
    return any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)


def channels_last(x: Tensor) -> bool:
    """Whether the channels of a pixel are neighbours in memory."""
    # By the stride: asking for a memory format fails inside torch.func.vmap.
    return x.stride(1) == 1 and x.shape[1] > 1


def mixes_in_blocks(x: Tensor) -> bool:
    """Whether a 1x1 convolution of these images runs on blocks of pixels."""
    if tracing() or x.device.type != "cpu" or not channels_last(x):
        return False
    batch, _, height, width = x.shape
    whole = batch * height * width % BLOCK_SIDE**2 == 0
    return whole and (height, width) != (BLOCK_SIDE, BLOCK_SIDE)


def in_pieces(x: Tensor) -> bool:
    """Whether lean and circulant operators work through a batch piece by piece."""
    return x.device.type == "cpu" and not tracing() and x.numel() >= max(1, PIECES_FROM)


def lean_piece(channels: int) -> int:
    """Numbers of a piece of a lean operator: as many as the weights it spares, and as gradients.

    So it takes no more memory than a full 3x3 convolution of the same width (from some 80 channels,
    below which the start of operations would be felt).
    """
    return min(CHUNK, max(LEAST_CHUNK, 4 * 9 * channels**2))


def pieces(x: Tensor, numbers: int) -> Iterator[Pair]:
    """Pieces of the batch for ``narrow(0, *piece)``, each of so many numbers or of one image.

    Not slices: a slice of everything is an alias, which ``is_grads_batched`` cannot take.
    """
    count = max(1, numbers * x.shape[0] // max(1, x.numel()))
    return ((n, min(count, x.shape[0] - n)) for n in range(0, x.shape[0], count))


def by_shifts(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether stencils of single channels are applied shift by shift, where nothing is recorded."""
    # First of all, as the sizes of a graph are no numbers.
    if tracing() or x.device.type != "cpu" or x.dtype != torch.float64:
        return False
    alone = groups == x.shape[1] == weight.shape[0]
    return alone and x.numel() in SHIFTS and not differentiated(x, weight)


def by_transform(x: Tensor, channels_out: int, channels_in: int, taps: int) -> bool:
    """Whether a circulant operator is applied by a Fourier transform of the channels.

    Not while a graph is exported: ONNX has no such transform. Nor for a batch without images, of
    which the library makes no transform.
    """
    if x.device.type != "cpu" or torch.compiler.is_exporting() or x.shape[0] == 0:
        return False
    weight = taps if channels_last(x) else taps / PLANES_FACTOR
    return circulant_by_transform(channels_out, channels_in, weight)


def in_precision_of(images: Tensor, way: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``way(*tensors)`` in the precision that autocast chooses for a convolution of the images."""
    device = images.device.type
    if not torch.is_autocast_enabled(device) or images.dtype == torch.float64:
        return way(*tensors)
    chosen = torch.get_autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        return way(*(tensor.to(chosen) for tensor in tensors))


def in_single_precision(images: Tensor, way: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``way(*tensors)`` in float32 where the images are less precise, returned as they would be.

    Transforms have no lower precision, also under autocast, whose dtype the result then has.
    """
    device = images.device.type
    if images.dtype == torch.float64:
        return way(*tensors)
    cast = torch.is_autocast_enabled(device)
    returned = torch.get_autocast_dtype(device) if cast else images.dtype
    if returned == torch.float32:
        return way(*tensors)
    with torch.autocast(device, enabled=False):
        return way(*(tensor.float() for tensor in tensors)).to(returned)
