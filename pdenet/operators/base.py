"""What all convolution operators share: checks, padding, stride, bias and the adjoint (theory §1).

A subclass says which weights it has and how they act on images; everything else is here once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.coupling import Coupling
from analysis.errors import InputError
from analysis.stencils import star_mask
from pdenet.operators.boundary import BOUNDARY_OF_PADDING, check_image_size, check_padding_mode
from pdenet.operators.geometry import Geometry


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """A number for both axes, or one for each, as a tuple."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


class StencilOperator(nn.Module, ABC):
    """A convolution ``K y + b`` with a given coupling of its channels and its exact adjoint.

    ``(K y)[o, x] = sum_i sum_p k[o, i, p] y[i, s x + d p - m]`` on images ``(B, C, H, W)`` or
    ``(C, H, W)`` with stride ``s``, dilation ``d`` and margin ``m = padding - d (k - 1) / 2``, zero
    by default; ``floor((n + 2 m - 1) / s) + 1`` output pixels an axis. The arguments are those of
    ``torch.nn.Conv2d`` in the same order, with padding that keeps the size as the default.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd number of taps an axis.
        stride: distance of the output pixels, the same on both axes.
        padding: pixels added on either side, a number or one an axis; ``"same"`` is
            ``dilation (kernel_size - 1) / 2``, with any stride, and ``"valid"`` 0.
        dilation: distance of neighbouring taps in pixels, the same on both axes.
        groups: number of groups where the coupling has them.
        bias: whether a number a channel is added to the output.
        padding_mode: ``zeros``, ``circular``, ``reflect`` or ``replicate``.
        five_point: drop the corners of every stencil (5 of 9 weights are stored).
        device: where the weights live.
        dtype: precision of the weights.

    Attributes:
        bias: parameter ``(out_channels,)`` or None.
        geometry: margin, stride, dilation and padding mode, with what convolutions do with them.
        boundary: the boundary condition of ``analysis.grid`` that the padding stands for.
        weights: number of weights of the coupling (theory §2), the bias not counted.

    Raises:
        InputError: for sizes, paddings, groups or channels that the coupling does not have.
    """

    name: ClassVar[str]
    bias: nn.Parameter | None
    tap_index: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = "same",
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        five_point: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = _pair(kernel_size), _pair(stride)
        self.dilation, self.groups = _pair(dilation), groups
        self.padding_mode, self.five_point = padding_mode, five_point
        self._check_arguments()
        margin = self._find_margin(padding)
        self.geometry = Geometry(margin, self.stride, self.dilation, padding_mode)
        self._check_structure()
        self.register_buffer("tap_index", None)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self._make_weights(factory)
        self.bias = nn.Parameter(torch.empty(out_channels, **factory)) if bias else None
        self.reset_parameters()

    # What a subclass says.

    @abstractmethod
    def _make_weights(self, factory: dict[str, Any]) -> None:
        """Create the parameters; ``factory`` holds their device and dtype."""

    @property
    @abstractmethod
    def fan_in(self) -> int:
        """Number of weights that one output pixel of one channel is a sum over."""

    @abstractmethod
    def _correlate(self, x: Tensor) -> Tensor:
        """``K x`` for images ``(B, in_channels, H, W)``."""

    @abstractmethod
    def _correlate_adjoint(self, y: Tensor, size: tuple[int, int]) -> Tensor:
        """``K^T y`` for images ``(B, out_channels, ...)``, of the given size of the input."""

    @abstractmethod
    def coupling(self) -> Coupling:
        """The current weights as a coupling of ``analysis``: same device, differentiable."""

    def _check_structure(self) -> None:
        """Raise InputError for channels and groups that the coupling does not have."""
        if self.groups != 1:
            raise InputError(
                f"groups=1 for the {self.name} coupling",
                self.groups,
                "use GroupedConv2d for groups",
            )

    # What follows from it.

    def forward(self, x: Tensor) -> Tensor:
        """``K x + b`` in the precision of ``K x``, which autocast may have lowered."""
        y, bias = self.linear(x), self.bias
        if bias is None:
            return y
        offset = bias if bias.dtype == y.dtype else bias.to(y.dtype)
        return y + offset[:, None, None]

    def linear(self, x: Tensor) -> Tensor:
        """``K x``, the operator without its bias.

        Args:
            x: images ``(B, in_channels, H, W)`` or ``(in_channels, H, W)``.

        Raises:
            InputError: for another number of channels or axes, integers, or too small images.
        """
        self._check_images(x, self.in_channels)
        self._check_size((x.shape[-2], x.shape[-1]))
        return self._correlate(x) if x.ndim == 4 else self._correlate(x[None])[0]

    def adjoint(self, y: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """``K^T y``, the exact adjoint of ``linear`` with the same padding and stride.

        Args:
            y: images ``(B, out_channels, H', W')`` or ``(out_channels, H', W')``.
            size: ``(H, W)`` of the input of ``linear``; by default the largest that it maps to the
                size of ``y`` (``stride`` times it where the margin is 0), for stride 1 the only.

        Raises:
            InputError: as ``linear``, and for a size that ``linear`` does not map to that of ``y``.
        """
        self._check_images(y, self.out_channels)
        pixels = (y.shape[-2], y.shape[-1])
        if size is None:
            n, m = [self.stride[0] * n for n in pixels], self.margin
            size = (n[0] - 2 * m[0], n[1] - 2 * m[1])
        elif self.output_size(*size) != pixels:
            raise InputError(
                f"images of {' x '.join(map(str, self.output_size(*size)))} pixels, the output for "
                f"{size[0]} x {size[1]}",
                f"{pixels[0]} x {pixels[1]}",
                "pass the size of the input of the operator",
            )
        self._check_size(size)
        if y.ndim == 4:
            return self._correlate_adjoint(y, size)
        return self._correlate_adjoint(y[None], size)[0]

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Pixels of the output for an input of the given size, as ``torch.nn.Conv2d`` has them.

        ``floor((n + 2 margin - 1) / stride) + 1`` an axis: ``ceil(n / stride)`` by default.
        """
        return self.geometry.output_size(height, width)

    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds of ``linear`` for one image of the given size (``K^T`` costs the same)."""
        rows, columns = self.output_size(height, width)
        return self.coupling().multiply_adds_per_pixel * rows * columns

    @property
    def padding(self) -> tuple[int, int]:
        """Pixels added on either side of the axes."""
        return self.geometry.padding(self.kernel_size)

    @property
    def margin(self) -> tuple[int, int]:
        """Padding less the reach of the stencil, negative where edge pixels are no centres."""
        return self.geometry.margin

    @property
    def boundary(self) -> str:
        """The boundary condition of ``analysis.grid`` that the padding stands for."""
        return BOUNDARY_OF_PADDING[self.padding_mode]

    @property
    def weights(self) -> int:
        """Number of weights of the coupling (theory §2), without the bias."""
        return sum(p.numel() for name, p in self.named_parameters() if name != "bias")

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from ``+-1 / sqrt(fan_in)``.

        The default of ``torch.nn.Conv2d``, with the fan-in that the coupling really has, so that
        outputs have the same size whatever the coupling.
        """
        bound = 1 / math.sqrt(self.fan_in)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-bound, bound)

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults, as PyTorch prints them."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        options = {
            f"stride={self.stride}": self.stride != (1, 1),
            f"padding={self.padding}": self.margin != (0, 0),
            f"dilation={self.dilation}": self.dilation != (1, 1),
            f"groups={self.groups}": self.groups != 1,
            "bias=False": self.bias is None,
            f"padding_mode={self.padding_mode!r}": self.padding_mode != "zeros",
            "five_point=True": self.five_point,
        }
        return ", ".join([text, *(option for option, shown in options.items() if shown)])

    # Tools of the subclasses.

    def _grid_options(self) -> dict[str, Any]:
        """What a coupling of ``analysis`` is told of the grid and the stencils."""
        options = {"stride": self.stride[0], "dilation": self.dilation[0]}
        return {**options, "five_point": self.five_point}

    def _tap_mask(self) -> np.ndarray:
        """Mask of the taps of a stencil that are weights, ``(k1, k2)``."""
        if self.five_point:
            return star_mask(self.kernel_size)
        return np.ones(self.kernel_size, dtype=bool)

    def _new_stencils(self, *leading: int, factory: dict[str, Any]) -> nn.Parameter:
        """Stencils ``(*leading, k1, k2)``, or ``(*leading, taps)`` where some are no weights."""
        mask = self._tap_mask()
        if mask.all():
            return nn.Parameter(torch.empty(*leading, *self.kernel_size, **factory))
        index = torch.as_tensor(np.flatnonzero(mask), device=factory["device"])
        self.register_buffer("tap_index", index, persistent=False)
        return nn.Parameter(torch.empty(*leading, int(mask.sum()), **factory))

    def _dense_stencils(self, stencils: Tensor) -> Tensor:
        """The stored taps among zeros, ``(*leading, k1, k2)``."""
        if self.tap_index is None:
            return stencils
        leading = stencils.shape[:-1]
        zeros = stencils.new_zeros(*leading, self.kernel_size[0] * self.kernel_size[1])
        return zeros.index_copy(-1, self.tap_index, stencils).reshape(*leading, *self.kernel_size)

    def _check_arguments(self) -> None:
        """Raise InputError for arguments that no operator accepts."""
        if min(self.in_channels, self.out_channels) < 1:
            got = f"{self.in_channels} -> {self.out_channels}"
            raise InputError("at least one input and output channel", got, "pass positive numbers")
        if any(k < 1 or k % 2 == 0 for k in self.kernel_size):
            raise InputError(
                "an odd kernel size, which has a centre", self.kernel_size, "pass 3 instead"
            )
        for name in ("stride", "dilation"):
            one, other = getattr(self, name)
            if one != other or one < 1:
                expected = f"one {name} of at least 1 for both axes"
                raise InputError(expected, (one, other), "pass 1 or 2")
        check_padding_mode(self.padding_mode)

    def _find_margin(self, padding: str | int | tuple[int, int]) -> tuple[int, int]:
        """Padding less the reach of the stencil; raises InputError for what is no padding."""
        if padding == "same":
            return 0, 0
        pixels = (0, 0) if padding == "valid" else padding
        if isinstance(pixels, str) or min(_pair(pixels)) < 0:
            expected = "padding 'same', 'valid' or whole numbers of pixels"
            raise InputError(expected, repr(padding), "pass padding='same'")
        (p, q), d = _pair(pixels), self.dilation[0]
        return p - d * (self.kernel_size[0] // 2), q - d * (self.kernel_size[1] // 2)

    def _check_size(self, size: tuple[int, int]) -> None:
        """Raise InputError where an image is too small for the padding or for one output pixel."""
        check_image_size(size, self.padding, self.padding_mode)
        if min(self.output_size(*size)) < 1:
            least = [max(1, 1 - 2 * m) for m in self.margin]
            raise InputError(
                f"images of at least {least[0]} x {least[1]} pixels for padding {self.padding}",
                f"{size[0]} x {size[1]}",
                "use larger images or more padding",
            )

    def _check_images(self, x: Tensor, channels: int) -> None:
        """Raise InputError for tensors that are not images with the given number of channels."""
        if x.ndim not in (3, 4) or x.shape[-3] != channels or not x.is_floating_point():
            raise InputError(
                f"floating-point images of shape (B, {channels}, H, W) or ({channels}, H, W)",
                f"{str(x.dtype).removeprefix('torch.')} of shape {tuple(x.shape)}",
                "match the channels of the operator",
            )
