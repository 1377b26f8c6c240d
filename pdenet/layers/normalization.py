"""Normalisations as what they are at inference: a scale and a shift a channel (theory §4.3)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from analysis.errors import InputError, unknown_name

NORMALIZATIONS = ("batch", "instance", "layer", "tv", "none")
"""Names of the normalisations of a network, each with a scale and a shift a channel.

Only ``batch`` and ``none`` are affine at inference; the others depend on the image at hand, so that
the theorems do not cover them (theory §4.3).
"""


class ChannelAffine(nn.Module):
    """``y[c] -> s[c] y[c] + t[c]``: a fixed scale and shift of every channel.

    Args:
        channels: number of channels.
        device: where the parameters live.
        dtype: their precision.

    Attributes:
        weight: parameter ``s``, ``(channels,)``, ones at first.
        bias: parameter ``t``, ``(channels,)``, zeros at first.

    >>> ChannelAffine(2)(torch.ones(1, 2, 1, 1)).flatten().tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        channels: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))

    def forward(self, y: Tensor) -> Tensor:
        """Scale and shift images ``(B, channels, H, W)``."""
        return y * self.weight[:, None, None] + self.bias[:, None, None]


class TotalVariationNorm(nn.Module):
    """``y[c, x] -> s[c] y[c, x] / sqrt(sum_k y[k, x]^2 + eps) + t[c]``, pixel by pixel.

    The normalisation of Ruthotto & Haber (arXiv 1804.04272, §5), with a scale and a shift.

    Args:
        channels: number of channels.
        eps: keeps the root away from zero.

    Attributes:
        weight, bias: parameters ``s`` and ``t``, ``(channels,)``, ones and zeros at first.

    >>> pixel = torch.tensor([3.0, 4.0], dtype=torch.float64).view(1, 2, 1, 1)
    >>> TotalVariationNorm(2, eps=0.0)(pixel).flatten()
    tensor([0.6000, 0.8000], dtype=torch.float64, grad_fn=<ViewBackward0>)
    """

    def __init__(self, channels: int, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, y: Tensor) -> Tensor:
        """Normalise images ``(B, channels, H, W)``."""
        scaled = y * torch.rsqrt(y.square().sum(dim=1, keepdim=True) + self.eps)
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


_MODULES: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "tv": TotalVariationNorm,
    "none": lambda channels: nn.Identity(),
}


def make_normalization(name: str, channels: int) -> nn.Module:
    """The module of a normalisation by a name in ``NORMALIZATIONS``.

    ``layer`` is over all channels and pixels of an image, ``instance`` over the pixels of a
    channel, ``tv`` over the channels of a pixel.

    >>> make_normalization("tv", 4)
    TotalVariationNorm()
    """
    if name not in NORMALIZATIONS:
        raise unknown_name("normalization", name, NORMALIZATIONS)
    return _MODULES[name](channels)


def affine_at_inference(norm: nn.Module) -> bool:
    """Whether ``inference_affine`` exists, which the theorems of theory §4 ask for.

    >>> affine_at_inference(nn.BatchNorm2d(3)), affine_at_inference(nn.GroupNorm(1, 3))
    (True, False)
    """
    if isinstance(norm, nn.BatchNorm2d):
        return norm.running_mean is not None and norm.running_var is not None
    return isinstance(norm, ChannelAffine | nn.Identity)


def inference_affine(norm: nn.Module, channels: int) -> tuple[Tensor, Tensor]:
    """Scale and shift that a normalisation is at inference.

    Batch norm: ``s = gamma / sqrt(var + eps)``, ``t = beta - s mean`` with the running statistics.

    Args:
        norm: a ``BatchNorm2d`` with running statistics, a ``ChannelAffine`` or an ``Identity``.
        channels: number of channels, for ``Identity``.

    Returns:
        ``(s, t)``, each ``(channels,)``, differentiable where they are parameters. Those of
        ``Identity``, which has no device, are on the CPU in float64.

    Raises:
        InputError: for a module that is not affine at inference.
    """
    if isinstance(norm, ChannelAffine):
        return norm.weight, norm.bias
    if isinstance(norm, nn.BatchNorm2d):
        if norm.running_mean is None or norm.running_var is None:
            remedy = "set track_running_stats=True"
            raise InputError("batch norm with running statistics", "none", remedy)
        gamma = torch.ones_like(norm.running_var) if norm.weight is None else norm.weight
        beta = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
        scale = gamma / torch.sqrt(norm.running_var + norm.eps)
        return scale, beta - scale * norm.running_mean
    if isinstance(norm, nn.Identity):
        one = torch.ones(channels, dtype=torch.float64)
        return one, torch.zeros_like(one)
    raise InputError(
        "a normalisation that is affine at inference (BatchNorm2d, ChannelAffine, Identity)",
        type(norm).__name__,
        "measure this layer instead",
    )


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """A copy in which every batch norm is the ``ChannelAffine`` it is at inference.

    Equal to ``module.eval()`` up to rounding, in training mode too. The scale stays a layer of its
    own: in ``-K^T sigma(S K y)`` it belongs to one of the two ``K`` only.

    >>> fold_batch_norm(nn.Sequential(nn.BatchNorm2d(3)))
    Sequential( (0): ChannelAffine() )
    """
    if isinstance(module, nn.BatchNorm2d):
        return _as_affine(module)
    folded = copy.deepcopy(module)
    for parent in folded.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, _as_affine(child))
    return folded


def _as_affine(norm: nn.BatchNorm2d) -> ChannelAffine:
    """The scale and shift of a batch norm at inference as a module."""
    scale, shift = inference_affine(norm, norm.num_features)
    affine = ChannelAffine(norm.num_features, device=scale.device, dtype=scale.dtype)
    with torch.no_grad():
        affine.weight.copy_(scale)
        affine.bias.copy_(shift)
    return affine
