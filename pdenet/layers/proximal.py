"""Fully implicit nonlinear diffusion as a proximal step (theory §4.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from analysis.errors import InputError
from pdenet.layers.activations import SLOPES, make_activation
from pdenet.layers.normalization import ChannelAffine
from pdenet.operators.base import StencilOperator
from pdenet.operators.solves.arguments import check_arguments, in_working_precision
from pdenet.operators.solves.implicit_point import attach_gradient, solve_without_gradient
from pdenet.operators.solves.normal_symbols import weights_of
from pdenet.operators.solves.proximal_solvers import ACTIVATIONS_BY_TEXT
from pdenet.operators.solves.rebuilding import description_of, rebuild

PROXIMAL_EVALUATIONS = 40
"""Applications of ``K`` and of ``K^T`` that a proximal step counts for, as near ``h = 1``."""


def proximal_step(
    operator: StencilOperator,
    normalization: nn.Module,
    activation: nn.Module,
    y: Tensor,
    scale: float,
) -> Tensor:
    """Solve ``x + h K^T sigma(N(K x + b)) = y``, one step of implicit Euler.

    The field is ``x' = -K^T sigma(N(K x + b))``, the negative gradient of a convex ``Phi``, so that
    ``x`` is the proximal map of ``h Phi`` at ``y``, which is firmly non-expansive:
    ``||x1 - x2||^2 <= <x1 - x2, y1 - y2>`` for every ``h``. With ``h a_ii`` for ``h`` it solves the
    stage equations of diagonally implicit Runge-Kutta methods.

    Differentiable once in ``y``, the weights, the bias and the normalisation, forward and reverse,
    by the implicit function theorem at the solution (where ``sigma`` has a kink: with the side that
    torch chooses). Solved to rounding; lower precisions in float32, also under autocast. Compiles
    and exports as one operation.

    Args:
        operator: ``K`` with its bias ``b``, of any shape, stride and padding.
        normalization: ``Identity`` or a ``ChannelAffine`` with scale >= 0.
        activation: ``sigma``, a monotone one of ``pdenet.layers.activations``.
        y: images ``(B, C, H, W)``.
        scale: ``h >= 0``.

    Returns:
        Images ``(B, C, H, W)`` in the precision of ``y``.

    Raises:
        InputError: as ``check_proximal``, and for a negative ``h`` or other images.

    >>> K = rebuild("pointwise 1 1 1 1 1 0 0 1 1 1 zeros 0", [torch.tensor([[[[2.0]]]])])
    >>> y = torch.tensor([[[[10.0, -3.0]]]])  # x + 4 x / 4 where x > 0, else x
    >>> proximal_step(K, nn.Identity(), nn.ReLU(), y, 0.25).flatten().tolist()
    [5.0, -3.0]
    """
    if not torch.compiler.is_compiling():
        check_proximal(operator, normalization, activation)
    check_arguments(operator, y, scale, "step size")
    return in_working_precision(
        y, lambda working: _solved(operator, normalization, activation, working, scale)
    )


def _solved(
    operator: StencilOperator,
    normalization: nn.Module,
    activation: nn.Module,
    y: Tensor,
    scale: float,
) -> Tensor:
    weights = [weight.to(y.dtype) for weight in weights_of(operator)]
    gain, shift = _affine(operator, normalization, y)
    if any(weight.dtype != y.dtype for weight in weights_of(operator)):
        operator = rebuild(description_of(operator), weights)
    description = f"{_text(activation)}|{description_of(operator)}"
    tensors = [*weights, gain, shift]
    x = solve_without_gradient(y, "proximal point", scale, description, tensors)
    z = activation(operator.linear(x) * gain[:, None, None] + shift[:, None, None])
    residual = y - x - scale * operator.adjoint(z, (y.shape[-2], y.shape[-1]))
    return attach_gradient(x, residual, "proximal derivative", scale, description, [x, *tensors])


def check_proximal(
    operator: StencilOperator, normalization: nn.Module, activation: nn.Module
) -> None:
    """Raise InputError unless ``K^T sigma(N(K x + b))`` is the gradient of a convex function.

    ``N`` must be a fixed scale and shift, or none: statistics of the input are not. A scale below
    zero is found when the step is taken, as training may change it. ``sigma`` must be monotone and
    one of ``pdenet.layers.activations`` with its default parameters.
    """
    if not isinstance(normalization, nn.Identity | ChannelAffine):
        raise InputError(
            "Identity or ChannelAffine for a proximal step, as statistics of the input make the "
            "equation no gradient",
            type(normalization).__name__,
            "choose normalization='none' or an explicit method",
        )
    if _text(activation) not in ACTIVATIONS_BY_TEXT:
        raise InputError(
            f"a monotone activation for a proximal step, one of {', '.join(_MONOTONE)}",
            _text(activation),
            "choose one of them or an explicit method",
        )


_MONOTONE = [name for name, (smallest, _) in SLOPES.items() if smallest >= 0]


def _text(activation: nn.Module) -> str:
    """Type and arguments of an activation."""
    return f"{type(activation).__name__}({activation.extra_repr()})"


ACTIVATIONS_BY_TEXT.update({_text(module): module for module in map(make_activation, _MONOTONE)})


def _affine(
    operator: StencilOperator, normalization: nn.Module, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Gain and shift of ``N(z + b) = gain z + shift``, each ``(channels,)``."""
    channels = operator.out_channels
    gain, shift = like.new_ones(channels), like.new_zeros(channels)
    if isinstance(normalization, ChannelAffine):
        gain, shift = normalization.weight.to(like.dtype), normalization.bias.to(like.dtype)
    if operator.bias is not None:
        shift = shift + gain * operator.bias.to(like.dtype)
    return gain, shift
