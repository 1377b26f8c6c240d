"""What the convolutions of a model cost: their weights, and the multiply-adds of a forward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from analysis.errors import InputError
from pdenet.operators.base import StencilOperator

Convolution = _ConvNd
"""What torch's convolutions of any dimension, transposed or not, have in common."""


@dataclass(frozen=True)
class Call:
    """One use of a convolution in a forward.

    Attributes:
        images: number of images, 1 for an input without a batch.
        size: pixels of every axis of the input.
        size_out: pixels of every axis of the output.
    """

    images: int
    size: tuple[int, ...]
    size_out: tuple[int, ...]


Calls = dict[str, list[Call]]
"""The uses of every convolution, by its first name in the model."""


def convolutions(model: nn.Module) -> dict[str, Convolution]:
    """Every convolution by its first name in ``model.named_modules()``; shared ones stand once."""
    return {name: m for name, m in model.named_modules() if isinstance(m, Convolution)}


def dense_shape(module: Convolution) -> tuple[int, ...]:
    """``(c_out, c_in, *kernel_size)``, from the arguments: the weight may not exist yet."""
    return module.out_channels, module.in_channels, *module.kernel_size


def weight_count(module: Convolution) -> int:
    """Number of weights of a convolution of torch, the bias not counted.

    >>> weight_count(nn.Conv2d(8, 4, 3, groups=2))
    144
    """
    return math.prod(dense_shape(module)) // module.groups


def coupling_name(module: Convolution) -> str:
    """The coupling that a convolution of torch has (theory §2)."""
    if module.groups > 1:
        channels = {module.groups, module.in_channels, module.out_channels}
        return "depthwise" if len(channels) == 1 else "grouped"
    return "pointwise" if max(module.kernel_size) == 1 else "full"


def multiply_adds_before(module: Convolution, calls: list[Call]) -> int:
    """Multiply-adds of a convolution of torch in these calls.

    Every weight meets every pixel of the output once, of a transposed convolution every one of
    the input.
    """
    sizes = [(c.images, *(c.size if module.transposed else c.size_out)) for c in calls]
    return weight_count(module) * sum(map(math.prod, sizes))


def multiply_adds(operator: StencilOperator, calls: list[Call]) -> int:
    """Multiply-adds of one of our operators in these calls."""
    return sum(call.images * operator.multiply_adds(*call.size) for call in calls)


def record_calls(model: nn.Module, example: Tensor | tuple[Any, ...]) -> Calls:
    """The uses of all convolutions in one forward in inference mode.

    Args:
        model: its modes are as before afterwards.
        example: its input, or a tuple of inputs.

    Raises:
        InputError: where the model does not take the example.

    >>> record_calls(nn.Sequential(nn.Conv2d(1, 2, 3, stride=2)), torch.zeros(5, 1, 9, 9))
    {'0': [Call(images=5, size=(9, 9), size_out=(4, 4))]}
    """
    calls: Calls = {name: [] for name in convolutions(model)}
    handles = [
        module.register_forward_hook(_recorder(calls[name], len(module.kernel_size)), prepend=True)
        for name, module in convolutions(model).items()
    ]
    modes = {module: module.training for module in model.modules()}
    inputs = example if isinstance(example, tuple) else (example,)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()(*inputs)
    except Exception as error:
        shapes = [tuple(value.shape) for value in inputs if isinstance(value, Tensor)]
        got = f"{error} for inputs of shape {', '.join(map(str, shapes))}"
        remedy = "pass one of another shape, precision or device"
        raise InputError("an example that the model takes", got, remedy) from error
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return calls


def _recorder(calls: list[Call], axes: int) -> Any:
    """A forward hook that keeps the sizes of a call."""

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # Of a call by keyword a hook sees no inputs: one image, and the size that the output has.
        x = inputs[0] if inputs else output
        images = x.shape[0] if x.ndim == axes + 2 else 1
        calls.append(Call(images, tuple(x.shape[-axes:]), tuple(output.shape[-axes:])))

    return keep
