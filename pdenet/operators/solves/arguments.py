"""What every solve asks of its arguments, and the precision that it works in."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from analysis.errors import InputError
from pdenet.operators.base import StencilOperator


def check_arguments(operator: StencilOperator, y: Tensor, number: float, what: str) -> None:
    """Raise InputError unless the number is finite and not negative, and the images fit.

    Args:
        operator: whose channels the images have.
        y: images ``(B, C, H, W)``.
        number: step size or time.
        what: the name of the number.
    """
    if not 0 <= number < math.inf:  # compilers know no isfinite of a number that varies
        raise InputError(f"a {what} of at least zero", number, "pass 0.5, say")
    if y.ndim != 4 or y.shape[1] != operator.in_channels or not y.is_floating_point():
        expected = f"floating-point images of shape (B, {operator.in_channels}, H, W)"
        got = f"{str(y.dtype).removeprefix('torch.')} of shape {tuple(y.shape)}"
        raise InputError(expected, got, "match the channels of the operator")


def in_working_precision(y: Tensor, way: Callable[[Tensor], Tensor]) -> Tensor:
    """``way(y)`` in float64, or in float32 for anything less, returned in the precision of ``y``.

    Also under autocast, whose precisions are too coarse for transforms and iterations.
    """
    with torch.autocast(y.device.type, enabled=False):
        working = y if y.dtype == torch.float64 else y.float()
        return way(working).to(y.dtype)
