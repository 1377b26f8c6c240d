"""Circulant operators by a Fourier transform of the channels (theory §2; arXiv 1805.07821).

With ``R`` the transform of real data over the channels, which keeps ``C // 2 + 1`` modes,

    K = R^{-1} D R,     D = complex stencils, one a mode: two real depthwise convolutions

and ``K^T = R^{-1} D^H R``: the weights by which ``R^T`` differs from ``C R^{-1}`` commute with
``D``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from pdenet.operators.fast import rules
from pdenet.operators.fast.lean import total
from pdenet.operators.fast.rules import Pair, channels_last, pieces
from pdenet.operators.geometry import Geometry


@dataclass(frozen=True)
class CirculantKernel:
    """A circulant operator as stencils of the modes of its channels.

    Its weights are the stencils ``(C, k1, k2)`` of the channel differences,
    ``C = max(c_out, c_in)``; missing channels are zeros on the way in and dropped on the way out.

    Attributes:
        geometry: padding, stride and dilation.
        channels_out: number of output channels.
        channels_in: number of input channels.
        kernel_size: taps an axis.
    """

    geometry: Geometry
    channels_out: int
    channels_in: int
    kernel_size: Pair

    @property
    def channels(self) -> int:
        """Rows of the circulant matrix, ``C``."""
        return max(self.channels_out, self.channels_in)

    def plain(self, x: Tensor, stencils: Tensor) -> Tensor:
        """``K x`` in operations that PyTorch differentiates and traces."""
        return self._apply(x, *_real_and_imaginary(stencils))

    def plain_adjoint(self, y: Tensor, size: Pair, stencils: Tensor) -> Tensor:
        """``K^T y`` likewise."""
        return self._adjoint(y, size, *_real_and_imaginary(stencils))

    def apply(self, x: Tensor, stencils: Tensor) -> Tensor:
        """``K x``, piece by piece."""
        real, imaginary = _real_and_imaginary(stencils)
        size = self.geometry.output_size(x.shape[-2], x.shape[-1])
        parts = (self._apply(x.narrow(0, *part), real, imaginary) for part in self._pieces(x))
        return _joined(parts, x, (self.channels_out, *size))

    def adjoint(self, y: Tensor, size: Pair, stencils: Tensor) -> Tensor:
        """``K^T y``, piece by piece."""
        real, imaginary = _real_and_imaginary(stencils)
        parts = (
            self._adjoint(y.narrow(0, *part), size, real, imaginary) for part in self._pieces(y)
        )
        return _joined(parts, y, (self.channels_in, *size))

    def gradients(self, y: Tensor, x: Tensor) -> tuple[Tensor]:
        """Derivative by the stencils."""
        parts = (
            self._mode_gradient(y.narrow(0, *part), x.narrow(0, *part)) for part in self._pieces(x)
        )
        return (torch.fft.irfft(total(parts), n=self.channels, dim=0),)

    def _pieces(self, x: Tensor) -> Iterator[Pair]:
        return pieces(x, rules.LEAST_CHUNK)

    def _apply(self, x: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
        modes = _as_images(self._transform(x))
        extended, own = self.geometry.extend(modes, self.kernel_size)
        options = (None, self.geometry.stride, own, self.geometry.dilation, len(real))
        straight = functional.conv2d(extended, real, *options)
        turned = functional.conv2d(extended, imaginary, *options)
        del modes, extended  # what is not needed makes room
        modes = torch.add(_as_modes(straight), _as_modes(turned), alpha=1j)
        del straight, turned
        return self._back(modes)[:, : self.channels_out]

    def _adjoint(self, y: Tensor, size: Pair, real: Tensor, imaginary: Tensor) -> Tensor:
        modes, groups = _as_images(self._transform(y)), len(real)
        straight = self.geometry.spread(modes, real, size, groups)
        turned = self.geometry.spread(modes, imaginary, size, groups)
        del modes
        spread = torch.sub(_as_modes(straight), _as_modes(turned), alpha=1j)
        del straight, turned
        images = self.geometry.restrict(_as_images(spread), self.kernel_size)
        return self._back(_as_modes(images))[:, : self.channels_in]

    def _mode_gradient(self, y: Tensor, x: Tensor) -> Tensor:
        """Derivative by the stencils of the modes, complex ``(C // 2 + 1, k1, k2)``."""
        modes, seen = self._transform(y), _as_images(self._transform(x))
        extended, own = self.geometry.extend(seen, self.kernel_size)
        groups = seen.shape[1]
        shape = (groups, 1, *self.kernel_size)
        options = (self.geometry.stride, own, self.geometry.dilation, groups)
        parts = [
            conv2d_weight(extended, shape, _as_images(turned), *options)
            .reshape(-1, 2, *self.kernel_size)
            .sum(1)
            for turned in (modes, -1j * modes)
        ]
        return torch.complex(*parts)

    def _transform(self, x: Tensor) -> Tensor:
        """Modes ``(B, H, W, C // 2 + 1)`` of images."""
        # The channels side by side: the transform of distant numbers takes three times as long.
        return torch.fft.rfft(x.permute(0, 2, 3, 1).contiguous(), n=self.channels)

    def _back(self, modes: Tensor) -> Tensor:
        """Images of modes."""
        return torch.fft.irfft(modes, n=self.channels).permute(0, 3, 1, 2)


def _real_and_imaginary(stencils: Tensor) -> list[Tensor]:
    """Stencils of the modes, each twice: for the real and the imaginary part of the images."""
    modes = torch.fft.rfft(stencils, dim=0)
    return [part.repeat_interleave(2, dim=0)[:, None] for part in (modes.real, modes.imag)]


def _as_images(modes: Tensor) -> Tensor:
    """Modes as channels-last real images, real and imaginary parts side by side."""
    pixels = torch.view_as_real(modes)
    return pixels.reshape(*modes.shape[:-1], 2 * modes.shape[-1]).permute(0, 3, 1, 2)


def _as_modes(images: Tensor) -> Tensor:
    """The inverse of ``_as_images``."""
    pixels = images.permute(0, 2, 3, 1).contiguous()
    return torch.view_as_complex(pixels.reshape(*pixels.shape[:-1], -1, 2))


def _joined(parts: Iterator[Tensor], like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Pieces as one batch in the layout of other images."""
    # No view, whose tangent PyTorch would want in the same layout.
    layout = torch.channels_last if channels_last(like) else torch.contiguous_format
    shape = (like.shape[0], *shape)
    result = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)
    start = 0
    for part in parts:
        result[start : start + len(part)] = part
        start += len(part)
    return result
