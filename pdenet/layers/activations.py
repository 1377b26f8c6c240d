"""Activations by name, with the range of their slopes that the theorems need (theory §4)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from analysis.errors import InputError, unknown_name


class SmoothReLU(nn.Module):
    """ReLU with a parabola in place of its kink: slopes in ``[0, 1]``, without jumps.

    ``sigma(x) = 0`` for ``x <= -e``, ``(x + e)^2 / (4 e)`` between, ``x`` for ``x >= e``.

    Args:
        width: ``e > 0``, half the width of the parabola.

    Raises:
        InputError: for a width that is not positive.

    >>> SmoothReLU(0.5)(torch.tensor([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.125, 2.0]
    """

    def __init__(self, width: float = 0.1) -> None:
        super().__init__()
        if not width > 0:
            raise InputError("a positive width of the parabola", width, "pass 0.1")
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """``sigma(x)`` for any shape."""
        e = self.width
        # The parabola is evaluated where it holds alone, so that its gradient stays finite.
        return torch.relu(x - e) + (x.clamp(-e, e) + e).square() / (4 * e)

    def extra_repr(self) -> str:
        """Half the width of the parabola."""
        return f"width={self.width}"


def _gelu_slope(x: float) -> float:
    """Slope of ``x Phi(x)``: ``Phi(x) + x phi(x)``, extreme where ``x^2 = 2``."""
    density = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return (1 + math.erf(x / math.sqrt(2))) / 2 + x * density


SLOPES: dict[str, tuple[float, float]] = {
    "relu": (0.0, 1.0),
    "tanh": (0.0, 1.0),
    "softplus": (0.0, 1.0),
    "smooth-relu": (0.0, 1.0),
    "gelu": (_gelu_slope(-math.sqrt(2)), _gelu_slope(math.sqrt(2))),
}
"""The smallest and the largest slope of every activation.

Theorems about monotone fields need slopes in ``[0, L]``: GELU, which falls before it rises, is
outside of them.
"""

ACTIVATIONS: dict[str, float] = {name: high for name, (_, high) in SLOPES.items()}
"""Activations and ``L``, the largest slope (of the largest modulus as well)."""

_MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "smooth-relu": SmoothReLU,
    "gelu": nn.GELU,
}


def make_activation(name: str) -> nn.Module:
    """The module of an activation in ``ACTIVATIONS``.

    Raises:
        InputError: for an unknown name.

    >>> make_activation("tanh")
    Tanh()
    """
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return _MODULES[name]()
