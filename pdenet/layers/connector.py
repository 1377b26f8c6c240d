"""Layers that change the number of channels and the resolution between the blocks."""

from __future__ import annotations

from torch import Tensor, nn

from analysis.errors import InputError, unknown_name
from pdenet.layers.activations import ACTIVATIONS, make_activation
from pdenet.operators.base import StencilOperator

POOLINGS: dict[str, type[nn.Module]] = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}
"""Poolings over disjoint 2 x 2 pixels; an odd last row or column is dropped."""


class Connector(nn.Module):
    """``y -> pool(sigma(N(K y + b)))``: the opening of a network and the steps between its blocks.

    Args:
        operator: ``K``, a convolution operator.
        normalization: ``N``, affine at inference, or ``Identity``.
        activation: name of ``sigma`` in ``ACTIVATIONS``.
        pooling: a name in ``POOLINGS``, or None for no pooling.

    Attributes:
        operator, normalization, activation, pooling: the four modules in the order they act
            (``pooling`` is an ``Identity`` where there is none).
        slope_bound: ``L`` of the activation.

    Raises:
        InputError: for unknown names, and in ``forward`` where an axis has fewer than two pixels
            to pool.
    """

    def __init__(
        self,
        operator: StencilOperator,
        normalization: nn.Module,
        activation: str,
        pooling: str | None = None,
    ) -> None:
        super().__init__()
        if pooling is not None and pooling not in POOLINGS:
            raise unknown_name("pooling", pooling, POOLINGS)
        self.operator = operator
        self.normalization = normalization
        self.activation = make_activation(activation)
        self.slope_bound = ACTIVATIONS[activation]
        self.pooling = nn.Identity() if pooling is None else POOLINGS[pooling](2)

    @property
    def pools(self) -> bool:
        """Whether the resolution is halved."""
        return not isinstance(self.pooling, nn.Identity)

    def forward(self, y: Tensor) -> Tensor:
        """Images ``(B, c_in, H, W)`` to ``(B, c_out, H // 2, W // 2)``, or ``H, W`` unpooled."""
        y = self.activation(self.normalization(self.operator(y)))
        if self.pools and min(y.shape[-2:]) < 2:
            raise InputError(
                "at least 2 x 2 pixels to pool",
                f"{y.shape[-2]} x {y.shape[-1]}",
                "use larger images or fewer widths",
            )
        return self.pooling(y)

    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds for one image of the given size, the convolution only."""
        return self.operator.multiply_adds(height, width)
