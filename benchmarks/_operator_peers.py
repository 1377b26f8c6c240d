"""Blocks of equal width and what PyTorch has for a coupling, from the definitions of the papers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pdenet.operators.conv import make_operator


class SumOfTwo(nn.Module):
    """A 1x1 convolution plus a depthwise one, the lean coupling in PyTorch's own layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixing = nn.Conv2d(channels, channels, 1)
        self.local = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """The sum of both."""
        return self.mixing(images) + self.local(images)


def _conv(inputs: int, outputs: int, size: int, *, groups: int = 1, after: nn.Module | None = None):
    layers = [nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)]
    layers.append(nn.BatchNorm2d(outputs))
    return layers if after is None else [*layers, after]


class Residual(nn.Module):
    """``y + F(y)``, then an activation."""

    def __init__(self, *layers: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.after = nn.Identity() if after is None else after

    def forward(self, y: Tensor) -> Tensor:
        """One block."""
        return self.after(y + self.layers(y))


class ShuffleUnit(nn.Module):
    """The basic unit of ShuffleNet V2 (Ma et al. 2018, figure 3c): half of the channels pass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            *_conv(half, half, 1, after=nn.ReLU()),
            *_conv(half, half, 3, groups=half),
            *_conv(half, half, 1, after=nn.ReLU()),
        )

    def forward(self, y: Tensor) -> Tensor:
        """Split, branch, concatenate, shuffle in two groups."""
        left, right = y.chunk(2, dim=1)
        return functional.channel_shuffle(torch.cat((left, self.branch(right)), dim=1), 2)


class Parabolic(nn.Module):
    """``y - h K^T relu(N(K y))`` (theory §3), one step of a lean network."""

    def __init__(self, channels: int, coupling: str) -> None:
        super().__init__()
        self.operator = make_operator(coupling, channels, channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, y: Tensor) -> Tensor:
        """One step of size 0.5."""
        inner = functional.relu(self.norm(self.operator(y)))
        return y - 0.5 * self.operator.adjoint(inner)


def basic(channels: int, coupling: str | None = None) -> Residual:
    """The basic block of ResNet (He et al. 2016, figure 5), or with operators of a coupling."""
    c = channels

    def operator() -> nn.Module:
        if coupling is None:
            return nn.Conv2d(c, c, 3, padding=1, bias=False)
        return make_operator(coupling, c, c, bias=False)

    first = [operator(), nn.BatchNorm2d(c), nn.ReLU()]
    return Residual(*first, operator(), nn.BatchNorm2d(c), after=nn.ReLU())


def blocks(channels: int) -> dict[str, nn.Module]:
    """Blocks from ``c`` to ``c`` channels, those of others and ours.

    MobileNet V2: Sandler et al. 2018, table 1 with expansion 6. ResNeXt: Xie et al. 2017, figure
    3c, half the width inside in groups of four channels as in ResNeXt-50 (32 x 4d).
    """
    c, wide, half = channels, 6 * channels, channels // 2
    inverted = [
        *_conv(c, wide, 1, after=nn.ReLU6()),
        *_conv(wide, wide, 3, groups=wide, after=nn.ReLU6()),
        *_conv(wide, c, 1),
    ]
    grouped = [
        *_conv(c, half, 1, after=nn.ReLU()),
        *_conv(half, half, 3, groups=half // 4, after=nn.ReLU()),
        *_conv(half, c, 1),
    ]
    return {
        "ResNet basic": basic(c),
        "MobileNet V2 (t = 6)": Residual(*inverted),
        "ResNeXt": Residual(*grouped, after=nn.ReLU()),
        "ShuffleNet V2": ShuffleUnit(c),
        "lean residual": basic(c, "lean"),
        "lean parabolic": Parabolic(c, "lean"),
        "circulant parabolic": Parabolic(c, "circulant"),
        "depthwise parabolic": Parabolic(c, "depthwise"),
    }
